"""The computed captures of an H100: as they are committed, and physically of one piece."""

from __future__ import annotations

import numpy as np
import pytest

from infermeter.gpu.recording import read_recording
from infermeter.gpu.rows import Recording
from infermeter.model import Floats
from recordings.synthetic import BANDWIDTH_BYTES, LIMIT_WATTS, PARAMETERS, RECORDINGS, TENSOR_FLOPS, WEIGHT_BYTES, write
from unit.gpu.power_files import RECORDINGS as FOLDER

NAMES = sorted(RECORDINGS)


def recording(name: str) -> Recording:
    return read_recording(FOLDER / name)


def column(name: str, values: str, *, busy: bool | None = None) -> Floats:
    """A column, of all rows or of those in which the device is well within a busy or an idle phase."""
    samples = recording(name).samples
    chosen = np.ones(len(samples), dtype=bool)
    if busy is not None:
        works = samples.values["utilisation_ratio"] == (1.0 if busy else 0.0)
        chosen = works & np.roll(works, 1) & np.roll(works, -1)
    return samples.values[values][chosen]


@pytest.mark.parametrize("name", NAMES)
def test_each_is_what_its_script_computes(name: str) -> None:
    lines: list[str] = []
    write(RECORDINGS[name], name, lines.append)
    assert "".join(lines).encode() == (FOLDER / name).read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_each_says_that_nobody_measured_it_and_is_whole(name: str) -> None:
    seen = recording(name)
    assert (seen.origin, seen.warnings, seen.rejected) == ("synthetic", (), {})


@pytest.mark.parametrize("name", NAMES)
def test_the_energy_counter_is_the_integral_of_power(name: str) -> None:
    samples = recording(name).samples
    watts, joules = samples.values["power_watts"], samples.values["energy_joules"]
    assert np.diff(joules) == pytest.approx(watts[1:], abs=2e-3)
    integrated = float(((watts[1:] + watts[:-1]) / 2 * np.diff(samples.time_ns) / 1e9).sum())
    assert integrated == pytest.approx(joules[-1] - joules[0], rel=0.005)


@pytest.mark.parametrize("name", NAMES)
def test_power_stays_within_the_limit_and_a_counter_never_falls(name: str) -> None:
    samples = recording(name).samples
    assert 0 < samples.values["power_watts"].min() <= samples.values["power_watts"].max() <= LIMIT_WATTS
    for counter in ("energy_joules", "throttled_power_seconds", "pcie_received_bytes"):
        assert (np.diff(samples.values[counter]) >= 0).all()


def test_idle_power_is_within_what_was_published() -> None:
    watts, holds = column("h100-idle.csv", "power_watts", busy=False), column("h100-idle.csv", "computing_processes", busy=False)
    assert 68 <= watts[holds == 0].min() <= watts[holds == 0].max() <= 73
    assert 116 <= watts[holds == 1][5:].min() <= watts[holds == 1][5:].max() <= 120
    assert column("h100-idle.csv", "sm_active_ratio").max() == 0


def test_decode_is_limited_by_memory() -> None:
    dram, tensor = column("h100-decode.csv", "dram_active_ratio", busy=True), column("h100-decode.csv", "tensor_active_ratio", busy=True)
    assert dram.min() > 0.75
    assert tensor.max() < 0.1
    assert column("h100-decode.csv", "throttled_power_seconds").max() == 0
    step_seconds = (WEIGHT_BYTES + 32 * 1024 * 131_072) / (dram.mean() * BANDWIDTH_BYTES)
    assert tensor.mean() == pytest.approx(2 * PARAMETERS * 32 / step_seconds / TENSOR_FLOPS, rel=0.01)


def test_prefill_is_limited_by_arithmetic_and_by_power() -> None:
    assert column("h100-prefill.csv", "tensor_active_ratio", busy=True).min() > 0.6
    assert column("h100-prefill.csv", "dram_active_ratio", busy=True).max() < 0.1
    assert column("h100-prefill.csv", "power_watts", busy=True)[2:].min() > 0.98 * LIMIT_WATTS
    assert column("h100-prefill.csv", "throttled_power_seconds")[-1] == pytest.approx(40)
    assert column("h100-prefill.csv", "sm_clock_hertz", busy=True).max() < 1980e6
