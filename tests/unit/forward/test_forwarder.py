import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from infermeter.config import Forward
from infermeter.errors import ConfigErrors
from infermeter.forward.forwarder import EXPORT_BYTES, FULL_TOLD_SECONDS, Forwarder, forwarder
from infermeter.forward.outcomes import Busy, Outcome, Rejected, Taken
from infermeter.forward.target import ATTEMPTS_AT_ONCE
from infermeter.model import Accepted, ForwardFacts, NotForwarded
from integration.otlp.listening import on_a_loop, settled

BODY = b"x" * 100


def export(spans: int = 1, body: bytes = BODY) -> Accepted:
    return Accepted(body, "protobuf", "identity", spans, len(body))


@dataclass
class Target:
    """Answers with the outcomes in turn, the last for ever; `unfit` spans of each export can't be encoded. Hangs while not `open`."""

    outcomes: deque[Outcome] = field(default_factory=lambda: deque([Taken()]))
    unfit: int = 0
    grows_bytes: int = 0
    mistake: Exception | None = None
    open: asyncio.Event = field(default_factory=asyncio.Event)
    sent: list[Accepted] = field(default_factory=list)
    closed: bool = False

    async def fitted(self, accepted: Accepted) -> Accepted:
        if not self.unfit and not self.grows_bytes:
            return accepted
        return replace(accepted, body=accepted.body + bytes(self.grows_bytes), spans=accepted.spans - self.unfit)

    async def send(self, accepted: Accepted) -> Outcome:
        self.sent.append(accepted)
        if self.mistake:
            raise self.mistake
        await self.open.wait()
        return self.outcomes.popleft() if len(self.outcomes) > 1 else self.outcomes[0]

    async def close(self) -> None:
        self.closed = True


@dataclass
class Bench:
    """A forwarder with its target, its clock, the waits that it took between attempts, and its own mistakes."""

    target: Target
    forwarder: Forwarder
    waits: list[tuple[int, float | None]]
    failures: list[Exception]
    clock: list[float]

    @property
    def facts(self) -> ForwardFacts:
        return self.forwarder.facts()

    @property
    def dropped(self) -> Mapping[NotForwarded, int]:
        return {reason: spans for reason, spans in self.facts.spans_dropped.items() if spans}

    async def done(self) -> None:
        await settled(lambda: self.facts.queue_bytes == 0)


@asynccontextmanager
async def bench(*outcomes: Outcome, is_open: bool = True, queue_bytes: int = 1 << 20, wait: float = 0.0) -> AsyncIterator[Bench]:
    target, waits, failures, clock = Target(deque(outcomes or (Taken(),))), [], [], [0.0]
    if is_open:
        target.open.set()

    def waited(attempt: int, asked_seconds: float | None) -> float:
        waits.append((attempt, asked_seconds))
        return wait

    made = Forwarder(
        lambda: target,
        queue_bytes=queue_bytes,
        retry_seconds=300.0,
        monotonic=lambda: clock[0],
        fail=failures.append,
        wait=waited,
    )
    made.start()
    try:
        yield Bench(target, made, waits, failures, clock)
    finally:
        await made.stop(seconds=0)


@on_a_loop
async def test_what_is_offered_is_sent_and_counted_once_it_was_taken() -> None:
    async with bench() as now:
        now.forwarder.offer(export(3))
        assert now.facts == ForwardFacts(0, 0, {}, len(BODY) + EXPORT_BYTES, 1 << 20)
        await now.done()
        assert now.target.sent[0].body is BODY
        assert (now.facts.spans_forwarded, now.facts.spans_reencoded, now.dropped) == (3, 0, {})


@on_a_loop
async def test_of_a_partial_success_what_was_rejected_is_dropped() -> None:
    async with bench(Taken(rejected=2)) as now:
        now.forwarder.offer(export(5))
        await now.done()
        assert (now.facts.spans_forwarded, now.dropped) == (3, {"rejected": 2})


