"""The model that a server's own API lists, over real HTTP: asked once, again after a restart, and never for long."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any, Self

import pytest
from aiohttp import web

from infermeter.mapping import load_mappings
from infermeter.model import ServerReading
from infermeter.scrape import Scraper
from infermeter.scrape.scraper import LOOK_UPS
from infermeter.scrape.served_model import ANSWER_BYTES

SOON = 10.0


def listed(*models: object) -> str:
    return json.dumps({"object": "list", "data": [{"id": model, "object": "model"} for model in models]})


class Tgi:
    """A server whose metrics name no model, and whose API answers as each test says; a path without an answer isn't there."""

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers
        self.page = "tgi_request_success 1\n"
        self.asked: list[str] = []
        self.tokens: set[str | None] = set()
        self.readings: asyncio.Queue[ServerReading] = asyncio.Queue()
        self.failures: asyncio.Queue[Exception] = asyncio.Queue()
        self.now_ns = 0

    async def __aenter__(self) -> Self:
        async def answer(request: web.Request) -> web.StreamResponse:
            self.tokens.add(request.headers.get("Authorization"))
            if request.path == "/deep/metrics":
                return web.Response(text=self.page)
            self.asked.append(request.path)
            text = self.answers.get(request.path)
            return web.Response(status=404) if text is None else web.Response(text=text)

        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.scraper = Scraper(
            f"http://127.0.0.1:{self.runner.addresses[0][1]}/deep/metrics",
            load_mappings("auto", {}),
            interval_seconds=0.02,
            timeout_seconds=SOON,
            now=self.now,
            loop=asyncio.get_running_loop(),
            deliver=self.readings.put_nowait,
            fail=self.failures.put_nowait,
        )
        self.scraper.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.scraper.stop()
        await self.runner.cleanup()
        assert self.failures.empty()

    def now(self) -> int:
        """Only the thread asks for it."""
        self.now_ns += 1_000_000_000
        return self.now_ns

    async def models(self, readings: int) -> list[str | None]:
        """Of the next readings."""
        return [(await asyncio.wait_for(self.readings.get(), SOON)).model for _ in range(readings)]


def run(server: Tgi, test: Callable[[Tgi], Coroutine[Any, Any, None]]) -> None:
    async def scenario() -> None:
        async with server:
            await test(server)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("answers", "model"),
    [
        ({"/v1/models": listed("chat")}, "chat"),
        ({"/v1/models": listed("chat"), "/info": '{"model_id": "other"}'}, "chat"),
        ({"/info": '{"model_id": "org/chat", "version": "3.0.0"}'}, "org/chat"),
        ({"/v1/models": listed(), "/info": '{"model_id": "chat"}'}, "chat"),
        ({"/v1/models": listed("chat", "chat")}, "chat"),
    ],
)
def test_the_one_model_that_is_listed_is_served_and_asked_for_once(answers: dict[str, str], model: str) -> None:
    async def test(server: Tgi) -> None:
        assert await server.models(4) == [model] * 4
        assert len(server.asked) == len(set(server.asked))
        assert server.tokens == {None}

    run(Tgi(answers), test)


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"/v1/models": listed("a", "b"), "/info": '{"model_id": "chat"}'},
        {"/v1/models": listed(7, "")},
        {"/v1/models": '{"data": [7]}', "/info": '{"model_id": null}'},
        {"/v1/models": '{"data": {}}', "/info": "[]"},
        {"/v1/models": "[" * 5000},
        {"/v1/models": "<html>"},
        {"/v1/models": listed("a") + " " * ANSWER_BYTES},
    ],
)
def test_several_models_and_answers_that_are_none_leave_it_unknown_and_it_is_not_asked_for_ever(answers: dict[str, str]) -> None:
    async def test(server: Tgi) -> None:
        assert await server.models(LOOK_UPS + 3) == [None] * (LOOK_UPS + 3)
        assert server.asked.count("/v1/models") == LOOK_UPS

    run(Tgi(answers), test)


def test_a_restart_asks_anew() -> None:
    async def test(server: Tgi) -> None:
        server.page = "tgi_request_success 100\n"
        assert "chat" in await server.models(3)
        server.answers = {"/v1/models": listed("new")}
        server.page = "tgi_request_success 2\n"
        async with asyncio.timeout(SOON):
            while await server.models(1) != ["new"]:
                pass
        assert server.asked == ["/v1/models", "/v1/models"]

    run(Tgi({"/v1/models": listed("chat")}), test)


def test_a_server_whose_metrics_name_its_model_is_not_asked() -> None:
    async def test(server: Tgi) -> None:
        server.page = 'lmdeploy:prompt_tokens_total{model_name="a"} 1\n'
        assert await server.models(3) == ["a"] * 3
        assert server.asked == []

    server = Tgi({"/v1/models": listed("chat")})
    server.page = 'lmdeploy:prompt_tokens_total{model_name="a"} 1\n'
    run(server, test)
