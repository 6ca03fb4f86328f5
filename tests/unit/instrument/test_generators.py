"""Generators as inferences and stages: answers that come piece by piece."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Generator, Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from infermeter.instrument import current, first_token, inference, stage
from support.instrumented import Spans, attributes


def parents(spans: list[ReadableSpan]) -> set[int]:
    return {span.parent.span_id for span in spans if span.parent}


def identity(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


def test_a_generator_is_timed_from_its_first_step_to_its_end_and_only_in_there_it_is_current() -> None:
    spans = Spans()

    @inference("m", tracer=spans.tracer)
    def tokens_of(count: int) -> Iterator[int]:
        """Tokens."""
        for token in range(count):
            assert current() is not None
            with stage("compute"):
                pass
            first_token()
            yield token

    steps = tokens_of(3)
    assert spans.finished == ()
    for _ in steps:
        assert current() is None
    assert inspect.isgenerator(steps)
    assert (tokens_of.__name__, tokens_of.__doc__) == ("tokens_of", "Tokens.")
    assert [span.name for span in spans.finished] == ["compute"] * 3 + ["inference"]
    assert parents(spans.named("compute")) == {identity(spans.inference)}
    assert spans.mapped().error.tolist() == [False]


def test_generators_that_take_turns_stay_apart() -> None:
    spans = Spans()

    @inference(tracer=spans.tracer)
    def tokens_of(model: str) -> Iterator[object]:
        one = current()
        assert one is not None
        one.is_of(model)
        for _ in range(2):
            with stage("compute"):
                assert current() is one
                yield one

    assert len(list(zip(tokens_of("a"), tokens_of("b"), strict=True))) == 2
    assert sorted(spans.mapped().model, key=str) == ["a", "b"]
    assert parents(spans.named("compute")) == set(map(identity, spans.named("inference")))


def test_what_is_sent_thrown_and_returned_passes_through() -> None:
    spans = Spans()

    @inference(tracer=spans.tracer)
    def conversation() -> Generator[str, str, str]:
        said = yield "first"
        try:
            yield said
        except LookupError:
            yield "caught"
        return "done"

    talk = conversation()
    assert next(talk) == "first"
    assert talk.send("second") == "second"
    assert talk.throw(LookupError()) == "caught"
    with pytest.raises(StopIteration) as end:
        next(talk)
    assert end.value.value == "done"
    assert spans.mapped().error.tolist() == [False]


def test_a_generator_that_breaks_or_is_left_has_failed() -> None:
    spans = Spans()
    closed = []

    @inference(tracer=spans.tracer)
    def tokens_of(*, breaks: bool) -> Iterator[int]:
        try:
            yield 1
            if breaks:
                raise LookupError
            yield 2
        finally:
            closed.append(current())

    with pytest.raises(LookupError):
        list(tokens_of(breaks=True))
    left = tokens_of(breaks=False)
    next(left)
    left.close()  # type: ignore[attr-defined]
    assert [attributes(span)["error.type"] for span in spans.named("inference")] == ["LookupError", "GeneratorExit"]
    assert None not in closed


def test_an_asynchronous_generator_is_timed_whichever_task_takes_its_steps() -> None:
    spans = Spans()

    @inference("m", tracer=spans.tracer)
    async def tokens_of(count: int) -> AsyncIterator[int]:
        for token in range(count):
            with stage("compute"):
                await asyncio.sleep(0)
                assert current() is not None
                await asyncio.create_task(work())
            yield token

    async def work() -> None:
        assert current() is not None

    async def taken() -> list[int]:
        steps = tokens_of(3)
        items = [await asyncio.create_task(anext(steps)) for _ in range(3)]  # type: ignore[arg-type]
        assert current() is None
        with pytest.raises(StopAsyncIteration):
            await anext(steps)
        return items

    assert asyncio.run(taken()) == [0, 1, 2]
    assert [span.name for span in spans.finished] == ["compute"] * 3 + ["inference"]
    assert parents(spans.named("compute")) == {identity(spans.inference)}


@pytest.mark.parametrize(
    ("end", "why"), [("cancel", "CancelledError"), ("close", "GeneratorExit"), ("throw", "LookupError"), ("caught", None)]
)
def test_an_asynchronous_generator_that_is_left_has_failed(end: str, why: str | None) -> None:
    spans = Spans()

    @inference(tracer=spans.tracer)
    async def tokens_of() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        except LookupError:
            if end != "caught":
                raise
            yield 2

    async def left() -> None:
        steps = tokens_of()
        assert await anext(steps) == 1
        if end == "cancel":
            task = asyncio.create_task(anext(steps))  # type: ignore[arg-type]
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        elif end == "close":
            await steps.aclose()  # type: ignore[attr-defined]
        elif end == "throw":
            with pytest.raises(LookupError):
                await steps.athrow(LookupError())  # type: ignore[attr-defined]
        else:
            assert await steps.athrow(LookupError()) == 2  # type: ignore[attr-defined]
            assert [item async for item in steps] == []

    asyncio.run(left())
    assert attributes(spans.inference).get("error.type") == why
