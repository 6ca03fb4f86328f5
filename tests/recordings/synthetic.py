"""Computes the captures of one H100 that nobody measured: what its power and its counters would be, from public figures.

usage: synthetic.py [FOLDER]   writes them there (default: beside this file); README.md tells the figures and what was assumed

A true power is drawn for every tenth of a second. The energy counter is its exact integral, the power reading its mean over the last
second, as NVML tells it on this device. Only additions, multiplications, divisions and square roots: the same bytes everywhere.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from infermeter.gpu.capture_writer import CaptureWriter
from infermeter.model import GpuIdentity, GpuSample

SECOND_NS: Final = 10**9
START_NS: Final = 1_795_168_800 * SECOND_NS
STEPS: Final = 10
"""Of the true power, in a second."""

# --- the device: reference catalogue of the project, NVIDIA's data sheet ----------------------------------------------------------
LIMIT_WATTS: Final = 700.0
BARE_WATTS: Final = 70.0
CONTEXT_WATTS: Final = 118.0
BANDWIDTH_BYTES: Final = 3.35e12
TENSOR_FLOPS: Final = 989.4e12
MEMORY_TOTAL_BYTES: Final = 85_520_809_984
BOOST_HERTZ, IDLE_HERTZ = 1980e6, 345e6
DEVICE: Final = GpuIdentity(
    "GPU-5e1f0100-0000-4000-8000-000000000100",
    index=0,
    product="NVIDIA H100 80GB HBM3",
    driver_version="580.65.06",
    power_limit_watts=LIMIT_WATTS,
    memory_total_bytes=MEMORY_TOTAL_BYTES,
)

# --- the model: a dense transformer of eight thousand million parameters in bf16 ---------------------------------------------------
PARAMETERS: Final = 8.03e9
WEIGHT_BYTES: Final = 2 * PARAMETERS
KV_BYTES_PER_TOKEN: Final = 2 * 2 * 32 * 8 * 128
"""Keys and values, two bytes each, of 32 layers with 8 heads of 128."""

RESERVED_BYTES: Final = 618_659_840
SERVING_BYTES: Final = int(0.9 * MEMORY_TOTAL_BYTES)
"""What a server takes for weights and KV cache."""

# --- how much power work takes: assumed ---------------------------------------------------------------------------------------------
SM_WATTS, DRAM_WATTS, TENSOR_WATTS = 110.0, 190.0, 860.0
"""Of a ratio of 1 each, at the boost clock, above an idle context."""


@dataclass(frozen=True)
class Phase:
    """What the device does for some seconds. Ratios at the boost clock."""

    seconds: int
    watts: float
    context: bool = True
    utilisation: float = 0.0
    sm: float = 0.0
    occupancy: float = 0.0
    tensor: float = 0.0
    dram: float = 0.0
    received_bytes_per_second: float = 0.0
    loads: bool = False


def decode(*, batch: int, context_tokens: int, bandwidth_share: float, seconds: int) -> Phase:
    """Each step reads all weights and the KV cache of the batch: bandwidth is what there is not enough of."""
    step_bytes = WEIGHT_BYTES + batch * context_tokens * KV_BYTES_PER_TOKEN
    step_seconds = step_bytes / (bandwidth_share * BANDWIDTH_BYTES)
    flops = 2 * PARAMETERS * batch
    return _busy(
        seconds=seconds, sm=0.88, occupancy=0.19, tensor=flops / step_seconds / TENSOR_FLOPS, dram=bandwidth_share, utilisation=1.0
    )


def prefill(*, tokens: int, tensor_share: float, seconds: int) -> Phase:
    """Each step multiplies thousands of tokens with all weights: arithmetic is what there is not enough of."""
    step_seconds = 2 * PARAMETERS * tokens / (tensor_share * TENSOR_FLOPS)
    activations_bytes = 40 * tokens * 32 * 4096
    dram = (WEIGHT_BYTES + tokens * KV_BYTES_PER_TOKEN + activations_bytes) / step_seconds / BANDWIDTH_BYTES
    return _busy(seconds=seconds, sm=0.96, occupancy=0.17, tensor=tensor_share, dram=dram, utilisation=1.0)


def _busy(*, seconds: int, sm: float, occupancy: float, tensor: float, dram: float, utilisation: float) -> Phase:
    watts = CONTEXT_WATTS + sm * SM_WATTS + dram * DRAM_WATTS + tensor * TENSOR_WATTS
    return Phase(
        seconds,
        watts,
        utilisation=utilisation,
        sm=sm,
        occupancy=occupancy,
        tensor=tensor,
        dram=dram,
        received_bytes_per_second=40_000.0,
    )


BARE: Final = Phase(30, BARE_WATTS, context=False)
LOADING: Final = Phase(10, CONTEXT_WATTS + 12, utilisation=0.02, received_bytes_per_second=WEIGHT_BYTES / 10, loads=True)


def resident(seconds: int) -> Phase:
    """A model in memory, and nothing to do."""
    return Phase(seconds, CONTEXT_WATTS)


RECORDINGS: Final[dict[str, tuple[Phase, ...]]] = {
    "h100-idle.csv": (BARE, LOADING, resident(50)),
    "h100-decode.csv": (resident(10), decode(batch=32, context_tokens=1024, bandwidth_share=0.8, seconds=40), resident(10)),
    "h100-prefill.csv": (resident(10), prefill(tokens=8192, tensor_share=0.62, seconds=40), resident(10)),
}


@dataclass
class Device:
    """What changes: one step of a tenth of a second after the other."""

    random: Random
    joules: float = 1_000_000.0
    throttled_seconds: float = 0.0
    received_bytes: float = 2e9
    celsius: float = 31.0
    hertz: float = IDLE_HERTZ
    used_bytes: float = RESERVED_BYTES
    watts: float = BARE_WATTS
    means: list[float] = field(default_factory=list)
    """Of the last second's steps."""

    def begin(self, phase: Phase) -> None:
        """The device has long been in this phase."""
        self.watts, self.celsius = phase.watts, _settled_celsius(phase.watts)
        self.used_bytes = SERVING_BYTES if phase.context else RESERVED_BYTES
        self.hertz = BOOST_HERTZ if phase.context else IDLE_HERTZ
        self.means = [phase.watts] * STEPS

    def step(self, phase: Phase) -> None:
        """A tenth of a second later."""
        before = self.watts
        above = phase.watts - CONTEXT_WATTS
        clock = min(1.0, math.sqrt((LIMIT_WATTS - CONTEXT_WATTS) / above)) if above > 0 else 1.0
        self.watts = min(self._drawn(phase, clock), LIMIT_WATTS)
        mean = (before + self.watts) / 2
        self.joules += mean / STEPS
        self.means = [*self.means[1:], mean]
        self.throttled_seconds += (clock < 1) / STEPS
        self.received_bytes += phase.received_bytes_per_second / STEPS
        self.celsius += (_settled_celsius(self.watts) - self.celsius) / (12 * STEPS)
        self.hertz = BOOST_HERTZ * clock if phase.context else IDLE_HERTZ
        if phase.loads:
            self.used_bytes += (SERVING_BYTES - RESERVED_BYTES) / (phase.seconds * STEPS)

    def _drawn(self, phase: Phase, clock: float) -> float:
        """Power above the idle context follows the square of the clock; it wanders by one per cent, a quarter of that when idle."""
        wander = (2 * self.random.random() - 1) * (0.01 if phase.utilisation else 0.0025)
        steady = CONTEXT_WATTS + (phase.watts - CONTEXT_WATTS) * clock * clock if clock < 1 else phase.watts
        return steady * (1 + wander)

    def reading(self, phase: Phase, time_ns: int) -> GpuSample:
        """What it tells now."""
        return GpuSample(
            DEVICE.uuid,
            time_ns,
            power_watts=round(math.fsum(self.means) / STEPS, 3),
            energy_joules=round(self.joules, 3),
            utilisation_ratio=phase.utilisation,
            memory_used_bytes=int(self.used_bytes) >> 20 << 20,
            memory_total_bytes=MEMORY_TOTAL_BYTES,
            temperature_celsius=float(round(self.celsius)),
            sm_clock_hertz=round(self.hertz / 15e6) * 15e6,
            power_limit_watts=LIMIT_WATTS,
            sm_active_ratio=self._told(phase.sm),
            tensor_active_ratio=self._told(phase.tensor),
            dram_active_ratio=self._told(phase.dram),
            computing_processes=int(phase.context),
            sm_occupancy_ratio=self._told(phase.occupancy),
            throttled_power_seconds=round(self.throttled_seconds, 3),
            throttled_thermal_seconds=0.0,
            pcie_received_bytes=int(self.received_bytes),
        )

    def _told(self, ratio: float) -> float:
        """As a profiling counter tells a ratio over the last second."""
        return round(ratio * (1 + (2 * self.random.random() - 1) * 0.01), 4)


def _settled_celsius(watts: float) -> float:
    return 27 + 0.055 * watts


def readings(phases: Sequence[Phase], seed: str) -> Iterator[GpuSample]:
    """One at the beginning, and one after each second."""
    device = Device(Random(seed))
    device.begin(phases[0])
    time_ns = START_NS
    yield device.reading(phases[0], time_ns)
    for phase in phases:
        for _ in range(phase.seconds):
            for _ in range(STEPS):
                device.step(phase)
            time_ns += SECOND_NS
            yield device.reading(phase, time_ns)


def write(phases: Sequence[Phase], seed: str, into: Callable[[str], object]) -> None:
    """One capture."""
    writer = CaptureWriter(into, [DEVICE], started_ns=START_NS, source="synthetic")
    for sample in readings(phases, seed):
        writer.add([sample])
    writer.end()


def main() -> None:
    """Writes them all."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for name, phases in RECORDINGS.items():
        with (folder / name).open("w", newline="\n") as file:
            write(phases, name, file.write)


if __name__ == "__main__":
    main()
