"""Disks that are full, read-only, foreign or hang: what was learnt may be lost, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from faults.preloading import HANGING_FILE, preloaded
from faults.serving import CONFIG, Sidecar, export, serving

pytestmark = pytest.mark.faults

NOBODY = 65534
KEPT = b'{"schema": 1, "sections": {"of a later version": {}}}'


def with_state(path: Path) -> str:
    return f"{CONFIG}state_file: {path}\n"


def serves(sidecar: Sidecar) -> None:
    """An inference arrives and is counted."""
    assert sidecar.send(export(1))[0] == 200
    sidecar.until(lambda: sidecar.value("inferences_observed_total", model="m", outcome="ok") == 1)


def warnings(sidecar: Sidecar) -> list[str]:
    return [line.partition(": ")[2] for line in sidecar.lines if " WARNING " in line]


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A small file system of its own; only root can have one."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts")
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], check=True)
    try:
        for option in options:
            subprocess.run(["mount", "-o", f"remount,{option}", str(folder)], check=True)
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_once_and_leaves_what_was_saved_before(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk") as disk:
        (disk / "state.json").write_bytes(KEPT)
        with pytest.raises(OSError, match="No space left"):
            (disk / "full").write_bytes(bytes(1 << 20))
        with serving(tmp_path, with_state(disk / "state.json")) as sidecar:
            serves(sidecar)
            assert sidecar.stopped()[0] == 0
        assert (disk / "state.json").read_bytes() == KEPT
        assert sorted(path.name for path in disk.iterdir()) == ["full", "state.json"]
    (told,) = warnings(sidecar)
    assert told.endswith("can't be saved: No space left on device; what was learnt would not outlive a restart")


def test_a_read_only_disk_is_told_once(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "ro") as disk, serving(tmp_path, with_state(disk / "state.json")) as sidecar:
        serves(sidecar)
        assert sidecar.stopped()[0] == 0
    (told,) = warnings(sidecar)
    assert "can't be saved: Read-only file system" in told


def test_a_file_size_limit_is_told_and_ends_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    with serving(tmp_path, with_state(path), shell="ulimit -f 0") as sidecar:
        serves(sidecar)
        assert sidecar.stopped()[0] == 0
    assert not path.exists()
    (told,) = warnings(sidecar)
    assert "can't be saved: File too large" in told


def test_a_folder_that_is_not_there_is_told_once(tmp_path: Path) -> None:
    with serving(tmp_path, with_state(tmp_path / "nowhere" / "state.json")) as sidecar:
        serves(sidecar)
        assert sidecar.stopped()[0] == 0
    (told,) = warnings(sidecar)
    assert "can't be saved: No such file or directory" in told


def test_a_file_of_another_user_is_left_alone() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root becomes another user")
    wrapped = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    with TemporaryDirectory() as name:  # pytest's own folders are closed to others
        folder = Path(name)
        folder.chmod(0o755)
        path = folder / "state.json"
        path.write_bytes(KEPT)
        path.chmod(0o600)
        with serving(folder, with_state(path), wrapped=wrapped) as sidecar:
            serves(sidecar)
            assert sidecar.stopped()[0] == 0
        assert path.read_bytes() == KEPT
    loaded, saved = warnings(sidecar)
    assert "is not used: Permission denied; it can't be renamed: Permission denied" in loaded
    assert "can't be saved: Permission denied" in saved


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"schema": 1, "sections": {', "it is no JSON"),
        (b'{"schema": 9, "sections": {}}', "it is no state of schema 1"),
        (b" " * ((16 << 20) + 1), "it has more than 16777216 bytes"),
        (None, "Is a directory"),
    ],
    ids=["truncated", "newer", "huge", "folder"],
)
def test_a_file_that_cannot_be_used_is_put_away_counted_and_told(content: bytes | None, told: str, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with serving(tmp_path, with_state(path)) as sidecar:
        serves(sidecar)
        assert sidecar.value("state_files_rejected_total") == 1
        assert sidecar.stopped()[0] == 0
    assert told in warnings(sidecar)[0]
    assert path.is_dir() if content is None else json.loads(path.read_bytes())["schema"] == 1


def test_a_disk_that_hangs_at_the_start_keeps_nobody_waiting(tmp_path: Path) -> None:
    path = tmp_path / "hangs.json"
    path.write_bytes(KEPT)
    with serving(tmp_path, with_state(path), environment=preloaded(tmp_path, HANGING_FILE)) as sidecar:
        serves(sidecar)
        assert sidecar.stopped()[0] == 0
    assert "can't be read within 1 s; what it holds is learnt anew" in warnings(sidecar)[0]


def test_what_was_saved_outlives_a_kill_and_the_counters_begin_anew(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    with serving(tmp_path, with_state(path)) as sidecar:
        serves(sidecar)
        assert sidecar.stopped()[0] == 0
    saved = path.read_bytes()
    with serving(tmp_path, with_state(path)) as sidecar:
        assert sidecar.value("inferences_observed_total") in (None, 0)
        serves(sidecar)
        sidecar.process.kill()
        sidecar.process.wait()
    assert path.read_bytes() == saved
    with serving(tmp_path, with_state(path)) as sidecar:
        serves(sidecar)
        assert sidecar.value("state_files_rejected_total") == 0
        assert sidecar.stopped()[0] == 0
    assert warnings(sidecar) == []
