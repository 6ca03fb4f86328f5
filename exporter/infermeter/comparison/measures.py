"""What is compared: each measure as a ratio of sums over slots. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from infermeter.comparison.stretch import Column
from infermeter.model import Floats

MeasureName: TypeAlias = Literal[
    "cost_per_inference_at_sla",
    "cost_per_inference",
    "cost_per_million_tokens",
    "share_within_sla",
    "inferences_per_second",
    "joules_per_inference",
    "inferences_per_joule",
]


@dataclass(frozen=True, slots=True)
class Measure:
    """(product of `above`) / (product of `below`) x `scale`.

    `volume`: what load there is of what the measure speaks of, whose change alone would change it; None where it isn't divided by it.
    """

    name: MeasureName
    title: str
    unit: str
    lower_is_better: bool
    above: Sequence[Column]
    below: Sequence[Column]
    volume: Column | None
    scale: float = 1.0

    @property
    def columns(self) -> tuple[Column, ...]:
        """What must be known for it."""
        return tuple(dict.fromkeys((*self.above, *self.below, *(() if self.volume is None else (self.volume,)))))

    def of(self, sums: Mapping[Column, Floats]) -> Floats:
        """The measure of each set of sums, shape as theirs; infinite where it is divided by nothing, NaN where nothing is."""
        above = np.prod([sums[column] for column in self.above], axis=0) * self.scale
        below = np.prod([sums[column] for column in self.below], axis=0)
        ratio: Floats = np.divide(above, below, out=np.where(above > 0, np.inf, np.nan), where=below > 0)
        return ratio


MEASURES: Final[Sequence[Measure]] = (
    Measure(
        "cost_per_inference_at_sla",
        "cost per inference at the SLA",
        "",
        lower_is_better=True,
        above=("cost", "judged_ok"),
        below=("inferences", "within"),
        volume="inferences",
    ),
    Measure(
        "cost_per_inference", "cost per inference", "", lower_is_better=True, above=("cost",), below=("inferences",), volume="inferences"
    ),
    Measure(
        "cost_per_million_tokens",
        "cost per million tokens",
        "",
        lower_is_better=True,
        above=("cost",),
        below=("tokens",),
        volume="tokens",
        scale=1e6,
    ),
    Measure("share_within_sla", "share within the SLA", "ratio", lower_is_better=False, above=("within",), below=("judged",), volume=None),
    Measure(
        "inferences_per_second",
        "inferences per second",
        "1/s",
        lower_is_better=False,
        above=("inferences",),
        below=("seconds",),
        volume="inferences",
    ),
    Measure(
        "joules_per_inference",
        "joules per inference",
        "J",
        lower_is_better=True,
        above=("joules",),
        below=("inferences",),
        volume="inferences",
    ),
    Measure(
        "inferences_per_joule",
        "inferences per joule",
        "1/J",
        lower_is_better=False,
        above=("inferences",),
        below=("joules",),
        volume="inferences",
    ),
)
"""Cost within the SLA = cost / (all inferences x within / seen): where spans are all there is, cost / within."""
