"""Advice as `infermeter advise --format json` prints it. Its schema is docs/advice.schema.json. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from infermeter.advice.gaps import Gap
from infermeter.advice.sizing import BOUND
from infermeter.model import Advice, Candidate, SlaTarget
from infermeter.report_json import plain

SCHEMA: Final = 1

BASIS: Final = {"bound_ratio": BOUND, "pairs": 166, "pairs_held": 165, "worst_ratio": 0.78, "in_sample": True}
"""What right-sizing rests on: in so many published pairs of devices, measured throughput over the lesser ratio of bandwidth and arithmetic
was at least the bound, which was chosen on these pairs. Source: MLPerf Inference v5.1 closed division, and NeuSight's labels."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the advice comes from, and up to when it speaks. `range_seconds` and `replicas` are of a history alone."""

    kind: Literal["sidecar", "report", "prometheus"]
    where: str
    end_unix_seconds: float
    range_seconds: float | None = None
    replicas: int | None = None


@dataclass(frozen=True, slots=True)
class Supposed:
    """An answer to `--what-if`: what was asked, word by word, and what would come of it."""

    asked: str
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class Told:
    """All that is to be told. `headroom` None: as the sidecar is configured. `prices`: whose they are, of other devices; None: nobody's."""

    server: str
    source: Source
    price_as_of: str | None
    price_source: str | None
    slas: Mapping[str, SlaTarget]
    advice: Advice
    supposed: Sequence[Supposed] = ()
    missing: Sequence[Gap] = ()
    headroom: float | None = None
    prices: str | None = None
    notes: Sequence[str] = ()


def advice_json(told: Told) -> dict[str, Any]:
    """Ready for JSON: only finite numbers, texts, None, lists and objects, in a stable order."""
    advice, sizing = told.advice, told.advice.sizing
    return {
        "schema": SCHEMA,
        "server": told.server,
        "source": asdict(told.source),
        "currency": None if sizing is None else sizing.evidence.currency,
        "price": {"as_of": told.price_as_of, "source": told.price_source},
        "sla": [{"model": model} | asdict(sla) for model, sla in told.slas.items()],
        "bound": advice.bound,
        "workloads": dict(advice.workloads),
        "findings": [asdict(finding) for finding in advice.findings],
        "evidence": None if sizing is None else plain(asdict(sizing.evidence)),
        "what_if": [{"asked": one.asked} | plain(asdict(one.candidate)) for one in told.supposed],
        "moves": [] if sizing is None else [plain(asdict(move)) for move in sizing.moves],
        "candidates": [] if sizing is None else [plain(asdict(candidate)) for candidate in sizing.candidates],
        "missing": [gap._asdict() for gap in told.missing],
        "headroom": told.headroom,
        "prices": told.prices,
        "basis": dict(BASIS),
        "notes": list(told.notes),
    }
