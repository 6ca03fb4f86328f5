"""What a GPU draws with a model resident and nothing computing: learnt on this host, never from a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import accumulate
from typing import Any, Final, TypeAlias

from infermeter.ledger.instants import HOUR_SECONDS

_HOURS: Final = 24
_LEAST_TICKS: Final = 60
_PER_WATT: Final = 10
"""Power is kept in tenths of a watt: few distinct values, so a day fits into a few kilobytes."""

_MOST_POWERS: Final = 512
"""Distinct values an hour; an idle device has some dozens. A new one beyond them counts as its nearest neighbour."""

_MOST_TENTHS: Final = 1_000_000
_MOST_TICKS: Final = 10**9
MOST_DEVICES: Final = 64
_VERSION: Final = 1

Hours: TypeAlias = dict[int, Counter[int]]
"""Ticks by hour since the epoch and tenths of a watt."""


class Baseline:
    """The 10th percentile of the mean power of idle ticks in the last 24 hours; None before 60 of them, unless configured."""

    def __init__(self, configured_watts: float | None) -> None:
        self.hours: Hours = {}
        self._configured_watts = configured_watts
        self._watts: float | None = None
        self._stale = False

    def learn(self, tick: int, watts: float) -> None:
        """Takes in one tick in which the GPU was idle with a model resident; ticks come in order."""
        hour, power = tick // HOUR_SECONDS, round(watts * _PER_WATT)
        if hour not in self.hours:
            self.hours[hour] = Counter()
            for old in [known for known in self.hours if known <= hour - _HOURS]:
                del self.hours[old]
        powers = self.hours[hour]
        if power not in powers and len(powers) >= _MOST_POWERS:
            power = min(powers, key=lambda known: (abs(known - power), known))
        powers[power] += 1
        self._stale = True

    def recall(self, hours: Hours) -> None:
        """Takes in what was learnt before this start; what was learnt since stays."""
        self.hours = hours | self.hours
        self._stale = True

    @property
    def watts(self) -> float | None:
        """The baseline of the whole device."""
        if self._configured_watts is not None:
            return self._configured_watts
        if self._stale:
            self._watts, self._stale = self._percentile(), False
        return self._watts

    def _percentile(self) -> float | None:
        counts: Counter[int] = sum(self.hours.values(), Counter())
        ticks = counts.total()
        if ticks < _LEAST_TICKS:
            return None
        ordered = sorted(counts)
        reached = accumulate(counts[power] for power in ordered)
        return next(power for power, below in zip(ordered, reached, strict=True) if below * 10 >= ticks) / _PER_WATT


def remembered(devices: Mapping[str, Hours]) -> dict[str, Any]:
    """What was learnt of each device by UUID, as JSON: of the first 64 that have learnt anything."""
    learnt = [(uuid, hours) for uuid, hours in devices.items() if hours][:MOST_DEVICES]
    return {
        "version": _VERSION,
        "gpus": {
            uuid: {str(hour): {str(power): ticks for power, ticks in powers.items()} for hour, powers in hours.items()}
            for uuid, hours in learnt
        },
    }


def recalled(section: object, *, now_tick: int) -> dict[str, Hours]:
    """What `remembered` made, without hours that are more than a day old or haven't come yet.

    Raises: ValueError for anything else, as a whole. Its text tells nothing of the content.
    """
    if not isinstance(section, dict) or section.keys() != {"version", "gpus"} or section["version"] != _VERSION:
        raise ValueError
    now_hour, devices = now_tick // HOUR_SECONDS, {}
    for uuid, content in _members(section["gpus"], MOST_DEVICES):
        hours = {
            _whole(hour, _MOST_TICKS): Counter(
                {_whole(power, _MOST_TENTHS): _ticks(ticks) for power, ticks in _members(powers, _MOST_POWERS)}
            )
            for hour, powers in _members(content, _HOURS)
        }
        devices[uuid] = {hour: powers for hour, powers in hours.items() if now_hour - _HOURS < hour <= now_hour}
    return {uuid: hours for uuid, hours in devices.items() if hours}


def _members(value: object, most: int) -> list[tuple[str, object]]:
    """The members of a JSON object of at most so many. Raises: ValueError."""
    if not isinstance(value, dict) or len(value) > most or not all(isinstance(name, str) for name in value):
        raise ValueError
    return list(value.items())


def _whole(text: str, most: int) -> int:
    """A whole number as a JSON object's key. Raises: ValueError."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and int(text) <= most):
        raise ValueError
    return int(text)


def _ticks(value: object) -> int:
    """A count of ticks. Raises: ValueError."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _MOST_TICKS:
        raise ValueError
    return value
