"""The process's memory: its limit, beyond which exports are refused, and what the allocator is told."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from time import monotonic
from typing import Final

import psutil

_LIBC: Final = ctypes.CDLL(None)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_KEPT_BYTES = 8 << 20
_MAPPED_BYTES = 4 << 20

CGROUP_LIMITS: Mapping[str, tuple[str, str]] = {
    "": ("sys/fs/cgroup", "memory.max"),
    "memory": ("sys/fs/cgroup/memory", "memory.limit_in_bytes"),
}
"""Where the limits of version 2 and of version 1 are, by the controller that /proc/self/cgroup names for them.

Source: kernel documentation, admin-guide/cgroup-v2 and cgroup-v1/memory; cgroups(7).
"""

CGROUP_BYTES = 65_536
"""Of /proc/self/cgroup: there are some ten lines."""

SHARE_RATIO = 0.9
"""Of the cgroup's limit, where the configuration sets none."""


TIDY_SECONDS = 60.0
"""How often garbage is looked for, so that ended connections don't pile up."""

TRIM_SECONDS = 10.0
"""How often what the allocator keeps is returned, so that the largest burst of the day doesn't stay. It takes a millisecond."""

LOOK_SECONDS = 0.05
"""How old what is known of the size may be while it is asked for: a flood can fill much between two refreshes."""


class Memory:
    """The process's resident size against its limit: whether it is above, until a `refresh` finds it below."""

    def __init__(self, limit_bytes: int | None, *, root: Path = Path("/"), monotonic: Callable[[], float] = monotonic) -> None:
        """`limit_bytes` None: SHARE_RATIO of the least limit of its cgroups, read below `root`; no limit where there is none.

        `monotonic` in seconds.
        """
        self.limit_bytes = limit_bytes if limit_bytes is not None else _share_of_cgroup(root)
        self._process = psutil.Process()
        self._monotonic = monotonic
        self._over = False
        self._looked = self._tidied = self._trimmed = monotonic()
        self.refresh()

    def refresh(self) -> None:
        """Reads the resident size; above the limit, once more after what nothing uses was returned. Unreadable: it stays.

        To be called every second or so: garbage is looked for, and memory returned, every now and then in any case.
        """
        now = self._monotonic()
        if now - self._tidied >= TIDY_SECONDS:
            self._tidied = now
            gc.collect()
        if now - self._trimmed >= TRIM_SECONDS:
            self._trimmed = now
            _trim()
        with suppress(OSError):  # no more files may be open
            self._over = self._is_over()
            if self._over:
                _return_what_is_kept()
                self._over = self._is_over()

    def _is_over(self) -> bool:
        return self.limit_bytes is not None and self._process.memory_info().rss > self.limit_bytes

    def exceeded(self) -> bool:
        """Whether the process is above its limit, as of LOOK_SECONDS ago at most; or was, and no refresh has found it below since."""
        now = self._monotonic()
        if not self._over and now - self._looked >= LOOK_SECONDS:
            self._looked = now
            with suppress(OSError):
                self._over = self._is_over()
        return self._over


def _share_of_cgroup(root: Path) -> int | None:
    """SHARE_RATIO of the least limit of the process's cgroup and of those that it lies in; None: none limits it more than the machine."""
    least = min(_limits(root), default=None)
    return None if least is None or least >= psutil.virtual_memory().total else int(least * SHARE_RATIO)


def _limits(root: Path) -> Iterator[int]:
    """In a container the mounted tree may begin at its own cgroup, whatever the path: so what isn't there is passed over."""
    for controller, path in {"": "/", "memory": "/"}.items() | _own_cgroups(root):
        mount, name = CGROUP_LIMITS[controller]
        for folder in (PurePosixPath(path), *PurePosixPath(path).parents):
            text = _text(root / mount / folder.relative_to("/") / name).strip()
            if text.isdecimal():
                yield int(text)


def _own_cgroups(root: Path) -> set[tuple[str, str]]:
    """Controller and path of the cgroups that may limit memory."""
    lines = (line.split(":", 2) for line in _text(root / "proc/self/cgroup").splitlines())
    return {
        (controller, fields[2])
        for fields in lines
        if len(fields) == 3 and fields[2].startswith("/") and ".." not in fields[2].split("/")
        for controller in fields[1].split(",")
        if controller in CGROUP_LIMITS
    }


def _text(path: Path) -> str:
    """What a file of the kernel's holds; "": it isn't there, or can't be read."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(CGROUP_BYTES)
    except OSError:
        return ""


def _return_what_is_kept() -> None:
    """Memory that nothing uses goes back to the kernel. Source: malloc_trim(3); other C libraries than glibc are told nothing.

    Every connection that has ended hangs in a cycle of asyncio's own, some 2 kB of it, and a body may in one of what failed over it.
    Garbage is looked for as objects are made, and beside so few as live on here that may take an hour: so it is looked for here.
    """
    gc.collect()
    _trim()


def _trim() -> None:
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)


def tune_allocator() -> None:
    """Tells glibc's allocator what a long-running sidecar is like; before any thread is started. Other C libraries are told nothing.

    Bodies of some hundred kilobytes come and go: memory for them is kept, not returned to the kernel and cleared by it each time, and
    all threads share one arena. Source: mallopt(3).
    """
    if hasattr(_LIBC, "mallopt"):
        for parameter, value in ((_M_TRIM_THRESHOLD, _KEPT_BYTES), (_M_MMAP_THRESHOLD, _MAPPED_BYTES), (_M_ARENA_MAX, 1)):
            _LIBC.mallopt(parameter, value)
