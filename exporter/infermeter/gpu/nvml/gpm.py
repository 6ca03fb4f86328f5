"""GPM, the profiling counters of Hopper and later: what the SMs, the tensor cores and the memory did between two readings."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping
from typing import Final

import pynvml

from infermeter.gpu.nvml.calls import Untyped, optional

METRICS: Final[Mapping[int, str]] = {
    pynvml.NVML_GPM_METRIC_GRAPHICS_UTIL: "utilisation_ratio",
    pynvml.NVML_GPM_METRIC_SM_UTIL: "sm_active_ratio",
    pynvml.NVML_GPM_METRIC_SM_OCCUPANCY: "sm_occupancy_ratio",
    pynvml.NVML_GPM_METRIC_ANY_TENSOR_UTIL: "tensor_active_ratio",
    pynvml.NVML_GPM_METRIC_DRAM_BW_UTIL: "dram_active_ratio",
}
"""All in per cent. Source: NVML API reference, nvmlGpmMetricId_t."""


LEAST_NS: Final = 100_000_000
"""Between two samples; the counters are refreshed no more often. Source: NVML API reference, nvmlGpmMetricsGet."""


class _Metric(ctypes.Structure):
    """A c_nvmlGpmMetric_t as it lies in memory: the binding's own looks at the type of each member at each access."""

    _fields_ = pynvml.c_nvmlGpmMetric_t._fields_


class Gpm:
    """The counters of one device, or of one GPU instance of a device in MIG mode. Holds memory of the library until `close`."""

    def __init__(self, library: Untyped, handle: Untyped, *, instance: int | None = None) -> None:
        """`handle` is the whole device's, also for an instance. Raises: NVMLError."""
        self._library = library
        self._handle = handle
        self._instance = instance
        self._since_ns: int | None = None
        self._told: Mapping[str, float] = {}
        self._samples = [library.nvmlGpmSampleAlloc()]
        try:
            self._samples.append(library.nvmlGpmSampleAlloc())
            self._take(self._samples[1])
        except pynvml.NVMLError:
            self.close()
            raise
        self._request = pynvml.c_nvmlGpmMetricsGet_t()
        self._request.version = pynvml.NVML_GPM_METRICS_GET_VERSION
        self._request.numMetrics = len(METRICS)
        for place, metric in enumerate(METRICS):
            self._request.metrics[place].metricId = metric
        self._metrics = (_Metric * len(METRICS)).from_buffer(self._request, type(self._request).metrics.offset)

    def ask(self, now_ns: int) -> Mapping[str, float]:
        """Ratios of the last stretch of at least LEAST_NS; the first one begins with the first call. Raises: NVMLError.

        A stretch whose end fails goes on.
        """
        if self._since_ns is None:
            self._take(self._samples[1])
            self._since_ns = now_ns
        elif not 0 <= now_ns - self._since_ns < LEAST_NS:
            self._told = {}
            self._told = self._measured()
            self._since_ns = now_ns
        return self._told

    def close(self) -> None:
        """Gives the memory back."""
        for sample in self._samples:
            optional(self._library.nvmlGpmSampleFree, sample)
        self._samples = []

    def _measured(self) -> Mapping[str, float]:
        newer, older = self._samples
        self._take(newer)
        self._request.sample1, self._request.sample2 = older, newer
        self._library.nvmlGpmMetricsGet(self._request)
        self._samples = [older, newer]
        told = zip(METRICS.values(), self._metrics, strict=True)
        answers = {name: metric.value / 100 for name, metric in told if metric.nvmlReturn == pynvml.NVML_SUCCESS}
        return {name: ratio for name, ratio in answers.items() if not math.isnan(ratio)}

    def _take(self, sample: Untyped) -> None:
        if self._instance is None:
            self._library.nvmlGpmSampleGet(self._handle, sample)
        else:
            self._library.nvmlGpmMigSampleGet(self._handle, self._instance, sample)


def supports(library: Untyped, handle: Untyped) -> bool:
    """Whether a device counts at all."""
    support = optional(library.nvmlGpmQueryDeviceSupport, handle)
    return support is not None and bool(support.isSupportedDevice)


def counters(library: Untyped, handle: Untyped, *, instance: int | None = None) -> Gpm | None:
    """The counters, or None where the device has none or doesn't let this process see them."""
    if not supports(library, handle):
        return None
    return optional(lambda: Gpm(library, handle, instance=instance))
