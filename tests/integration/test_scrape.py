"""The server's own /metrics over real HTTP: real threads, a page that changes, and everything that can go wrong between."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import pytest
from aiohttp import web

from infermeter.mapping import load_mappings
from infermeter.model import ServerReading
from infermeter.scrape import Scraper
from infermeter.scrape.scraper import SEVERAL

SOON = 10.0
"""Seconds until a test gives up on what should happen at once."""

INTERVAL_SECONDS = 0.02
CAPTURES = Path(__file__).parents[1] / "captures"
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def triton(ok: int, failed: int = 0, *, model: str = "mlp") -> str:
    return f"""\
# HELP nv_inference_request_success Number of successful inference requests, all batch sizes
# TYPE nv_inference_request_success counter
nv_inference_request_success{{model="{model}",version="1"}} {ok}
# TYPE nv_inference_request_failure counter
nv_inference_request_failure{{model="{model}",reason="OTHER",version="1"}} {failed}
nv_inference_count{{model="{model}",version="1"}} 579
"""


def page(text: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=text)

    return answer


async def drip(request: web.Request) -> web.StreamResponse:
    """A page that never ends."""
    response = web.StreamResponse()
    await response.prepare(request)
    with suppress(ConnectionError):
        while True:
            await response.write(b"# \n")
            await asyncio.sleep(0.01)
    return response


async def sick(_: web.Request) -> web.StreamResponse:
    return web.Response(status=503, text="nv_inference_request_success 1\n")


class Heard(logging.Handler):
    """The log, line by line, from whatever thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(logging.INFO)
        self._loop = loop
        self.lines: asyncio.Queue[str] = asyncio.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        self._loop.call_soon_threadsafe(self.lines.put_nowait, f"{record.levelname} {record.getMessage()}")


