"""Whether a device's energy counter is believed: held against the device's own power, one stretch of watched time after another.

Nothing is measured here, and no energy is booked.
"""

from __future__ import annotations

import math
from typing import Final

_STRETCH_SECONDS: Final = 60.0
_LEAST_READINGS: Final = 20
_LONGEST_STRETCH_SECONDS: Final = 10 * _STRETCH_SECONDS
_READINGS_PER_SECOND: Final = 10.0
"""Power is measured anew about every 100 ms: readings that come faster repeat it, and prove nothing more."""

_TOLERANCE_RATIO: Final = 1 / 3
_ACCURACY_WATTS: Final = 5.0
_STANDARD_ERRORS: Final = 4.0
_MOST_WATTS: Final = 1000.0
"""What a device may draw between its readings, where nothing tells its limit."""

_GROSS_RATIO: Final = 4.0
_DOUBTS: Final = 3
_AGREEMENTS: Final = 5

_BUSY_RATIO: Final = 0.99
_PARTLY_BUSY_RATIO: Final = 0.1
_BOARD_RATIO: Final = 32.0
"""More than lies between the idle power of any board and its most."""

_OVER_LIMIT_RATIO: Final = 1.2


class Trust:
    """Judges a counter that is believed until power refutes it, and believed again once it has agreed for a while.

    A stretch is 60 s of watched time or more, with 20 intervals or more, from one change of the counter to another where it changes. It
    *agrees* if counted and integrated joules differ by at most a third of the larger. It *fails* if they differ by more than that,
    by more than 5 W (the accuracy of a board), and by more than four standard errors of the integral. Else it goes on growing, up to
    ten minutes.

    The wide band is what the counter deserves: power is an instant's on many boards, and on A100 and H100 it covers a quarter of
    the time. The standard error is the largest that readings at random instants can have if the counter is right: no load with
    mean m that stays within [low, high] has a variance above (high - m)(m - low). So a bursty load whose bursts the readings missed
    convicts nobody, and a counter below the lowest power ever read is known to be wrong.

    Three stretches in a row that fail in one direction refute the counter; one is enough if they differ by a factor of four. Five in a row
    that agree restore it.

    A load as regular as the readings (ten inferences a second, read once a second) can show them the same phase for hours, and no
    statistics tell it from a wrong counter. Hence a stretch in which the device was partly busy for a tenth of the time says nothing,
    unless the counter tells what no phase can explain: more than the device may draw, or 32 times more or less than its power.

    Source: accuracy, `nvidia-smi --help-query-gpu`; sampled time, Yang et al., arXiv 2312.02741; variance, Bhatia and Davis, 2000.
    """

    def __init__(self) -> None:
        self.believed = True
        self._low_watts = math.inf
        self._high_watts = 0.0
        self._doubts = 0
        self._over = False
        self._agreements = 0
        self._begin()

    def take(
        self, seconds: float, *, counted: float, watts: tuple[float, float], limit_watts: float | None, busy_ratio: float | None
    ) -> bool:
        """Takes one watched interval in: joules by the counter, power at both ends, utilisation at the end; whether a stretch failed."""
        before, after = watts
        self._high_watts = max(self._high_watts, after)
        self._low_watts = min(self._low_watts, after)
        self._seconds += seconds
        self._counted += counted
        self._integrated += (before + after) / 2 * seconds
        self._readings += 1
        if busy_ratio is not None and 0 < busy_ratio < _BUSY_RATIO:
            self._partly_busy_seconds += seconds
        if self._seconds < _STRETCH_SECONDS or self._readings < _LEAST_READINGS:
            return False
        if not counted and self._seconds < 2 * _STRETCH_SECONDS:
            return False
        return self._judge(limit_watts)

    def _begin(self) -> None:
        self._seconds = self._counted = self._integrated = self._partly_busy_seconds = 0.0
        self._readings = 0

    def _judge(self, limit_watts: float | None) -> bool:
        if self._agrees:
            self._doubts, self._agreements = 0, self._agreements + 1
            self.believed |= self._agreements >= _AGREEMENTS
            self._begin()
            return False
        high_watts = max(self._high_watts, _MOST_WATTS if limit_watts is None else limit_watts)
        partly_busy = self._partly_busy_seconds > _PARTLY_BUSY_RATIO * self._seconds
        fails = self._is_impossible(high_watts) if partly_busy else self._is_significant(high_watts)
        if fails:
            self._doubt(_DOUBTS if self._differ_by(_GROSS_RATIO) and not partly_busy else 1)
        if fails or partly_busy or self._seconds >= _LONGEST_STRETCH_SECONDS:
            self._begin()
        return fails

    @property
    def _agrees(self) -> bool:
        return abs(self._counted - self._integrated) <= _TOLERANCE_RATIO * max(self._counted, self._integrated)

    def _is_significant(self, high_watts: float) -> bool:
        mean_watts = self._counted / self._seconds
        variance = max(0.0, (high_watts - mean_watts) * (mean_watts - self._low_watts))
        readings = min(self._readings, self._seconds * _READINGS_PER_SECOND)
        least_watts = max(_ACCURACY_WATTS, _STANDARD_ERRORS * math.sqrt(variance / readings))
        return abs(self._counted - self._integrated) > least_watts * self._seconds

    def _is_impossible(self, high_watts: float) -> bool:
        return self._counted > _OVER_LIMIT_RATIO * high_watts * self._seconds or self._differ_by(_BOARD_RATIO)

    def _differ_by(self, ratio: float) -> bool:
        return max(self._counted, self._integrated) > ratio * min(self._counted, self._integrated)

    def _doubt(self, weight: int) -> None:
        over = self._counted > self._integrated
        self._doubts = weight + (self._doubts if over == self._over else 0)
        self._over, self._agreements = over, 0
        if self._doubts >= _DOUBTS:
            self.believed = False
