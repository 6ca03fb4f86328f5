"""The limit on resident memory: configured, or a share of the cgroup's."""

from __future__ import annotations

import resource
import weakref
from pathlib import Path

import psutil
import pytest

from infermeter.memory import LOOK_SECONDS, TIDY_SECONDS, Memory, tune_allocator

V2, V1 = "sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"


def root_with(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
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


def limits(folder: Path, own: str, files: dict[str, str]) -> Memory:
    """The memory of a process in these cgroups, as /proc/self/cgroup tells them."""
    for path, text in {"proc/self/cgroup": own, **{f"sys/fs/cgroup/{path}": text for path, text in files.items()}}.items():
        root_with(folder, path, text)
    return Memory(None, root=folder)


@pytest.mark.parametrize(
    ("own", "files", "limit_bytes"),
    [
        ("0::/system.slice/infermeter.service\n", {"system.slice/infermeter.service/memory.max": "1000000\n"}, 900_000),
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "2000000\n"}, 1_800_000),
        ("0::/a/b\n", {"a/b/memory.max": "3000000\n", "a/memory.max": "2000000\n", "memory.max": "max\n"}, 1_800_000),
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "max\n"}, None),
        ("0::/beyond/the/mount\n", {"memory.max": "1000000\n"}, 900_000),
        ("9:cpu,memory:/docker/x\n0::/\n", {"memory/docker/x/memory.limit_in_bytes": "4000000\n"}, 3_600_000),
        (
            "4:memory:/a\n",
            {"memory/memory.limit_in_bytes": "9223372036854771712\n", "memory/a/memory.limit_in_bytes": "5000000"},
            4_500_000,
        ),
        ("0::/../../sibling\n", {"../sibling/memory.max": "1\n"}, None),
        ("nonsense\n1:cpuset:/a\n0:relative\n", {"a/memory.max": "1\n"}, None),
        ("0::/a\n", {"a/memory.max": "\ufffd"}, None),
    ],
    ids=["service", "parent", "least", "max", "namespace", "v1", "v1 parent", "outside", "nonsense", "no number"],
)
def test_the_least_limit_of_its_cgroup_and_those_above_counts(
    own: str, files: dict[str, str], limit_bytes: int | None, tmp_path: Path
) -> None:
    assert limits(tmp_path, own, files).limit_bytes == limit_bytes


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


class Body:
    own: object


def in_a_cycle() -> weakref.ref[Body]:
    """What nothing holds but itself."""
    body = Body()
    body.own = body
    return weakref.ref(body)


def test_above_the_limit_what_hangs_in_a_cycle_is_let_go() -> None:
    memory, body = Memory(1), in_a_cycle()
    memory.refresh()
    assert body() is None
    assert memory.exceeded()


def test_below_it_what_hangs_in_a_cycle_is_let_go_once_a_minute() -> None:
    seconds = 0.0
    memory, body = Memory(2**50, monotonic=lambda: seconds), in_a_cycle()
    seconds = TIDY_SECONDS - 1
    memory.refresh()
    assert body() is not None
    seconds = TIDY_SECONDS
    memory.refresh()
    assert body() is None
    body = in_a_cycle()
    seconds = 2 * TIDY_SECONDS - 1
    memory.refresh()
    assert body() is not None


def test_growth_between_two_refreshes_is_seen_and_only_a_refresh_finds_that_it_is_over() -> None:
    seconds = 0.0
    memory = Memory(psutil.Process().memory_info().rss + (64 << 20), monotonic=lambda: seconds)
    held = b"\1" * (192 << 20)
    assert not memory.exceeded()
    seconds += LOOK_SECONDS
    assert memory.exceeded()
    del held
    seconds += LOOK_SECONDS
    assert memory.exceeded()
    memory.refresh()
    assert not memory.exceeded()
