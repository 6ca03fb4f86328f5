"""How the power of a partitioned device is shared out among its instances. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Instance(NamedTuple):
    """One instance: how many compute slices it holds (None: not told), and the part of the time it was active (None: not measured)."""

    slices: int | None
    active_ratio: float | None


def parts(instances: Sequence[Instance], *, slices: int) -> list[float]:
    """The part of the device that each instance has; `slices` is how many the device has.

    The slices that the instances hold, all together, have their part of the device; they share it by slices x active time, and by slices
    where none was active or one's activity isn't known. What nobody holds, or what another container holds unseen, has its part too:
    so the instances never have more than the device, however many sidecars look at it. Without slices: equal parts.

    Source: NVIDIA Data Center GPU Manager user guide, "Profiling metrics", multi-instance GPU: a device's activity is the sum of its
    instances' activity x slices / slices of the device.
    """
    if not instances:
        return []
    if any(instance.slices is None for instance in instances):
        return [1 / max(len(instances), slices)] * len(instances)
    held = [float(instance.slices or 0) for instance in instances]
    whole = max(float(slices), sum(held))
    if whole <= 0:
        return [0.0] * len(instances)
    weights = [share * (instance.active_ratio or 0.0) for share, instance in zip(held, instances, strict=True)]
    active = sum(weights)
    if active <= 0 or any(instance.active_ratio is None for instance in instances):
        return [share / whole for share in held]
    return [sum(held) / whole * weight / active for weight in weights]
