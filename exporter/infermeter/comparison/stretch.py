"""One side of a comparison: what a server did, slot by slot. Where it was read from is not its concern.

Slots follow one another in time; where nothing is known of a slot it is left out, for all models alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

import numpy as np

from infermeter.model import Floats, Signal, SlaTarget

Column: TypeAlias = Literal[
    "seconds", "cost", "inferences", "seen_ok", "judged", "judged_ok", "within", "joules", "tokens", "tokens_input", "tokens_output"
]
"""`inferences`: all that ended without an error. Of those that were seen: `seen_ok` likewise; `judged`, `judged_ok` and `within` where
there was the SLA in force, with errors, without, and within it. `tokens`: of both directions, as far as they are told. `cost` in the
side's own prices."""

COLUMNS: Final[Sequence[Column]] = (
    "seconds", "cost", "inferences", "seen_ok", "judged", "judged_ok", "within", "joules", "tokens", "tokens_input", "tokens_output"
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Slots:
    """What is known of one model, or of the server: a column that isn't there isn't known. All have shape (slots,)."""

    columns: Mapping[Column, Floats]

    def __len__(self) -> int:
        return len(self.columns["seconds"])

    @property
    def has_traffic(self) -> bool:
        """Whether there was anything of it but what the time costs."""
        return bool(self.total("seen_ok") or self.total("inferences"))

    def total(self, column: Column) -> float | None:
        """The sum of a column; None where it isn't known."""
        known = self.columns.get(column)
        return None if known is None else float(known.sum())


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """What there is of one side, by model; `slots` are all of one length, and begin at `starts_unix_seconds`.

    `slas` of the models that have one; `queue_share_ratio` of the time of inferences; `busy_seconds` of the server in each slot, None where
    it isn't known; `process_start_unix_seconds` None: not the life of one sidecar.
    `latency_seconds` by model and signal: at the SLA's quantile, of the window that the label names; a window may hold other seconds than
    the slots do.
    """

    server: str
    version: str | None
    starts_unix_seconds: Floats
    end_unix_seconds: float
    currency: str | None
    slas: Mapping[str, SlaTarget]
    slots: Mapping[str, Slots]
    queue_share_ratio: Mapping[str, float] = field(default_factory=dict)
    latency_seconds: Mapping[tuple[str, Signal, str], float] = field(default_factory=dict)
    notes: Sequence[str] = ()
    process_start_unix_seconds: float | None = None
    busy_seconds: Floats | None = None

    def since(self, unix_seconds: float) -> Stretch | None:
        """The slots that begin then or later; None without any."""
        kept = self.starts_unix_seconds >= unix_seconds
        if not kept.any():
            return None
        slots = {model: Slots({name: values[kept] for name, values in own.columns.items()}) for model, own in self.slots.items()}
        busy = None if self.busy_seconds is None else self.busy_seconds[kept]
        return replace(self, starts_unix_seconds=self.starts_unix_seconds[kept], slots=slots, busy_seconds=busy)

    @property
    def whole(self) -> Slots:
        """The server: the sums over its models, of what is known of every one that was asked anything."""
        models = list(self.slots.values())
        columns: dict[Column, Floats] = {"seconds": models[0].columns["seconds"]}
        for column in COLUMNS[1:]:
            known = [model.columns[column] for model in models if column in model.columns]
            if known and len(known) == sum(column in model.columns or model.has_traffic for model in models):
                columns[column] = np.sum(known, axis=0)
        return Slots(columns)

    @property
    def cost_per_hour(self) -> float | None:
        """The mean over the slots; None without prices."""
        whole = self.whole
        cost, seconds = whole.total("cost"), whole.total("seconds")
        return None if cost is None or not seconds else cost / seconds * 3600

    @property
    def busy_ratio(self) -> float | None:
        """The share of the time in which anything computed."""
        return None if self.busy_seconds is None else float(self.busy_seconds.sum()) / self.seconds

    @property
    def seconds(self) -> float:
        """How long the slots are together."""
        return self.whole.total("seconds") or 0.0
