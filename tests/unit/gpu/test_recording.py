"""Reading recorded power files: what both formats have in common."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from infermeter.errors import ConfigError, InputError
from infermeter.gpu.recording import read_recording
from unit.gpu.power_files import RECORDINGS, written

ROW = "1795168800,GPU-a,100"
HEADER = "time_unix_seconds,gpu,power_watts"


@pytest.mark.parametrize("text", ["", "\n\n \n"])
def test_an_empty_file_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"/power\.csv: is empty$"):
        read_recording(written(tmp_path, text))


def test_a_file_of_another_kind_is_an_error_that_says_what_is_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"/power\.csv:1: neither a capture .* nor nvidia-smi's CSV"):
        read_recording(written(tmp_path, "date,watts"))


def test_a_missing_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"/gone\.csv: No such file"):
        read_recording(tmp_path / "gone.csv")


def test_bytes_that_are_no_text_are_an_error_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "power.csv"
    path.write_bytes(f"{HEADER}\n{ROW}\n".encode() + b"\xff\xfe\n")
    with pytest.raises(InputError, match=r"/power\.csv:3: is not UTF-8 text$"):
        read_recording(path)


def test_a_line_without_end_is_an_error_and_not_read_to_its_end(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"/power\.csv:2: a line of more than 65536 bytes$"):
        read_recording(written(tmp_path, HEADER, "x" * 200_000))


def test_a_packed_file_reads_like_the_file_itself(tmp_path: Path) -> None:
    packed = tmp_path / "eight-gpus.csv.gz"
    packed.write_bytes(gzip.compress((RECORDINGS / "eight-gpus.csv").read_bytes()))
    assert list(read_recording(packed).samples) == list(read_recording(RECORDINGS / "eight-gpus.csv").samples)


def test_packed_files_that_were_joined_read_like_one(tmp_path: Path) -> None:
    path = tmp_path / "power.csv.gz"
    path.write_bytes(gzip.compress(f"{HEADER}\n".encode()) + gzip.compress(f"{ROW}\n# end: 1 rows\n".encode()))
    assert len(read_recording(path).samples) == 1


def test_of_a_packed_file_that_was_cut_off_the_rows_before_count(tmp_path: Path) -> None:
    whole = gzip.compress((RECORDINGS / "eight-gpus.csv").read_bytes())
    path = tmp_path / "power.csv.gz"
    path.write_bytes(whole[: len(whole) // 2])
    recording = read_recording(path)
    assert 0 < len(recording.samples) < 480
    assert "cut off" in recording.warnings[0]


def test_a_packed_file_that_is_none_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "power.csv.gz"
    path.write_bytes(f"{HEADER}\n".encode())
    with pytest.raises(InputError, match=r"/power\.csv\.gz: is no gzip file"):
        read_recording(path)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "America"])
def test_an_unknown_time_zone_is_an_error_of_its_option(zone: str) -> None:
    with pytest.raises(ConfigError, match="--timezone: no time zone"):
        read_recording(RECORDINGS / "nvidia-smi.csv", timezone=zone)


def test_samples_of_several_devices_come_in_order_of_time_whatever_their_order_in_the_file(tmp_path: Path) -> None:
    rows = [f"{second},{gpu},100" for gpu in ("GPU-a", "GPU-b") for second in (1795168800, 1795168801)]
    recording = read_recording(written(tmp_path, HEADER, *rows, "# end: 4 rows"))
    assert [sample.uuid for sample in recording.samples] == ["GPU-a", "GPU-b", "GPU-a", "GPU-b"]
    times = [sample.time_ns for sample in recording.samples]
    assert times == sorted(times)


def test_samples_can_be_sliced_and_narrowed_to_some_devices() -> None:
    samples = read_recording(RECORDINGS / "eight-gpus.csv").samples
    assert list(samples[8:10]) == [samples[8], samples[9]]
    one = samples.of([samples[3].uuid])
    assert len(one) == 60
    assert {sample.uuid for sample in one} == {samples[3].uuid}
