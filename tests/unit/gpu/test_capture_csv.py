"""The capture format."""

from __future__ import annotations

from pathlib import Path

import pytest

from infermeter.errors import InputError
from infermeter.gpu.recording import read_recording
from infermeter.model import GpuIdentity, GpuSample, HostSample
from unit.gpu.power_files import GPU_0, RECORDINGS, written

HEADER = "time_unix_seconds,gpu,power_watts,energy_joules,utilisation_ratio"
ROW = "1795168800.5,GPU-a,100.25,5000,0.5"


def test_a_capture_tells_its_devices_and_their_samples() -> None:
    recording = read_recording(RECORDINGS / "eight-gpus.csv")
    assert recording.origin == "synthetic"
    assert recording.warnings == ()
    assert recording.rejected == {}
    assert [identity.index for identity in recording.identities] == list(range(8))
    assert recording.identities[0] == GpuIdentity(
        GPU_0,
        index=0,
        product="NVIDIA H100 80GB HBM3",
        driver_version="580.65.06",
        source="replay",
        energy="counter",
        memory_total_bytes=85520809984,
        power_limit_watts=700.0,
    )
    assert len(recording.samples) == 480
    assert recording.samples[0] == GpuSample(
        GPU_0,
        1795168800 * 10**9,
        power_watts=112.0,
        energy_joules=1_000_000.0,
        utilisation_ratio=0.0,
        memory_used_bytes=71_000_000_000,
        memory_total_bytes=85520809984,
        temperature_celsius=40.0,
        sm_clock_hertz=345e6,
        power_limit_watts=700.0,
    )


def test_comment_lines_are_optional_and_columns_come_in_any_order(tmp_path: Path) -> None:
    recording = read_recording(written(tmp_path, "gpu,energy_joules,time_unix_seconds", "GPU-a,7,1795168800", "# end: 1 rows"))
    assert recording.identities == (GpuIdentity("GPU-a", source="replay", energy="counter"),)
    assert list(recording.samples) == [GpuSample("GPU-a", 1795168800 * 10**9, energy_joules=7.0)]


def test_times_are_exact_to_the_nanosecond(tmp_path: Path) -> None:
    recording = read_recording(
        written(tmp_path, HEADER, "1795168800.123456789,GPU-a,1,,", "1795168800.1234567899,GPU-b,1,,", "# end: 2 rows")
    )
    assert [sample.time_ns for sample in recording.samples] == [1795168800123456789] * 2


def test_what_is_empty_is_absent(tmp_path: Path) -> None:
    recording = read_recording(written(tmp_path, HEADER, "1795168800,GPU-a,100,,", "# end: 1 rows"))
    assert recording.samples[0].energy_joules is None
    assert recording.samples[0].utilisation_ratio is None
    assert recording.identities[0].energy == "integrated"


def test_what_only_rows_tell_of_a_device_completes_its_identity(tmp_path: Path) -> None:
    header = "time_unix_seconds,gpu,power_watts,memory_total_bytes,power_limit_watts,computing_processes"
    recording = read_recording(written(tmp_path, header, "1795168800,GPU-a,,1000,350,2", "# end: 1 rows"))
    identity = recording.identities[0]
    assert (identity.memory_total_bytes, identity.power_limit_watts, identity.energy) == (1000, 350.0, None)
    assert recording.samples[0].computing_processes == 2


def test_the_energy_of_a_simulated_gpu_stays_modelled_when_it_is_played(tmp_path: Path) -> None:
    recording = read_recording(written(tmp_path, "# source: simulated", HEADER, ROW, "# end: 1 rows"))
    assert recording.identities[0].energy == "modelled"


def test_a_row_without_a_device_is_the_host_s(tmp_path: Path) -> None:
    header = "time_unix_seconds,gpu,power_watts,host_power_watts"
    rows = ["1795168800,,,220.5", "1795168800,GPU-a,100,", "1795168801,,,", "1795168800,,,200", "1795168802,,,-1"]
    recording = read_recording(written(tmp_path, header, *rows, "# end: 5 rows"))
    assert recording.host_samples == (HostSample(1795168800 * 10**9, 220.5),)
    assert recording.rejected == {"read": 1, "outlier": 1}


def test_a_device_without_rows_is_known_all_the_same(tmp_path: Path) -> None:
    recording = read_recording(written(tmp_path, "# gpu: GPU-b,1", HEADER, ROW, "# end: 1 rows"))
    assert [identity.uuid for identity in recording.identities] == ["GPU-b", "GPU-a"]
    assert recording.identities[0].energy is None


@pytest.mark.parametrize("absurd", ["-0.1", "20001", "inf", "3.69e12"])
def test_an_absurd_value_is_rejected_and_counted_and_never_clipped(tmp_path: Path, absurd: str) -> None:
    recording = read_recording(written(tmp_path, HEADER, f"1795168800,GPU-a,{absurd},9,0.5", "# end: 1 rows"))
    assert list(recording.samples) == [GpuSample("GPU-a", 1795168800 * 10**9, energy_joules=9.0, utilisation_ratio=0.5)]
    assert recording.rejected == {"outlier": 1}


