"""Which source of the host's power a configuration means: one literal table."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from infermeter.config import HostPower
from infermeter.errors import ConfigError, Unavailable
from infermeter.host.hwmon import HwmonSource
from infermeter.host.rapl import RaplSource
from infermeter.host.source import HostSource
from infermeter.model import HostSample
from infermeter.parsing.rules import beside_hwmon

log = logging.getLogger(__name__)


class _Wish(NamedTuple):
    """What a source is made from."""

    root: Path
    gpu_source: str


def host_source(settings: HostPower, *, root: Path = Path("/"), gpu_source: str) -> HostSource | None:
    """The source that the configuration names; None for `none`. Nothing is asked yet.

    `root` is where the file system begins, below which `settings.root` lies; `gpu_source` is the name of what reads the GPUs, `none`
    if nothing does.
    Raises: ConfigError when the GPUs would be counted twice.
    """
    return SOURCES[settings.source](_Wish(root / settings.root.lstrip("/"), gpu_source))


class AutoSource:
    """RAPL, else hwmon: from the first answer on, the one that gave it. A meter behind a slow bus can take seconds to be asked."""

    def __init__(self, candidates: Sequence[HostSource]) -> None:
        """`candidates` by preference, at least one."""
        self._candidates = tuple(candidates)

    @property
    def name(self) -> str:
        """That of the source that answers; `auto` up to then."""
        return self._candidates[0].name if len(self._candidates) == 1 else "auto"

    def read(self, now_ns: int) -> HostSample:
        """What the source tells. Raises: Unavailable (before the first answer: why none of them gives one)."""
        reasons: list[Unavailable] = []
        for candidate in self._candidates:
            try:
                sample = candidate.read(now_ns)
            except Unavailable as error:
                reasons.append(error)
            else:
                self._candidates = (candidate,)
                return sample
        raise Unavailable("; ".join(str(reason) for reason in reasons)) from reasons[0]


def present(source: HostSource | None, now_ns: int) -> HostSource | None:
    """The source that answers now, where `auto` left it open; None if none does. Blocks."""
    if isinstance(source, AutoSource):
        try:
            source.read(now_ns)
        except Unavailable as error:
            log.warning("no host power: %s", error)
            return None
    return source


def _auto(wish: _Wish) -> HostSource:
    return AutoSource((_rapl(wish), _hwmon_or_refusal(wish)))


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
