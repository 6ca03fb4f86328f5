"""What some files hold, read anew soon after one has changed: certificates, tokens and passwords are renewed under a running sidecar."""

from __future__ import annotations

import time
from asyncio import get_running_loop
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar

from infermeter.errors import Answered, ConfigError, ConfigErrors
from infermeter.polling import Poller

T = TypeVar("T")

INTERVAL_SECONDS: Final = 5.0
"""Between two looks at the files; what two of them find alike and new is read."""

TIMEOUT_SECONDS: Final = 10.0

_Look: TypeAlias = tuple[tuple[int, int, int, int] | None, ...]


class Held(NamedTuple, Generic[T]):
    """What files hold, and which these are."""

    content: T
    files: tuple[Path, ...]


class FileWatch(Generic[T]):
    """`current` is what the files held when they last could be taken; a change that can't be is told in the log, once."""

    def __init__(
        self,
        name: str,
        read: Callable[[], Held[T]],
        *,
        refused: Callable[[T, T], str | None],
        fail: Callable[[Exception], None],
        interval_seconds: float = INTERVAL_SECONDS,
    ) -> None:
        """Reads at once, and blocks for that. `name` is a singular noun for the log.

        `read` raises ConfigErrors or ConfigError; so does this. `refused` says why what is read can't follow what there was; None: it can.
        `fail` is told what must end the process.
        """
        self._name = name
        self._read = read
        self._refused = refused
        self._fail = fail
        self._interval_seconds = interval_seconds
        held = read()
        self.current = held.content
        self._files = held.files
        self._seen = _look(self._files)
        self._taken: _Look | None = None
        """What was read last; None: they may have changed while they were read, and are read once more."""
        self._poller: Poller[T | None] | None = None

    def start(self) -> None:
        """Begins to look at the files, on a thread, unless it has begun; returns at once. Called on the loop."""
        if self._poller is not None:
            return
        self._poller = Poller(
            self._name,
            lambda _: self._newer(),
            interval_seconds=self._interval_seconds,
            timeout_seconds=TIMEOUT_SECONDS,
            now=time.time_ns,
            loop=get_running_loop(),
            deliver=self._take,
            fail=self._fail,
        )
        self._poller.start()

    def stop(self) -> None:
        """Looks at them no more."""
        if self._poller is not None:
            self._poller.stop()

    def _take(self, content: T | None) -> None:
        if content is not None:
            self.current = content

    def _newer(self) -> T | None:
        """On the thread: what the files hold, if it is new and at rest; a file that is being written isn't. Raises: Answered."""
        seen, self._seen = self._seen, _look(self._files)
        if self._seen == self._taken or self._seen != seen:
            return None
        try:
            held = self._read()
        except (ConfigError, ConfigErrors) as error:
            raise Answered(f"can't be taken over, what it said before stays in force: {_first(error)}") from None
        problem = self._refused(self.current, held.content)
        if problem is not None:
            raise Answered(f"can't be taken over, what it said before stays in force: {problem}")
        self._taken = self._seen if held.files == self._files else None
        self._files = held.files
        return held.content


def _first(error: ConfigError | ConfigErrors) -> str:
    return str(error.problems[0] if isinstance(error, ConfigErrors) else error)


def _look(files: Sequence[Path]) -> _Look:
    return tuple(_state(file) for file in files)


def _state(file: Path) -> tuple[int, int, int, int] | None:
    """By which a change is seen; None where there is none."""
    try:
        state = file.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino, state.st_mtime_ns, state.st_size
