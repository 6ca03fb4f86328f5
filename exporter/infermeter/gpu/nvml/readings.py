"""Values that one call each tells. Units are converted here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import pynvml

from infermeter.gpu.nvml.calls import UNSUPPORTED, Fields, Untyped

Query: TypeAlias = Callable[[Untyped, Untyped], Fields]
"""Asks the library about a handle. Raises: NVMLError."""


def energy(nvml: Untyped, handle: Untyped) -> Fields:
    """Millijoules since the driver was loaded; Volta and later. Source: NVML API reference."""
    return {"energy_joules": nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3}


def utilisation(nvml: Untyped, handle: Untyped) -> Fields:
    """Per cent of the last sample period (1/6 s to 1 s) with a kernel running."""
    return {"utilisation_ratio": nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100}


def memory(nvml: Untyped, handle: Untyped) -> Fields:
    """Bytes. The second version leaves out of `used` what the driver keeps for itself, as nvidia-smi does; old drivers lack it."""
    try:
        told = nvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    except pynvml.NVMLError as error:
        if error.value not in UNSUPPORTED:
            raise
        told = nvml.nvmlDeviceGetMemoryInfo(handle)
    return {"memory_used_bytes": int(told.used), "memory_total_bytes": int(told.total)}


def running(nvml: Untyped, handle: Untyped) -> Fields:
    """How many processes hold a compute context: a device that computes nothing and has one is held."""
    return {"computing_processes": len(pids(nvml, handle))}


def pids(nvml: Untyped, handle: Untyped) -> frozenset[int]:
    """Host pids with a compute context, also inside a container. Old drivers lack the third version of the call. Raises: NVMLError."""
    try:
        processes = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except pynvml.NVMLError as error:
        if error.value != pynvml.NVML_ERROR_FUNCTION_NOT_FOUND:
            raise
        processes = nvml.nvmlDeviceGetComputeRunningProcesses_v2(handle)
    return frozenset(int(process.pid) for process in processes)


def temperature(nvml: Untyped, handle: Untyped) -> Fields:
    """Degrees Celsius of the chip."""
    return {"temperature_celsius": float(nvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))}


def sm_clock(nvml: Untyped, handle: Untyped) -> Fields:
    """Megahertz."""
    return {"sm_clock_hertz": nvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM) * 1e6}


def power_limit(nvml: Untyped, handle: Untyped) -> Fields:
    """Milliwatts; the least of the limits that are set."""
    return {"power_limit_watts": nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1e3}


ESSENTIAL: Final[tuple[Query, ...]] = (energy, utilisation)
"""A device that fails to answer one of these, though it supports it, is in trouble; so is one that doesn't tell its memory."""

HARDWARE: Final[tuple[Query, ...]] = (temperature, sm_clock, power_limit)
