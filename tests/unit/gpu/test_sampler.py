"""The reading thread, with real threads and events, and sources that do what each test tells them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Sequence
from queue import SimpleQueue
from typing import Any

import pytest

from infermeter.errors import ConfigError, GpuUnavailable, InputError
from infermeter.gpu.sampler import Sampler, reopen_seconds
from infermeter.gpu.source import Reading
from infermeter.model import GpuIdentity, GpuSample, Rejection

DEVICE = GpuIdentity("GPU-a", index=0)
TIMEOUT_SECONDS = 0.02
SOON = 10.0
"""Seconds until a test gives up on what should happen at once."""


class Source:
    """Answers each `open` and each `read` with the next step that the test has laid down, and waits for one if there is none."""

    name = "fake"

    def __init__(self) -> None:
        self.rejected: Counter[Rejection] = Counter()
        self.opens: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.opening = threading.Semaphore(0)
        self.reads: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.closed = threading.Semaphore(0)
        self.reading = threading.Semaphore(0)

    def open(self) -> tuple[GpuIdentity, ...]:
        self.opening.release()
        self.opens.get()()
        return (DEVICE,)

    asking: str | None = None

    def read(self, now_ns: int, *, without: Collection[str] = ()) -> Sequence[GpuSample]:  # noqa: ARG002 - one device
        self.reading.release()
        self.reads.get()()
        return [GpuSample("GPU-a", now_ns, power_watts=1.0)]

    def close(self) -> None:
        self.closed.release()


class Clock:
    """A monotonic clock that stands still until it is set."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Bench:
    """A sampler on a running loop, and what it delivered to it."""

    def __init__(self) -> None:
        self.source = Source()
        self.clock = Clock()
        self.readings: asyncio.Queue[Reading] = asyncio.Queue()
        self.failures: asyncio.Queue[Exception] = asyncio.Queue()
        self.sampler = Sampler(
            self.source,
            interval_seconds=0.001,
            timeout_seconds=TIMEOUT_SECONDS,
            now=lambda: 42,
            loop=asyncio.get_running_loop(),
            deliver=self.readings.put_nowait,
            fail=self.failures.put_nowait,
            monotonic=self.clock,
        )

    async def reading(self) -> Reading:
        return await asyncio.wait_for(self.readings.get(), SOON)

    async def failure(self) -> Exception:
        return await asyncio.wait_for(self.failures.get(), SOON)

    def stop(self) -> None:
        """Stops, and lets go of a call that waits for the test."""
        self.sampler.stop()
        self.source.opens.put(fine)
        self.source.reads.put(fine)


def fine() -> None:
    """The call succeeds."""


