"""The kernel's library, compiled from the working tree; once for each text of its source."""

from __future__ import annotations

import hashlib
import os
import subprocess
from functools import cache
from pathlib import Path

from infermeter.otlp.kernel_library import Library

SOURCE = Path(__file__).parents[2] / "exporter" / "kernel" / "kernel.c"
FLAGS = ("-std=c11", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
HARDENED = ("-fstack-protector-strong", "-D_FORTIFY_SOURCE=2")
KEPT = Path(__file__).parents[2] / ".cache" / "kernel"


def compiled(*sources: Path, flags: tuple[str, ...]) -> Path:
    """What becomes of C files, under `.cache`."""
    made_of = [" ".join(flags).encode(), *(source.read_bytes() for source in sources)]
    path = KEPT / hashlib.sha256(b"\0".join(made_of)).hexdigest()[:16]
    if not path.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(f".{os.getpid()}")  # others may be at it too
        subprocess.run(["gcc", *flags, "-o", new, *sources], check=True)
        new.replace(path)
    return path


@cache
def library() -> Library:
    return Library(compiled(SOURCE, flags=(*FLAGS, *HARDENED)))
