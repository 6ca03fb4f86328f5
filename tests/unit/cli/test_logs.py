"""Log lines, as text and as JSON."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from infermeter.logs import JsonLines, TextLines, log_to_stderr


def record(message: str, *, failed: bool = False) -> logging.LogRecord:
    info = None
    if failed:
        try:
            int("a word")
        except ValueError:
            info = sys.exc_info()
    made = logging.LogRecord("infermeter.app", logging.WARNING, __file__, 1, message, (), info)
    made.created = 1_784_505_600.25
    return made


def test_a_text_line_begins_with_time_and_level() -> None:
    assert TextLines().format(record("listening")) == "2026-07-20T00:00:00.250Z WARNING infermeter.app: listening"


def test_a_message_never_spans_lines() -> None:
    assert TextLines().format(record("a\nb")).endswith(": a b")


def test_a_traceback_follows_its_line() -> None:
    first, second, *_, last = TextLines().format(record("stopped", failed=True)).splitlines()
    assert first.endswith("stopped")
    assert second == "Traceback (most recent call last):"
    assert last.startswith("ValueError: invalid literal")


def test_a_json_line_is_one_object() -> None:
    line = JsonLines().format(record("a\nb", failed=True))
    event = json.loads(line)
    assert "\n" not in line
    assert "ValueError: invalid literal" in event.pop("exception")
    assert event == {"time": "2026-07-20T00:00:00.250Z", "level": "warning", "logger": "infermeter.app", "message": "a\nb"}


def test_libraries_are_heard_from_warnings_on(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("debug", "text")
    logging.getLogger("infermeter.app").debug("ours")
    logging.getLogger("asyncio").info("theirs")
    logging.getLogger("asyncio").warning("slow")
    said = capsys.readouterr().err
    assert ("ours" in said, "theirs" in said, "slow" in said) == (True, False, True)


def test_lines_can_be_json(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("info", "json")
    logging.getLogger("infermeter.app").info("ready")
    assert json.loads(capsys.readouterr().err)["message"] == "ready"