@pytest.mark.parametrize("absurd", ["-5,,,", ",,nan,", ",,inf,", ",,-1,", ",,,-9", ",,,0", "99999,,,", f",,,{10**40}"])
def test_what_is_absurd_of_a_device_is_absent_and_counted(tmp_path: Path, absurd: str) -> None:
    recording = read_recording(written(tmp_path, f"# gpu: GPU-a,{absurd}", HEADER, ROW, "# end: 1 rows"))
    assert recording.identities == (GpuIdentity("GPU-a", source="replay", energy="counter"),)
    assert recording.rejected == {"outlier": 1}


@pytest.mark.parametrize("seconds", ["0", "946684799.999", "4102444800", "17951688000000000000"])
def test_a_row_of_another_century_is_rejected_and_counted(tmp_path: Path, seconds: str) -> None:
    recording = read_recording(written(tmp_path, HEADER, f"{seconds},GPU-a,100,,", ROW, "# end: 2 rows"))
    assert len(recording.samples) == 1
    assert recording.rejected == {"outlier": 1}


def test_rows_of_a_device_that_do_not_ascend_are_rejected_and_counted(tmp_path: Path) -> None:
    seconds = (1795168800, 1795168802, 1795168802, 1795168801, 1795168803)
    rows = [f"{second},GPU-a,100,," for second in seconds]
    recording = read_recording(written(tmp_path, HEADER, *rows, "1795168800,GPU-b,100,,", "# end: 6 rows"))
    assert [sample.time_ns // 10**9 for sample in recording.samples if sample.uuid == "GPU-a"] == [1795168800, 1795168802, 1795168803]
    assert recording.rejected == {"read": 2}


def test_without_its_end_a_capture_was_cut_off_and_the_rows_before_count(tmp_path: Path) -> None:
    recording = read_recording(written(tmp_path, HEADER, ROW, "1795168801,GPU-a,1", end=""))
    assert len(recording.samples) == 1
    assert recording.warnings == (f"{tmp_path}/power.csv: cut off, it has no `# end` line; the 1 rows before count",)


def test_other_comment_lines_are_passed_over(tmp_path: Path) -> None:
    recording = read_recording(written(tmp_path, "# note: hot day", HEADER, "# pause", ROW, "# end: 1 rows"))
    assert len(recording.samples) == 1


@pytest.mark.parametrize(
    ("lines", "where", "problem"),
    [
        (["# infermeter capture: 2", HEADER], 1, "version 2 of the capture format is not known here, only 1"),
        (["# gpu: ,0", HEADER], 1, "a GPU without a UUID"),
        (["# gpu: GPU-a,first", HEADER], 1, "a GPU is UUID,index,product,power_limit_watts,memory_total_bytes"),
        (["time_unix_seconds,gpu,power_wats"], 1, "no column is called 'power_wats'; did you mean power_watts?"),
        (["time_unix_seconds,gpu,power_watts,qqqq"], 1, "no column is called 'qqqq'"),
        (["time_unix_seconds,gpu,power_watts,gpu"], 1, "the column gpu is there twice"),
        (["time_unix_seconds,power_watts"], 1, "the column gpu is missing"),
        (["# started", "gpu,power_watts"], 2, "the column time_unix_seconds is missing"),
        (["time_unix_seconds,gpu,utilisation_ratio"], 1, "the column power_watts or energy_joules is missing"),
        ([f"# gpu: {'G' * 257}", HEADER], 1, "a GPU's name that can't be printed, or has more than 256 letters"),
        ([f"# gpu: GPU-a,0,{'P' * 257}", HEADER], 1, "a GPU's name that can't be printed, or has more than 256 letters"),
        ([HEADER, "1795168800,GPU-\x1b[2J,100,,"], 2, "a GPU's name that can't be printed, or has more than 256 letters"),
        ([HEADER, *(f"1795168800,GPU-{i},100,," for i in range(257))], 258, "more than 256 GPUs"),
        ([HEADER, "1795168800,GPU-a,100"], 2, "3 values, the header has 5"),
        ([HEADER, "1795168800,GPU-a,a lot,,"], 2, "a value that is no number"),
        ([HEADER, "1795168800,GPU-a,nan,,"], 2, "a value that is no number"),
        ([HEADER, "1795168800,GPU-a,1_0,,"], 2, "a value that is no number"),
        ([HEADER, "-5,GPU-a,100,,"], 2, "a value that is no number"),
        ([HEADER, ".5,GPU-a,100,,"], 2, "a value that is no number"),
        ([HEADER, ROW, "# end: 3 rows"], 3, "it had 3 rows, and 1 are left"),
        ([HEADER, ROW, "# end: 1 rows", "", ROW], 5, "a line after `# end`"),
    ],
)
def test_a_damaged_capture_is_an_error_with_its_line(tmp_path: Path, lines: list[str], where: int, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        read_recording(written(tmp_path, *lines))
    assert str(caught.value) == f"{tmp_path}/power.csv:{where}: {problem}"


def test_comment_lines_alone_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no header"):
        read_recording(written(tmp_path, "# infermeter capture: 1"))
