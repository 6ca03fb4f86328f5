"""The asking thread, with real threads, and answers that each test lays down."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from queue import SimpleQueue
from typing import Any

import pytest

from infermeter.errors import GpuUnavailable, Unavailable
from infermeter.polling import Poller, next_due

TIMEOUT_SECONDS = 0.02
SOON = 10.0
"""Seconds until a test gives up on what should happen at once."""


class Clock:
    """A monotonic clock that stands still until it is set."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Heard(logging.Handler):
    """Passes each message on to a queue."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.messages: asyncio.Queue[str] = asyncio.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.put_nowait(f"{record.levelname} {record.getMessage()}")


class Bench:
    """A poller on a running loop; each call takes the next step that the test has laid down, and waits for one if there is none."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.heard = Heard()
        self.steps: SimpleQueue[Callable[[], str]] = SimpleQueue()
        self.asked = threading.Semaphore(0)
        self.answers: asyncio.Queue[str] = asyncio.Queue()
        self.failures: asyncio.Queue[Exception] = asyncio.Queue()
        self.poller: Poller[str] = Poller(
            "the oracle",
            self.ask,
            interval_seconds=0.001,
            timeout_seconds=TIMEOUT_SECONDS,
            now=lambda: 42,
            loop=asyncio.get_running_loop(),
            deliver=self.answers.put_nowait,
            fail=self.failures.put_nowait,
            monotonic=self.clock,
        )

    def ask(self, now_ns: int) -> str:
        self.asked.release()
        return f"{self.steps.get()()} at {now_ns}"

    async def answer(self) -> str:
        return await asyncio.wait_for(self.answers.get(), SOON)

    async def line(self) -> str:
        """The next line of the log."""
        return await asyncio.wait_for(self.heard.messages.get(), SOON)


def fine() -> str:
    return "yes"


def failing(error: Exception) -> Callable[[], str]:
    def fail() -> str:
        raise error

    return fail


