"""The OTLP listener over gRPC, flooded over a bare socket, left waiting, and left without room; honest senders notice nothing."""

from __future__ import annotations

import asyncio

import pytest

from infermeter.config import Limits
from infermeter.otlp import grpc_frames as h2
from infermeter.otlp.grpc import GrpcReceiver
from infermeter.otlp.grpc_frames import Code, frame
from infermeter.otlp.grpc_streams import STREAMS_MOST
from security.attacking import SOON_SECONDS, otlp_port, sent, until_closed
from unit.otlp.calls import GREETING, TRACES, Client, message
from unit.otlp.exports import body, span

PATH = b"\x83\x86\x44" + bytes((len(TRACES),)) + TRACES.encode() + b"\x5f\x10application/grpc"
KNOWN = b"\x83\x86\xbf\xbe"
"""The same fields, once they were told."""

BEGUN = GREETING + frame(h2.HEADERS, h2.END_HEADERS, 1, PATH)
FLOOD = 20_000


async def honest(port: int, number: int) -> int | None:
    """The status of an honest export on a connection of its own."""
    client = Client()
    stream = client.call(message(body(span(number))))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(SOON_SECONDS):
        writer.write(client.unsent())
        while not client.told[stream].is_whole:
            client.hear(await reader.read(65_536))
    writer.transport.abort()
    return client.told[stream].status


def attacked(*parts: bytes, limits: Limits | None = None) -> tuple[Code | None, dict[str, int]]:
    """Why the connection was ended over these bytes, and what was counted by reason; an honest export is taken after them."""

    async def run() -> tuple[Code | None, dict[str, int]]:
        async with otlp_port(limits, transport=GrpcReceiver) as senders:
            answer = (await sent(senders.port, *parts)).data
            refused = senders.refused
            assert await honest(senders.port, 1) == 0
            assert len(senders.exports) == 1
            return goodbye(answer), refused

    return asyncio.run(run())


def goodbye(answer: bytes) -> Code | None:
    """What the last frame says, if it is a goodbye."""
    is_one = answer[-17:-12] == h2.HEAD.pack(0, 8, h2.GOAWAY, 0, 0)[:5]
    return Code(int.from_bytes(answer[-4:], "big")) if is_one else None


@pytest.mark.parametrize(
    ("flood", "refused"),
    [
        ([frame(h2.HEADERS, 0, 1, PATH), *[frame(h2.CONTINUATION, 0, 1, b"\0\1x\1y")] * FLOOD], 1),
        ([frame(h2.HEADERS, 0, 1, PATH), *[frame(h2.CONTINUATION, 0, 1)] * FLOOD], 1),
        ([frame(h2.PING, 0, 0, bytes(8))] * FLOOD, 1),
        ([h2.settings({h2.INITIAL_WINDOW_SIZE: 0})] * FLOOD, 1),
        ([frame(h2.SETTINGS, h2.ACK, 0)] * FLOOD, 1),
        ([frame(h2.PRIORITY, 0, 2**31 - 1, bytes(5))] * FLOOD, 1),
        ([frame(h2.HEADERS, h2.END_HEADERS, 1, PATH), *[frame(h2.DATA, 0, 1)] * FLOOD], 1),
        ([frame(h2.HEADERS, h2.END_HEADERS, 1, PATH), *[frame(h2.DATA, h2.PADDED, 1, b"\xff" + bytes(255))] * FLOOD], 1),
        ([frame(h2.HEADERS, h2.END_HEADERS, 1, PATH), *[h2.window_update(0, 1)] * FLOOD], 1),
        ([frame(0xAB, 0, 0, bytes(9))] * FLOOD, 1),
    ],
    ids=["fields", "empty fields", "pings", "windows of nought", "acks", "priorities", "empty content", "padding", "windows", "unknown"],
)
def test_a_flood_of_frames_that_bring_nothing_on_ends_its_connection(flood: list[bytes], refused: int) -> None:
    assert attacked(GREETING, b"".join(flood)) == (Code.ENHANCE_YOUR_CALM, {"malformed": refused})


def test_calls_that_are_broken_off_at_once_end_their_connection() -> None:
    pairs = [frame(h2.HEADERS, h2.END_HEADERS, 1, PATH)]
    pairs += [frame(h2.HEADERS, h2.END_HEADERS, n, KNOWN) + h2.reset(n - 2, Code.NO_ERROR) for n in range(3, FLOOD, 2)]
    why, refused = attacked(GREETING, b"".join(pairs))
    assert why is Code.ENHANCE_YOUR_CALM
    assert 500 < refused["malformed"] < 1000


def test_calls_that_are_begun_and_left_are_bounded_at_once_and_in_time() -> None:
    calls = [frame(h2.HEADERS, h2.END_HEADERS, 1, PATH), *[frame(h2.HEADERS, h2.END_HEADERS, n, KNOWN) for n in range(3, 801, 2)]]

    async def run() -> None:
        async with otlp_port(transport=GrpcReceiver) as senders:
            reader, writer = await asyncio.open_connection("127.0.0.1", senders.port)
            writer.write(GREETING + b"".join(calls))
            async with asyncio.timeout(SOON_SECONDS):
                while senders.refused != {"overload": 400 - STREAMS_MOST, "malformed": STREAMS_MOST}:
                    await reader.read(65_536)
            assert await honest(senders.port, 1) == 0
            writer.transport.abort()

    asyncio.run(run())


def test_who_makes_no_room_for_answers_keeps_nobody_waiting() -> None:
    async def run() -> None:
        async with otlp_port(transport=GrpcReceiver) as senders:
            reader, writer = await asyncio.open_connection("127.0.0.1", senders.port)
            writer.write(GREETING + h2.settings({h2.INITIAL_WINDOW_SIZE: 0}) + frame(h2.HEADERS, h2.END_HEADERS, 1, PATH))
            writer.write(frame(h2.DATA, h2.END_STREAM, 1, message(body(span(1)))))
            for n in range(3, 101, 2):
                writer.write(frame(h2.HEADERS, h2.END_HEADERS, n, KNOWN) + frame(h2.DATA, h2.END_STREAM, n, message(body(span(n)))))
            async with asyncio.timeout(SOON_SECONDS):
                while senders.refused != {"overload": 50 - STREAMS_MOST}:
                    await reader.read(65_536)
            assert await honest(senders.port, 1000) == 0
            assert len(senders.exports) == STREAMS_MOST + 1
            writer.transport.abort()

    asyncio.run(run())


def test_connections_beyond_the_limit_are_turned_away_and_counted_until_another_leaves() -> None:
    async def run() -> None:
        async with otlp_port(Limits(connections=2), transport=GrpcReceiver) as senders:
            two = [await asyncio.open_connection("127.0.0.1", senders.port) for _ in range(2)]
            reader, writer = await asyncio.open_connection("127.0.0.1", senders.port)
            assert goodbye(await until_closed(reader)) is Code.NO_ERROR
            assert senders.refused == {"overload": 1}
            writer.transport.abort()
            two[0][1].write(b"no HTTP/2")
            assert goodbye(await until_closed(two[0][0])) is Code.PROTOCOL_ERROR
            two[0][1].transport.abort()
            await asyncio.sleep(0)
            assert await honest(senders.port, 1) == 0
            two[1][1].transport.abort()

    asyncio.run(run())
