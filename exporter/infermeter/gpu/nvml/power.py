"""Power: which of the library's ways to tell it a device answers to, and what that way means.

Source: NVML API reference, nvmlDeviceGetPowerUsage (a mean of one second on Ampere, but not GA100, and later; else one instant),
NVML_FI_DEV_POWER_AVERAGE, NVML_FI_DEV_POWER_INSTANT and their scopes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import pynvml

from infermeter.gpu.nvml.calls import Untyped, optional
from infermeter.gpu.nvml.fields import Field

PowerKind: TypeAlias = Literal["average", "instant"]

AVERAGED_SECONDS: Final = 1.0
"""The length of the mean. Read at least that often it lags and smooths; from there on each reading stands for all since the last."""

_NUMBER: Final[Mapping[PowerKind, int]] = {"average": pynvml.NVML_FI_DEV_POWER_AVERAGE, "instant": pynvml.NVML_FI_DEV_POWER_INSTANT}
_SCOPES: Final[tuple[tuple[int, Literal["gpu", "module"]], ...]] = (
    (pynvml.NVML_POWER_SCOPE_GPU, "gpu"),
    (pynvml.NVML_POWER_SCOPE_MODULE, "module"),
)
POWER_FIELDS: Final[tuple[Field, ...]] = tuple((number, scope) for scope, _ in _SCOPES for number in _NUMBER.values())


@dataclass(frozen=True, slots=True)
class PowerWay:
    """How power is asked for: `field`, or where None nvmlDeviceGetPowerUsage; what it is; of what."""

    field: Field | None
    kind: PowerKind | None
    scope: Literal["gpu", "module"] = "gpu"


def best_way(answering: Mapping[Field, float], *, interval_seconds: float, usage_kind: PowerKind | None) -> PowerWay:
    """The mean where readings are no closer than it is long, since their sum then misses nothing; else the instant; else what there is.

    A device that tells its module's power and not its own has a CPU on its board: what nvmlDeviceGetPowerUsage says there isn't the
    GPU's either, so the module is preferred to it, under its name. Its energy counter is the module's too.
    """
    order: tuple[PowerKind, PowerKind] = ("average", "instant") if interval_seconds >= AVERAGED_SECONDS else ("instant", "average")
    for number, scope in _SCOPES:
        for kind in order:
            field = (_NUMBER[kind], number)
            if field in answering:
                return PowerWay(field, kind, scope)
    return PowerWay(None, usage_kind)


def usage_kind(nvml: Untyped, handle: Untyped) -> PowerKind | None:
    """What nvmlDeviceGetPowerUsage means on this device; None where its architecture doesn't tell."""
    architecture = optional(nvml.nvmlDeviceGetArchitecture, handle)
    if architecture is None or architecture > pynvml.NVML_DEVICE_ARCH_RUBIN:
        return None
    if architecture < pynvml.NVML_DEVICE_ARCH_AMPERE:
        return "instant"
    if architecture > pynvml.NVML_DEVICE_ARCH_AMPERE:
        return "average"
    return _of_ampere(nvml, handle)


def _of_ampere(nvml: Untyped, handle: Untyped) -> PowerKind | None:
    """GA100 alone has compute capability 8.0. Source: CUDA C++ Programming Guide, compute capabilities."""
    capability = optional(nvml.nvmlDeviceGetCudaComputeCapability, handle)
    if capability is None:
        return None
    return "instant" if tuple(capability) == (8, 0) else "average"
