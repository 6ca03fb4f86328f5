"""Texts that are compared with a committed file. `WRITE_GOLDEN=1` writes the file anew; the diff is then the review."""

from __future__ import annotations

import os
from pathlib import Path


def assert_golden(path: Path, text: str) -> None:
    if os.environ.get("WRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{path.name} differs; WRITE_GOLDEN=1 writes it anew"
