"""Where a window's money went, in steps that are each >= 0 and add up to its cost."""

from __future__ import annotations


def waterfall(*, cost: float, idle_ratio: float, full_ratio: float | None, ok: float, within: float) -> dict[str, float]:
    """The steps `capacity`, `low_load`, `idle` and `sla_missed` of a window; `capacity` and `low_load` are one, `busy`, without a capacity.

    `idle_ratio` is the part of the window's time that is known to be idle: what can't be told counts as busy. `full_ratio` is the part
    that its inferences would have needed at capacity (it may exceed 1), None if a capacity isn't known. Misses take busy money only;
    without any inference there is no gap to an SLA, and all busy money is `low_load`.

    Source: C cost, T time, B busy, U = min(B, sum N / K), N ok, G within: capacity (C U / T)(G / N), low load (C (B - U) / T)(G / N), idle
    C (T - B) / T, missed (C B / T)(1 - G / N). With K in the form per inference a step is negative in most random cases.
    """
    idle = cost * idle_ratio
    within_ratio = within / ok if ok else 1.0
    kept = (cost - idle) * within_ratio
    ends = {"idle": idle, "sla_missed": cost - idle - kept}
    if full_ratio is None:
        return {"busy": kept} | ends
    capacity = min(kept, cost * full_ratio * within_ratio)
    return {"capacity": capacity, "low_load": kept - capacity} | ends
