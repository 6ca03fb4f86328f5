"""Log lines, as text and as JSON."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from infermeter.logs import AT_ONCE_BYTES, JsonLines, TextLines, Unawaited, log_to_stderr


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


@dataclass
class Pipe:
    """Standard error as a pipe that is read when the test says so, and the log that goes there."""

    read: int
    handler: Unawaited

    def say(self, *texts: str) -> None:
        for text in texts:
            self.handler.emit(logging.makeLogRecord({"msg": text}))

    def taken(self) -> list[str]:
        """Every line that is there."""
        content = b""
        os.set_blocking(self.read, False)
        while True:
            try:
                content += os.read(self.read, 1 << 20)
            except BlockingIOError:
                return content.decode().split("\n")[:-1]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    read, written = os.pipe()
    with open(written, "w", encoding="utf-8") as stream, open(read, "rb", closefd=True) as end:  # noqa: PTH123 - descriptors
        yield Pipe(end.fileno(), Unawaited(stream))


FULL = ["x" * (AT_ONCE_BYTES - 1)] * 16
"""What fills a pipe: 64 KiB. Source: pipe(7)."""


def test_a_log_that_nobody_reads_holds_nobody_up_and_tells_how_much_was_lost(pipe: Pipe) -> None:
    pipe.say(*FULL, "lost", "lost too", "and this")
    assert pipe.taken() == FULL
    pipe.say("heard", "again")
    assert pipe.taken() == ["3 lines of the log were lost: nobody took them from standard error", "heard", "again"]


def test_a_line_that_was_cut_is_ended_before_the_next(pipe: Pipe) -> None:
    pipe.say(*FULL[1:], "y" * (2 * AT_ONCE_BYTES), "lost")
    assert pipe.taken() == FULL[1:]  # and the beginning of a line that has no end yet
    pipe.say("heard")
    assert pipe.taken()[1:] == ["2 lines of the log were lost: nobody took them from standard error", "heard"]


def test_a_line_longer_than_a_pipe_takes_at_once_is_written_whole(pipe: Pipe) -> None:
    pipe.say("y" * (5 * AT_ONCE_BYTES))
    assert pipe.taken() == ["y" * (5 * AT_ONCE_BYTES)]


def test_a_log_whose_reader_has_gone_is_lost_and_harms_nobody() -> None:
    read, written = os.pipe()
    with open(written, "w", encoding="utf-8") as stream:  # noqa: PTH123 - a descriptor
        os.close(read)
        handler = Unawaited(stream)
        Pipe(-1, handler).say("lost")
    Pipe(-1, handler).say("to a stream that is closed")


def test_without_standard_error_the_log_is_lost() -> None:
    Pipe(-1, Unawaited(None)).say("lost")


def test_a_record_that_cannot_be_formatted_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    heard = io.StringIO()
    handler = Unawaited(heard)
    handler.emit(logging.makeLogRecord({"msg": "%d", "args": ("a word",)}))
    Pipe(-1, handler).say("heard")
    assert heard.getvalue() == "heard\n"
    assert "Logging error" in capsys.readouterr().err
