"""What the loop can't hand to anybody is told, and doesn't fill the log."""

from __future__ import annotations

import asyncio
import errno
import logging
import os

import pytest

from infermeter.unhandled import SECONDS, TOLD, Unhandled


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_that_no_connection_can_be_taken_is_one_line_a_minute(number: int, caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    unhandled, loop = Unhandled(lambda: now[0]), asyncio.new_event_loop()
    line = f"no connection can be taken: {os.strerror(number)}; tried again every second, told once a minute at most"
    for seconds, lines in ((0.0, 1), (SECONDS - 0.1, 1), (SECONDS, 2)):
        now[0] = seconds
        for _ in range(100):
            unhandled(loop, {"message": "socket.accept() out of system resource", "exception": OSError(number, os.strerror(number))})
        assert told(caplog) == [line] * lines
    loop.close()


def test_a_mistake_of_ours_is_told_in_full_and_not_without_bound(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    unhandled, loop = Unhandled(lambda: now[0]), asyncio.new_event_loop()
    for _ in range(3 * TOLD):
        unhandled(loop, {"message": "a mistake", "exception": ValueError("of ours")})
    assert told(caplog) == ["a mistake"] * TOLD
    assert caplog.records[0].exc_info is not None
    now[0] = SECONDS
    unhandled(loop, {"message": "another, without an exception"})
    assert told(caplog)[TOLD:] == ["another, without an exception"]
    loop.close()
