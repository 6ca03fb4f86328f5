"""Virtual environments for real servers, made once and kept under `.cache/`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from e2e.processes import CACHE


def environment(name: str, install: Callable[[Path], None]) -> Path:
    """The folder of the environment `name`; `install(folder)` fills it the first time. A half-made one is made anew."""
    folder = CACHE / name
    complete = folder / "complete"
    if not complete.exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        install(folder)
        complete.touch()
    return folder


def pip(folder: Path, *arguments: str | Path) -> None:
    """Runs the environment's pip. Raises: RuntimeError with the end of what it said."""
    done = subprocess.run([folder / "bin" / "python", "-m", "pip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"pip {' '.join(map(str, arguments))}: {done.stderr[-1000:]}")


def site_packages(folder: Path) -> Path:
    """Where the environment's packages lie."""
    (site,) = folder.glob("lib/python3*/site-packages")
    return site
