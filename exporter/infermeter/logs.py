"""Logging on standard error: one line an event, as text or as JSON. State changes, not requests; never what a span carries."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

PROGRAM = "infermeter"


def log_to_stderr(level: Literal["debug", "info", "warning", "error"], form: Literal["text", "json"]) -> None:
    """Sends the program's events of at least `level`, and the libraries' warnings, to standard error. May be called again."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger(PROGRAM).setLevel(level.upper())


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
