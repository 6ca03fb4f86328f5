"""How `serve` is told to end, and what it leaves for others."""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from infermeter.commands.ending import STOPPING, Ending
from infermeter.commands.serve import FILES_APART, within_files
from infermeter.config import Config, Limits

SOON = 10.0


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (*STOPPING, signal.SIGHUP)}
    yield
    for number, taken in before.items():
        signal.signal(number, taken)


def test_the_first_signal_stops_the_second_hurries_and_a_hang_up_does_neither() -> None:
    ended = threading.Event()

    async def scenario() -> None:
        hung_up = asyncio.Event()
        ending = Ending(asyncio.get_running_loop(), end_seconds=0.0, end=lambda code: ended.set() if code == 0 else None)
        ending.listen(hang_up=hung_up.set)
        async with asyncio.timeout(SOON):
            signal.raise_signal(signal.SIGHUP)
            await hung_up.wait()
            assert not ending.stop.is_set()
            signal.raise_signal(signal.SIGTERM)
            await ending.stop.wait()
            assert not ending.hurry.is_set()
            signal.raise_signal(signal.SIGINT)
            await ending.hurry.wait()
        ending.listen_no_more()
        for number in (*STOPPING, signal.SIGHUP):
            signal.raise_signal(number)

    asyncio.run(scenario())
    assert ended.wait(SOON)


def test_a_signal_to_a_loop_that_is_gone_harms_nobody() -> None:
    loop = asyncio.new_event_loop()
    Ending(loop, end=lambda _: None).listen(hang_up=lambda: None)
    loop.close()
    for number in (*STOPPING, signal.SIGHUP):
        signal.raise_signal(number)


@pytest.mark.parametrize(
    ("files", "connections"), [(resource.RLIM_INFINITY, 100), (FILES_APART + 200, 100), (FILES_APART + 199, 99), (64, 1)]
)
def test_senders_leave_as_many_files_as_everything_else_needs(files: int, connections: int, caplog: pytest.LogCaptureFixture) -> None:
    config = Config(limits=Limits(connections=100))
    assert within_files(config, files) == replace(config, limits=replace(config.limits, connections=connections))
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert told == (
        [] if connections == 100 else [f"limits.connections: {connections}, as no more than {files} files may be open (ulimit -n)"]
    )
