"""How long a device was held below the clocks that it could have run at, by reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import pynvml

from infermeter.gpu.nvml.calls import Fields, Untyped, optional
from infermeter.gpu.nvml.fields import Field

_NANOSECONDS: Final = 1e9


class Reason(NamedTuple):
    """One reason. `fields`: alternatives, of which the first with an answer counts, the sum of its numbers; else the sum of `policies`."""

    name: str
    fields: tuple[tuple[int, ...], ...]
    policies: tuple[int, ...]


REASONS: Final = (
    Reason(
        "throttled_power_seconds",
        ((pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_POWER_CAP, pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN),),
        (pynvml.NVML_PERF_POLICY_POWER,),
    ),
    Reason(
        "throttled_thermal_seconds",
        (
            (pynvml.NVML_FI_DEV_PERF_POLICY_THERMAL,),
            (pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN, pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN),
        ),
        (pynvml.NVML_PERF_POLICY_THERMAL,),
    ),
    Reason(
        "throttled_other_seconds",
        ((pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_SYNC_BOOST, pynvml.NVML_FI_DEV_PERF_POLICY_BOARD_LIMIT),),
        (pynvml.NVML_PERF_POLICY_SYNC_BOOST, pynvml.NVML_PERF_POLICY_BOARD_LIMIT),
    ),
)
"""Nanoseconds since the driver was loaded. Where two of a reason's numbers count at once, both do.

No throttling, and left out: low utilisation (idle), reliability (the voltage of the highest boost clock, reached on a healthy device),
application and base clocks (chosen by the operator). Source: NVML API reference, nvmlPerfPolicyType_t, nvmlClocksEventReasons.
"""

THROTTLE_FIELDS: Final[tuple[Field, ...]] = tuple((number, 0) for reason in REASONS for fields in reason.fields for number in fields)


class Throttling:
    """The reasons that one device tells, and how."""

    def __init__(self, library: Untyped, handle: Untyped, answering: Mapping[Field, float]) -> None:
        """`answering`: the fields that the device tells. Asks for the policies that must stand in."""
        self._library = library
        self._handle = handle
        self._fields: dict[str, list[Field]] = {}
        self._policies: dict[str, list[int]] = {}
        for reason in REASONS:
            told = [[(number, 0) for number in numbers if (number, 0) in answering] for numbers in reason.fields]
            if fields := next(filter(None, told), None):
                self._fields[reason.name] = fields
            elif policies := [policy for policy in reason.policies if self._violation_ns(policy) is not None]:
                self._policies[reason.name] = policies

    @property
    def fields(self) -> frozenset[Field]:
        """Those that `of` wants."""
        return frozenset(field for fields in self._fields.values() for field in fields)

    def of(self, values: Mapping[Field, float]) -> Fields:
        """Seconds by reason. A reason of which a part is missing this time is absent: its sum would have fallen."""
        seconds: Fields = {}
        for name, fields in self._fields.items():
            told = [values[field] for field in fields if field in values]
            if len(told) == len(fields):
                seconds[name] = sum(told) / _NANOSECONDS
        for name, policies in self._policies.items():
            violations = [self._violation_ns(policy) for policy in policies]
            if None not in violations:
                seconds[name] = sum(ns for ns in violations if ns is not None) / _NANOSECONDS
        return seconds

    def _violation_ns(self, policy: int) -> int | None:
        status = optional(self._library.nvmlDeviceGetViolationStatus, self._handle, policy)
        return None if status is None else int(status.violationTime)
