"""A share of one processor for a process and its children, as a container's limit makes it. Only root may; Linux alone has it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

PERIOD_US: Final = 100_000
ROOT: Final = Path("/sys/fs/cgroup")


@contextmanager
def share_of_a_processor(ratio: float) -> Iterator[str]:
    """A line of shell by which a process takes its place there; gone when this ends. Source: kernel documentation, cgroup v1 and v2."""
    quota_us = round(ratio * PERIOD_US)
    is_unified = (ROOT / "cgroup.controllers").exists()
    folder = (ROOT if is_unified else ROOT / "cpu") / f"infermeter-{os.getpid()}"
    if is_unified:
        (ROOT / "cgroup.subtree_control").write_text("+cpu")
    folder.mkdir()
    try:
        if is_unified:
            (folder / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
        else:
            (folder / "cpu.cfs_period_us").write_text(f"{PERIOD_US}")
            (folder / "cpu.cfs_quota_us").write_text(f"{quota_us}")
        yield f"echo $$ > {folder}/cgroup.procs"
    finally:
        folder.rmdir()