def on_a_loop(test: Callable[[Bench], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """The test with a bench on a loop of its own."""

    async def with_a_bench() -> None:
        bench = Bench()
        logger = logging.getLogger("infermeter.polling")
        logger.addHandler(bench.heard)
        logger.setLevel(logging.INFO)
        bench.poller.start()
        try:
            await test(bench)
        finally:
            logger.removeHandler(bench.heard)
            logger.setLevel(logging.NOTSET)
            bench.poller.stop()
            bench.steps.put(fine)

    return lambda: asyncio.run(with_a_bench())


@on_a_loop
async def test_each_answer_is_delivered_with_the_time_that_was_asked_for(bench: Bench) -> None:
    assert not bench.poller.up
    assert bench.poller.last_error is None
    bench.steps.put(fine)
    assert await bench.answer() == "yes at 42"
    assert bench.poller.up
    assert bench.poller.last_error is None


@on_a_loop
async def test_what_is_unavailable_is_asked_again(bench: Bench) -> None:
    bench.steps.put(failing(Unavailable("connection refused")))
    await bench.line()
    assert not bench.poller.up
    assert bench.poller.last_error == "Unavailable"
    bench.steps.put(fine)
    assert await bench.answer() == "yes at 42"
    assert bench.poller.up
    assert bench.poller.last_error is None


@on_a_loop
async def test_any_other_error_is_a_mistake_that_is_told_and_ends_the_asking(bench: Bench) -> None:
    error = ZeroDivisionError()
    bench.steps.put(failing(error))
    assert await asyncio.wait_for(bench.failures.get(), SOON) is error


@on_a_loop
async def test_while_a_call_hangs_it_is_not_up(bench: Bench) -> None:
    bench.steps.put(fine)
    await bench.answer()
    assert bench.asked.acquire(timeout=SOON)
    assert bench.asked.acquire(timeout=SOON)
    bench.clock.seconds = TIMEOUT_SECONDS
    assert bench.poller.up
    bench.clock.seconds = TIMEOUT_SECONDS * 1.1
    assert not bench.poller.up
    assert bench.poller.last_error == "TimeoutError"


@on_a_loop
async def test_an_answer_that_came_late_is_dropped_and_the_next_one_counts(bench: Bench) -> None:
    def late() -> str:
        bench.clock.seconds = 7.0
        return "late"

    bench.steps.put(late)
    await bench.line()
    assert not bench.poller.up
    assert bench.poller.last_error == "TimeoutError"
    bench.steps.put(fine)
    assert await bench.answer() == "yes at 42"
    assert bench.poller.up


@on_a_loop
async def test_nothing_is_delivered_after_it_was_stopped_and_a_call_under_way_keeps_nobody_waiting(bench: Bench) -> None:
    assert bench.asked.acquire(timeout=SOON)
    thread = next(thread for thread in threading.enumerate() if thread.name == "poll-the oracle" and thread.is_alive())
    assert thread.daemon
    bench.poller.stop()
    bench.steps.put(fine)
    await asyncio.to_thread(thread.join, SOON)
    assert not thread.is_alive()
    await asyncio.sleep(0)
    assert bench.answers.empty()
    assert not bench.poller.up


@on_a_loop
async def test_a_state_is_logged_when_it_changes_and_not_again(bench: Bench) -> None:
    for step in (failing(Unavailable("refused")), failing(GpuUnavailable("refused as well")), fine, fine):
        bench.steps.put(step)
    await bench.answer()
    await bench.answer()
    assert [await bench.line() for _ in range(2)] == ["WARNING the oracle doesn't answer: refused", "INFO the oracle answers again"]
    assert bench.heard.messages.empty()


@on_a_loop
async def test_what_comes_and_goes_does_not_fill_the_log_and_is_told_when_it_stays_away(bench: Bench) -> None:
    for _ in range(10):
        bench.steps.put(failing(Unavailable("refused")))
        bench.steps.put(fine)
        await bench.answer()
    lines = [bench.heard.messages.get_nowait() for _ in range(bench.heard.messages.qsize())]
    silence = "WARNING the oracle doesn't answer: refused"
    often = f"{silence}; it comes and goes, and is told 3 times a minute at most"
    again = "INFO the oracle answers again"
    assert lines == [silence, again, silence, again, often, again]
    bench.clock.seconds = 60.0
    bench.steps.put(failing(Unavailable("refused")))
    bench.steps.put(failing(Unavailable("refused")))
    assert await bench.line() == silence


@on_a_loop
async def test_a_call_that_hangs_is_logged_while_it_hangs_and_not_again_when_it_returns(bench: Bench) -> None:
    assert bench.asked.acquire(timeout=SOON)
    bench.clock.seconds = 1.0
    assert await bench.line() == "WARNING the oracle doesn't answer: nothing for more than 0.02 s"
    bench.steps.put(fine)
    bench.steps.put(fine)
    await bench.answer()
    assert await bench.line() == "INFO the oracle answers again"
    assert bench.answers.empty()


def test_a_poller_that_was_never_started_can_be_stopped() -> None:
    async def stop() -> None:
        Bench().poller.stop()

    asyncio.run(stop())


def test_a_loop_that_is_gone_ends_the_thread() -> None:
    left: list[Bench] = []

    async def leave() -> None:
        left.append(Bench())
        left[0].poller.start()

    asyncio.run(leave())
    bench = left[0]
    thread = next(thread for thread in threading.enumerate() if thread.name == "poll-the oracle")
    bench.steps.put(fine)
    thread.join(SOON)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("due", "now", "following"),
    [
        (10.0, 10.1, 11.0),
        (10.0, 9.9, 11.0),
        (10.0, 11.0, 12.0),
        (10.0, 13.4, 14.0),
    ],
)
def test_the_schedule_keeps_to_its_lattice_and_leaves_out_what_was_missed(due: float, now: float, following: float) -> None:
    assert next_due(due, now, 1.0) == following
