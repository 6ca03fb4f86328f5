"""How much of a device's power its MIG instances answer for: no device tells it, so it is modelled. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ACTIVE_RATIO_LEAST: Final = 0.01
"""Below, an engine counts as not active: idle ones show slightly more than 0, which would give one of them all the power."""


def shares_of(slices: Mapping[str, int], activity: Mapping[str, float | None], total_slices: int) -> dict[str, float]:
    """Each instance's share (0 to 1) of its device's power, by instance; together never above 1.

    By slices x activity, where each instance tells its activity (0 to 1, of its own engines) and one of them is active: then all of the
    device's power is shared. Else by slices out of `total_slices`, so that what nobody was given is nobody's. An instance that can't tell
    its activity (None, or outside of 0 to 1) makes the others' worth nothing: all are shared by slices.
    """
    work = {name: count * _active_ratio(activity.get(name)) for name, count in slices.items()}
    total = sum(work.values())
    if total > 0:  # not so where one of them is NaN
        return {name: part / total for name, part in work.items()}
    whole = max(total_slices, sum(slices.values()))
    return {name: count / whole for name, count in slices.items()}


def _active_ratio(ratio: float | None) -> float:
    """NaN: can't be told."""
    if ratio is None or not 0 <= ratio <= 1:
        return float("nan")
    return ratio if ratio >= ACTIVE_RATIO_LEAST else 0.0
