"""Ranges as they are written, and the steps that they are asked in."""

from __future__ import annotations

import pytest

from infermeter.commands.recorded_range import STEPS_MOST, written_range
from infermeter.network.prometheus_api import POINTS_MOST

NOW = 1_750_000_000.0
DAY = 86_400.0


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2d/1d", NOW - 2 * DAY, NOW - DAY),
        ("1h30m/now", NOW - 5400, NOW),
        ("1749000000/1749003600.5", 1_749_000_000, 1_749_003_600.5),
        ("2025-06-01T00:00:00Z/2025-06-01T02:00:00+01:00", 1_748_736_000, 1_748_739_600),
        ("1748736000/7d", 1_748_736_000, NOW - 7 * DAY),
    ],
)
def test_instants_are_relative_unix_seconds_or_rfc_3339(text: str, start: float, end: float) -> None:
    told = written_range(text, "--before", now_unix_seconds=NOW)
    assert (told.option, told.start_unix_seconds, told.end_unix_seconds) == ("--before", start, end)


@pytest.mark.parametrize("length", [15.0, 59.9, 3600.0, 10_000.7, DAY, 30 * DAY, 366 * DAY])
def test_steps_fill_the_range_and_stay_within_what_is_answered(length: float) -> None:
    told = written_range(f"{NOW - length}/now", "--before", now_unix_seconds=NOW)
    assert 1 <= told.steps <= STEPS_MOST < POINTS_MOST
    assert length - 15 - 0.001 * told.steps <= told.steps * told.step_seconds <= length or told.steps < length / 15
    assert length - told.steps * told.step_seconds <= 0.001 * told.steps + 1e-6
    assert told.step_seconds >= 14.999
