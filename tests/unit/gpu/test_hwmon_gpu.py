"""The GPU of a board whose power is a rail under hwmon."""

from __future__ import annotations

from pathlib import Path

import pytest

from infermeter.errors import GpuUnavailable
from infermeter.gpu.hwmon import HwmonSource
from infermeter.gpu.source import every
from infermeter.host.hwmon import HwmonSource as HostHwmonSource
from infermeter.model import GpuIdentity, GpuSample
from support.sysfs import acpi_meter, ina3221, write

UUID = "hwmon-ina3221-VDD_CPU_GPU_CV"


def orin_nx(root: Path) -> Path:
    ina3221(root, 1, VDD_IN=12_000, VDD_CPU_GPU_CV=7_000, VDD_SOC=2_000)
    return write(root, {"sys/devices/platform/gpu.0/load": 421, "proc/device-tree/model": "NVIDIA Jetson Orin NX Developer Kit\0"})


def opened(root: Path) -> HwmonSource:
    source = HwmonSource(root, choose=every)
    source.open()
    return source


def test_a_board_has_one_gpu_with_its_product_and_what_its_rail_feeds(tmp_path: Path) -> None:
    assert HwmonSource(orin_nx(tmp_path), choose=every).open() == (
        GpuIdentity(
            UUID,
            index=0,
            product="NVIDIA Jetson Orin NX Developer Kit",
            source="hwmon",
            energy="integrated",
            power_kind="instant",
            power_scope="module",
        ),
    )


def test_a_rail_of_the_gpu_alone_says_so_and_a_product_may_be_unknown(tmp_path: Path) -> None:
    (identity,) = HwmonSource(ina3221(tmp_path, 0, VDD_IN=3_000, VDD_GPU=900, VDD_CPU=500), choose=every).open()
    assert (identity.uuid, identity.power_scope, identity.product) == ("hwmon-ina3221-VDD_GPU", "gpu", None)


def test_power_and_load_are_read(tmp_path: Path) -> None:
    source = opened(orin_nx(tmp_path))
    assert source.read(5) == (GpuSample(UUID, 5, power_watts=7.0, utilisation_ratio=0.421),)
    assert source.asking is None


@pytest.mark.parametrize(
    "load", ["sys/devices/gpu.0/load", "sys/devices/platform/17000000.gpu/load", "sys/class/devfreq/17000000.ga10b/device/load"]
)
def test_load_is_found_where_each_release_has_it(load: str, tmp_path: Path) -> None:
    ina3221(tmp_path, 1, VDD_IN=12_000, VDD_CPU_GPU_CV=7_000)
    write(tmp_path, {load: 1000, "sys/class/devfreq/15340000.vic/device/load": 5})
    assert opened(tmp_path).read(0)[0].utilisation_ratio == 1.0


@pytest.mark.parametrize("load", [None, "busy"])
def test_without_a_load_power_is_told_all_the_same(load: str | None, tmp_path: Path) -> None:
    ina3221(tmp_path, 1, VDD_IN=12_000, VDD_CPU_GPU_CV=7_000)
    if load is not None:
        write(tmp_path, {"sys/devices/gpu.0/load": load})
    assert opened(tmp_path).read(0) == (GpuSample(UUID, 0, power_watts=7.0),)


def test_an_absurd_value_is_rejected_and_counted(tmp_path: Path) -> None:
    source = opened(write(orin_nx(tmp_path), {"sys/devices/platform/gpu.0/load": 1001}))
    assert source.read(0) == (GpuSample(UUID, 0, power_watts=7.0),)
    assert source.rejected == {"outlier": 1}


def test_a_counter_of_energy_is_told(tmp_path: Path) -> None:
    chips = {"hwmon0": ("VDD_IN", 12_000_000), "hwmon1": ("VDD_GPU", 3_000_000)}
    for chip, (label, microwatts) in chips.items():
        folder = f"sys/class/hwmon/{chip}"
        write(tmp_path, {f"{folder}/name": "sq52206", f"{folder}/label": label, f"{folder}/power1_input": microwatts})
        write(tmp_path, {f"{folder}/energy1_input": 44_000_000})
    source = HwmonSource(tmp_path, choose=every)
    (identity,) = source.open()
    assert identity.energy == "counter"
    assert source.read(0) == (GpuSample("hwmon-sq52206-VDD_GPU", 0, power_watts=3.0, energy_joules=44.0),)


def test_a_rail_that_cannot_be_read_is_counted_and_the_source_asked_anew(tmp_path: Path) -> None:
    source = opened(orin_nx(tmp_path))
    (tmp_path / "sys/class/hwmon/hwmon1/curr2_input").unlink()
    with pytest.raises(GpuUnavailable, match=r"^hwmon: .*curr2_input: No such file or directory$"):
        source.read(0)
    assert source.rejected == {"read": 1}
    assert source.asking is None
    source.close()
    assert source.read(0) == ()
    assert source.rejected == {"read": 1}


def test_the_gpu_is_left_alone_where_it_is_not_to_be_asked_or_not_chosen(tmp_path: Path) -> None:
    assert opened(orin_nx(tmp_path)).read(0, without={UUID}) == ()
    source = HwmonSource(tmp_path, choose=lambda _: ())
    assert source.open() == ()
    assert source.read(0) == ()


@pytest.mark.parametrize(("meters", "chips"), [(0, "none"), (2, "power_meter")])
def test_an_unknown_board_is_told_with_the_chips_that_it_has(meters: int, chips: str, tmp_path: Path) -> None:
    for number in range(meters):
        acpi_meter(tmp_path, number, 5)
    with pytest.raises(GpuUnavailable, match=rf"no board whose GPU rail is known; chips that tell power: {chips}$"):
        HwmonSource(tmp_path, choose=every).open()


def test_gpu_and_host_together_draw_what_the_board_does(tmp_path: Path) -> None:
    gpu = opened(orin_nx(tmp_path)).read(0)[0].power_watts
    host = HostHwmonSource(tmp_path, gpu_source="hwmon").read(0).power_watts
    assert gpu is not None
    assert host is not None
    assert gpu + host == pytest.approx(12.0)
