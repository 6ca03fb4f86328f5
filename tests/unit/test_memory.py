"""The limit on resident memory: configured, or a share of the cgroup's."""

from __future__ import annotations

import resource
from pathlib import Path

from infermeter.memory import CGROUP_LIMITS, Memory, tune_allocator

V2, V1 = CGROUP_LIMITS


def root_with(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True)
    file.write_text(text)
    return folder


def test_a_configured_limit_wins_over_the_cgroup(tmp_path: Path) -> None:
    assert Memory(1, root=root_with(tmp_path, V2, "1000000\n")).limit_bytes == 1


def test_nine_tenths_of_the_cgroups_limit_are_the_default(tmp_path: Path) -> None:
    assert Memory(None, root=root_with(tmp_path, V2, "1000000\n")).limit_bytes == 900_000


def test_version_1_is_read_where_version_2_is_not_mounted(tmp_path: Path) -> None:
    assert Memory(None, root=root_with(tmp_path, V1, "2000000\n")).limit_bytes == 1_800_000


def test_a_cgroup_without_a_limit_is_none(tmp_path: Path) -> None:
    assert Memory(None, root=root_with(tmp_path, V2, "max\n")).limit_bytes is None


def test_a_limit_above_the_machines_memory_is_none(tmp_path: Path) -> None:
    assert Memory(None, root=root_with(tmp_path, V1, "9223372036854771712\n")).limit_bytes is None


def test_without_a_limit_nothing_exceeds_it(tmp_path: Path) -> None:
    assert not Memory(None, root=tmp_path).exceeded()


def test_a_process_above_its_limit_exceeds_it() -> None:
    assert Memory(1).exceeded()
    assert not Memory(2**50).exceeded()


def test_the_allocator_can_be_tuned_on_any_c_library() -> None:
    tune_allocator()

    assert bytearray(1 << 23)


def test_a_size_that_cannot_be_read_is_as_it_was() -> None:
    memory = Memory(1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        memory.refresh()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert memory.exceeded()
