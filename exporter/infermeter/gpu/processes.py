"""A server's process and all that it started, as the system tells it. psutil's errors don't leave this module."""

from __future__ import annotations

import time
from typing import Final

import psutil

from infermeter.errors import GpuUnavailable

MOST: Final = 65_536
"""Processes of one tree that are looked at."""


def process_tree(pid: int) -> frozenset[int]:
    """The process and all its descendants; at least `pid` itself. A process that ends meanwhile is there or isn't.

    Workers that a server starts as processes of their own compute under their own pids. Raises: GpuUnavailable where there is no such
    process, where it has ended and nobody has asked for its exit code yet, and where it can't be seen.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            raise GpuUnavailable(f"process {pid} has ended")
        children = process.children(recursive=True)
    except (psutil.Error, OSError) as error:
        raise GpuUnavailable(f"there is no process {pid} here, or it can't be seen") from error
    return frozenset((pid, *(child.pid for child in children[:MOST])))


def is_there(pid: int) -> bool:
    """Whether a process of this pid is seen here; a driver may tell numbers that are none, such as 4294967295."""
    try:
        return psutil.pid_exists(pid)
    except OverflowError:
        return False


def age_seconds(pid: int) -> float | None:
    """How long ago a process began, in seconds of wall-clock time; None if it isn't there or can't be seen."""
    try:
        return max(0.0, time.time() - psutil.Process(pid).create_time())
    except (psutil.Error, OSError):
        return None
