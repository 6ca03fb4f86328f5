"""Exports that have to wait, over both transports: each is taken in its turn or refused, answered so and counted so."""

import asyncio

import aiohttp
import grpc
import pytest

from infermeter.errors import Overloaded
from infermeter.otlp.turns import WAIT_SECONDS, Turns
from integration.otlp.listening import Listening, listening, on_a_loop, settled
from integration.otlp.test_grpc import TRACES, export, refusal, retry_seconds
from unit.otlp.exports import body, span

PROTOBUF = {"Content-Type": "application/x-protobuf"}


class Ahead:
    """Somebody is always in the line before those that come, until told to go."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._stays = True
        turns.wait(self._stay)

    def _stay(self, _: Overloaded | None) -> None:
        if self._stays:
            self._turns.wait(self._stay)

    def go(self) -> None:
        self._stays = False


async def status_over_http(now: Listening, sent: bytes) -> tuple[int, str | None]:
    async with aiohttp.ClientSession() as http, http.post(now.traces_url, data=sent, headers=PROTOBUF) as answer:
        return answer.status, answer.headers.get("Retry-After")


@on_a_loop
async def test_exports_behind_others_are_taken_in_their_turn() -> None:
    async with listening() as now:
        ahead = Ahead(now.receiver.turns)
        assert await status_over_http(now, body(span(1))) == (200, None)
        await export(now, body(span(2)))
        ahead.go()
        assert now.receiver.spans_received == {"http": 1, "grpc": 1}
        assert now.receiver.exports_refused == {}


@on_a_loop
async def test_exports_that_have_waited_too_long_are_told_when_to_come_back() -> None:
    seconds = 0.0

    def monotonic() -> float:
        nonlocal seconds
        seconds += 2 * WAIT_SECONDS  # each look at the clock finds it so much later: whoever waits has waited too long
        return seconds

    async with listening(turns=Turns(monotonic=monotonic)) as now:
        ahead = Ahead(now.receiver.turns)
        assert await status_over_http(now, body(span(1))) == (503, "1")
        refused = await refusal(now, body(span(2)))
        ahead.go()
        assert refused.code() is grpc.StatusCode.UNAVAILABLE
        assert retry_seconds(refused.trailing_metadata()) == 1
        assert now.receiver.spans_received == {"http": 0, "grpc": 0}
        assert now.receiver.exports_refused == {("http", "overload"): 1, ("grpc", "overload"): 1}


@on_a_loop
async def test_what_its_sender_has_given_up_on_is_not_taken_afterwards() -> None:
    async with listening() as now:
        with grpc.insecure_channel(f"127.0.0.1:{now.grpc_port}") as channel:
            method = channel.unary_unary(TRACES)
            await asyncio.to_thread(method, body(span(1)))
            with pytest.raises(grpc.RpcError) as refused:
                method(body(span(2)), timeout=1)  # on the loop itself, which therefore can't take it
        assert isinstance(refused.value, grpc.Call)
        assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await settled(lambda: now.receiver.exports_refused == {("grpc", "malformed"): 1})
        assert now.receiver.spans_received == {"http": 0, "grpc": 1}