class Bench:
    """A server on a port of its own, whose answer each test sets, and a scraper beside it."""

    def __init__(self, kind: str = "auto", *, token_file: str | None = None, timeout_seconds: float = SOON) -> None:
        self.kind = kind
        self.timeout_seconds = timeout_seconds
        self.token_file = token_file
        self.answer: Answer = page(triton(0))
        self.asked: asyncio.Queue[web.Request] = asyncio.Queue()
        self.readings: asyncio.Queue[ServerReading] = asyncio.Queue()
        self.failures: asyncio.Queue[Exception] = asyncio.Queue()
        self.port = 0
        self.now_ns = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self.heard = Heard(loop)
        self.logger = logging.getLogger("infermeter")
        self.logger.addHandler(self.heard)
        self.level = self.logger.level
        self.logger.setLevel(logging.INFO)
        await self.serve()
        self.scraper = Scraper(
            f"http://127.0.0.1:{self.port}/metrics",
            load_mappings(self.kind, {}),
            interval_seconds=INTERVAL_SECONDS,
            timeout_seconds=self.timeout_seconds,
            token_file=self.token_file,
            now=self.now,
            loop=loop,
            deliver=self.readings.put_nowait,
            fail=self.failures.put_nowait,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self.scraper.stop()
        self.logger.removeHandler(self.heard)
        self.logger.setLevel(self.level)
        await self.runner.cleanup()
        assert self.failures.empty()

    def now(self) -> int:
        """Only the thread asks for it."""
        self.now_ns += 1_000_000_000
        return self.now_ns

    async def serve(self) -> None:
        """Listens, the second time on the same port."""

        async def answered(request: web.Request) -> web.StreamResponse:
            self.asked.put_nowait(request)
            return await self.answer(request)

        app = web.Application()
        app.router.add_get("/metrics", answered)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self.runner.addresses[0][1]

    async def reading(self) -> ServerReading:
        return await asyncio.wait_for(self.readings.get(), SOON)

    async def reading_that(self, fits: Callable[[ServerReading], bool]) -> ServerReading:
        """The next one that fits; those before it have no increase."""
        async with asyncio.timeout(SOON):
            while not fits(reading := await self.readings.get()):
                assert not any(reading.inferences.values())
            return reading

    async def increase(self) -> ServerReading:
        return await self.reading_that(lambda reading: any(reading.inferences.values()))

    async def line(self) -> str:
        return await asyncio.wait_for(self.heard.lines.get(), SOON)

    async def asked_times(self, times: int) -> None:
        """All questions but the last of these were answered, and what came of it is known here."""
        while not self.asked.empty():
            self.asked.get_nowait()
        for _ in range(times):
            await asyncio.wait_for(self.asked.get(), SOON)


def on_a_loop(test: Callable[[Bench], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """The test with a bench on a loop of its own."""

    async def with_a_bench() -> None:
        async with Bench() as bench:
            bench.scraper.start()
            await test(bench)

    return lambda: asyncio.run(with_a_bench())


# --- what is counted -----------------------------------------------------------------------------------------------------------------
@on_a_loop
async def test_a_page_that_changes_tells_its_increases_after_a_baseline_of_zeros(bench: Bench) -> None:
    assert not bench.scraper.up
    bench.answer = page(triton(330, 2))
    first = await bench.reading()
    assert first == ServerReading(first.time_ns, None, {("mlp", "ok"): 0.0, ("mlp", "error"): 0.0}, model="mlp")
    assert bench.scraper.up
    assert await bench.line() == "INFO the server's own /metrics is read as triton's"
    bench.answer = page(triton(345, 3))
    told = await bench.increase()
    assert told.inferences == {("mlp", "ok"): 15, ("mlp", "error"): 1}
    assert told.since_ns is not None
    assert first.time_ns <= told.since_ns < told.time_ns
    bench.answer = page(triton(345, 3) + triton(7, model="new"))
    told = await bench.increase()
    assert told.inferences[("new", "ok")] == 7
    assert told.since_ns == told.time_ns - 1_000_000_000


@on_a_loop
async def test_a_server_that_was_started_anew_counts_from_zero(bench: Bench) -> None:
    bench.answer = page(triton(330, 2))
    await bench.reading()
    bench.answer = page(triton(4, 0))
    told = await bench.increase()
    assert told.inferences == {("mlp", "ok"): 4, ("mlp", "error"): 0}
    assert told.resets == 2


@on_a_loop
async def test_a_process_that_says_it_is_new_counts_from_zero_at_once_whatever_it_has_counted(bench: Bench) -> None:
    started = "process_start_time_seconds {}\n"
    bench.answer = page(triton(3) + started.format(1_795_000_000))
    await bench.reading()
    bench.answer = page(triton(8) + started.format(1_795_000_600))
    told = await bench.increase()
    assert told.inferences == {("mlp", "ok"): 8, ("mlp", "error"): 0}
    assert (told.resets, told.since_ns) == (1, told.time_ns - 1_000_000_000)


@on_a_loop
async def test_servers_that_answer_by_turns_are_a_state_that_is_told_once_and_nothing_is_counted_until_there_is_one(bench: Bench) -> None:
    pages = itertools.count(1)

    async def by_turns(_: web.Request) -> web.StreamResponse:
        number = next(pages)
        return web.Response(text=triton(10 * number + (1_000_000 if number % 2 else 50)))

    bench.answer = by_turns
    assert (await bench.reading()).inferences == {("mlp", "ok"): 0, ("mlp", "error"): 0}
    await bench.line()
    assert await bench.line() == f"WARNING the server's own /metrics {SEVERAL}"
    assert not bench.scraper.up
    assert bench.readings.empty()
    bench.answer = page(triton(2_000_000))
    anew = await bench.reading()
    assert (anew.since_ns, anew.inferences) == (None, {("mlp", "ok"): 0, ("mlp", "error"): 0})
    assert bench.scraper.up
    assert await bench.line() == "INFO the server's own /metrics answers again"
    bench.answer = page(triton(2_000_007))
    assert (await bench.increase()).inferences == {("mlp", "ok"): 7, ("mlp", "error"): 0}


@on_a_loop
async def test_a_server_that_has_not_served_yet_is_up_and_its_first_inferences_count(bench: Bench) -> None:
    bench.answer = page("# TYPE request_predict_seconds histogram\n")
    assert (await bench.reading()).inferences == {}
    assert bench.scraper.up
    bench.answer = page('# TYPE request_predict_seconds histogram\nrequest_predict_seconds_count{model_name="iris"} 3.0\n')
    assert (await bench.increase()).inferences == {("iris", None): 3}


@on_a_loop
async def test_an_outage_is_made_up_for_by_the_reading_after_it(bench: Bench) -> None:
    bench.answer = page(triton(100))
    await bench.reading()
    bench.answer = sick
    await bench.asked_times(3)
    assert not bench.scraper.up
    while not bench.readings.empty():
        bench.readings.get_nowait()
    bench.answer = page(triton(130))
    told = await bench.reading()
    assert told.inferences[("mlp", "ok")] == 30
    assert told.since_ns is not None
    assert told.time_ns - told.since_ns >= 3_000_000_000
    assert bench.scraper.up
    assert [await bench.line() for _ in range(3)] == [
        "INFO the server's own /metrics is read as triton's",
        f"WARNING the server's own /metrics doesn't answer: http://127.0.0.1:{bench.port}/metrics: HTTP 503",
        "INFO the server's own /metrics answers again",
    ]


@on_a_loop
async def test_a_server_that_went_away_and_came_back_is_read_again(bench: Bench) -> None:
    bench.answer = page(triton(100))
    await bench.reading()
    await bench.line()
    await bench.runner.cleanup()
    assert (await bench.line()).startswith(f"WARNING the server's own /metrics doesn't answer: http://127.0.0.1:{bench.port}/metrics: ")
    assert not bench.scraper.up
    bench.answer = page(triton(3))
    await bench.serve()
    assert (await bench.increase()).inferences[("mlp", "ok")] == 3
    assert await bench.line() == "INFO the server's own /metrics answers again"


# --- what is refused -----------------------------------------------------------------------------------------------------------------
NOBODYS = f"the page has no metric that is read of {', '.join(one.server for one in load_mappings('auto', {}) if one.metrics)}"
SECRET = "sk-of-a-peer"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (page(f'up{{a="{SECRET}"}} 1\n'), NOBODYS),
        (
            page("# HELP nv_inference_request_success none yet\n"),
            NOBODYS,
        ),
        (page(""), NOBODYS),
        (page(f"<html>{SECRET}</html>"), "the page is HTML or XML, not Prometheus' text format"),
        (page(f"nv_inference_request_success {SECRET}\n"), "a sample on the page is not in Prometheus' text format"),
        (page(triton(1000).partition(" 579")[0]), "the page ends within a line: it was cut off"),
        (sick, "{url}: HTTP 503"),
    ],
)
def test_what_is_not_the_servers_page_is_a_state_that_is_told_once_and_quotes_nobody(answer: Answer, why: str) -> None:
    async def scenario() -> None:
        async with Bench() as bench:
            bench.answer = answer
            bench.scraper.start()
            url = f"http://127.0.0.1:{bench.port}/metrics"
            assert await bench.line() == f"WARNING the server's own /metrics doesn't answer: {why.format(url=url)}"
            await bench.asked_times(2)
            assert not bench.scraper.up
            assert bench.readings.empty()
            bench.answer = page(triton(5))
            assert (await bench.reading()).since_ns is None
            assert bench.scraper.up
            assert {await bench.line(), await bench.line()} == {
                "INFO the server's own /metrics is read as triton's",
                "INFO the server's own /metrics answers again",
            }

    asyncio.run(scenario())


@on_a_loop
async def test_a_page_larger_than_any_servers_is_refused(bench: Bench) -> None:
    bench.answer = page(triton(1) + "# \n" * (6 << 20))
    assert (await bench.line()).endswith("is larger than 16777216 bytes")
    assert not bench.scraper.up


@on_a_loop
async def test_what_can_not_be_counted_is_ignored_and_told_once(bench: Bench) -> None:
    bench.answer = page(triton(5) + 'nv_inference_request_success{model="b",version="1"} 0.5\n')
    assert (await bench.reading()).inferences == {("mlp", "ok"): 0, ("mlp", "error"): 0, ("b", "ok"): 0}
    await bench.reading()
    await bench.line()
    assert await bench.line() == "WARNING the server's own /metrics: what is no whole number, or one series too many, is ignored"
    await bench.asked_times(2)
    assert bench.heard.lines.empty()


# --- whose page it is ----------------------------------------------------------------------------------------------------------------
@on_a_loop
async def test_a_page_that_was_recognised_stays_that_servers(bench: Bench) -> None:
    vllm = (CAPTURES / "vllm" / "grpc" / "metrics.txt").read_text()
    bench.answer = page(vllm)
    first = await bench.reading()
    assert (set(first.inferences), first.running) == ({("tiny", "ok"), ("tiny", "error")}, 0.0)
    assert await bench.line() == "INFO the server's own /metrics is read as vllm's"
    bench.answer = page(triton(5))
    assert (await bench.line()).endswith("doesn't answer: the page has no metric that is read of vllm")
    bench.answer = page(triton(9) + vllm.replace('"length",model_name="tiny"} 220.0', '"length",model_name="tiny"} 222.0'))
    assert (await bench.increase()).inferences == {("tiny", "ok"): 2, ("tiny", "error"): 0}


@on_a_loop
async def test_a_server_that_has_counted_nothing_yet_has_all_of_its_first_inferences_counted(bench: Bench) -> None:
    bench.answer = page("vllm:num_requests_running 0\n")
    assert not (await bench.reading()).inferences
    bench.answer = page('vllm:request_success_total{model_name="tiny",finished_reason="stop"} 3\nvllm:num_requests_running 1\n')
    told = await bench.increase()
    assert (told.inferences, told.running) == ({("tiny", "ok"): 3}, 1)


def test_a_kind_that_is_pinned_looks_for_its_own_names_alone() -> None:
    async def scenario() -> None:
        async with Bench("triton") as bench:
            bench.answer = page((CAPTURES / "vllm" / "grpc" / "metrics.txt").read_text())
            bench.scraper.start()
            assert (await bench.line()).endswith("the page has no metric that is read of triton")

    asyncio.run(scenario())


def test_the_token_is_sent_and_its_absence_is_a_state(tmp_path: Path) -> None:
    async def scenario() -> None:
        token = tmp_path / "token"
        async with Bench(token_file=str(token)) as bench:
            bench.scraper.start()
            assert (await bench.line()).endswith(f"token_file {token}: No such file or directory")
            token.write_text("s3cret\n")
            request = await asyncio.wait_for(bench.asked.get(), SOON)
            assert request.headers["Authorization"] == "Bearer s3cret"
            assert (await bench.reading()).since_ns is None

    asyncio.run(scenario())


@on_a_loop
async def test_a_page_that_comes_after_a_stop_is_not_delivered(bench: Bench) -> None:
    await bench.reading()
    waiting, release = asyncio.Event(), asyncio.Event()

    async def late(request: web.Request) -> web.StreamResponse:
        waiting.set()
        await release.wait()
        return await page(triton(50))(request)

    bench.answer = late
    await asyncio.wait_for(waiting.wait(), SOON)
    while not bench.readings.empty():
        bench.readings.get_nowait()
    bench.scraper.stop()
    release.set()
    (thread,) = (thread for thread in threading.enumerate() if thread.name == "poll-the server's own /metrics")
    await asyncio.to_thread(thread.join, SOON)
    assert not thread.is_alive()
    assert bench.readings.empty()


def test_a_page_that_drips_for_ever_is_given_up_and_asked_again() -> None:
    async def scenario() -> None:
        async with Bench(timeout_seconds=0.1) as bench:
            bench.answer = drip
            bench.scraper.start()
            assert (await bench.line()).endswith(f"http://127.0.0.1:{bench.port}/metrics: no whole answer within 0.1 s")
            await bench.asked_times(1)
            assert not bench.scraper.up

    asyncio.run(scenario())


def test_without_a_timeout_a_page_has_the_interval() -> None:
    async def scenario() -> None:
        readings: asyncio.Queue[ServerReading] = asyncio.Queue()
        async with Bench() as bench:
            bench.answer = drip
            scraper = Scraper(
                f"http://127.0.0.1:{bench.port}/metrics",
                load_mappings("triton", {}),
                interval_seconds=0.25,
                now=bench.now,
                loop=asyncio.get_running_loop(),
                deliver=readings.put_nowait,
                fail=bench.failures.put_nowait,
            )
            scraper.start()
            assert (await bench.line()).endswith("no whole answer within 0.25 s")
            scraper.stop()

    asyncio.run(scenario())
