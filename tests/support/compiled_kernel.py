"""The kernel's library, compiled from the working tree; once for each text of its source."""

from __future__ import annotations

import hashlib
import os
import subprocess
from functools import cache
from pathlib import Path

from infermeter.otlp.kernel_library import Library

SOURCES = Path(__file__).parents[2] / "exporter" / "kernel" / "src"
FLAGS = (
    *("-std=c11", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-fstack-protector-strong", "-D_FORTIFY_SOURCE=2"),
    *("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Wmissing-prototypes", "-Wstrict-prototypes", "-Werror"),
)
KEPT = Path(__file__).parents[2] / ".cache" / "kernel"


def compiled(sources: Path, *others: Path, flags: tuple[str, ...]) -> Path:
    """What becomes of a folder of C, and of other files of C with it, under `.cache`."""
    files = [*sorted(sources.glob("*.c")), *others]
    made_of = [" ".join(flags).encode(), *(path.read_bytes() for path in (*files, *sorted(sources.glob("*.h"))))]
    path = KEPT / hashlib.sha256(b"\0".join(made_of)).hexdigest()[:16]
    if not path.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(f".{os.getpid()}")  # others may be at it too
        subprocess.run(["gcc", *flags, "-I", sources, "-o", new, *files], check=True)
        new.replace(path)
    return path


@cache
def library() -> Library:
    return Library(compiled(SOURCES, flags=FLAGS))
