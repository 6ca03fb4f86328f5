"""The state file: what was learnt and is worth keeping over a restart. One JSON file, `{"schema": 1, "sections": {...}}`.

Each owner has a section, whose content and version are its own business. Nothing here knows what a section holds. All of it blocks.
"""

from __future__ import annotations

import logging
import os
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from queue import Empty, Queue
from typing import Any, Final, Literal

import orjson

log = logging.getLogger(__name__)

SCHEMA: Final = 1
MOST_BYTES: Final = 16 << 20
KEPT: Final = 3
"""Files that were put away and stay beside it, for whoever wants to know what was in them; the oldest goes first."""

ABANDONED_SECONDS: Final = 3600.0
"""A half-written file of this age belongs to a process that ended amid it."""


class _Broken(Exception):
    """A file that is there and can't be used."""


class StateFile:
    """One file that is whole at every instant, also when the machine stops amid a save. Of two processes that save, the last wins."""

    def __init__(
        self,
        path: str | Path,
        *,
        unix_seconds: Callable[[], float] = time.time,
        sync: Callable[[int], None] = os.fsync,
    ) -> None:
        """`path` may be a link: what it leads to is replaced, not the link. `sync` brings what a descriptor was given to the disk.

        Nothing is looked at yet: also that can hang.
        """
        self._named = Path(path)
        self.rejected = 0
        self._unix_seconds = unix_seconds
        self._sync = sync
        self._failing = False
        self._unread = False

    def __str__(self) -> str:
        """Its path, as it was given."""
        return str(self._named)

    @cached_property
    def path(self) -> Path:
        """What the given path leads to, as of the first look."""
        return Path(os.path.realpath(self._named))

    def load(self) -> dict[str, Any]:
        """The sections by name; empty where there is no file. A file that can't be used is renamed away, counted and told once."""
        self._tidy()
        try:
            return self._sections()
        except FileNotFoundError:
            return {}
        except (OSError, _Broken) as error:
            self.rejected += 1
            told = _reason(error)
            log.warning("state file %s is not used: %s; %s", self, told, self._put_away("broken"))
            return {}

    def load_within(self, seconds: float) -> dict[str, Any]:
        """As `load`, but a disk that hangs keeps nobody longer than this: then empty.

        What is there then was learnt, and is put away before it would be written over.
        """
        loaded: Queue[dict[str, Any]] = Queue()
        threading.Thread(target=lambda: loaded.put(self.load()), name="state", daemon=True).start()
        try:
            return loaded.get(timeout=seconds)
        except Empty:
            self._unread = True
            log.warning("state file %s can't be read within %g s; what it holds is learnt anew", self, seconds)
            return {}

    def save(self, sections: Mapping[str, Any]) -> bool:
        """Writes all sections in place of what was there; whether that worked. That it didn't is told once until it does again.

        Raises: TypeError for what is no JSON.
        """
        return self.write(content_of(sections))

    def write(self, content: bytes) -> bool:
        """As `save`, of what `content_of` has made of the sections."""
        try:
            self._replace(content)
        except (OSError, _Broken) as error:
            if not self._failing:
                log.warning("state file %s can't be saved: %s; what was learnt would not outlive a restart", self, _reason(error))
            self._failing = True
            return False
        if self._failing:
            log.info("state file %s is saved again", self)
        self._failing = False
        return True

    def _sections(self) -> dict[str, Any]:
        with os.fdopen(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _Broken("it is no file")
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise _Broken(f"it has more than {MOST_BYTES} bytes")
        try:
            state = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise _Broken("it is no JSON") from error
        if not isinstance(state, dict) or state.get("schema") != SCHEMA or not isinstance(state.get("sections"), dict):
            raise _Broken(f"it is no state of schema {SCHEMA}")
        return dict(state["sections"])

    def _put_away(self, kind: Literal["broken", "unread"]) -> str:
        """Renames the file, so that the next save destroys nothing; what became of it."""
        if not self._is_ours():
            return "it stays where it is"
        aside = self.path.with_name(f"{self.path.name}.{kind}-{self._unix_seconds():.0f}")
        try:
            self.path.rename(aside)
            for old in sorted(self.path.parent.glob(f"{_literal(self.path.name)}.{kind}-*"), key=_age)[KEPT:]:
                old.unlink(missing_ok=True)
        except OSError as error:
            return f"it can't be renamed: {_reason(error)}"
        return f"renamed to {aside.name}"

    def _replace(self, content: bytes) -> None:
        """Writes aside in the same folder, where a rename is one step, and forces each to the disk before the next."""
        if len(content) > MOST_BYTES:
            raise _Broken(f"it would have more than {MOST_BYTES} bytes")
        if os.path.lexists(self.path) and not self._is_ours():
            raise _Broken("what is there is no file")
        if self._unread:
            log.info("state file %s, which couldn't be read in time: %s", self, self._put_away("unread"))
            self._unread = False
        descriptor, name = tempfile.mkstemp(prefix=self._aside, dir=self.path.parent)  # readable by its owner alone
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                self._sync(file.fileno())
            Path(name).replace(self.path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
        with suppress(OSError):  # some file systems can't: then the rename reaches the disk when they see fit, and nothing is torn
            self._sync_folder()

    def _is_ours(self) -> bool:
        """Whether a file is there. A device, a socket, a folder is nothing of ours: nothing is renamed over /dev/null."""
        with suppress(OSError):
            return stat.S_ISREG(self.path.lstat().st_mode)
        return False

    def _sync_folder(self) -> None:
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._sync(folder)
        finally:
            os.close(folder)

    def _tidy(self) -> None:
        """Removes what processes left that ended amid a save."""
        with suppress(OSError):
            for left in self.path.parent.glob(f"{_literal(self._aside)}*"):
                if left.stat().st_mtime < self._unix_seconds() - ABANDONED_SECONDS:
                    left.unlink(missing_ok=True)

    @property
    def _aside(self) -> str:
        return f".{self.path.name}.new-"


class Saver:
    """Saves in threads of its own, one at a time: a disk that hangs holds up neither the loop nor the end of the process."""

    def __init__(self, state: StateFile) -> None:
        """`state` is what is written to."""
        self._state = state
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """Whether a save hasn't ended."""
        return self._thread is not None and self._thread.is_alive()

    def begin(self, sections: Mapping[str, Any]) -> None:
        """Starts to save; while none is under way. Raises: TypeError for what is no JSON."""
        self._thread = thread = threading.Thread(target=self._state.write, args=(content_of(sections),), name="state", daemon=True)
        thread.start()

    def finish(self, sections: Mapping[str, Any], *, seconds: float) -> None:
        """Saves for the last time, after what is under way; waits for both no longer than this. Raises: TypeError, likewise."""
        ends = time.monotonic() + seconds
        self._wait(seconds)
        if not self.busy:
            self.begin(sections)
            self._wait(ends - time.monotonic())
        if self.busy:
            log.warning("state file %s isn't saved within %.2g s; what was learnt last is lost", self._state, seconds)

    def _wait(self, seconds: float) -> None:
        if self._thread is not None:
            self._thread.join(max(seconds, 0.0))


def content_of(sections: Mapping[str, Any]) -> bytes:
    """The file's content. Raises: TypeError for what is no JSON."""
    return orjson.dumps({"schema": SCHEMA, "sections": dict(sections)})


def _age(path: Path) -> int:
    """Orders files that were put away: the latest first."""
    seconds = path.name.rpartition("-")[2]
    return -int(seconds) if seconds.isdecimal() else 0


def _literal(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _reason(error: Exception) -> str:
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)
