from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from infermeter.model import GpuSample, HardwareWindow
from support.ledgers import GPU, at, config, ledger, replayed, samples

WINDOW = config(windows=[("1m", 60.0)])


def hardware(readings: Sequence[GpuSample], *, end: float = 120.0, gpus: Sequence[str] = (GPU,)) -> HardwareWindow | None:
    return replayed([], readings, end=end, config_=WINDOW, gpus=gpus).windows[0].hardware


def told(until: float = 120.0, *, uuid: str = GPU, start: float = 0.0, **values: float | None) -> list[GpuSample]:
    return [replace(sample, **values) for sample in samples(until, uuid=uuid, start=start)]


def test_ratios_are_means_over_the_time_of_the_window() -> None:
    readings = told(90.0, utilisation_ratio=0.2, dram_active_ratio=0.4)[:-1] + told(
        start=90.0, utilisation_ratio=0.8, dram_active_ratio=0.1
    )
    found = hardware(readings)
    assert found is not None
    assert found.utilisation_ratio == pytest.approx(0.5, abs=0.02)
    assert found.dram_active_ratio == pytest.approx(0.25, abs=0.01)


def test_ratios_are_means_over_the_gpus() -> None:
    found = hardware(told(uuid="a", sm_active_ratio=0.2) + told(uuid="b", sm_active_ratio=0.6), gpus=("a", "b"))
    assert found is not None
    assert found.sm_active_ratio == pytest.approx(0.4)


def test_a_ratio_that_is_missing_for_over_a_tenth_of_the_time_is_not_told() -> None:
    found = hardware(told(66.0, tensor_active_ratio=0.2) + told(start=67.0, tensor_active_ratio=None))
    assert found is not None
    assert found.tensor_active_ratio is None
    assert found.utilisation_ratio == 0.0


def test_a_gpu_of_two_that_tells_nothing_leaves_the_mean_unknown() -> None:
    found = hardware(told(uuid="a", sm_active_ratio=0.2) + told(uuid="b"), gpus=("a", "b"))
    assert found is not None
    assert found.sm_active_ratio is None


def test_the_peak_of_memory_is_that_of_the_fullest_gpu_at_its_fullest() -> None:
    readings = told(uuid="a", memory_used_bytes=2**30) + told(uuid="b", memory_used_bytes=2**30)
    readings[80] = replace(readings[80], memory_used_bytes=40 * 2**30)
    found = hardware(readings, gpus=("a", "b"))
    assert found is not None
    assert found.memory_peak_bytes == 40 * 2**30
    assert found.memory_peak_ratio == 0.5


def test_time_held_down_by_power_and_heat_is_told_and_other_reasons_are_not() -> None:
    readings = [
        replace(sample, throttled_power_seconds=0.25 * i, throttled_thermal_seconds=0.25 * i, throttled_other_seconds=0.5 * i)
        for i, sample in enumerate(samples(120.0))
    ]
    found = hardware(readings)
    assert found is not None
    assert found.throttled_ratio == pytest.approx(0.5, abs=0.01)
    only_other = [replace(sample, throttled_power_seconds=None, throttled_thermal_seconds=None) for sample in readings]
    assert (hardware(only_other) or HardwareWindow(0.0)).throttled_ratio is None


def test_without_a_reading_nothing_is_told() -> None:
    assert hardware([]) is None
    assert hardware(told(30.0)) is None, "they lie before the window"


def test_a_gpu_is_quiet_since_nothing_computed_and_held_while_a_model_is_on_it() -> None:
    busy_until_40 = told(40.0, utilisation_ratio=0.5) + told(start=41.0, utilisation_ratio=0.0)
    (gpu,) = replayed([], busy_until_40, end=120.0).gpus
    assert gpu.quiet_since_ns == at(40.0)
    assert gpu.held
    (bare,) = replayed([], told(memory_used_bytes=0, utilisation_ratio=0.0), end=120.0).gpus
    assert bare.held is False


def test_a_gpu_that_computes_is_not_quiet_and_of_one_that_tells_nothing_nothing_is_known() -> None:
    (gpu,) = replayed([], told(utilisation_ratio=0.5), end=120.0).gpus
    assert gpu.quiet_since_ns is None
    book = ledger()
    (silent,) = book.snapshot(at(0.0)).gpus
    assert silent.quiet_since_ns is None
    assert silent.held is None


def test_a_reading_for_a_time_that_is_forgotten_is_not_kept() -> None:
    late = [replace(sample, time_ns=sample.time_ns - 86_400 * 10**9 * 2) for sample in told(3.0, utilisation_ratio=1.0)]
    found = hardware([*late, *told(utilisation_ratio=0.25)])
    assert found is not None
    assert found.utilisation_ratio == pytest.approx(0.25)


def test_one_gpu_of_two_that_is_held_down_holds_the_server_down() -> None:
    held = [replace(one, throttled_power_seconds=i / 2, throttled_thermal_seconds=0.0) for i, one in enumerate(samples(120.0, uuid="a"))]
    free = [replace(one, throttled_power_seconds=0.0, throttled_thermal_seconds=0.0) for one in samples(120.0, uuid="b")]
    found = hardware([*held, *free], gpus=("a", "b"))
    assert found is not None
    assert found.throttled_ratio == pytest.approx(0.5, rel=0.05)


def test_a_model_that_is_loaded_is_not_idle_until_all_of_it_is_there() -> None:
    filling = [
        replace(one, memory_used_bytes=int(min(i, 60) * 2**30), memory_total_bytes=80 * 2**30, utilisation_ratio=0.0)
        for i, one in enumerate(samples(120.0))
    ]
    (gpu,) = replayed([], filling, end=120.0).gpus
    assert gpu.held
    assert gpu.quiet_since_ns is not None
    assert at(57.0) <= gpu.quiet_since_ns <= at(60.0)


def test_memory_that_moves_a_little_or_is_given_back_is_no_loading() -> None:
    moving = [replace(one, memory_used_bytes=20 * 2**30 - i * 2**20 * (1 if i % 2 else -1)) for i, one in enumerate(told())]
    (gpu,) = replayed([], moving, end=120.0).gpus
    assert gpu.quiet_since_ns == at(0.0)
    given_back = [replace(one, memory_used_bytes=(20 if i < 60 else 10) * 2**30) for i, one in enumerate(told())]
    (gpu,) = replayed([], given_back, end=120.0).gpus
    assert gpu.quiet_since_ns == at(0.0)


def test_a_gpu_is_quiet_anew_once_its_model_is_unloaded() -> None:
    unloaded = [replace(one, memory_used_bytes=20 * 2**30 if i < 60 else 0) for i, one in enumerate(told())]
    (gpu,) = replayed([], unloaded, end=120.0).gpus
    assert gpu.held is False
    assert gpu.quiet_since_ns is not None
    assert at(58.0) <= gpu.quiet_since_ns <= at(60.0)
