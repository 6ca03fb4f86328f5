"""What nvidia-smi prints."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from infermeter.errors import InputError
from infermeter.gpu.recording import read_recording
from infermeter.model import GpuIdentity, GpuSample
from unit.gpu.power_files import GPU_0, RECORDINGS, written

HEADER = "timestamp, uuid, power.draw [W]"


def test_units_are_converted_and_what_is_not_available_is_absent() -> None:
    recording = read_recording(RECORDINGS / "nvidia-smi.csv")
    assert len(recording.samples) == 40
    assert recording.identities[0] == GpuIdentity(
        GPU_0,
        index=0,
        product="NVIDIA L40S",
        driver_version="580.65.06",
        source="replay",
        energy="integrated",
        memory_total_bytes=46068 * 2**20,
        power_limit_watts=350.0,
    )
    first, second = recording.samples[10:12]
    assert first == GpuSample(
        GPU_0,
        int(datetime(2026, 11, 20, 11, 0, 5, tzinfo=UTC).timestamp()) * 10**9 + 123 * 10**6,
        power_watts=248.75,
        utilisation_ratio=0.65,
        memory_used_bytes=20480 * 2**20,
        memory_total_bytes=46068 * 2**20,
        temperature_celsius=56.0,
        sm_clock_hertz=2520e6,
        power_limit_watts=350.0,
    )
    assert second.utilisation_ratio is None
    assert recording.samples[15].power_watts is None
    assert recording.rejected == {}


def test_timestamps_are_in_the_zone_that_is_named() -> None:
    utc = read_recording(RECORDINGS / "nvidia-smi.csv").samples[0].time_ns
    berlin = read_recording(RECORDINGS / "nvidia-smi.csv", timezone="Europe/Berlin").samples[0].time_ns
    assert utc - berlin == 3600 * 10**9


def test_the_hour_that_comes_twice_when_summer_time_ends_is_read_twice(tmp_path: Path) -> None:
    rows = [f"2026/10/25 {clock}.000, GPU-a, 100.00 W" for clock in ("02:00:00", "02:30:00", "02:00:00", "02:30:00", "03:00:00")]
    recording = read_recording(written(tmp_path, HEADER, *rows), timezone="Europe/Berlin")
    times = [sample.time_ns for sample in recording.samples]
    assert [(time_ns - times[0]) // (60 * 10**9) for time_ns in times] == [0, 30, 60, 90, 120]
    assert recording.rejected == {}


@pytest.mark.parametrize(("cell", "watts"), [("70.10 W", 70.1), ("70.10", 70.1), ("70100 mW", 70.1)])
def test_the_unit_beside_the_value_wins_over_that_of_the_header(tmp_path: Path, cell: str, watts: float) -> None:
    recording = read_recording(written(tmp_path, HEADER, f"2026/11/20 11:00:00.123, GPU-a, {cell}"))
    assert recording.samples[0].power_watts == pytest.approx(watts)


def test_columns_without_units_have_nvidia_smi_s_own(tmp_path: Path) -> None:
    recording = read_recording(written(tmp_path, "timestamp,uuid,power.draw,memory.used", "2026/11/20 11:00:00,GPU-a,70,2"))
    assert recording.samples[0] == GpuSample("GPU-a", recording.samples[0].time_ns, power_watts=70.0, memory_used_bytes=2 * 2**20)


def test_a_device_without_uuid_is_named_by_its_index(tmp_path: Path) -> None:
    recording = read_recording(written(tmp_path, "timestamp, index, power.draw [W]", "2026/11/20 11:00:00.123, 1, 70.10 W"))
    assert recording.identities == (GpuIdentity("index:1", index=1, source="replay", energy="integrated"),)


def test_older_names_of_columns_are_known(tmp_path: Path) -> None:
    recording = read_recording(
        written(
            tmp_path,
            "timestamp, gpu_name, gpu_uuid, clocks.sm [MHz], power.draw.instant [W]",
            "2026/11/20 11:00:00, L4, GPU-a, 2040 MHz, 30 W",
        )
    )
    assert recording.identities[0].product == "L4"
    assert recording.samples[0].power_watts == 30.0
    assert recording.samples[0].sm_clock_hertz == 2040e6


def test_the_plain_power_reading_wins_over_the_others(tmp_path: Path) -> None:
    header = "timestamp, uuid, power.draw.instant [W], power.draw [W], power.draw.average [W]"
    recording = read_recording(written(tmp_path, header, "2026/11/20 11:00:00, GPU-a, 3 W, 1 W, 2 W"))
    assert recording.samples[0].power_watts == 1.0


def test_several_runs_in_one_file_are_read_as_one(tmp_path: Path) -> None:
    rows = [f"2026/11/20 11:00:0{second}.000, GPU-a, 70 W" for second in range(2)]
    assert len(read_recording(written(tmp_path, HEADER, rows[0], HEADER, rows[1])).samples) == 2


def test_a_last_line_that_nothing_ends_is_left_out_with_a_warning(tmp_path: Path) -> None:
    recording = read_recording(written(tmp_path, HEADER, "2026/11/20 11:00:00, GPU-a, 170 W", "2026/11/20 11:00:01, GPU-a, 17", end=""))
    assert len(recording.samples) == 1
    assert recording.warnings == (f"{tmp_path}/power.csv: cut off, its last line is incomplete; the rows before count",)


@pytest.mark.parametrize(
    ("lines", "where", "problem"),
    [
        (["timestamp, power.draw [W]"], 1, "the column uuid (or index) is missing"),
        (["timestamp, uuid, utilization.gpu [%]"], 1, "the column power.draw is missing"),
        (["timestamp, uuid, power.draw [hp]"], 1, "the unit of power.draw is not known"),
        ([HEADER, "2026/11/20 11:00:00, GPU-a"], 2, "2 values, the header has 3"),
        ([HEADER, "yesterday, GPU-a, 70 W"], 2, "a timestamp that is not like 2026/11/20 10:00:00.123"),
        ([HEADER, "2026/13/20 11:00:00, GPU-a, 70 W"], 2, "a timestamp that no calendar knows"),
        ([HEADER, "2026/11/20 11:00:00, GPU-a, much"], 2, "a value that is no number with a known unit"),
        ([HEADER, "2026/11/20 11:00:00, GPU-a, 70 hp"], 2, "a value that is no number with a known unit"),
        (["timestamp, index, power.draw [W]", "2026/11/20 11:00:00, one, 70 W"], 2, "an index that is no number"),
        (["timestamp, index, power.draw [W]", f"2026/11/20 11:00:00, {'9' * 5000}, 70 W"], 2, "an index that is no number"),
    ],
)
def test_damaged_output_is_an_error_with_its_line(tmp_path: Path, lines: list[str], where: int, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        read_recording(written(tmp_path, *lines))
    assert str(caught.value) == f"{tmp_path}/power.csv:{where}: {problem}"
