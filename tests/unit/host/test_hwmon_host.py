"""The host's power from hwmon: a board's inputs, or a machine's meter, and never a joule that the GPUs' readings have."""

from __future__ import annotations

from pathlib import Path

import pytest

from infermeter.errors import Unavailable
from infermeter.host.hwmon import HwmonSource
from support.sysfs import acpi_meter, ina3221, write


def orin_nx(root: Path) -> Path:
    return ina3221(root, 1, VDD_IN=12_000, VDD_CPU_GPU_CV=7_000, VDD_SOC=2_000)


def agx_orin(root: Path) -> Path:
    ina3221(root, 1, VDD_GPU_SOC=5_139, VDD_CPU_CV=3_268, VIN_SYS_5V0=5_500)
    return ina3221(root, 2, NC=0, VDDQ_VDD2_1V8AO=900)


def test_a_board_draws_what_its_input_does(tmp_path: Path) -> None:
    sample = HwmonSource(orin_nx(tmp_path), gpu_source="none").read(7)
    assert (sample.time_ns, sample.power_watts, sample.source, sample.energy_joules) == (7, 12.0, "hwmon", None)


def test_a_board_without_one_input_draws_the_sum_of_its_disjoint_rails(tmp_path: Path) -> None:
    assert HwmonSource(agx_orin(tmp_path), gpu_source="none").read(0).power_watts == pytest.approx(13.907)


@pytest.mark.parametrize(("board", "watts"), [(orin_nx, 5.0), (agx_orin, 8.768)])
def test_the_gpus_rail_is_taken_off_where_it_is_the_gpu_source(board: object, watts: float, tmp_path: Path) -> None:
    root = board(tmp_path)  # type: ignore[operator]
    assert HwmonSource(root, gpu_source="hwmon").read(0).power_watts == pytest.approx(watts)


def test_a_machine_draws_what_its_meter_tells(tmp_path: Path) -> None:
    assert HwmonSource(acpi_meter(tmp_path, 0, 412), gpu_source="none").read(0).power_watts == 412.0


@pytest.mark.parametrize("gpus", ["nvml", "dcgm", "triton", "amd", "simulated", "replay"])
def test_a_meter_that_contains_gpus_that_are_read_elsewhere_is_refused(gpus: str, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=rf"those that {gpus} reads would be counted twice; use rapl"):
        HwmonSource(acpi_meter(tmp_path, 0, 412), gpu_source=gpus).read(0)


def test_of_several_meters_none_is_guessed(tmp_path: Path) -> None:
    acpi_meter(acpi_meter(tmp_path, 0, 412), 1, 200)
    with pytest.raises(Unavailable, match="2 ACPI power meters, and nothing says which of them is the machine"):
        HwmonSource(tmp_path, gpu_source="none").read(0)


def test_a_battery_is_not_the_machine(tmp_path: Path) -> None:
    acpi_meter(tmp_path, 0, 30, power1_is_battery=1)
    acpi_meter(tmp_path, 1, 200, power1_is_battery=0)
    assert HwmonSource(tmp_path, gpu_source="none").read(0).power_watts == 200.0


def test_a_meter_that_counts_energy_alone_tells_no_power(tmp_path: Path) -> None:
    write(tmp_path, {"sys/class/hwmon/hwmon0/name": "power_meter", "sys/class/hwmon/hwmon0/energy1_input": 1})
    with pytest.raises(Unavailable, match="power_meter tells energy, but no power"):
        HwmonSource(tmp_path, gpu_source="none").read(0)


def test_other_chips_are_neither_board_nor_machine(tmp_path: Path) -> None:
    write(tmp_path, {"sys/class/hwmon/hwmon0/name": "amdgpu", "sys/class/hwmon/hwmon0/power1_average": 300_000_000})
    with pytest.raises(Unavailable, match="neither the rails of a known board nor an ACPI power meter"):
        HwmonSource(tmp_path, gpu_source="none").read(0)


def test_a_rail_that_cannot_be_read_leaves_no_part_of_a_total(tmp_path: Path) -> None:
    write(agx_orin(tmp_path), {"sys/class/hwmon/hwmon1/curr2_input": ""})
    with pytest.raises(Unavailable, match="curr2_input: holds no whole number"):
        HwmonSource(tmp_path, gpu_source="none").read(0)


def test_less_than_nothing_is_no_power(tmp_path: Path) -> None:
    ina3221(tmp_path, 1, VDD_IN=5_000, VDD_CPU_GPU_CV=7_000, VDD_SOC=2_000)
    with pytest.raises(Unavailable, match="less than 0 W"):
        HwmonSource(tmp_path, gpu_source="hwmon").read(0)
