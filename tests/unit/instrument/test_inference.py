"""What a server tells of an inference while it happens, and what comes of it."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry.trace import get_current_span

from infermeter.instrument import (
    STAGES,
    Batch,
    Inference,
    StageInterval,
    TimedInference,
    WallClock,
    current,
    emit,
    first_token,
    inference,
    stage,
    tokens,
    waiting,
)
from infermeter.model import STAGES as STAGES_OF_THE_LEDGER
from support.instrumented import Spans, attributes

SECRET = "what was asked"


def test_a_block_is_an_inference_and_blocks_inside_are_its_stages() -> None:
    spans = Spans()
    with inference("resnet", tracer=spans.tracer):
        with stage("serialisation", "decode"):
            pass
        with stage("compute"):
            pass
    batch = spans.mapped()
    assert list(batch.model) == ["resnet"]
    assert not batch.error.any()
    assert batch.quality == {"compute": "measured", "serialisation": "measured"}
    assert [(part.stage, part.part) for part in batch.parts] == [("serialisation", "decode")]
    assert [span.name for span in spans.finished] == ["serialisation", "compute", "inference"]


def test_functions_and_coroutines_can_be_decorated_and_each_call_is_one_of_its_own() -> None:
    spans = Spans()

    @stage("compute")
    def model(x: int) -> int:
        """The model."""
        return x + 1

    @inference("m", tracer=spans.tracer)
    async def serve(x: int) -> int:
        await asyncio.sleep(0)
        return model(x)

    @inference("n", tracer=spans.tracer)
    def serve_one(x: int) -> int:
        return model(x)

    async def both() -> list[int]:
        return await asyncio.gather(serve(1), serve(2))

    assert asyncio.run(both()) == [2, 3]
    assert serve_one(3) == 4
    assert (model.__name__, model.__doc__) == ("model", "The model.")
    assert sorted(name or "" for name in spans.mapped().model) == ["m", "m", "n"]
    roots = {span.context.span_id for span in spans.named("inference") if span.context}
    assert {span.parent.span_id for span in spans.named("compute") if span.parent} == roots


def test_a_block_is_used_once_at_a_time() -> None:
    timed = stage("compute")
    with timed:
        pass
    with timed, pytest.raises(RuntimeError, match="make one for each block"), timed:
        pass


def test_tokens_and_the_first_of_them_are_told() -> None:
    spans = Spans()
    with inference(tracer=spans.tracer) as one:
        tokens(input=12)
        first_token()
        first_token()
        tokens(output=3)
        one.is_of("chat")
    batch = spans.mapped()
    assert (list(batch.model), batch.tokens_input.tolist(), batch.tokens_output.tolist()) == (["chat"], [12], [3])
    assert len(spans.inference.events) == 1
    assert batch.ttft_seconds[0] > 0


def test_an_exception_is_a_failure_and_its_message_stays_private() -> None:
    spans = Spans()
    with pytest.raises(ValueError, match=SECRET), inference("m", tracer=spans.tracer), stage("compute"):
        raise ValueError(SECRET)
    assert spans.mapped().error.tolist() == [True]
    assert attributes(spans.inference) == {"infermeter.model": "m", "error.type": "ValueError"}
    assert all(not span.events and not span.status.description for span in spans.finished)


def test_a_cancelled_inference_is_a_failed_one() -> None:
    spans = Spans()

    @inference("m", tracer=spans.tracer)
    async def serve() -> None:
        await asyncio.Event().wait()

    async def cancelled() -> None:
        task = asyncio.create_task(serve())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(cancelled())
    assert attributes(spans.inference)["error.type"] == "CancelledError"


def test_outside_of_any_inference_nothing_happens() -> None:
    assert current() is None
    with stage("compute"):
        tokens(input=1)
        first_token()
    with Batch([waiting()]).stage("compute"):
        pass


def test_there_are_four_stages_and_no_others() -> None:
    assert tuple(STAGES) == STAGES_OF_THE_LEDGER
    one = Inference("m", tracer=Spans().tracer)
    for told in (lambda: stage("thinking"), lambda: one.stage("thinking"), lambda: one.add("thinking", 1, 2)):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="no stage 'thinking': there are queue, compute, transfer, serialisation"):
            told()
    with pytest.raises(ValueError, match="no stage"), Batch([]).stage("thinking"):  # type: ignore[arg-type]
        pass


def test_other_spans_belong_below_the_stage_in_which_they_are_made() -> None:
    spans = Spans()
    with inference("m", tracer=spans.tracer) as one:
        assert get_current_span() is one.span
        with stage("compute"):
            spans.tracer.start_span("a library's").end()
    ((inner,), (compute,)) = (spans.named("a library's"), spans.named("compute"))
    assert inner.parent == compute.context
    assert spans.mapped().error.tolist() == [False]


def test_an_inference_can_be_told_of_from_another_thread() -> None:
    spans = Spans()
    with inference("m", tracer=spans.tracer) as one, ThreadPoolExecutor(1) as pool:

        def work() -> None:
            assert current() is None
            with one.stage("compute"):
                one.tokens(output=2)
            one.add("transfer", 1000, 3000, part="copy")

        pool.submit(work).result()
    assert spans.mapped().quality == {"compute": "measured", "transfer": "measured"}
    assert [(span.start_time, span.end_time) for span in spans.named("transfer")] == [(1000, 3000)]


def test_what_is_told_after_its_end_is_dropped() -> None:
    spans = Spans()
    with inference("m", tracer=spans.tracer) as one:
        pass
    one.first_token()
    one.fail("late")
    one.add("compute", 1, 2)
    one.end()
    assert [span.name for span in spans.finished] == ["inference"]
    assert spans.inference.status.is_ok or spans.inference.status.is_unset


# --- batches -------------------------------------------------------------------------------------------------------------------------
def test_everybody_in_a_batch_gets_its_time_and_waited_until_it_began() -> None:
    spans = Spans()
    ones = [Inference("m", tracer=spans.tracer) for _ in range(3)]
    handed = []
    for one in ones:
        with inference("m", tracer=spans.tracer):
            pass  # somebody else
        handed.append(one)
    batches = []

    def compute(queue: list[object]) -> None:
        batch = Batch(queue)  # type: ignore[arg-type]
        with batch.stage("transfer", "gather"):
            pass
        with batch.stage("compute"):
            pass
        batches.append(batch)

    queue = [type(waiting())(one, waiting().since_ns, "batch") for one in handed]
    thread = threading.Thread(target=compute, args=(queue,))
    thread.start()
    thread.join()
    for one in ones:
        one.end()
    (batch,) = batches
    computed = spans.named("compute")
    assert {(span.start_time, span.end_time) for span in computed} == {(computed[0].start_time, computed[0].end_time)}
    assert [attributes(span) for span in computed] == [{"infermeter.batch.id": batch.id}] * 3
    assert [attributes(span)["infermeter.part"] for span in spans.named("queue")] == ["batch"] * 3
    assert {span.end_time for span in spans.named("queue")} == {spans.named("queue")[0].end_time}
    sizes = [attributes(span).get("infermeter.batch.size") for span in spans.named("inference")]
    assert sorted(sizes, key=str) == [3, 3, 3, None, None, None]


def test_batches_are_numbered() -> None:
    assert Batch([]).id != Batch([]).id


def test_an_inference_waits_from_when_it_says_so() -> None:
    spans = Spans()
    with inference("m", tracer=spans.tracer) as one:
        ticket = waiting("slot")
        assert (ticket.inference, ticket.part) == (one, "slot")
        Batch([ticket])
    (queued,) = spans.named("queue")
    assert queued.start_time == one.now.offset_ns + ticket.since_ns
    assert attributes(queued) == {"infermeter.part": "slot"}


# --- recorded, and the clock ---------------------------------------------------------------------------------------------------------
def test_what_was_timed_elsewhere_arrives_to_the_nanosecond() -> None:
    spans = Spans()
    intervals = [StageInterval("queue", 1000, 1100), StageInterval("compute", 1100, 1900, batch_id=7)]
    emit(spans.tracer, TimedInference("m", 1000, 2000, intervals, 4, first_token_ns=1500, tokens_input=9, tokens_output=2))
    batch = spans.mapped()
    assert batch.stages_ns[0].tolist()[:2] == [100, 800]
    assert batch.ttft_seconds[0] == pytest.approx(500e-9)
    assert (batch.tokens_input[0], batch.tokens_output[0]) == (9, 2)
    assert attributes(spans.inference)["infermeter.batch.size"] == 4


def test_time_never_steps_back_and_is_the_wall_clock_s() -> None:
    now = WallClock().steady()
    readings = [now() for _ in range(1000)]
    assert all(before <= after for before, after in itertools.pairwise(readings))
    assert abs(now() - time.time_ns()) < 1e9


def test_a_clock_that_is_set_is_followed_by_the_next_inference_and_not_by_one_under_way() -> None:
    unix_ns, monotonic_ns = [10_000_000_000], [5]
    clock = WallClock(unix=lambda: unix_ns[0], monotonic=lambda: monotonic_ns[0])
    under_way = clock.steady()
    unix_ns[0] += 500_000
    assert clock.steady() is under_way
    unix_ns[0] -= 6_000_000_000
    monotonic_ns[0] += 7
    assert clock.steady()() == 4_000_500_000
    assert under_way() == 10_000_000_007


def test_it_imports_nothing_of_the_rest() -> None:
    said = subprocess.run(
        [sys.executable, "-c", "import sys, infermeter.instrument; print(*sys.modules)"], capture_output=True, text=True, check=True
    ).stdout.split()
    own = {name for name in said if name.startswith("infermeter")}
    assert {name for name in own if not name.startswith("infermeter.instrument")} == {"infermeter"}
    assert not {"aiohttp", "numpy", "grpc", "prometheus_client", "yaml"} & set(said)
