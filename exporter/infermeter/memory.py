"""How much memory the process may take: beyond it, exports are refused, so that the sidecar never takes memory from its server."""

from __future__ import annotations

from pathlib import Path

import psutil

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
        """Reads the resident size."""
        self._over = self.limit_bytes is not None and self._process.memory_info().rss > self.limit_bytes

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
