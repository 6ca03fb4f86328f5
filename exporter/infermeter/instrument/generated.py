"""Generators that are timed from their first step to their end, each step within the same context, and nothing in between.

Who takes what a generator makes works in another context, at another time, maybe in another task: what is current in here isn't there.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractContextManager
from contextvars import Context, copy_context
from types import TracebackType
from typing import Any, TypeVar

Y = TypeVar("Y")
R = TypeVar("R")


def timed_generator(opened: Callable[[], AbstractContextManager[object]], generator: Generator[Y, Any, R]) -> Generator[Y, Any, R]:
    """The same, within the context that `opened` makes."""
    block = _Block(opened)
    with block:
        resume, sent = generator.send, None
        while True:
            try:
                item = block.context.run(resume, sent)
            except StopIteration as end:
                returned: R = end.value
                return returned
            try:
                sent = yield item
                resume = generator.send
            except GeneratorExit:
                block.context.run(generator.close)
                raise
            except BaseException as error:  # noqa: BLE001 - it is the generator's to handle
                resume, sent = generator.throw, error


async def timed_async_generator(
    opened: Callable[[], AbstractContextManager[object]], generator: AsyncGenerator[Y, Any]
) -> AsyncGenerator[Y, Any]:
    """The same, within the context that `opened` makes."""
    block = _Block(opened)
    with block:
        resume, sent = generator.asend, None
        while True:
            try:
                item = await _Within(block.context, resume(sent))
            except StopAsyncIteration:
                return
            try:
                sent = yield item
                resume = generator.asend
            except GeneratorExit:
                await _Within(block.context, generator.aclose())
                raise
            except BaseException as error:  # noqa: BLE001 - it is the generator's to handle
                resume, sent = generator.athrow, error


class _Block:
    """A block in a context of its own, from which it is left, too."""

    def __init__(self, opened: Callable[[], AbstractContextManager[object]]) -> None:
        self.context = copy_context()
        self._block = opened()

    def __enter__(self) -> None:
        self.context.run(self._block.__enter__)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.context.run(self._block.__exit__, kind, error, trace)


class _Within:
    """Awaits with each step in a context."""

    def __init__(self, context: Context, awaited: Awaitable[Y]) -> None:
        self._context = context
        self._awaited = awaited

    def __await__(self) -> Generator[Any, Any, Any]:
        steps: Any = self._awaited.__await__()
        resume, sent = steps.send, None
        while True:
            try:
                waited_for = self._context.run(resume, sent)
            except StopIteration as end:
                return end.value
            try:
                sent = yield waited_for
                resume = steps.send
            except BaseException as error:  # noqa: BLE001 - such as that the task is cancelled
                resume, sent = steps.throw, error
