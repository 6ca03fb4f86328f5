"""The clients of the demo, against a server on a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.test_utils import TestServer

from infermeter.demo.load import Load
from infermeter.demo.network import INPUTS

Answer = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def loaded(answer: Answer, *, in_flight: int = 4) -> AsyncIterator[Load]:
    application = web.Application()
    application.router.add_post("/infer", answer)
    async with TestServer(application) as server, Load(str(server.make_url("/infer")), in_flight=in_flight) as load:
        yield load


async def good(_: web.Request) -> web.Response:
    return web.Response()


def test_every_request_carries_one_input() -> None:
    async def answer(request: web.Request) -> web.Response:
        document = json.loads(await request.read())
        return web.Response(status=200 if len(document["input"]) == INPUTS else 400)

    async def scenario() -> None:
        async with loaded(answer) as load:
            await load.run(0.1, lambda _: 200.0)
            assert load.answered > 0
            assert load.failed == 0

    asyncio.run(scenario())


def test_what_is_refused_or_cut_off_counts_as_failed() -> None:
    async def answer(request: web.Request) -> web.Response:
        if answered:
            request.transport.close()  # type: ignore[union-attr]
        answered.append(1)
        return web.Response(status=500)

    answered: list[int] = []

    async def scenario() -> None:
        async with loaded(answer) as load:
            await load.run(0.1, lambda _: 200.0)
            assert load.failed > 1
            assert load.answered == 0

    asyncio.run(scenario())


def test_no_more_requests_are_open_at_one_time_than_allowed() -> None:
    async def answer(_: web.Request) -> web.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.02)
        now -= 1
        return web.Response()

    now = most = 0

    async def scenario() -> None:
        async with loaded(answer, in_flight=3) as load:
            await load.run(0.2, lambda _: 10_000.0)
            assert load.answered > 3

    asyncio.run(scenario())
    assert most == 3


def test_a_rate_of_nothing_sends_nothing() -> None:
    async def scenario() -> None:
        async with loaded(good) as load:
            await load.run(0.1, lambda _: 0.0)
            assert load.answered == load.failed == 0

    asyncio.run(scenario())


def test_the_rate_may_change_while_it_runs_and_is_told() -> None:
    seen: list[float] = []

    def rate(elapsed: float) -> float:
        seen.append(load.offered_per_second)
        return 50.0 if elapsed < 0.05 else 200.0

    async def scenario() -> None:
        nonlocal load
        async with loaded(good) as load:
            await load.run(0.15, rate)
            assert load.offered_per_second == 0

    load: Load
    asyncio.run(scenario())
    assert {50.0, 200.0} <= set(seen)


def test_the_capacity_is_what_clients_get_who_never_pause() -> None:
    async def answer(_: web.Request) -> web.Response:
        await asyncio.sleep(0.01)
        return web.Response()

    async def scenario() -> None:
        async with loaded(answer, in_flight=2) as load:
            assert 0 < await load.measured_capacity(0.1) <= 200

    asyncio.run(scenario())
