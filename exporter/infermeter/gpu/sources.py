"""Which source a configuration means: one literal table. A source's own imports wait until it is chosen: pynvml alone costs 6 MB."""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias

from infermeter.config import Gpu
from infermeter.errors import ConfigError
from infermeter.gpu.source import Choose, GpuSource, every

log = logging.getLogger(__name__)

LIBRARY = "libnvidia-ml.so.1"
PAGE_TIMEOUT_RATIO = 0.9
"""Of `gpu.timeout`: a page that is late is told as such, before its reader is given up as hanging."""

BusyShare: TypeAlias = Callable[[int, int], float]
"""The part (0 to 1) of the time between two instants (unix nanoseconds) in which something computed."""


class _Wish(NamedTuple):
    """What a source is made from."""

    settings: Gpu
    busy_share: BusyShare
    choose: Choose
    library: str
    own_processes: Callable[[], frozenset[int]] = frozenset
    root: Path = Path("/")


def gpu_source(
    settings: Gpu,
    *,
    busy_share: BusyShare,
    choose: Choose = every,
    library: str = LIBRARY,
    own_processes: Callable[[], frozenset[int]] = frozenset,
    root: Path = Path("/"),
) -> GpuSource | None:
    """The source that the configuration names, not opened yet; None for `none`, and for `auto` on a machine without NVML.

    `choose` picks the server's own devices whenever the source is opened; `library` is what `auto` looks for; `own_processes` are the
    server's (host pids), for devices whose share goes by process; `root` is where the file system begins. With `estimate_from_tdp` the
    source is wrapped in one that estimates what isn't told. Raises: ConfigError.
    """
    source = SOURCES[settings.source](_Wish(settings, busy_share, choose, library, own_processes, root))
    if source is None or not settings.estimate_from_tdp:
        return source
    from infermeter.gpu.estimate import EstimatedSource  # noqa: PLC0415 - only when asked for

    return EstimatedSource(source)


def _auto(wish: _Wish) -> GpuSource | None:
    try:
        ctypes.CDLL(wish.library)
    except OSError:
        log.warning("no GPU readings: %s is not on this machine; energy, power cost and idle time are absent", wish.library)
        return None
    return _nvml(wish)


def _nvml(wish: _Wish) -> GpuSource:
    from infermeter.gpu.nvml import NvmlSource  # noqa: PLC0415 - only when chosen

    return NvmlSource(
        hardware=wish.settings.hardware,
        choose=wish.choose,
        profiling=wish.settings.profiling,
        interval_seconds=wish.settings.interval,
        own_processes=wish.own_processes,
    )


def _dcgm(wish: _Wish) -> GpuSource:
    from infermeter.gpu.dcgm import DcgmSource  # noqa: PLC0415 - only when chosen

    settings = wish.settings
    return DcgmSource(
        _page(settings),
        choose=wish.choose,
        hardware=settings.hardware,
        interval_seconds=settings.interval,
        profiling=settings.profiling == "auto",
        node=os.environ.get("NODE_NAME"),
    )


def _triton(wish: _Wish) -> GpuSource:
    from infermeter.gpu.triton import TritonSource  # noqa: PLC0415 - only when chosen

    settings = wish.settings
    return TritonSource(_page(settings), choose=wish.choose, hardware=settings.hardware, interval_seconds=settings.interval)


def _page(settings: Gpu) -> Callable[[], bytes]:
    """What brings another exporter's page. Raises: ConfigError."""
    from infermeter.network.fetching import fetch, url_problem  # noqa: PLC0415 - only when chosen

    url = settings.url
    if url is None:
        raise ConfigError("gpu.url", f"source: {settings.source} needs the address of the /metrics to read")
    if problem := url_problem(url):
        raise ConfigError("gpu.url", problem)
    return lambda: fetch(url, timeout_seconds=PAGE_TIMEOUT_RATIO * settings.timeout)


def _amd(wish: _Wish) -> GpuSource:
    from infermeter.gpu.amd import AmdSource  # noqa: PLC0415 - only when chosen

    return AmdSource(hardware=wish.settings.hardware, choose=wish.choose)


def _hwmon(wish: _Wish) -> GpuSource:
    from infermeter.gpu.hwmon import HwmonSource  # noqa: PLC0415 - only when chosen

    return HwmonSource(wish.root, choose=wish.choose)


def _replay(wish: _Wish) -> GpuSource:
    from infermeter.gpu.recording import read_recording  # noqa: PLC0415 - only when chosen
    from infermeter.gpu.replay import ReplaySource  # noqa: PLC0415 - only when chosen

    file = wish.settings.file
    if file is None:
        raise ConfigError("gpu.file", "source: replay needs the file to play")
    return ReplaySource(lambda: read_recording(file), loop=wish.settings.loop, hardware=wish.settings.hardware, choose=wish.choose)


def _simulated(wish: _Wish) -> GpuSource:
    from infermeter.gpu.simulated import SimulatedSource  # noqa: PLC0415 - only when chosen

    return SimulatedSource(wish.settings.simulated, busy_share=wish.busy_share, choose=wish.choose)


def _none(_: _Wish) -> None:
    return None


SOURCES: Mapping[str, Callable[[_Wish], GpuSource | None]] = {
    "auto": _auto,
    "nvml": _nvml,
    "dcgm": _dcgm,
    "triton": _triton,
    "amd": _amd,
    "hwmon": _hwmon,
    "replay": _replay,
    "simulated": _simulated,
    "none": _none,
}
"""Every source that the configuration can name."""
