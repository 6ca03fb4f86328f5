from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Coroutine
from functools import partial, wraps

import pytest

from infermeter.errors import DecodeError, Overloaded
from infermeter.otlp.turns import FULL_SECONDS, SPENT_SECONDS, TURN_SECONDS, WAIT_SECONDS, Turns


class Line:
    """Turns under a clock that exports turn, each by as much as it takes, and what was done in which turn of the loop."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.turns = Turns(monotonic=lambda: self.seconds)
        self.done: list[tuple[int, str]] = []
        self.turn = 0
        asyncio.get_running_loop().call_soon(self._turns)

    def _turns(self) -> None:
        self.turn += 1
        asyncio.get_running_loop().call_soon(self._turns)

    def export(self, name: str, seconds: float) -> str:
        self.seconds += seconds
        self.done.append((self.turn, name))
        return name

    def begin(self, name: str, seconds: float) -> asyncio.Task[str]:
        """An export that comes now; its task runs in the next turn of the loop."""
        return asyncio.create_task(self.turns.take(partial(self.export, name, seconds)))


def in_line(test: Callable[[Line], Coroutine[object, object, None]]) -> Callable[[], None]:
    """Runs a test on a loop of its own."""

    @wraps(test)
    def run() -> None:
        async def with_a_line() -> None:
            await test(Line())

        asyncio.run(with_a_line())

    del run.__wrapped__  # type: ignore[attr-defined]  # pytest would look for its arguments
    return run


@in_line
async def test_an_export_that_nothing_comes_before_is_taken_at_once(line: Line) -> None:
    assert await line.turns.take(lambda: line.export("a", 0.01)) == "a"
    assert line.done == [(0, "a")]


@in_line
async def test_exports_keep_a_turn_for_a_bounded_time_and_the_rest_follow_in_order(line: Line) -> None:
    names = [f"{i:02}" for i in range(20)]
    assert await asyncio.gather(*(line.begin(name, TURN_SECONDS * 0.6) for name in names)) == names
    assert [name for _, name in line.done] == names
    turns = [turn for turn, _ in line.done]
    assert max(turns.count(turn) for turn in turns) == 2
    assert len(set(turns)) == 10


@in_line
async def test_who_comes_while_others_wait_waits_behind_them(line: Line) -> None:
    tasks = [line.begin(name, TURN_SECONDS * 1.1) for name in "abc"]
    await tasks[0]
    assert not line.turns.free()
    tasks.append(line.begin("d", 0.0))
    assert await asyncio.gather(*tasks) == ["a", "b", "c", "d"]
    assert [name for _, name in line.done] == ["a", "b", "c", "d"]


@in_line
async def test_who_has_waited_too_long_is_sent_away_and_not_called(line: Line) -> None:
    first, second, third = line.begin("first", WAIT_SECONDS * 1.1), line.begin("second", 0.0), line.begin("third", 0.0)
    line.seconds = 1.0
    assert await first == "first"
    line.seconds += WAIT_SECONDS * 1.1
    for late in (second, third):
        with pytest.raises(Overloaded):
            await late
    assert [name for _, name in line.done] == ["first"]
    assert await line.begin("fourth", 0.0) == "fourth"


@in_line
async def test_the_line_is_full_once_its_first_has_waited_and_empties(line: Line) -> None:
    assert not line.turns.full()
    told: list[Overloaded | None] = []
    line.turns.wait(told.append)
    assert not line.turns.full()
    line.seconds += FULL_SECONDS * 1.1
    assert line.turns.full()
    await asyncio.sleep(0)
    assert told == [None]
    assert not line.turns.full()


@in_line
async def test_who_gave_up_is_not_called(line: Line) -> None:
    first, second, third = line.begin("first", TURN_SECONDS), line.begin("second", 0.0), line.begin("third", 0.0)
    await asyncio.sleep(0)
    second.cancel()
    assert await asyncio.gather(first, third) == ["first", "third"]
    assert [name for _, name in line.done] == ["first", "third"]


@in_line
async def test_a_turn_is_spent_after_a_while_and_the_next_is_not(line: Line) -> None:
    assert not line.turns.spent()
    line.seconds += SPENT_SECONDS * 1.1
    assert line.turns.spent()
    assert not line.turns.free()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not line.turns.spent()


class Body:
    """Something of which can be known whether it is still held."""


@in_line
async def test_what_an_export_fails_over_reaches_its_sender_and_leaves_nothing_behind(line: Line) -> None:
    body = Body()
    gone = weakref.ref(body)

    def fail(held: Body) -> str:
        raise DecodeError(str(type(held)))

    async def refused(body: Body) -> str:
        try:
            return await line.turns.take(partial(fail, body))
        except DecodeError:
            return "refused"

    first, second = line.begin("first", TURN_SECONDS), asyncio.create_task(refused(body))
    gc.collect()
    gc.disable()
    try:
        del body
        assert await asyncio.gather(first, second) == ["first", "refused"]
        del second
        assert gone() is None
    finally:
        gc.enable()
