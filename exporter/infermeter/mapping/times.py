"""Times in the `metrics` section of a server's file: of inferences, stages and parts, as histograms, summaries or counters tell them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from infermeter.mapping.places import Place
from infermeter.mapping.series import SeriesRule, read_name, read_names, read_where
from infermeter.mapping.texts import PART_NAME
from infermeter.model import STAGES, Signal, TimeOf

PER_SECOND: Final[Mapping[str, float]] = {"s": 1.0, "ms": 1e3, "us": 1e6}
SIGNALS: Final[Mapping[str, Signal]] = {"e2e": "duration", "ttft": "ttft", "tpot": "tpot"}
"""Of whole inferences: as they are written, and what they are."""

TIMES: Final = " ".join((*SIGNALS, *STAGES))


@dataclass(frozen=True, slots=True)
class TimeRule:
    """One time: the series of its sum, of how many inferences are in that, and of its buckets.

    Without `counts` nothing says how many; without `buckets` nothing says how long each took. `units_per_second` is of sums and edges.
    """

    of: TimeOf
    sums: SeriesRule
    counts: SeriesRule | None = None
    buckets: SeriesRule | None = None
    units_per_second: float = 1.0

    @property
    def series(self) -> tuple[SeriesRule, ...]:
        """Everything that is read of it."""
        return tuple(one for one in (self.sums, self.counts, self.buckets) if one is not None)

    def edge_seconds(self, labels: Mapping[str, str]) -> float | None:
        """The upper edge of the bucket with these labels, math.inf for that of all; None: none is told."""
        try:
            edge = float(labels.get("le", ""))
        except ValueError:
            return None
        return edge / self.units_per_second if edge > 0 else None


def read_histograms(place: Place) -> Iterator[TimeRule]:
    """Times that have buckets. Raises: Unreadable."""
    return _times(place, lambda of, at: _distribution(of, at, has_buckets=True), "name unit older where")


def read_summaries(place: Place) -> Iterator[TimeRule]:
    """Times that are summed and counted. Raises: Unreadable."""
    return _times(place, lambda of, at: _distribution(of, at, has_buckets=False), "name unit older where")


def read_sums(places: Mapping[str, Place]) -> Iterator[TimeRule]:
    """Times that counters sum up, perhaps beside one of how many (`per`). Raises: Unreadable."""
    for key, place in places.items():
        yield from _time(key, place, _sum, "name unit older where per")


_Read = Callable[[TimeOf, Mapping[str, Place]], TimeRule]


def _times(place: Place, read: _Read, keys: str) -> Iterator[TimeRule]:
    at = place.keys(TIMES)
    if not at:
        raise place.wrong("is empty")
    for key, one in at.items():
        yield from _time(key, one, read, keys)


def _time(key: str, place: Place, read: _Read, keys: str) -> Iterator[TimeRule]:
    """One time with its parts; a stage may have parts alone, and is then what they are together."""
    if key in SIGNALS:
        yield read(SIGNALS[key], place.keys(keys, required="name unit"))
        return
    stage = next(stage for stage in STAGES if stage == key)
    parts = place.mapping().get("parts")
    at = place.keys(f"{keys} parts", required="" if parts is not None and "name" not in place.mapping() else "name unit")
    if "name" in at:
        yield read(stage, at)
    elif at.keys() != {"parts"}:
        raise place.wrong("has no name: it is what its parts are together, and must have nothing besides them")
    named = {} if parts is None else parts.mapping()
    if parts is not None and not named:
        raise parts.wrong("is empty")
    for name, part in named.items():
        if not PART_NAME.fullmatch(name):
            raise part.wrong(f"the name of a part must match {PART_NAME.pattern}")
        yield read((stage, name), part.keys(keys, required="name unit"))


def _distribution(of: TimeOf, at: Mapping[str, Place], *, has_buckets: bool) -> TimeRule:
    names, where = read_names(at), read_where(at)
    sums, counts, buckets = (SeriesRule(tuple(name + ending for name in names), where) for ending in ("_sum", "_count", "_bucket"))
    return TimeRule(of, sums, counts, buckets if has_buckets else None, _unit(at))


def _sum(of: TimeOf, at: Mapping[str, Place]) -> TimeRule:
    where = read_where(at)
    counts = SeriesRule((read_name(at["per"]),), where) if "per" in at else None
    return TimeRule(of, SeriesRule(read_names(at), where), counts, None, _unit(at))


def _unit(at: Mapping[str, Place]) -> float:
    return PER_SECOND[at["unit"].choice(tuple(PER_SECOND))]
