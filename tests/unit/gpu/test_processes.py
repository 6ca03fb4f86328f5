"""Process trees, of processes that each test starts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from infermeter.errors import GpuUnavailable
from infermeter.gpu.processes import age_seconds, is_there, process_tree

GRANDCHILD = "import sys; print('ready', flush=True); sys.stdin.read()"
CHILD = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {GRANDCHILD!r}], stdin=sys.stdin, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""


@contextmanager
def family() -> Iterator[tuple[int, int]]:
    """A process that has started another one; the pids of both."""
    with subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        yield child.pid, int(child.stdout.readline())
        assert child.stdin is not None
        child.stdin.close()
        child.wait()


def test_a_tree_holds_the_process_and_what_its_children_started() -> None:
    with family() as (child, grandchild):
        assert process_tree(child) == {child, grandchild}
        assert process_tree(grandchild) == {grandchild}
        assert {os.getpid(), child, grandchild} <= process_tree(os.getpid())


def test_a_process_that_has_ended_has_no_tree_whether_or_not_its_exit_code_was_asked_for() -> None:
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.read()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(GpuUnavailable, match=f"process {child.pid} has ended"):
            process_tree(child.pid)
        child.wait()
        with pytest.raises(GpuUnavailable, match=f"there is no process {child.pid} here, or it can't be seen"):
            process_tree(child.pid)
        assert age_seconds(child.pid) is None


def test_a_process_that_was_started_just_now_is_younger_than_the_one_that_started_it() -> None:
    with family() as (child, grandchild):
        ages = [age_seconds(pid) for pid in (os.getpid(), child, grandchild)]
    assert None not in ages
    assert ages == sorted(ages, key=lambda age: -(age or 0.0))
    assert all(age is not None and age >= 0 for age in ages)


@pytest.mark.parametrize("pid", [0xFFFFFFFF, 2**63])
def test_a_number_that_is_no_pid_is_nobody(pid: int) -> None:
    assert not is_there(pid)
    assert age_seconds(pid) is None


def test_this_process_is_there() -> None:
    assert is_there(os.getpid())
