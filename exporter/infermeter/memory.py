"""The process's memory: its limit, beyond which exports are refused, and what the allocator is told."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from pathlib import Path

import psutil

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_KEPT_BYTES = 8 << 20
_MAPPED_BYTES = 4 << 20

CGROUP_LIMITS = ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Version 2, then version 1. Source: kernel documentation, admin-guide/cgroup-v2 and cgroup-v1/memory."""

SHARE_RATIO = 0.9
"""Of the cgroup's limit, where the configuration sets none."""


class Memory:
    """The process's resident size against its limit, as of the last `refresh`."""

    def __init__(self, limit_bytes: int | None, *, root: Path = Path("/")) -> None:
        """`limit_bytes` None: SHARE_RATIO of the cgroup's limit, read below `root`; no limit where there is none."""
        self.limit_bytes = limit_bytes if limit_bytes is not None else _share_of_cgroup(root)
        self._process = psutil.Process()
        self._over = False
        self.refresh()

    def refresh(self) -> None:
        """Reads the resident size; above the limit, once more after what the allocator keeps was returned. Unreadable: it stays."""
        with suppress(OSError):  # no more files may be open
            self._over = self._is_over()
            if self._over:
                _return_what_is_kept()
                self._over = self._is_over()

    def _is_over(self) -> bool:
        return self.limit_bytes is not None and self._process.memory_info().rss > self.limit_bytes

    def exceeded(self) -> bool:
        """Whether the process was above its limit at the last refresh."""
        return self._over


def _share_of_cgroup(root: Path) -> int | None:
    for name in CGROUP_LIMITS:
        try:
            text = (root / name).read_text().strip()
        except OSError:
            continue
        limit_bytes = int(text) if text.isdecimal() else None
        if limit_bytes is not None and limit_bytes < psutil.virtual_memory().total:
            return int(limit_bytes * SHARE_RATIO)
    return None


def _return_what_is_kept() -> None:
    """Memory that nothing uses goes back to the kernel. Source: malloc_trim(3); other C libraries than glibc are told nothing."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


def tune_allocator() -> None:
    """Tells glibc's allocator what a long-running sidecar is like; before any thread is started. Other C libraries are told nothing.

    Bodies of some hundred kilobytes come and go: memory for them is kept, not returned to the kernel and cleared by it each time, and
    all threads share one arena. Source: mallopt(3).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in ((_M_TRIM_THRESHOLD, _KEPT_BYTES), (_M_MMAP_THRESHOLD, _MAPPED_BYTES), (_M_ARENA_MAX, 1)):
            mallopt(parameter, value)
