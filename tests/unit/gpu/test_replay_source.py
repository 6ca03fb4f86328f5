"""A recording played as if it happened now."""

from __future__ import annotations

from pathlib import Path

import pytest

from infermeter.errors import InputError
from infermeter.gpu.recording import read_recording
from infermeter.gpu.replay import ReplaySource
from infermeter.gpu.source import every
from infermeter.model import GpuSample, HostSample
from unit.gpu.power_files import GPU_0, RECORDINGS, written

SECOND = 10**9
THEN = 1795168800 * SECOND
LATER = THEN + 1_000_000 * SECOND
HEADER = "time_unix_seconds,gpu,power_watts,energy_joules,temperature_celsius"
THREE = (HEADER, "1795168800,GPU-a,100,5000,40", "1795168801,GPU-a,100,5100,41", "1795168802,GPU-a,100,5200,42", "# end: 3 rows")


def playing(path: Path, *, loop: bool = False, hardware: bool = False) -> ReplaySource:
    return ReplaySource(lambda: read_recording(path), loop=loop, hardware=hardware, choose=every)


def opened(path: Path, *, loop: bool = False, hardware: bool = False) -> ReplaySource:
    source = playing(path, loop=loop, hardware=hardware)
    source.open()
    return source


def test_its_devices_are_those_of_the_recording() -> None:
    identities = playing(RECORDINGS / "eight-gpus.csv").open()
    assert len(identities) == 8
    assert {identity.source for identity in identities} == {"replay"}


