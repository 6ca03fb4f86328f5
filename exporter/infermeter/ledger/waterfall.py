"""Where a window's money went, in steps that are each >= 0 and add up to its cost."""

from __future__ import annotations


def waterfall(*, cost: float, idle_ratio: float, ok: float, within: float) -> dict[str, float]:
    """The steps `busy`, `idle` and `sla_missed` of a window; without a known capacity, `capacity` and `low_load` are one step, `busy`.

    `idle_ratio` is the part of the window's time that is known to be idle: what can't be told counts as busy. Misses take busy money
    only; without any inference there is no gap to an SLA, and all busy money is `busy`.
    """
    idle = cost * idle_ratio
    missed_ratio = 1 - within / ok if ok else 0.0
    return {"busy": (cost - idle) * (1 - missed_ratio), "idle": idle, "sla_missed": (cost - idle) * missed_ratio}
