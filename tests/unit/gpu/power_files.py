"""Power files written for one test."""

from __future__ import annotations

import gzip
from pathlib import Path

GPU_0 = "GPU-00000000-5e1f-4000-8000-000000000000"
RECORDINGS = Path(__file__).parents[2] / "recordings"


def written(folder: Path, *lines: str, name: str = "power.csv", end: str = "\n") -> Path:
    """A file of these lines, packed if its name ends in .gz."""
    path = folder / name
    data = ("\n".join(lines) + end).encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path
