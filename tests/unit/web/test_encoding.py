from __future__ import annotations

import asyncio
import gzip
import subprocess
import sys
from collections.abc import Iterator

import pytest

from infermeter.web.encoding import LEAST_BYTES, LONG_SECONDS, accepts_gzip, in_turns, packed


@pytest.mark.parametrize("header", ["gzip", "deflate, gzip;q=0.5", "GZIP", "*", "br;q=1.0, *;q=0.1", "gzip; q=0.001"])
def test_gzip_is_accepted(header: str) -> None:
    assert accepts_gzip(header)


@pytest.mark.parametrize("header", ["", "identity", "br", "gzip;q=0", "gzip; q=0.000", "*;q=0", "gzip;q=0, *", "x-gzipped"])
def test_gzip_is_not_accepted(header: str) -> None:
    assert not accepts_gzip(header)


def test_a_long_body_is_packed_and_says_so() -> None:
    body = b"a" * LEAST_BYTES
    sent, headers = packed(body, "gzip")
    assert gzip.decompress(sent) == body
    assert headers == {"Content-Encoding": "gzip"}


def test_a_short_body_is_sent_as_it_is() -> None:
    assert packed(b"a" * (LEAST_BYTES - 1), "gzip") == (b"a" * (LEAST_BYTES - 1), {})


@pytest.mark.parametrize("accepted", ["gzip", ""])
def test_between_the_pieces_of_a_body_others_have_their_turn(accepted: str) -> None:
    order: list[str] = []

    def pieces() -> Iterator[bytes]:
        for piece in range(3):
            order.append(f"piece {piece}")
            yield b"a" * LEAST_BYTES

    async def others() -> None:
        for turn in range(3):
            order.append(f"turn {turn}")
            await asyncio.sleep(0)

    async def turns() -> tuple[bytes, dict[str, str]]:
        other = asyncio.create_task(others())
        answer = await in_turns(pieces(), accepted)
        await other
        return answer

    sent, headers = asyncio.run(turns())
    assert (gzip.decompress(sent) if accepted else sent) == b"a" * 3 * LEAST_BYTES
    assert headers == ({"Content-Encoding": "gzip"} if accepted else {})
    assert order == ["turn 0", "piece 0", "turn 1", "piece 1", "turn 2", "piece 2"]


@pytest.mark.parametrize(("turn_seconds", "turns_of_others"), [(2 * LONG_SECONDS, 2), (LONG_SECONDS / 2, 26)], ids=["flood", "load"])
def test_where_others_keep_the_loop_for_long_a_page_takes_as_long_turns(turn_seconds: float, turns_of_others: int) -> None:
    """Of 25 pieces, each an eighth of the longest turn that is answered with one piece only."""
    now = 0.0
    turns = 0

    def pieces() -> Iterator[bytes]:
        nonlocal now
        for _ in range(25):
            now += LONG_SECONDS / 8
            yield b"a"

    async def page() -> None:
        nonlocal now, turns

        async def others() -> None:
            nonlocal now, turns
            while True:
                now += turn_seconds
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(others())
        assert await in_turns(pieces(), "", monotonic=lambda: now) == (b"a" * 25, {})
        other.cancel()

    asyncio.run(page())
    assert turns == turns_of_others


def test_a_short_piece_alone_is_sent_as_it_is() -> None:
    assert asyncio.run(in_turns([b"a"], "gzip")) == (b"a", {})
    assert asyncio.run(in_turns([], "gzip")) == (b"", {})


def test_where_there_is_no_wheel_of_isal_zlib_packs() -> None:
    program = (
        "import sys; sys.modules['isal'] = None\n"
        "from infermeter.web.encoding import packed, zlib\n"
        "sys.stdout.buffer.write(zlib.__name__.encode() + b' ' + packed(b'a' * 4096, 'gzip')[0])"
    )
    name, _, body = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True).stdout.partition(b" ")
    assert (name, gzip.decompress(body)) == (b"zlib", b"a" * 4096)


def test_pieces_with_nothing_in_them_are_turns_and_no_body() -> None:
    assert asyncio.run(in_turns([b"", b"a" * LEAST_BYTES, b""], "gzip"))[1] == {"Content-Encoding": "gzip"}
    assert asyncio.run(in_turns([b"", b""], "gzip")) == (b"", {})
