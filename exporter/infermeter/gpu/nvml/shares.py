"""What the instances that this process sees have of their device. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from infermeter.gpu.mig_shares import shares_of


def parts_of(slices: Mapping[str, int], activity: Mapping[str, float | None], total_slices: int) -> dict[str, float]:
    """Each instance's part (0 to 1) of its device, by instance; `slices` are at least 1 each.

    The slices that are seen, all together, have their part of the device, and the instances share that as they share a device. What is
    not seen may be nobody's, or another container's whose sidecar sees it alone: so the instances of a device never have more than the
    device, however many sidecars look at it.
    """
    if not slices:
        return {}
    seen = sum(slices.values())
    shares = shares_of(slices, activity, total_slices)
    scale = seen / max(seen, total_slices) / sum(shares.values())
    return {name: share * scale for name, share in shares.items()}
