"""Where a capture goes, and what becomes of it when something fails."""

from __future__ import annotations

import errno
import gzip
import os
from pathlib import Path

import pytest

from infermeter.commands.capture_file import FLUSH_SECONDS, CaptureFile
from infermeter.errors import ConfigError, InputError
from infermeter.gpu.recording import read_recording

LINES = "time_unix_seconds,gpu,power_watts\n1795168800,GPU-a,100\n"
FULL = "/dev/full"


def test_what_was_written_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "capture.csv"
    with CaptureFile(str(path)) as file:
        file.write(LINES)
        file.write("1795168801,GPU-a,100\n")
    assert path.read_text() == LINES + "1795168801,GPU-a,100\n"


def test_a_name_that_ends_in_gz_is_packed_and_the_same_again(tmp_path: Path) -> None:
    for name in ("a.csv.gz", "b.csv.gz"):
        with CaptureFile(str(tmp_path / name)) as file:
            file.write(LINES)
    assert gzip.decompress((tmp_path / "a.csv.gz").read_bytes()).decode() == LINES
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()


@pytest.mark.parametrize("name", ["capture.csv", "capture.csv.gz"])
def test_rows_can_be_read_while_it_is_written(name: str, tmp_path: Path) -> None:
    path, seconds = tmp_path / name, [0.0]
    with CaptureFile(str(path), monotonic=lambda: seconds[0]) as file:
        file.write(LINES)
        assert len(read_recording(path).samples) == 1
        file.write("1795168801,GPU-a,100\n")
        assert len(read_recording(path).samples) == 1
        seconds[0] += FLUSH_SECONDS
        file.write("1795168802,GPU-a,100\n")
        assert len(read_recording(path).samples) == 3


def test_a_file_that_holds_something_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "capture.csv"
    path.write_text("mine")
    with pytest.raises(ConfigError, match=r"--output: .*capture\.csv is there already"), CaptureFile(str(path)):
        pass
    assert path.read_text() == "mine"


def test_an_empty_file_is_taken_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "capture.csv"
    path.touch()
    with CaptureFile(str(path)):
        pass
    assert path.read_bytes() == b""
    with CaptureFile(str(path)) as file:
        file.write(LINES)
    assert path.read_text() == LINES


@pytest.mark.parametrize("name", ["capture.csv", "capture.csv.gz"])
def test_a_capture_of_nothing_leaves_no_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError), CaptureFile(str(tmp_path / name)):
        raise InputError("no", "GPU")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_someone_else_removed_is_gone(tmp_path: Path) -> None:
    with CaptureFile(str(tmp_path / "capture.csv")):
        (tmp_path / "capture.csv").unlink()
    assert list(tmp_path.iterdir()) == []


def test_after_an_error_what_was_written_stays(tmp_path: Path) -> None:
    path = tmp_path / "capture.csv"
    file = CaptureFile(str(path))
    file.__enter__()
    file.write(LINES)
    file.__exit__(InputError, InputError("no", "GPU any more"), None)
    assert path.read_text() == LINES


@pytest.mark.parametrize(("name", "reason"), [("nowhere/capture.csv", "No such file or directory"), ("", "Is a directory")])
def test_what_can_t_be_opened_is_wrong_use(name: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"--output: .* can't be written: {reason}"), CaptureFile(str(tmp_path / name)):
        pass


def test_a_device_is_written_to_as_it_is() -> None:
    with CaptureFile(os.devnull) as file:
        file.write(LINES)


def test_a_full_disk_is_told_with_the_name_of_the_file() -> None:
    with pytest.raises(OSError, match="No space left on device") as caught, CaptureFile(FULL) as file:
        file.write(LINES)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, FULL)


def test_a_disk_that_is_full_at_the_end_is_told_too() -> None:
    seconds = iter([-1.0, *[0.0] * 9])
    with pytest.raises(OSError, match="No space left on device") as caught, CaptureFile(FULL, monotonic=lambda: next(seconds)) as file:
        file.write(LINES)
    assert caught.value.filename == FULL


def test_standard_output_stays_open(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    for _ in range(2):
        with CaptureFile("-") as file:
            file.write(LINES)
    assert capfdbinary.readouterr().out.decode() == LINES * 2


def test_a_standard_output_that_was_never_open_is_wrong_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(ConfigError, match=r"^--output: standard output is closed$"), CaptureFile("-"):
        """Never entered."""


class Gone:
    """A standard output that nobody reads any more."""

    def __init__(self) -> None:
        self.buffer = self

    def write(self, _: bytes) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    def flush(self) -> None:
        """Nothing is left."""


def test_a_reader_that_went_away_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", Gone())
    with CaptureFile("-") as file, pytest.raises(BrokenPipeError) as caught:
        file.write(LINES)
    assert caught.value.filename is None
