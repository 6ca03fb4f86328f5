"""Devices whose driver calls don't come back: with real threads, and a source that asks its devices one by one."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any

from infermeter.errors import GpuUnavailable
from infermeter.gpu.sampler import Sampler
from infermeter.gpu.source import Reading
from infermeter.model import GpuIdentity, GpuSample, Rejection

TIMEOUT_SECONDS = 0.04
SOON = 10.0
"""Seconds until a test gives up on what should happen at once."""

A, B, C, D, E = (GpuIdentity(f"GPU-{letter}", index=index) for index, letter in enumerate("abcde"))


class Ward:
    """Devices that are asked one by one. A device hangs while the test holds its event; it fails while it is among the lost."""

    name = "ward"

    def __init__(self, *identities: GpuIdentity) -> None:
        self.identities = identities
        self.rejected: Counter[Rejection] = Counter()
        self.asking: str | None = None
        self.held: dict[str, threading.Event] = {}
        self.entered = threading.Semaphore(0)
        self.lost: set[str] = set()
        self.together = False
        self.asked: list[tuple[int, str]] = []
        self.shut_under_a_call = False
        self.inside = 0
        self.opens = 0
        self.closes = 0

    def open(self) -> tuple[GpuIdentity, ...]:
        self.opens += 1
        return self.identities

    def read(self, now_ns: int, *, without: Collection[str] = ()) -> Sequence[GpuSample]:
        samples = []
        for identity in self.identities:
            if identity.uuid in without or (without and self.together):
                continue
            self.asking = identity.uuid
            self.asked.append((threading.get_ident(), identity.uuid))
            if identity.uuid in self.held:
                self.inside += 1
                self.entered.release()
                self.held[identity.uuid].wait()
                self.inside -= 1
            self.asking = None
            if identity.uuid in self.lost:
                self.rejected["read"] += 1
            else:
                samples.append(GpuSample(identity.uuid, now_ns, power_watts=1.0))
        if self.lost and not samples:
            raise GpuUnavailable("GPU is lost")
        return samples

    def close(self) -> None:
        self.closes += 1
        self.shut_under_a_call |= self.inside > 0

    def hold(self, identity: GpuIdentity) -> None:
        self.held[identity.uuid] = threading.Event()

    def let_go(self, identity: GpuIdentity) -> None:
        self.held.pop(identity.uuid).set()


class Clock:
    """A monotonic clock that stands still until it is set."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Heard(logging.Handler):
    """Keeps each line."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.getMessage()}")


class Bench:
    """A sampler on a running loop, what it delivered to it, and what it logged."""

    def __init__(self, *identities: GpuIdentity) -> None:
        self.ward = Ward(*identities)
        self.clock = Clock()
        self.heard = Heard()
        self.readings: asyncio.Queue[Reading] = asyncio.Queue()
        self.rejected: Counter[Rejection] = Counter()
        self.failures: list[Exception] = []
        self.sampler = Sampler(
            self.ward,
            interval_seconds=0.001,
            timeout_seconds=TIMEOUT_SECONDS,
            now=lambda: 42,
            loop=asyncio.get_running_loop(),
            deliver=self._take,
            fail=self.failures.append,
            monotonic=self.clock,
        )

    def _take(self, reading: Reading) -> None:
        self.rejected.update(reading.rejected)
        self.readings.put_nowait(reading)

    async def reading_of(self, *identities: GpuIdentity) -> Reading:
        """The next reading that holds samples of exactly these."""
        async with asyncio.timeout(SOON):
            while True:
                reading = await self.readings.get()
                if [sample.uuid for sample in reading.samples if isinstance(sample, GpuSample)] == [i.uuid for i in identities]:
                    return reading

    def forget_readings(self) -> None:
        while not self.readings.empty():
            self.readings.get_nowait()

    async def hung(self) -> None:
        """Waits until a thread is in the call to a device that hangs."""
        assert await asyncio.to_thread(self.ward.entered.acquire, timeout=SOON)

    async def time_passes_until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(SOON):
            while not holds():
                self.clock.seconds += TIMEOUT_SECONDS / 8
                await asyncio.sleep(TIMEOUT_SECONDS / 8)

    async def told(self, line: str) -> None:
        await self.time_passes_until(lambda: line in self.heard.lines)


def hangs(identity: GpuIdentity) -> str:
    return f"WARNING GPU {identity.uuid} doesn't answer: nothing for more than {TIMEOUT_SECONDS:g} s"


def answers(identity: GpuIdentity) -> str:
    return f"INFO GPU {identity.uuid} answers again"


def with_devices(*identities: GpuIdentity) -> Callable[[Callable[[Bench], Coroutine[Any, Any, None]]], Callable[[], None]]:
    """The test with a bench on a loop of its own, whose source has these devices."""

    def on_a_loop(test: Callable[[Bench], Coroutine[Any, Any, None]]) -> Callable[[], None]:
        async def with_a_bench() -> None:
            bench = Bench(*identities)
            logger = logging.getLogger("infermeter.gpu")
            logger.addHandler(bench.heard)
            logger.setLevel(logging.INFO)
            bench.sampler.start()
            try:
                await test(bench)
            finally:
                bench.sampler.stop()
                logger.removeHandler(bench.heard)
                logger.setLevel(logging.NOTSET)
                for identity in identities:
                    if identity.uuid in bench.ward.held:
                        bench.ward.let_go(identity)
            assert bench.failures == []
            assert not bench.ward.shut_under_a_call

        return lambda: asyncio.run(with_a_bench())

    return on_a_loop


@with_devices(A, B, C)
async def test_a_device_that_hangs_is_left_out_and_the_others_are_read_on(bench: Bench) -> None:
    await bench.reading_of(A, B, C)
    bench.ward.hold(B)
    await bench.hung()
    await bench.told(hangs(B))
    reading = await bench.reading_of(A, C)
    assert reading.rejected == {"read": 1}
    assert bench.sampler.up
    assert bench.sampler.last_error is None


@with_devices(A, B, C)
async def test_a_device_that_answers_again_is_asked_again_and_what_it_said_late_is_dropped(bench: Bench) -> None:
    await bench.reading_of(A, B, C)
    bench.ward.hold(A)
    await bench.hung()
    await bench.told(hangs(A))
    await bench.reading_of(B, C)
    left_behind = [thread for thread, uuid in bench.ward.asked if uuid == A.uuid][-1]
    bench.forget_readings()
    bench.ward.let_go(A)
    await bench.reading_of(A, B, C)
    asked_by_it = [uuid for thread, uuid in bench.ward.asked if thread == left_behind]
    assert asked_by_it[-1] == A.uuid  # it came back from this one, and asked nobody else
    assert bench.sampler.up
    assert bench.heard.lines == ["INFO GPU source ward reads GPU-a, GPU-b, GPU-c", hangs(A), answers(A)]


@with_devices(A, B, C)
async def test_what_a_call_that_was_given_up_brought_of_others_is_lost_and_counted(bench: Bench) -> None:
    await bench.reading_of(A, B, C)
    bench.ward.hold(C)
    await bench.hung()
    await bench.told(hangs(C))
    await bench.reading_of(A, B)
    bench.ward.let_go(C)
    while (await asyncio.wait_for(bench.readings.get(), SOON)) != Reading(rejected={"read": 3}):
        pass


@with_devices(A, B, C)
async def test_while_every_device_hangs_the_source_is_down_and_the_first_that_answers_brings_it_back(bench: Bench) -> None:
    await bench.reading_of(A, B, C)
    for identity in (A, B, C):
        bench.ward.hold(identity)
    for identity in (A, B, C):
        await bench.hung()
        await bench.told(hangs(identity))
    assert not bench.sampler.up
    assert bench.sampler.last_error == "TimeoutError"
    assert bench.heard.lines[-1] == "WARNING GPU source ward doesn't answer: none of its GPUs does"
    assert threads() == 3
    bench.forget_readings()
    bench.ward.let_go(B)
    await bench.reading_of(B)
    assert bench.sampler.up
    assert bench.heard.lines[-2:] == ["INFO GPU source ward answers again", answers(B)]
    await asyncio.to_thread(wait_for_threads, 3)


@with_devices(A, B, C, D, E)
async def test_a_source_whose_devices_turn_out_to_hang_one_after_the_other_is_down_before_the_last_one_is_found(bench: Bench) -> None:
    await bench.reading_of(A, B, C, D, E)
    for identity in (A, B, C, D, E):
        bench.ward.hold(identity)
    await bench.time_passes_until(lambda: not bench.sampler.up)
    assert bench.sampler.last_error == "TimeoutError"
    assert hangs(B) in bench.heard.lines
    assert hangs(E) not in bench.heard.lines
    bench.forget_readings()
    for identity in (A, B, C, D, E):
        bench.ward.let_go(identity)
    await bench.reading_of(A, B, C, D, E)
    assert bench.sampler.up


@with_devices(A, B)
async def test_a_device_that_hangs_again_before_it_said_anything_is_not_told_again(bench: Bench) -> None:
    await bench.reading_of(A, B)
    bench.ward.hold(A)
    await bench.hung()
    await bench.told(hangs(A))
    await bench.reading_of(B)
    first = bench.ward.held[A.uuid]
    bench.ward.hold(A)
    first.set()
    await bench.hung()
    given_up = bench.rejected["read"]
    await bench.time_passes_until(lambda: bench.rejected["read"] > given_up)
    await bench.reading_of(B)
    bench.forget_readings()
    bench.ward.let_go(A)
    await bench.reading_of(A, B)
    assert bench.heard.lines[1:] == [hangs(A), answers(A)]


@with_devices(A, B)
async def test_a_call_that_comes_back_with_an_error_brings_nothing_down(bench: Bench) -> None:
    await bench.reading_of(A, B)
    bench.ward.hold(A)
    await bench.hung()
    await bench.told(hangs(A))
    await bench.reading_of(B)
    bench.ward.lost.add(A.uuid)
    bench.ward.asked.clear()
    bench.ward.let_go(A)
    async with asyncio.timeout(SOON):
        while A.uuid not in {uuid for _, uuid in bench.ward.asked}:  # it is asked again, in vain
            await bench.reading_of(B)
    bench.ward.lost.clear()
    await bench.reading_of(A, B)
    assert bench.sampler.up
    assert bench.heard.lines[1:] == [hangs(A), answers(A)]


@with_devices(A, B)
async def test_a_source_is_not_closed_under_a_thread_that_is_inside_it_but_opened_anew_once_that_is_out(bench: Bench) -> None:
    await bench.reading_of(A, B)
    bench.ward.hold(A)
    await bench.hung()
    await bench.told(hangs(A))
    await bench.reading_of(B)
    bench.ward.lost.add(B.uuid)
    await bench.told("WARNING GPU source ward doesn't answer: GPU is lost")
    assert not bench.sampler.up
    bench.forget_readings()
    bench.ward.lost.clear()
    await bench.reading_of(B)  # read on as it is
    assert bench.sampler.up
    assert (bench.ward.opens, bench.ward.closes) == (1, 0)
    bench.forget_readings()
    bench.ward.let_go(A)
    await bench.reading_of(A, B)
    bench.forget_readings()
    bench.ward.lost |= {A.uuid, B.uuid}
    async with asyncio.timeout(SOON):
        while (await bench.readings.get()).identities is None:
            pass
    assert bench.ward.opens > 1
    assert bench.ward.closes > 0


@with_devices(A, B)
async def test_stopping_waits_for_no_device_and_closes_nothing_under_it(bench: Bench) -> None:
    await bench.reading_of(A, B)
    bench.ward.hold(A)
    await bench.hung()
    await bench.told(hangs(A))
    await bench.reading_of(B)
    bench.sampler.stop()
    await asyncio.to_thread(wait_for_threads, 1)
    assert bench.ward.closes == 0


@with_devices(A, B)
async def test_where_one_device_hangs_and_the_other_is_left_out_with_it_the_source_is_down(bench: Bench) -> None:
    bench.ward.together = True
    await bench.reading_of(A, B)
    bench.ward.hold(A)
    await bench.hung()
    await bench.told(hangs(A))
    await bench.told("WARNING GPU source ward doesn't answer: none of its GPUs does")
    assert not bench.sampler.up
    bench.forget_readings()
    bench.ward.let_go(A)
    await bench.reading_of(A, B)
    assert bench.sampler.up


@with_devices(A, B)
async def test_a_read_that_is_slow_on_every_device_is_late_and_no_device_is_blamed(bench: Bench) -> None:
    bench.ward.hold(A)
    bench.ward.hold(B)
    await bench.hung()
    bench.clock.seconds += TIMEOUT_SECONDS * 0.6
    await asyncio.sleep(TIMEOUT_SECONDS)  # it is looked at meanwhile
    bench.ward.let_go(A)
    await bench.hung()
    await asyncio.sleep(TIMEOUT_SECONDS / 2)  # it is seen that another one is asked now
    bench.clock.seconds += TIMEOUT_SECONDS * 0.45
    await asyncio.sleep(TIMEOUT_SECONDS / 2)
    bench.ward.let_go(B)
    async with asyncio.timeout(SOON):
        while (await bench.readings.get()).rejected != {"read": 2}:
            pass
    assert not any("GPU GPU-" in line for line in bench.heard.lines)
    await bench.reading_of(A, B)


def threads() -> int:
    return sum(thread.name == "gpu-ward" for thread in threading.enumerate())


def wait_for_threads(n: int) -> None:
    give_up = time.monotonic() + SOON
    while threads() != n:
        assert time.monotonic() < give_up
        time.sleep(0.001)
