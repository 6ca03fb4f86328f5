"""All places of an OTLP listener taken for real: by those that rest, by those at work, and by a flood of those that come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from infermeter.config import Limits
from infermeter.otlp import grpc_frames as h2
from infermeter.otlp.grpc import GrpcReceiver
from infermeter.otlp.grpc_frames import Code, frame
from infermeter.otlp.http import HttpReceiver
from infermeter.otlp.places import LOOK_SECONDS, NEW_SECONDS, REST_SECONDS
from security.attacking import SOON_SECONDS, Senders, otlp_port, until_closed
from security.test_grpc_attacks import CALL, goodbye
from unit.otlp.calls import GREETING, Client, message
from unit.otlp.exports import body, span

HEAD = b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: 100\r\n\r\n"
PLACES = 32
FLOOD = 400
LIMITS = Limits(connections=PLACES, request_time=10 * REST_SECONDS)


class Loop(asyncio.SelectorEventLoop):
    """One whose time can be moved on: nobody waits for what comes in half a minute."""

    ahead_seconds = 0.0

    def time(self) -> float:
        return super().time() + self.ahead_seconds


class Sender:
    """A connection of one that sends honest exports, or whatever else."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._client = Client()

    async def http(self, number: int) -> int | None:
        """The status of an export; None: it was hung up on."""
        sent = body(span(number))
        head = f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: {len(sent)}\r\n\r\n"
        try:
            self.writer.write(head.encode() + sent)
            answer = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), SOON_SECONDS)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return int(answer.split()[1])

    async def grpc(self, number: int) -> int | None:
        """The same over gRPC."""
        stream = self._client.call(message(body(span(number))))
        try:
            self.writer.write(self._client.unsent())
            while not self._client.told[stream].is_whole:
                data = await asyncio.wait_for(self.reader.read(65_536), SOON_SECONDS)
                if not data:
                    return None
                self._client.hear(data)
        except ConnectionError:
            return None
        return self._client.told[stream].status


@dataclass
class Attack:
    """A listener with few places, and a clock."""

    loop: Loop
    senders: Senders
    transport: str
    opened: list[Sender]

    async def comes(self, said: bytes = b"") -> Sender:
        sender = Sender(*await asyncio.open_connection("127.0.0.1", self.senders.port))
        self.opened.append(sender)
        sender.writer.write(said)
        return sender

    async def exports(self, sender: Sender, number: int) -> bool:
        """Whether an export of this sender is taken."""
        status = await (sender.http(number) if self.transport == "http" else sender.grpc(number))
        return status == (200 if self.transport == "http" else 0)

    async def passes(self, seconds: float) -> None:
        """Time, and what had been sent before arrives before it."""
        await self.until_heard()
        self.loop.ahead_seconds += seconds

    async def until_heard(self) -> None:
        """The loop reads all that was sent: it turns until nothing is left to be read."""
        for _ in range(10):
            await asyncio.sleep(0)

    @property
    def displaced(self) -> int:
        return self.senders.receiver.connections_displaced.total()


def attacked(transport: str, attack: Callable[[Attack], Awaitable[None]]) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        async with otlp_port(LIMITS, transport=HttpReceiver if transport == "http" else GrpcReceiver) as senders:
            now = Attack(loop, senders, transport, [])
            try:
                await attack(now)
            finally:
                for sender in now.opened:
                    sender.writer.transport.abort()

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(run())


both = pytest.mark.parametrize("transport", ["http", "grpc"])


@both
@pytest.mark.parametrize("is_greeted", [True, False], ids=["greeted", "silent"])
def test_who_takes_all_places_and_rests_keeps_nobody_out(transport: str, is_greeted: bool) -> None:
    async def attack(now: Attack) -> None:
        resting = [await now.comes(GREETING if is_greeted and transport == "grpc" else b"") for _ in range(PLACES)]
        await now.passes(NEW_SECONDS)
        honest = await now.comes()
        assert await now.exports(honest, 1)
        assert (now.displaced, now.senders.refused) == (1, {})
        told = await until_closed(resting[0].reader)
        assert (goodbye(told) == Code.NO_ERROR) if transport == "grpc" else (told == b"")
        assert not any(sender.reader.at_eof() for sender in resting[1:])

    attacked(transport, attack)


@both
def test_who_has_sent_and_rests_for_long_makes_room_too(transport: str) -> None:
    async def attack(now: Attack) -> None:
        for number in range(PLACES):
            assert await now.exports(await now.comes(), number + 1)
        await now.passes(REST_SECONDS)
        assert await now.exports(await now.comes(), 1000)
        assert now.displaced == 1

    attacked(transport, attack)


@both
def test_who_is_at_work_makes_no_room_and_one_more_is_refused_and_counted(transport: str) -> None:
    begun = HEAD if transport == "http" else GREETING + frame(h2.HEADERS, h2.END_HEADERS, 1, CALL)

    async def attack(now: Attack) -> None:
        for _ in range(PLACES):
            await now.comes(begun)
        await now.passes(2 * REST_SECONDS)
        refused = await now.comes()
        told = await until_closed(refused.reader)
        assert (goodbye(told) == Code.NO_ERROR) if transport == "grpc" else told.startswith(b"HTTP/1.1 503 ")
        assert (now.displaced, now.senders.refused) == (0, {"overload": 1})

    attacked(transport, attack)


@both
def test_a_flood_of_connections_drives_out_its_like_and_nobody_who_sends(transport: str) -> None:
    async def attack(now: Attack) -> None:
        steady = [await now.comes() for _ in range(4)]
        for number, sender in enumerate(steady):
            assert await now.exports(sender, number + 1)
        number = 10
        for _ in range(4):
            for _ in range(FLOOD // 4):
                await now.comes()
            await now.passes(max(NEW_SECONDS, LOOK_SECONDS))
            late = await now.comes()
            for sender in (*steady, late):
                number += 1
                assert await now.exports(sender, number)
        assert 0 < now.displaced <= 4 * PLACES
        assert now.senders.refused["overload"] >= FLOOD - now.displaced - PLACES

    attacked(transport, attack)


@both
def test_one_that_has_come_just_now_is_not_driven_out_before_it_could_send(transport: str) -> None:
    async def attack(now: Attack) -> None:
        for _ in range(PLACES):
            await now.comes()
        await now.passes(NEW_SECONDS)
        honest = await now.comes()
        for _ in range(FLOOD):
            await now.comes()
        await now.until_heard()
        assert await now.exports(honest, 1)
        for _ in range(FLOOD):
            await now.comes()
        assert await now.exports(honest, 2)

    attacked(transport, attack)
