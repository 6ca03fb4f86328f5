"""A context manager that decorates functions, too."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Generic, ParamSpec, TypeVar, cast

from infermeter.instrument.generated import timed_async_generator, timed_generator

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")


class Timed(Generic[T]):
    """Times a block (`with`) or, as a decorator, each call of a function of any kind. An object times one block at a time."""

    def __init__(self, opened: Callable[[], AbstractContextManager[T]]) -> None:
        """`opened` makes the context of one block or call."""
        self._opened = opened
        self._open: AbstractContextManager[T] | None = None

    def __enter__(self) -> T:
        if self._open is not None:
            raise RuntimeError("it is being used: make one for each block")
        self._open = self._opened()
        return self._open.__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        ending, self._open = self._open, None
        if ending is not None:
            ending.__exit__(kind, error, trace)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """A generator is timed from its first step to its end."""
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            timed: Callable[..., Any] = timed_async_generator if inspect.isasyncgenfunction(function) else timed_generator

            @functools.wraps(function)
            def timed_steps(*args: P.args, **kwargs: P.kwargs) -> R:
                return cast("R", timed(self._opened, function(*args, **kwargs)))

            return timed_steps
        if inspect.iscoroutinefunction(function):
            awaited = cast("Callable[P, Awaitable[Any]]", function)

            @functools.wraps(function)
            async def timed_coroutine(*args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401 - whatever the function gives
                with self._opened():
                    return await awaited(*args, **kwargs)

            return cast("Callable[P, R]", timed_coroutine)

        @functools.wraps(function)
        def timed_call(*args: P.args, **kwargs: P.kwargs) -> R:
            with self._opened():
                return function(*args, **kwargs)

        return timed_call
