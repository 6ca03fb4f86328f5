"""Power rails, on trees laid out as the kernel's documentation says."""

from __future__ import annotations

from pathlib import Path

import pytest

from infermeter.errors import Unavailable
from infermeter.rails import BOARDS, ENTRIES_LIMIT, RAILS_LIMIT, board_of, entries_of, number_in, rails_below, text_in
from support.sysfs import acpi_meter, ina3221, write


def test_a_machine_without_hwmon_has_no_rails(tmp_path: Path) -> None:
    assert rails_below(tmp_path) == ()


def test_a_channel_of_an_ina3221_is_voltage_times_current(tmp_path: Path) -> None:
    write(ina3221(tmp_path, 1, VDD_IN=4000), {"sys/class/hwmon/hwmon1/in1_input": 5024, "sys/class/hwmon/hwmon1/curr1_input": 1200})
    (rail,) = rails_below(tmp_path)
    assert (rail.chip, rail.label, rail.watts(), rail.joules()) == ("ina3221", "VDD_IN", pytest.approx(6.0288), None)


def test_shunt_voltages_and_sums_of_an_ina3221_are_no_rails(tmp_path: Path) -> None:
    ina3221(tmp_path, 1, VDD_IN=4000, VDD_CPU_GPU_CV=1000, VDD_SOC=800)
    assert [rail.label for rail in rails_below(tmp_path)] == ["VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"]


def test_channels_that_are_not_connected_are_no_rails(tmp_path: Path) -> None:
    ina3221(tmp_path, 1, NC=0, VDDQ_VDD2_1V8AO=700)
    assert [rail.label for rail in rails_below(tmp_path)] == ["VDDQ_VDD2_1V8AO"]


def test_a_channel_without_its_current_is_no_rail(tmp_path: Path) -> None:
    ina3221(tmp_path, 1, VDD_IN=4000)
    (tmp_path / "sys/class/hwmon/hwmon1/curr1_input").unlink()
    assert rails_below(tmp_path) == ()


@pytest.mark.parametrize(("milliwatts", "watts"), [(-392, 0.0), (-1000, 0.0), (-1001, -1.001)])
def test_below_zero_by_a_chips_offset_is_zero_and_no_more(milliwatts: int, watts: float, tmp_path: Path) -> None:
    ina3221(tmp_path, 1, VDD_GPU=milliwatts)
    assert rails_below(tmp_path)[0].watts() == pytest.approx(watts)


def test_a_chip_that_tells_power_needs_neither_voltage_nor_current(tmp_path: Path) -> None:
    chip = "sys/class/hwmon/hwmon0"
    write(tmp_path, {f"{chip}/name": "ina226", f"{chip}/in1_input": 12000, f"{chip}/curr1_input": 999, f"{chip}/power1_input": 25_000_000})
    (rail,) = rails_below(tmp_path)
    assert (rail.chip, rail.label, rail.watts()) == ("ina226", "power1", 25.0)


def test_a_chip_with_a_name_of_its_own_lends_it_to_its_rail(tmp_path: Path) -> None:
    chip = "sys/class/hwmon/hwmon0"
    write(tmp_path, {f"{chip}/name": "ina238", f"{chip}/label": "VIN", f"{chip}/power1_input": 23_000_000})
    assert rails_below(tmp_path)[0].label == "VIN"


def test_an_empty_label_is_no_label(tmp_path: Path) -> None:
    chip = "sys/class/hwmon/hwmon0"
    write(tmp_path, {f"{chip}/name": "ina226", f"{chip}/power1_label": "", f"{chip}/power1_input": 1})
    assert rails_below(tmp_path)[0].label == "power1"


@pytest.mark.parametrize("place", ["/device", ""])
def test_an_acpi_meter_tells_its_average_wherever_its_driver_shows_it(place: str, tmp_path: Path) -> None:
    (rail,) = rails_below(acpi_meter(tmp_path, 0, 412.5, place=place))
    assert rail.watts() == 412.5


def test_an_instantaneous_value_goes_before_an_average(tmp_path: Path) -> None:
    chip = "sys/class/hwmon/hwmon0"
    write(tmp_path, {f"{chip}/name": "x", f"{chip}/power1_average": 1_000_000, f"{chip}/power1_input": 2_000_000})
    assert rails_below(tmp_path)[0].watts() == 2.0


def test_energy_is_told_with_power_or_alone(tmp_path: Path) -> None:
    chip = "sys/class/hwmon/hwmon0"
    write(
        tmp_path,
        {
            f"{chip}/name": "sq52206",
            f"{chip}/power1_input": 2_000_000,
            f"{chip}/energy1_input": 7_500_000,
            f"{chip}/energy2_input": 500_000,
            f"{chip}/energy2_label": "pkg",
        },
    )
    assert [(rail.label, rail.watts(), rail.joules()) for rail in rails_below(tmp_path)] == [("power1", 2.0, 7.5), ("pkg", None, 0.5)]


def test_chips_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 2):
        acpi_meter(tmp_path, number, number)
    assert [rail.watts() for rail in rails_below(tmp_path)] == [2.0, 10.0]


def test_a_chip_that_is_being_taken_away_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "sys/class/hwmon").mkdir(parents=True)
    (tmp_path / "sys/class/hwmon/hwmon0").symlink_to(tmp_path / "gone")
    assert [rail.watts() for rail in rails_below(acpi_meter(tmp_path, 1, 5))] == [5.0]


def test_the_number_of_rails_has_a_bound(tmp_path: Path) -> None:
    chip = "sys/class/hwmon/hwmon0"
    write(tmp_path, {f"{chip}/name": "x"} | {f"{chip}/power{i}_input": 1 for i in range(RAILS_LIMIT + 5)})
    assert len(rails_below(tmp_path)) == RAILS_LIMIT


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_a_known_board_is_recognised_by_its_rails(board: object, tmp_path: Path) -> None:
    labels = sorted({*board.inputs, board.gpu})  # type: ignore[attr-defined]
    for number in range(0, len(labels), 3):
        ina3221(tmp_path, number, **dict.fromkeys(labels[number : number + 3], 1000))
    recognised = board_of(rails_below(tmp_path))
    assert recognised is not None
    assert recognised[0] is board


def test_rails_of_an_unknown_board_are_of_no_board(tmp_path: Path) -> None:
    assert board_of(rails_below(ina3221(tmp_path, 0, VDD_IN=1, VDD_OTHER=1))) is None


def test_what_cannot_be_read_is_told_with_its_file_and_reason(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"gone: No such file or directory"):
        text_in(tmp_path / "gone")


def test_what_holds_no_number_is_told_without_quoting_it(tmp_path: Path) -> None:
    write(tmp_path, {"in1_input": "secret"})
    with pytest.raises(Unavailable, match=r"in1_input: holds no whole number$"):
        number_in(tmp_path / "in1_input")


@pytest.mark.parametrize("text", ["9" * 200, "1_000", "\uff11\uff12", "1e3", "0x10", "+5", ""])
def test_what_the_kernel_writes_no_number_as_is_none(text: str, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"holds no whole number$"):
        number_in(write(tmp_path, {"number": text}) / "number")


def test_of_a_folder_without_end_some_entries_are_looked_at(tmp_path: Path) -> None:
    for i in range(ENTRIES_LIMIT + 10):
        (tmp_path / str(i)).touch()
    assert len(entries_of(tmp_path)) == ENTRIES_LIMIT


def test_a_file_is_read_up_to_a_bound(tmp_path: Path) -> None:
    assert len(text_in(write(tmp_path, {"model": "x" * 10_000}) / "model")) == 256
