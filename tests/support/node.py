"""What tests need from npm, in a folder that is kept between runs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

INSTALL_SECONDS = 300


def installed(pinned: Path, folder: Path) -> Path:
    """`folder` with what package.json and package-lock.json in `pinned` say in its node_modules; it stays while these are the same."""
    lock = folder / "package-lock.json"
    if not (folder / "node_modules").is_dir() or not lock.is_file() or lock.read_text() != (pinned / lock.name).read_text():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", lock.name):
            shutil.copy(pinned / name, folder / name)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
        assert done.returncode == 0, done.stderr
    return folder
