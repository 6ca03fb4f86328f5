"""A thread that asks something outside every interval, so that nothing else ever waits for it.

It hands answers over to the event loop and touches no other state: whether it answers, and what is logged of it, is the loop's.
"""

from __future__ import annotations

import logging
import threading
import time
from asyncio import AbstractEventLoop, TimerHandle
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from infermeter.errors import Answered, Unavailable

log = logging.getLogger(__name__)

T = TypeVar("T")


OUTAGES_TOLD: Final = 3
OUTAGES_SECONDS: Final = 60.0
"""No more than so many in so long: what comes and goes with every call would fill the log."""


class Outages:
    """Tells when something falls silent or answers nonsense, and when it is back. The loop's alone."""

    def __init__(self, name: str, told_to: logging.Logger, monotonic: Callable[[], float]) -> None:
        """`name` is a singular noun, `monotonic` in seconds."""
        self._name = name
        self._log = told_to
        self._monotonic = monotonic
        self._told_at: deque[float] = deque(maxlen=OUTAGES_TOLD)
        self._is_told = False

    def silent(self, error: Exception) -> None:
        """Once, though called again and again while it lasts; an outage that has to wait for its line gets it when it still lasts then."""
        now = self._monotonic()
        often = len(self._told_at) == OUTAGES_TOLD
        if self._is_told or (often and now - self._told_at[0] < OUTAGES_SECONDS):
            return
        self._told_at.append(now)
        self._is_told = True
        comes_and_goes = len(self._told_at) == OUTAGES_TOLD and now - self._told_at[0] < OUTAGES_SECONDS
        addition = f"; it comes and goes, and is told {OUTAGES_TOLD} times a minute at most" if comes_and_goes else ""
        trouble = "%s %s%s" if isinstance(error, Answered) else "%s doesn't answer: %s%s"
        self._log.warning(trouble, self._name, error, addition)

    def back(self) -> None:
        """Where its silence was told."""
        if self._is_told:
            self._log.info("%s answers again", self._name)
        self._is_told = False


class HandOver:
    """How a thread tells the loop: nothing any more once it was stopped, and nothing to a loop that is gone."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        """`stopped` ends the thread too, which looks at it."""
        self._loop = loop
        self.stopped = threading.Event()

    def __call__(self, call: Callable[..., None], *arguments: Any) -> None:  # noqa: ANN401 - what the call takes
        """Has the loop make the call, unless it is stopped by then."""
        try:
            self._loop.call_soon_threadsafe(self._unless_stopped, call, *arguments)
        except RuntimeError:  # the loop was closed: nobody is left to tell
            self.stopped.set()

    def _unless_stopped(self, call: Callable[..., None], *arguments: Any) -> None:  # noqa: ANN401 - likewise
        if not self.stopped.is_set():
            call(*arguments)


class Poller(Generic[T]):
    """Asks every interval, on a monotonic schedule: a late answer doesn't shift those after it."""

    def __init__(  # noqa: PLR0913 - whom it asks, and whom it tells
        self,
        name: str,
        ask: Callable[[int], T],
        *,
        interval_seconds: float,
        timeout_seconds: float,
        now: Callable[[], int],
        loop: AbstractEventLoop,
        deliver: Callable[[T], None],
        fail: Callable[[Exception], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`name` is a singular noun for the log. `ask` is called on the thread with `now()`, unix nanoseconds, and may block.

        `deliver` gets each answer that came in time, `fail` what must end the process: any exception of `ask` that isn't Unavailable.
        Both are called on the loop.
        """
        self._ask = ask
        self._interval_seconds = interval_seconds
        self._timeout_seconds = timeout_seconds
        self._now = now
        self._loop = loop
        self._deliver = deliver
        self._fail = fail
        self._monotonic = monotonic
        self._on_loop = HandOver(loop)
        self._stop = self._on_loop.stopped
        self._watching: TimerHandle | None = None
        self._thread = threading.Thread(target=self._run, name=f"poll-{name}", daemon=True)
        self._asked_since: float | None = None
        self._answered = False
        self._last_error: str | None = None
        self._outages = Outages(name, log, monotonic)

    def start(self) -> None:
        """Begins to ask; returns at once. Called on the loop, as everything but the thread's own."""
        self._thread.start()
        self._watch()

    def stop(self) -> None:
        """Nothing is delivered any more once this returns; doesn't wait for a call under way."""
        self._stop.set()
        if self._watching:
            self._watching.cancel()

    @property
    def up(self) -> bool:
        """Whether the last call was answered in time, and none hangs now."""
        return self._answered and not self._hangs()

    @property
    def last_error(self) -> str | None:
        """The class of what went wrong last, None while up and before the first answer."""
        return "TimeoutError" if self._hangs() else self._last_error

    def _hangs(self) -> bool:
        since = self._asked_since
        return since is not None and self._monotonic() - since > self._timeout_seconds

    def _watch(self) -> None:
        """Every timeout: tells of a call that hangs, since the thread that it holds can't."""
        if self._hangs():
            self._down(TimeoutError(f"nothing for more than {self._timeout_seconds:g} s"))
        self._watching = self._loop.call_later(self._timeout_seconds, self._watch)

    def _run(self) -> None:
        try:
            due = self._monotonic()
            while not self._stop.wait(max(due - self._monotonic(), 0.0)):
                self._ask_once()
                due = next_due(due, self._monotonic(), self._interval_seconds)
        except Exception as error:  # noqa: BLE001 - a thread's own mistakes must end the process too
            self._on_loop(self._fail, error)

    def _ask_once(self) -> None:
        self._asked_since = began = self._monotonic()
        try:
            answer = self._ask(self._now())
        except Unavailable as error:
            self._on_loop(self._down, error)
            return
        finally:
            self._asked_since = None
            took_seconds = self._monotonic() - began
        if took_seconds > self._timeout_seconds:
            self._on_loop(self._down, TimeoutError(f"an answer took {took_seconds:.3g} s"))
        else:
            self._on_loop(self._up, answer)

    def _up(self, answer: T) -> None:
        self._outages.back()
        self._answered, self._last_error = True, None
        self._deliver(answer)

    def _down(self, error: Exception) -> None:
        self._outages.silent(error)
        self._answered, self._last_error = False, type(error).__name__


def next_due(due: float, now: float, interval: float) -> float:
    """The next instant of the schedule, in seconds: on its lattice, and not one that has passed already."""
    passed = max(now - due, 0.0) // interval
    return due + (passed + 1) * interval
