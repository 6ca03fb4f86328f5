"""The state file: whole at every instant, and never a reason to stop."""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infermeter.state import ABANDONED_SECONDS, KEPT, MOST_BYTES, Saver, StateFile

SECTIONS = {"baseline": {"version": 1, "watts": {"GPU-a": 112.5}}, "capacity": {"version": 2, "slots": [1, 2]}}


SOON = 10.0
"""Seconds until a test gives up on what should happen at once."""


class Disk:
    """Brings things to the disk, until it is full; then the n-th call fails."""

    def __init__(self, *, full_at: int | None = None) -> None:
        self.full_at = full_at
        self.calls = 0

    def sync(self, descriptor: int) -> None:
        self.calls += 1
        if self.full_at is not None and self.calls >= self.full_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert StateFile(path).save(SECTIONS)
    assert StateFile(path).load() == SECTIONS
    assert json.loads(path.read_bytes()) == {"schema": 1, "sections": SECTIONS}
    assert names(tmp_path) == ["state.json"]


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    StateFile(tmp_path / "state.json").save(SECTIONS)
    assert (tmp_path / "state.json").stat().st_mode & 0o777 == 0o600


def test_a_missing_file_is_an_empty_state(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = StateFile(tmp_path / "state.json")
    assert (state.load(), state.rejected, warnings(caplog)) == ({}, 0, [])


def test_a_missing_folder_is_an_empty_state_that_can_t_be_saved(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "nowhere" / "state.json")
    assert (state.load(), state.rejected, state.save(SECTIONS)) == ({}, 0, False)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is no JSON"),
        (b'{"schema": 1, "sections": {"a": ', "it is no JSON"),
        (b"\xff\x00", "it is no JSON"),
        (b'{"schema": 1, "sections": {"a": NaN}}', "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b"[]", "it is no state of schema 1"),
        (b'{"sections": {}}', "it is no state of schema 1"),
        (b'{"schema": 2, "sections": {}}', "it is no state of schema 1"),
        (b'{"schema": 1, "sections": []}', "it is no state of schema 1"),
        (b" " * (MOST_BYTES + 1), f"it has more than {MOST_BYTES} bytes"),
    ],
    ids=["empty", "cut", "binary", "nan", "nested", "list", "unversioned", "newer", "sections", "large"],
)
def test_a_broken_file_is_renamed_away_counted_and_told_once(
    content: bytes, reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(content)
    state = StateFile(path, unix_seconds=lambda: 1_790_000_000.4)
    assert (state.load(), state.rejected) == ({}, 1)
    assert (state.load(), state.rejected) == ({}, 1)
    assert names(tmp_path) == ["state.json.broken-1790000000"]
    assert (tmp_path / "state.json.broken-1790000000").read_bytes() == content
    assert warnings(caplog) == [f"state file {path} is not used: {reason}; renamed to state.json.broken-1790000000"]
    assert state.save(SECTIONS)
    assert state.load() == SECTIONS


def test_of_many_broken_files_the_latest_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "state[1].json"
    (tmp_path / "state[1].json.broken-by-hand").write_bytes(b"kept by its owner as the oldest")
    for second in range(8, 14):
        path.write_bytes(b"broken")
        StateFile(path, unix_seconds=lambda at=second: float(at)).load()  # type: ignore[misc] # bound in the loop
    assert names(tmp_path) == [f"state[1].json.broken-{second}" for second in (11, 12, 13)]
    assert KEPT == 3


def listen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, listen, link_to_itself], ids=["folder", "pipe", "socket", "loop"])
def test_what_is_no_file_stays_where_it_is(make: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "state.json"
    make(path)
    kind = path.lstat().st_mode
    state = StateFile(path)
    assert (state.load(), state.rejected) == ({}, 1)
    assert not state.save(SECTIONS)
    assert (names(tmp_path), path.lstat().st_mode) == (["state.json"], kind)
    loaded, saved = warnings(caplog)
    assert loaded.endswith("; it stays where it is")
    assert saved.endswith(" can't be saved: what is there is no file; what was learnt would not outlive a restart")


def test_a_name_that_no_file_can_have_is_an_empty_state_that_can_t_be_saved(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = StateFile(tmp_path / ("a" * 300))
    assert (state.load(), state.rejected, state.save(SECTIONS)) == ({}, 1, False)
    assert [told.count("File name too long") for told in warnings(caplog)] == [1, 1]


def test_a_broken_file_that_can_t_be_renamed_is_ignored_all_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(b"broken")
    aside = tmp_path / "state.json.broken-7"
    aside.mkdir()
    state = StateFile(path, unix_seconds=lambda: 7.0)
    assert (state.load(), state.rejected) == ({}, 1)
    assert warnings(caplog) == [f"state file {path} is not used: it is no JSON; it can't be renamed: Is a directory"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    link = tmp_path / "state.json"
    link.symlink_to(tmp_path / "data" / "state.json")
    assert StateFile(link).save(SECTIONS)
    assert link.is_symlink()
    assert names(tmp_path / "data") == ["state.json"]
    assert StateFile(link).load() == SECTIONS


def test_a_full_disk_is_told_once_and_leaves_the_old_state_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    path, disk = tmp_path / "state.json", Disk()
    state = StateFile(path, sync=disk.sync)
    assert state.save(SECTIONS)
    disk.full_at = 0
    assert [state.save({"baseline": {}}) for _ in range(3)] == [False, False, False]
    assert names(tmp_path) == ["state.json"]
    assert StateFile(path).load() == SECTIONS
    told = f"state file {path} can't be saved: No space left on device; what was learnt would not outlive a restart"
    assert warnings(caplog) == [told]
    disk.full_at = None
    assert [state.save({"baseline": {}}) for _ in range(2)] == [True, True]
    assert [record.getMessage() for record in caplog.records] == [told, f"state file {path} is saved again"]
    disk.full_at = 0
    assert not state.save(SECTIONS)
    assert warnings(caplog) == [told, told]


def test_a_file_system_that_can_t_force_its_folders_is_good_enough(tmp_path: Path) -> None:
    assert StateFile(tmp_path / "state.json", sync=Disk(full_at=2).sync).save(SECTIONS)


def test_a_state_that_would_not_be_loaded_is_not_saved(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = StateFile(tmp_path / "state.json")
    assert not state.save({"baseline": "x" * MOST_BYTES})
    assert names(tmp_path) == []
    assert f"more than {MOST_BYTES} bytes" in warnings(caplog)[0]


class StuckAtTheStart(StateFile):
    """A file that can't be looked at until its disk is let go."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, unix_seconds=lambda: 7.0)
        self.free = threading.Event()

    def load(self) -> dict[str, Any]:
        assert self.free.wait(SOON)
        return super().load()


def test_a_disk_that_hangs_at_the_start_is_an_empty_state_and_what_it_holds_outlives_the_next_save(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    StateFile(tmp_path / "state.json").save(SECTIONS)
    state = StuckAtTheStart(tmp_path / "state.json")
    assert state.load_within(0.01) == {}
    assert warnings(caplog) == [f"state file {state} can't be read within 0.01 s; what it holds is learnt anew"]
    state.free.set()
    assert state.save({"new": 1})
    assert state.save({"newer": 1})
    assert names(tmp_path) == ["state.json", "state.json.unread-7"]
    assert StateFile(tmp_path / "state.json.unread-7").load() == SECTIONS
    assert StateFile(tmp_path / "state.json").load() == {"newer": 1}


def test_a_disk_that_does_not_hang_is_waited_for(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "state.json")
    assert state.save(SECTIONS)
    assert state.load_within(SOON) == SECTIONS


class StuckDisk(Disk):
    """Brings nothing to the disk until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()
        self.free = threading.Event()

    def sync(self, descriptor: int) -> None:
        self.asked.set()
        assert self.free.wait(SOON)
        super().sync(descriptor)


def test_the_last_save_comes_after_the_one_under_way(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "state.json")
    saver = Saver(state)
    assert not saver.busy
    saver.begin({"first": 1})
    saver.finish(SECTIONS, seconds=SOON)
    assert not saver.busy
    assert state.load() == SECTIONS


def test_a_disk_that_hangs_holds_up_neither_a_save_nor_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    disk = StuckDisk()
    state = StateFile(tmp_path / "state.json", sync=disk.sync)
    saver = Saver(state)
    saver.begin({"first": 1})
    assert disk.asked.wait(SOON)
    assert saver.busy
    saver.finish(SECTIONS, seconds=0.01)
    assert warnings(caplog) == [f"state file {state.path} isn't saved within 0.01 s; what was learnt last is lost"]
    disk.free.set()
    saver.finish({"last": 1}, seconds=SOON)
    assert state.load() == {"last": 1}


def test_what_is_no_json_ends_whoever_saves_it_and_no_thread(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        Saver(StateFile(tmp_path / "state.json")).begin({"set": {1, 2}})


def test_what_is_no_json_is_a_mistake_of_the_program(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        StateFile(tmp_path / "state.json").save({"baseline": object()})
    assert names(tmp_path) == []


def test_a_crash_amid_a_save_leaves_the_old_state(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    StateFile(path).save(SECTIONS)
    crash = "import os, sys; from infermeter.state import StateFile; StateFile(sys.argv[1], sync=lambda _: os._exit(9)).save({})"
    assert subprocess.run([sys.executable, "-c", crash, str(path)], check=False).returncode == 9
    (left,) = (name for name in names(tmp_path) if name != "state.json")
    now = (tmp_path / left).stat().st_mtime
    early, late = (StateFile(path, unix_seconds=lambda age=age: now + age) for age in (1.0, ABANDONED_SECONDS + 1))  # type: ignore[misc]
    assert early.load() == SECTIONS
    assert names(tmp_path) == [left, "state.json"]
    assert late.load() == SECTIONS
    assert names(tmp_path) == ["state.json"]


def test_of_many_that_save_at_once_one_wins_and_none_reads_a_torn_state(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    states = [{f"owner{i}": "x" * 100_000} for i in range(4)]
    StateFile(path).save(states[0])

    def save(state: dict[str, Any]) -> list[dict[str, Any]]:
        file, read = StateFile(path, sync=lambda _: None), []
        for _ in range(25):
            assert file.save(state)
            read.append(file.load())
        assert file.rejected == 0
        return read

    with ThreadPoolExecutor(len(states)) as threads:
        assert all(read in states for reads in threads.map(save, states) for read in reads)
    assert names(tmp_path) == ["state.json"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(sections=st.dictionaries(st.text(), VALUES, max_size=4))
def test_whatever_is_saved_is_loaded(tmp_path_factory: pytest.TempPathFactory, sections: dict[str, Any]) -> None:
    state = StateFile(tmp_path_factory.mktemp("state") / "state.json", sync=lambda _: None)
    assert state.save(sections)
    assert state.load() == sections
