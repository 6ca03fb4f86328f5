"""Law: whatever bodies are like and however they are cut up, each end gets the bytes that the other has sent, and stages fill the time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from support.proxied import listening, proxied

PIECES = st.lists(st.binary(min_size=1, max_size=70_000), max_size=8)


@settings(max_examples=40, deadline=None)
@given(sent=PIECES, answered=PIECES, sized=st.tuples(st.booleans(), st.booleans()), in_flight=st.none() | st.integers(1, 3))
def test_bodies_pass_untouched_both_ways(
    sent: Sequence[bytes], answered: Sequence[bytes], sized: tuple[bool, bool], in_flight: int | None
) -> None:
    received = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        received.append(await request.content.read())
        response = web.StreamResponse()
        if sized[1]:
            response.content_length = sum(map(len, answered))
        await response.prepare(request)
        for piece in answered:
            await response.write(piece)
            await asyncio.sleep(0)
        return response

    async def body() -> AsyncIterator[bytes]:
        for piece in sent:
            yield piece
            await asyncio.sleep(0)

    async def run() -> None:
        async with listening(answer) as port, proxied(port, in_flight=in_flight) as proxy:
            headers = {"Content-Length": str(sum(map(len, sent)))} if sized[0] else {}
            async with proxy.http.post(proxy.url, data=body(), headers=headers) as response:
                got = await response.read()
            spans = await proxy.spans()
        assert received == [b"".join(sent)]
        assert got == b"".join(answered)
        *stages, inference = sorted(spans, key=lambda span: (span.name == "inference", span.start_time or 0))
        assert {span.name for span in stages} <= {"queue", "compute", "serialisation"}
        assert sum((span.end_time or 0) - (span.start_time or 0) for span in stages) >= (inference.end_time or 0) - (
            inference.start_time or 0
        )
        assert (inference.events != ()) == bool(answered)

    asyncio.run(run())