@on_a_loop
async def test_what_is_rejected_is_dropped_at_once() -> None:
    async with bench(Rejected("HTTP 400"), Taken()) as now:
        now.forwarder.offer(export(5))
        await now.done()
        assert (len(now.target.sent), now.dropped, now.waits) == (1, {"rejected": 5}, [])


@on_a_loop
async def test_what_is_not_taken_now_is_tried_again_as_long_as_the_receiver_asks_to_wait() -> None:
    async with bench(Busy("HTTP 503", 7.0), Busy("HTTP 503"), Taken()) as now:
        now.forwarder.offer(export(5))
        await now.done()
        assert (len(now.target.sent), now.waits) == (3, [(0, 7.0), (1, None)])
        assert (now.facts.spans_forwarded, now.dropped) == (5, {})


@on_a_loop
async def test_an_export_is_given_up_when_it_would_be_too_old() -> None:
    async with bench(Busy("HTTP 503"), wait=0.01, is_open=False) as now:
        now.forwarder.offer(export(5))
        await settled(lambda: len(now.target.sent) == 1)
        now.clock[0] = 299.98
        now.target.open.set()
        await settled(lambda: len(now.target.sent) > 1)  # there was time for one more
        now.clock[0] = 299.995
        await now.done()
        assert now.dropped == {"expired": 5}


@on_a_loop
async def test_what_has_waited_for_its_turn_too_long_is_tried_once_nevertheless() -> None:
    async with bench(Busy("HTTP 503")) as now:
        now.forwarder.offer(export())
        now.clock[0] = 301.0
        await now.done()
        assert (len(now.target.sent), now.dropped) == (1, {"expired": 1})


@on_a_loop
async def test_no_more_bytes_wait_than_may_and_those_under_way_count() -> None:
    room = 3 * (len(BODY) + EXPORT_BYTES)
    async with bench(is_open=False, queue_bytes=room) as now:
        for spans in (1, 2, 3, 4):
            now.forwarder.offer(export(spans))
        await settled(lambda: len(now.target.sent) == 3)
        now.forwarder.offer(export(5))
        assert (now.facts.queue_bytes, now.dropped) == (room, {"queue_full": 9})
        now.target.open.set()
        await now.done()
        now.forwarder.offer(export(6))
        await now.done()
        assert (now.facts.spans_forwarded, now.dropped) == (12, {"queue_full": 9})


@on_a_loop
async def test_empty_bodies_do_not_wait_without_bound() -> None:
    async with bench(is_open=False, queue_bytes=10 * EXPORT_BYTES) as now:
        for _ in range(100):
            now.forwarder.offer(export(body=b""))
        assert now.dropped == {"queue_full": 90}


@on_a_loop
async def test_only_so_many_are_under_way_at_once() -> None:
    async with bench(is_open=False) as now:
        for _ in range(3 * ATTEMPTS_AT_ONCE):
            now.forwarder.offer(export())
        await settled(lambda: len(now.target.sent) == ATTEMPTS_AT_ONCE)
        await asyncio.sleep(0)
        assert len(now.target.sent) == ATTEMPTS_AT_ONCE


@on_a_loop
async def test_an_export_that_waits_for_its_next_attempt_holds_up_no_other() -> None:
    async with bench(Busy("HTTP 503"), Taken(), wait=200.0) as now:
        now.forwarder.offer(export(7))
        await settled(lambda: len(now.waits) == 1)
        now.forwarder.offer(export(2))
        await settled(lambda: now.facts.spans_forwarded == 2)
        assert now.facts.queue_bytes == len(BODY) + EXPORT_BYTES


@on_a_loop
async def test_what_is_encoded_anew_is_counted_and_held_instead_of_what_came() -> None:
    async with bench(Taken(rejected=1), is_open=False) as now:
        now.target.unfit, now.target.grows_bytes = 2, 50
        now.forwarder.offer(export(10))
        await settled(lambda: len(now.target.sent) == 1)
        assert now.facts.queue_bytes == len(BODY) + 50 + EXPORT_BYTES
        now.target.open.set()
        await now.done()
        assert (now.facts.spans_forwarded, now.facts.spans_reencoded) == (7, 7)
        assert now.dropped == {"unencodable": 2, "rejected": 1}