def failing(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def on_a_loop(test: Callable[[Bench], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """The test with a bench on a loop of its own."""

    async def with_a_bench() -> None:
        bench = Bench()
        bench.sampler.start()
        try:
            await test(bench)
        finally:
            bench.stop()

    return lambda: asyncio.run(with_a_bench())


@on_a_loop
async def test_it_opens_the_source_and_delivers_its_devices_then_its_samples(bench: Bench) -> None:
    bench.source.opens.put(fine)
    assert (await bench.reading()).identities == (DEVICE,)
    assert not bench.sampler.up
    bench.source.reads.put(fine)
    reading = await bench.reading()
    assert reading.samples == (GpuSample("GPU-a", 42, power_watts=1.0),)
    assert reading.identities is None
    assert bench.sampler.up
    assert bench.sampler.last_error is None
    assert bench.sampler.source_name == "fake"


@on_a_loop
async def test_a_source_that_hangs_while_it_is_opened_keeps_nobody_waiting(bench: Bench) -> None:
    assert not bench.sampler.up
    bench.sampler.stop()
    assert any(thread.name == "gpu-fake" and thread.daemon for thread in threading.enumerate())


@on_a_loop
async def test_while_a_read_hangs_the_source_is_not_up(bench: Bench) -> None:
    bench.source.opens.put(fine)
    bench.source.reads.put(fine)
    await bench.reading()
    await bench.reading()
    assert bench.source.reading.acquire(timeout=SOON)
    assert bench.source.reading.acquire(timeout=SOON)
    bench.clock.seconds = TIMEOUT_SECONDS
    assert bench.sampler.up
    bench.clock.seconds = TIMEOUT_SECONDS * 1.1
    assert not bench.sampler.up
    assert bench.sampler.last_error == "TimeoutError"


@on_a_loop
async def test_a_reading_that_came_late_is_rejected_and_the_next_one_counts(bench: Bench) -> None:
    def late() -> None:
        bench.clock.seconds = 7.0

    bench.source.opens.put(fine)
    bench.source.reads.put(late)
    await bench.reading()
    assert await bench.reading() == Reading(rejected={"read": 1})
    assert not bench.sampler.up
    assert bench.sampler.last_error == "TimeoutError"
    bench.source.reads.put(fine)
    assert (await bench.reading()).samples
    assert bench.sampler.up


@on_a_loop
async def test_nothing_is_delivered_after_it_was_stopped(bench: Bench) -> None:
    bench.source.opens.put(fine)
    await bench.reading()
    bench.sampler.stop()
    bench.source.reads.put(fine)
    assert bench.source.closed.acquire(timeout=SOON)
    await asyncio.sleep(0)
    assert bench.readings.empty()


@on_a_loop
async def test_a_source_that_fails_is_closed_and_opened_again(bench: Bench) -> None:
    bench.source.opens.put(fine)
    bench.source.reads.put(fine)
    bench.source.reads.put(failing(GpuUnavailable("GPU is lost")))
    await bench.reading()
    await bench.reading()
    assert await asyncio.to_thread(bench.source.closed.acquire, timeout=SOON)
    assert not bench.sampler.up
    assert bench.sampler.last_error == "GpuUnavailable"
    bench.source.opens.put(fine)
    bench.source.reads.put(fine)
    assert (await bench.reading()).identities == (DEVICE,)
    assert (await bench.reading()).samples
    assert bench.sampler.up


@on_a_loop
async def test_a_device_that_went_away_later_is_no_error_of_the_operator(bench: Bench) -> None:
    bench.source.opens.put(fine)
    bench.source.reads.put(failing(GpuUnavailable("GPU is lost")))
    bench.source.opens.put(failing(ConfigError("server.gpus[0]", "no GPU 0 here")))
    bench.source.opens.put(fine)
    await bench.reading()
    assert (await bench.reading()).identities == (DEVICE,)
    assert bench.failures.empty()


@pytest.mark.parametrize(
    "error",
    [ConfigError("server.gpus[0]", "no GPU 0 here"), InputError("power.csv", "is empty"), ZeroDivisionError()],
    ids=lambda error: type(error).__name__,
)
def test_what_must_end_the_process_is_told_to_the_loop(error: Exception) -> None:
    @on_a_loop
    async def tell(bench: Bench) -> None:
        bench.source.opens.put(failing(error))
        assert await bench.failure() is error
        assert bench.source.closed.acquire(timeout=SOON)

    tell()


@on_a_loop
async def test_each_loss_is_told_once(bench: Bench) -> None:
    def lose() -> None:
        bench.source.rejected["read"] += 2

    bench.source.rejected["outlier"] = 3
    bench.source.opens.put(fine)
    bench.source.reads.put(lose)
    bench.source.reads.put(fine)
    assert [(await bench.reading()).rejected for _ in range(3)] == [{"outlier": 3}, {"read": 2}, {}]


@on_a_loop
async def test_a_failed_read_still_tells_its_losses(bench: Bench) -> None:
    def fail() -> None:
        bench.source.rejected["read"] += 1
        raise GpuUnavailable("GPU is lost")

    bench.source.opens.put(fine)
    bench.source.reads.put(fail)
    await bench.reading()
    assert await bench.reading() == Reading(rejected={"read": 1})


def test_a_source_that_is_opened_again_and_again_says_once_what_it_reads(caplog: pytest.LogCaptureFixture) -> None:
    @on_a_loop
    async def fail_twice_and_recover(bench: Bench) -> None:
        for _ in range(3):
            bench.source.opens.put(fine)
            bench.source.reads.put(failing(GpuUnavailable("GPU is lost")))
            await bench.reading()

    with caplog.at_level(logging.INFO, logger="infermeter.gpu"):
        fail_twice_and_recover()
    assert [record.getMessage() for record in caplog.records] == [
        "GPU source fake reads GPU-a",
        "GPU source fake doesn't answer: GPU is lost",
    ]


def test_a_state_is_logged_when_it_changes_and_not_again(caplog: pytest.LogCaptureFixture) -> None:
    @on_a_loop
    async def fail_twice_and_recover(bench: Bench) -> None:
        for _ in range(2):
            bench.source.opens.put(failing(GpuUnavailable("Driver Not Loaded")))
        bench.source.opens.put(fine)
        bench.source.reads.put(fine)
        await bench.reading()
        await bench.reading()

    with caplog.at_level(logging.INFO, logger="infermeter.gpu"):
        fail_twice_and_recover()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "GPU source fake doesn't answer: Driver Not Loaded"),
        ("INFO", "GPU source fake reads GPU-a"),
        ("INFO", "GPU source fake answers again"),
    ]


class Heard(logging.Handler):
    """Passes each message on to a queue."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: asyncio.Queue[str] = asyncio.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.put_nowait(record.getMessage())


@on_a_loop
async def test_a_source_that_hangs_while_it_is_opened_is_logged(bench: Bench) -> None:
    logger, heard = logging.getLogger("infermeter.gpu.sampler"), Heard()
    logger.addHandler(heard)
    try:
        assert bench.source.opening.acquire(timeout=SOON)
        bench.clock.seconds = 1.0
        assert await asyncio.wait_for(heard.messages.get(), SOON) == "GPU source fake doesn't answer: nothing for more than 0.02 s"
        assert bench.sampler.last_error == "TimeoutError"
    finally:
        logger.removeHandler(heard)


@on_a_loop
async def test_a_read_that_hangs_is_logged_while_it_hangs_and_not_again_when_it_returns(bench: Bench) -> None:
    logger, heard = logging.getLogger("infermeter.gpu.sampler"), Heard()
    logger.addHandler(heard)
    try:
        bench.source.opens.put(fine)
        await bench.reading()
        assert bench.source.reading.acquire(timeout=SOON)
        bench.clock.seconds = 1.0
        assert await asyncio.wait_for(heard.messages.get(), SOON) == "GPU source fake doesn't answer: nothing for more than 0.02 s"
        bench.source.reads.put(fine)
        assert (await bench.reading()).rejected == {"read": 1}
        assert heard.messages.empty()
    finally:
        logger.removeHandler(heard)


def test_a_sampler_that_was_never_started_can_be_stopped() -> None:
    async def stop() -> None:
        Bench().sampler.stop()

    asyncio.run(stop())


def test_a_loop_that_is_gone_ends_the_thread() -> None:
    left: list[Bench] = []

    async def leave() -> None:
        left.append(Bench())
        left[0].sampler.start()

    asyncio.run(leave())
    left[0].source.opens.put(fine)
    left[0].source.reads.put(fine)
    assert left[0].source.closed.acquire(timeout=SOON)


@pytest.mark.parametrize(("interval", "seconds"), [(1.0, 30.0), (0.1, 3.0), (30.0, 60.0), (120.0, 120.0)])
def test_a_source_that_cannot_be_opened_is_asked_again_within_a_minute(interval: float, seconds: float) -> None:
    assert reopen_seconds(interval) == pytest.approx(seconds)
