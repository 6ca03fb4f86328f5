"""Triton's own page as a source: what it says of its GPUs, and where its 0 means that it couldn't read."""

from __future__ import annotations

import pytest

from infermeter.errors import GpuUnavailable
from infermeter.gpu.source import every
from infermeter.gpu.triton import TritonSource
from infermeter.model import GpuIdentity, GpuSample
from unit.gpu.power_files import RECORDINGS

SECOND_NS = 1_000_000_000
NOW_NS = 1_795_401_860 * SECOND_NS
L4 = "GPU-5d1c0004-5e1f-4000-8000-000000000004"
PAGE = (RECORDINGS / "triton-gpu.txt").read_text()
CPU_PAGE = (RECORDINGS.parent / "captures" / "triton" / "metrics.txt").read_text()


class Triton:
    """What answers with `page`."""

    def __init__(self, page: str) -> None:
        self.page = page

    def __call__(self) -> bytes:
        return self.page.encode()


def source(triton: Triton, *, hardware: bool = False) -> TritonSource:
    return TritonSource(triton, choose=every, hardware=hardware, interval_seconds=1.0)


def told(name: str, value: object, page: str = PAGE) -> str:
    labels = f'{name}{{gpu_uuid="{L4}"}} '
    assert labels in page
    return "".join(labels + f"{value}\n" if line.startswith(labels) else line for line in page.splitlines(keepends=True))


def first(page: str) -> GpuSample:
    triton = source(Triton(page), hardware=True)
    triton.open()
    (sample,) = triton.read(NOW_NS)
    return sample


def test_the_devices_are_those_of_the_page() -> None:
    assert source(Triton(PAGE)).open() == (
        GpuIdentity(L4, source="triton", energy="counter", memory_total_bytes=24_152_899_584, power_limit_watts=72.0),
    )


def test_joules_watts_and_bytes_are_taken_as_they_are() -> None:
    assert first(PAGE) == GpuSample(
        L4,
        NOW_NS,
        power_watts=58.625,
        energy_joules=12_345.678,
        utilisation_ratio=0.41000000000000003,
        memory_used_bytes=9_126_805_504,
        memory_total_bytes=24_152_899_584,
        power_limit_watts=72.0,
    )


def test_what_triton_didnt_sample_anew_is_no_reading() -> None:
    triton = Triton(PAGE)
    gpus = source(triton)
    gpus.open()
    assert [len(gpus.read(NOW_NS + i * SECOND_NS)) for i in range(3)] == [1, 0, 0]
    triton.page = told("nv_energy_consumption", 12_404.3)
    assert [sample.energy_joules for sample in gpus.read(NOW_NS + 3 * SECOND_NS)] == [12_404.3]


def test_a_restarted_triton_counts_from_0_and_is_read_on() -> None:
    triton = Triton(PAGE)
    gpus = source(triton)
    gpus.open()
    joules = []
    for counter in (12_345.0, 0, 3.5, 60.0):
        triton.page = told("nv_gpu_power_usage", 58 + counter / 1e6, told("nv_energy_consumption", counter))
        joules += [sample.energy_joules for sample in gpus.read(NOW_NS)]
    assert joules == [12_345.0, None, 3.5, 60.0]


def test_a_device_without_a_counter_tells_its_power() -> None:
    page = told("nv_energy_consumption", 0)
    assert source(Triton(page)).open()[0].energy == "integrated"
    sample = first(page)
    assert (sample.energy_joules, sample.power_watts, sample.utilisation_ratio) == (None, 58.625, 0.41000000000000003)


def test_a_power_of_0_was_not_read_and_nor_was_the_utilisation_beside_it() -> None:
    sample = first(told("nv_gpu_utilization", 0, told("nv_gpu_power_usage", 0)))
    assert (sample.power_watts, sample.utilisation_ratio, sample.energy_joules) == (None, None, 12_345.678)


def test_a_memory_of_0_was_not_read() -> None:
    sample = first(told("nv_gpu_memory_used_bytes", 0, told("nv_gpu_memory_total_bytes", 0)))
    assert (sample.memory_total_bytes, sample.memory_used_bytes) == (None, None)


def test_an_idle_device_is_one_that_works_not_and_draws_power() -> None:
    assert first(told("nv_gpu_utilization", 0)).utilisation_ratio == 0


@pytest.mark.parametrize("page", [CPU_PAGE, PAGE.replace(L4, "<b>"), "nv_gpu_power_usage 12\n"], ids=["a real one", "no UUID", "no label"])
def test_a_triton_without_gpus_is_unavailable_and_says_what_is_missing(page: str) -> None:
    with pytest.raises(GpuUnavailable, match=r"^no nv_gpu_\* there: "):
        source(Triton(page)).open()


def test_a_value_that_no_device_has_is_rejected_alone() -> None:
    gpus = source(Triton(told("nv_gpu_utilization", 41)))
    gpus.open()
    assert [sample.utilisation_ratio for sample in gpus.read(NOW_NS)] == [None]
    assert gpus.rejected["outlier"] == 1