@on_a_loop
async def test_an_export_of_which_nothing_can_be_encoded_is_not_sent() -> None:
    async with bench() as now:
        now.target.unfit = 4
        now.forwarder.offer(export(4))
        await now.done()
        assert (now.target.sent, now.dropped) == ([], {"unencodable": 4})


@on_a_loop
async def test_the_end_waits_for_what_can_still_be_sent() -> None:
    async with bench() as now:
        for _ in range(100):
            now.forwarder.offer(export())
        await now.forwarder.stop(seconds=10)
        assert (now.facts.spans_forwarded, now.dropped, now.target.closed) == (100, {}, True)


@on_a_loop
async def test_at_the_end_what_waits_for_its_next_attempt_gets_it_at_once_and_it_is_the_last() -> None:
    async with bench(Busy("HTTP 503"), Taken(), wait=100.0) as now:
        now.forwarder.offer(export(3))
        await settled(lambda: len(now.waits) == 1)
        await now.forwarder.stop(seconds=10)
        assert (now.facts.spans_forwarded, now.dropped) == (3, {})
    async with bench(Busy("HTTP 503"), wait=100.0) as now:
        now.forwarder.offer(export(3))
        await settled(lambda: len(now.waits) == 1)
        await now.forwarder.stop(seconds=10)
        assert (len(now.target.sent), now.dropped) == (2, {"shutdown": 3})


@on_a_loop
async def test_the_end_does_not_wait_for_a_receiver_that_hangs(caplog: pytest.LogCaptureFixture) -> None:
    async with bench(is_open=False) as now:
        for _ in range(20):
            now.forwarder.offer(export(2))
        await settled(lambda: len(now.target.sent) == ATTEMPTS_AT_ONCE)
        await now.forwarder.stop(seconds=0.01)
        assert (now.dropped, now.facts.queue_bytes, now.target.closed) == ({"shutdown": 40}, 0, True)
        assert "40 spans weren't passed on before the end" in caplog.text


@on_a_loop
async def test_one_that_was_never_started_ends() -> None:
    never = Forwarder(Target, queue_bytes=1000, retry_seconds=1.0, monotonic=lambda: 0.0, fail=lambda _: None)
    await never.stop(seconds=1)
    assert never.facts() == ForwardFacts(0, 0, {}, 0, 1000)


@on_a_loop
async def test_a_mistake_of_ours_is_told() -> None:
    async with bench() as now:
        now.target.mistake = ZeroDivisionError()
        now.forwarder.offer(export())
        await settled(lambda: now.failures == [now.target.mistake])


@on_a_loop
async def test_that_a_receiver_falls_silent_and_is_back_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with bench(Busy("HTTP 503"), Busy("HTTP 503"), Busy("HTTP 503"), Taken()) as now:
        for _ in range(5):
            now.forwarder.offer(export())
        await now.done()
    told = [record.getMessage() for record in caplog.records]
    assert told == ["forward.endpoint doesn't answer: HTTP 503", "forward.endpoint answers again"]


@on_a_loop
async def test_a_full_queue_is_told_once_a_minute_at_most(caplog: pytest.LogCaptureFixture) -> None:
    async with bench(is_open=False, queue_bytes=1) as now:
        for seconds in (0.0, 1.0, FULL_TOLD_SECONDS, FULL_TOLD_SECONDS + 1):
            now.clock[0] = seconds
            now.forwarder.offer(export())
    assert len([record for record in caplog.records if "the queue is full" in record.getMessage()]) == 2


def test_a_secret_that_is_not_there_is_the_operators_mistake() -> None:
    forward = Forward(endpoint="http://tempo:4318", headers={"authorization": "Bearer ${env:TOKEN}"})
    with pytest.raises(ConfigErrors, match=r"^forward\.headers\.authorization: there is no environment variable TOKEN"):
        forwarder(forward, {}, monotonic=lambda: 0.0, fail=lambda _: None)