def test_each_row_comes_when_its_time_has_come_and_only_once(tmp_path: Path) -> None:
    source = opened(written(tmp_path, *THREE))
    assert [(sample.time_ns - LATER) // SECOND for sample in source.read(LATER)] == [0]
    assert source.read(LATER + SECOND - 1) == []
    assert [(sample.time_ns - LATER) // SECOND for sample in source.read(LATER + 5 * SECOND)] == [1, 2]
    assert source.read(LATER + 10 * SECOND) == []


def test_under_a_clock_that_starts_at_the_first_sample_nothing_is_shifted(tmp_path: Path) -> None:
    path = written(tmp_path, *THREE)
    source = opened(path, hardware=True)
    assert [*source.read(THEN), *source.read(THEN + 2 * SECOND)] == list(read_recording(path).samples)


def test_a_clock_that_was_set_back_brings_no_row_twice(tmp_path: Path) -> None:
    source = opened(written(tmp_path, *THREE))
    source.read(LATER + SECOND)
    assert source.read(LATER - 5 * SECOND) == []
    assert len(source.read(LATER + 2 * SECOND)) == 1


def test_round_and_round_neither_time_nor_the_energy_counter_jumps(tmp_path: Path) -> None:
    source = opened(written(tmp_path, *THREE), loop=True)
    samples = [sample for second in range(8) for sample in source.read(LATER + second * SECOND)]
    assert [(sample.time_ns - LATER) // SECOND for sample in samples] == list(range(8))
    assert [sample.energy_joules for sample in samples] == [5000 + 100 * second for second in range(8)]


def test_round_and_round_a_counter_that_fell_is_played_as_it_was(tmp_path: Path) -> None:
    source = opened(written(tmp_path, HEADER, "1795168800,GPU-a,1,9,1", "1795168801,GPU-a,1,2,1", "1795168801,GPU-b,1,,1"), loop=True)
    samples = [sample for second in range(4) for sample in source.read(LATER + second * SECOND)]
    assert [sample.energy_joules for sample in samples if sample.uuid == "GPU-a"] == [9, 2, 9, 2]
    assert {sample.energy_joules for sample in samples if sample.uuid == "GPU-b"} == {None}


def test_round_and_round_one_row_comes_every_second(tmp_path: Path) -> None:
    source = opened(written(tmp_path, "time_unix_seconds,gpu,power_watts", "1795168800,GPU-a,100"), loop=True)
    assert [len(source.read(LATER + second * SECOND)) for second in range(3)] == [1, 1, 1]


def test_after_a_long_sleep_only_the_latest_round_is_played(tmp_path: Path) -> None:
    source = opened(written(tmp_path, *THREE), loop=True)
    source.read(LATER)
    samples = source.read(LATER + 1_000_000 * SECOND)
    assert [(sample.time_ns - LATER) // SECOND for sample in samples] == [999_998, 999_999, 1_000_000]


HOSTED = (
    "time_unix_seconds,gpu,power_watts,energy_joules,host_power_watts",
    "1795168800,,,,300",
    "1795168800.5,GPU-a,100,5000,",
    "1795168801,,,,310",
    "1795168801.5,GPU-a,100,5100,",
    "1795168802,,,,320",
)


def test_the_host_s_power_is_played_in_between(tmp_path: Path) -> None:
    source = opened(written(tmp_path, *HOSTED), loop=True)
    samples = [sample for half in range(10) for sample in source.read(LATER + half * SECOND // 2)]
    host = [((sample.time_ns - LATER) / SECOND, sample.power_watts) for sample in samples if isinstance(sample, HostSample)]
    gpu = [((sample.time_ns - LATER) / SECOND, sample.energy_joules) for sample in samples if isinstance(sample, GpuSample)]
    assert host == [(0, 300), (1, 310), (2, 320), (3, 300), (4, 310)]
    assert gpu == [(0.5, 5000), (1.5, 5100), (3.5, 5300), (4.5, 5400)]
    assert [sample.time_ns for sample in samples] == sorted(sample.time_ns for sample in samples)
    assert {sample.source for sample in samples if isinstance(sample, HostSample)} == {"replay"}


def test_a_recording_of_the_host_alone_is_played(tmp_path: Path) -> None:
    source = opened(written(tmp_path, HOSTED[0], HOSTED[1], HOSTED[3]), loop=True)
    samples = [sample for second in range(4) for sample in source.read(LATER + second * SECOND)]
    assert [sample.power_watts for sample in samples] == [300, 310, 300, 310]


@pytest.mark.parametrize(("hardware", "celsius"), [(False, None), (True, 40.0)])
def test_temperatures_clocks_and_limits_are_left_out_unless_wanted(tmp_path: Path, hardware: bool, celsius: float | None) -> None:
    assert opened(written(tmp_path, *THREE), hardware=hardware).read(LATER)[0].temperature_celsius == celsius


def test_only_the_chosen_devices_are_played() -> None:
    source = ReplaySource(
        lambda: read_recording(RECORDINGS / "eight-gpus.csv"), loop=False, hardware=False, choose=lambda seen: seen.identities[:1]
    )
    assert [identity.uuid for identity in source.open()] == [GPU_0]
    source.read(LATER)
    assert {sample.uuid for sample in source.read(LATER + 60 * SECOND)} == {GPU_0}


def test_what_was_rejected_when_it_was_read_is_told(tmp_path: Path) -> None:
    source = opened(written(tmp_path, *THREE[:2], "1795168801,GPU-a,-1,,", "1795168801,GPU-a,1,,"))
    assert source.rejected == {"outlier": 1, "read": 1}


def test_a_recording_without_a_sample_of_the_chosen_devices_brings_none(tmp_path: Path) -> None:
    source = opened(written(tmp_path, HEADER, "# end: 0 rows"))
    assert not source.read(LATER)


def test_a_damaged_recording_is_the_operator_s_error(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        playing(tmp_path / "gone.csv").open()


def test_that_a_recording_was_cut_off_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = opened(written(tmp_path, *THREE[:3]))
    source.close()
    source.open()
    (told,) = [record.getMessage() for record in caplog.records]
    assert told == f"{tmp_path}/power.csv: cut off, it has no `# end` line; the 2 rows before count"


def test_once_closed_it_brings_nothing(tmp_path: Path) -> None:
    source = opened(written(tmp_path, *THREE))
    source.close()
    assert not source.read(LATER)


def test_opened_again_it_starts_over_and_its_losses_are_told_once(tmp_path: Path) -> None:
    source = opened(written(tmp_path, *THREE[:2], "1795168801,GPU-a,-1,,"))
    source.read(LATER)
    source.close()
    source.open()
    assert len(source.read(LATER + SECOND)) == 1
    assert source.rejected == {"outlier": 1}
