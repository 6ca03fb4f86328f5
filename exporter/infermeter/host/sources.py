"""Which source of the host's power a configuration means: one literal table."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from infermeter.config import HostPower
from infermeter.config_rules import beside_hwmon
from infermeter.errors import ConfigError, Unavailable
from infermeter.host.hwmon import HwmonSource
from infermeter.host.rapl import RaplSource
from infermeter.host.source import HostSource

log = logging.getLogger(__name__)


class _Wish(NamedTuple):
    """What a source is made from."""

    root: Path
    gpu_source: str


def host_source(settings: HostPower, *, root: Path = Path("/"), gpu_source: str) -> HostSource | None:
    """The source that the configuration names; None for `none`, and for `auto` on a machine that has none.

    `root` is where the file system begins; `gpu_source` is the name of what reads the GPUs, `none` if nothing does. `auto` asks each
    source once. Raises: ConfigError when the GPUs would be counted twice.
    """
    return SOURCES[settings.source](_Wish(root, gpu_source))


def _auto(wish: _Wish) -> HostSource | None:
    reasons: list[str] = []
    for make in (_rapl, _hwmon_or_refusal):
        try:
            make(wish).read(0)  # of a source of its own: nothing is remembered of this instant
        except Unavailable as error:
            reasons.append(str(error))
        else:
            return make(wish)
    log.warning("no host power: %s", "; ".join(reasons))
    return None


def _rapl(wish: _Wish) -> HostSource:
    return RaplSource(wish.root)


def _hwmon(wish: _Wish) -> HostSource:
    if problem := beside_hwmon(wish.gpu_source):
        raise ConfigError("host_power.source", problem)
    return _hwmon_or_refusal(wish)


def _hwmon_or_refusal(wish: _Wish) -> HostSource:
    return HwmonSource(wish.root, gpu_source=wish.gpu_source)


def _none(_: _Wish) -> None:
    return None


SOURCES: Mapping[str, Callable[[_Wish], HostSource | None]] = {"none": _none, "auto": _auto, "rapl": _rapl, "hwmon": _hwmon}
