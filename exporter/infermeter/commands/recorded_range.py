"""The two ranges of `infermeter compare --prometheus`: as they are written, and as Prometheus recorded them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from infermeter.comparison.recorded import FAMILIES, PREFIX, Recorded, recorded_stretch
from infermeter.comparison.stretch import Stretch
from infermeter.errors import ConfigError, Unavailable
from infermeter.network.prometheus_api import Prometheus, selector
from infermeter.parsing.durations import duration_seconds

STEP_SECONDS_LEAST: Final = 15.0
STEPS_MOST: Final = 1440
"""So many slots of a range, or fewer: a minute each for a day."""

SECONDS_MOST: Final = 366 * 86_400.0


@dataclass(frozen=True, slots=True)
class Range:
    """A time, and the option that names it."""

    option: str
    start_unix_seconds: float
    end_unix_seconds: float

    @property
    def steps(self) -> int:
        """How many slots it is."""
        length = self.end_unix_seconds - self.start_unix_seconds
        return min(STEPS_MOST, max(1, math.floor(length / STEP_SECONDS_LEAST)))

    @property
    def step_seconds(self) -> float:
        """How long each is, to the millisecond; the last one ends with the range, or up to 1.44 s before it."""
        return math.floor((self.end_unix_seconds - self.start_unix_seconds) / self.steps * 1000) / 1000


def written_range(text: str, option: str, *, now_unix_seconds: float) -> Range:
    """The range of `FROM/TO`: each RFC 3339, unix seconds, or how long ago (`7d`). Raises: ConfigError at the option."""
    start, slash, end = text.partition("/")
    if not slash:
        raise ConfigError(option, "must be FROM/TO, such as 2026-07-01T00:00:00Z/2026-07-02T00:00:00Z or 2d/1d")
    told = Range(option, _instant(start, option, now_unix_seconds), _instant(end, option, now_unix_seconds))
    length = told.end_unix_seconds - told.start_unix_seconds
    if length <= 0:
        raise ConfigError(option, "ends before it begins; FROM comes first, as in 2d/1d")
    if told.end_unix_seconds > now_unix_seconds or told.start_unix_seconds < 0:
        raise ConfigError(option, "must lie in the past")
    if not STEP_SECONDS_LEAST <= length <= SECONDS_MOST:
        raise ConfigError(option, "must be from 15 s to 366 days long")
    return told


def _instant(text: str, option: str, now_unix_seconds: float) -> float:
    """Raises: ConfigError."""
    if text == "now":
        return now_unix_seconds
    for read in (duration_seconds, _finite, _zoned):
        try:
            seconds = read(text)
        except (ValueError, OverflowError):
            continue
        return now_unix_seconds - seconds if read is duration_seconds else seconds
    raise ConfigError(option, "must be instants as 2026-07-01T00:00:00Z (with a time zone), unix seconds, `now`, or how long ago as 7d")


def _finite(text: str) -> float:
    """Raises: ValueError."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


def _zoned(text: str) -> float:
    """Raises: ValueError, OverflowError."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError
    return instant.timestamp()


def recorded_range(prometheus: Prometheus, told: Range, *, server: str | None, matchers: str) -> Stretch:
    """What Prometheus recorded of a range. Raises: ConfigError, where it tells nothing that compares, or doesn't answer."""
    answers: dict[str, list[Recorded]] = {}
    labels = {} if server is None else {"server": server}
    for family in FAMILIES:
        try:
            series = prometheus.query_range(
                selector(f"{PREFIX}{family}", labels, matchers),
                start_unix_seconds=told.start_unix_seconds,
                end_unix_seconds=told.start_unix_seconds + told.steps * told.step_seconds,
                step_seconds=told.step_seconds,
            )
        except Unavailable as error:
            raise ConfigError(told.option, str(error)) from error
        answers[family] = [Recorded(one.labels, one.unix_seconds, one.values) for one in series]
    return recorded_stretch(
        answers, start_unix_seconds=told.start_unix_seconds, step_seconds=told.step_seconds, steps=told.steps, where=told.option
    )
