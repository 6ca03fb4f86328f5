"""Several replicas of one server: how many the sum of their peak loads needs. Pure."""

from __future__ import annotations

import math
from dataclasses import replace

from infermeter.advice.sizing import SizingSettings
from infermeter.model import Move, RightSizing


def with_replicas(sizing: RightSizing, *, replicas: int, peak_sum_ratio: float | None, settings: SizingSettings) -> RightSizing:
    """`sizing` of one of so many replicas, with what was measured of all of them in place of what one alone lets suppose.

    `peak_sum_ratio`: the largest sum of the peak loads of replicas that ran at one time; None: not known.
    """
    others = tuple(move for move in sizing.moves if move.kind != "fewer_replicas")
    if peak_sum_ratio is None:
        return replace(sizing, moves=others)
    needed = max(1, math.ceil(peak_sum_ratio * settings.headroom - 1e-9))
    if needed >= replicas:
        return replace(sizing, moves=others)
    cost = sum(sizing.evidence.cost_per_hour.values())
    fewer = Move(
        kind="fewer_replicas",
        verdict="fits",
        evidence={"replicas": replicas, "replicas_needed": needed, "peak_load_sum_ratio": peak_sum_ratio, "headroom": settings.headroom},
        what_to_do=f"Run {needed} of the {replicas} replicas: at their peaks, with headroom, they need no more.",
        falsified_by="The SLA is missed with fewer: the load isn't spread evenly, or a higher peak is still to come.",
        saving_per_hour=cost * (replicas - needed) if cost else None,
    )
    return replace(sizing, moves=(fewer, *others))
