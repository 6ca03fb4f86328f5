"""Where power is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from infermeter.config.keys import Duration, key


@dataclass(frozen=True, slots=True)
class SimulatedGpu:
    """A simulated GPU, labelled as such."""

    gpus: int = key(1, "how many", minimum=1, maximum=64)
    idle_watts: float = key(70.0, "power with nothing computing", minimum=0)
    peak_watts: float = key(350.0, "power while computing", minimum=0)


@dataclass(frozen=True, slots=True)
class Gpu:
    """Where GPU readings come from."""

    source: Literal["auto", "nvml", "dcgm", "triton", "amd", "hwmon", "replay", "simulated", "none"] = key(
        "auto", "auto: nvml, else none; never simulated"
    )
    interval: Duration = key(1.0, "between readings", minimum=0.01)
    timeout: Duration = key(2.0, "a call that takes longer marks that GPU", above=0)
    stale_after: Duration | None = key(None, "default max(5s, 3 x interval): then state unknown, gpu_up 0", above=0)
    url: str | None = key(None, "for dcgm and triton: where their /metrics is")
    file: str | None = key(None, "for replay: a capture")
    loop: bool = key(default=False, doc="replay: play the capture round")
    profiling: Literal["auto", "off"] = key("auto", "GPM or DCGM's profiling fields")
    hardware: bool = key(default=False, doc="power limit, temperature, clocks")
    baseline_watts: float | Mapping[str, float] | None = key(None, "overrides what is learnt: a number, or one for each UUID", minimum=0)
    estimate_from_tdp: bool = key(default=False, doc='where there is no reading: power limit x utilisation, energy="modelled"')
    simulated: SimulatedGpu = key(factory=SimulatedGpu, doc="for source: simulated")


@dataclass(frozen=True, slots=True)
class HostPower:
    """Power of the rest of the machine."""

    source: Literal["none", "auto", "rapl", "hwmon"] = key("none", "where it is read; auto: rapl, else hwmon")
    root: str = key("/", "where the host's file system begins; in a container, below which its /sys is mounted")
