"""The end is waited for, unless there is hurry."""

from __future__ import annotations

import asyncio

import pytest

from infermeter.faces import unless

SOON = 10.0


def test_without_hurry_the_end_is_waited_for() -> None:
    ended = []

    async def end() -> None:
        await asyncio.sleep(0)
        ended.append("whole")

    asyncio.run(unless(None, end()))
    asyncio.run(unless(asyncio.Event(), end()))
    assert ended == ["whole", "whole"]


def test_in_a_hurry_it_is_broken_off_and_tidied_up() -> None:
    ended = []

    async def end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("tidy")

    async def scenario() -> None:
        hurry = asyncio.Event()
        asyncio.get_running_loop().call_soon(hurry.set)
        async with asyncio.timeout(SOON):
            await unless(hurry, end())

    asyncio.run(scenario())
    assert ended == ["tidy"]


def test_a_mistake_in_the_end_is_told() -> None:
    async def end() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(unless(asyncio.Event(), end()))
