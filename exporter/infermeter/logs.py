"""Logging on standard error: one line an event, as text or as JSON. State changes, not requests; never what a span carries.

Nothing waits for whoever reads it: a line that standard error doesn't take at once is lost, and counted.
"""

from __future__ import annotations

import json
import logging
import os
import select
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from io import UnsupportedOperation
from typing import Final, Literal, TextIO

PROGRAM = "infermeter"

AT_ONCE_BYTES: Final = 4096
"""What a pipe that can be written to takes without waiting. Source: pipe(7), PIPE_BUF; sockets and terminals take more."""


def log_to_stderr(level: Literal["debug", "info", "warning", "error"], form: Literal["text", "json"]) -> None:
    """Sends the program's events of at least `level`, and the libraries' warnings, to standard error. May be called again."""
    handler = Unawaited(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger(PROGRAM).setLevel(level.upper())


class Unawaited(logging.Handler):
    """Writes to a stream that may be full, gone or closed. How many lines were lost is told before the next that isn't."""

    def __init__(self, stream: TextIO | None) -> None:
        """`stream` None: every line is lost."""
        super().__init__()
        self._stream = stream
        self._lost = 0
        self._is_cut = False

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a record, unless that would take time."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - as every handler of logging does: a record that can't be told ends nothing
            self.handleError(record)
            return
        if not self._lost or self._is_written(self._told_lost()):
            self._is_written(line)

    def _told_lost(self) -> str:
        text = f"{self._lost} lines of the log were lost: nobody took them from standard error"
        return self.format(logging.makeLogRecord({"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "msg": text}))

    def _is_written(self, line: str) -> bool:
        """Whether the whole line was; one that was cut is ended before the next."""
        begun = False
        try:
            for piece in _pieces(f"\n{line}\n" if self._is_cut else f"{line}\n"):
                self._write(piece)
                begun, self._is_cut = True, False
        except (OSError, ValueError):  # full, gone or closed
            self._lost += 1
            self._is_cut = begun or self._is_cut
            return False
        self._lost = 0
        return True

    def _write(self, piece: bytes) -> None:
        """Raises: BlockingIOError where it would have to wait; other OSErrors and ValueError for a stream that takes nothing any more."""
        if self._stream is None:
            raise BlockingIOError
        try:
            descriptor = self._stream.fileno()
        except UnsupportedOperation:  # in memory
            self._stream.write(piece.decode("utf-8", "replace"))
            return
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        if not poll.poll(0):
            raise BlockingIOError
        os.write(descriptor, piece)


def _pieces(text: str) -> Iterator[bytes]:
    content = text.encode("utf-8", "backslashreplace")
    return (content[begin : begin + AT_ONCE_BYTES] for begin in range(0, len(content), AT_ONCE_BYTES))


class TextLines(logging.Formatter):
    """`2026-07-20T10:00:00.000Z INFO infermeter.app: listening`, with a traceback below where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text; a message never spans lines, its traceback does."""
        line = f"{_time(record)} {record.levelname} {record.name}: {record.getMessage()}".replace("\n", " ")
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonLines(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, and `exception` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        event = {"time": _time(record), "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return json.dumps(event, ensure_ascii=False)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
