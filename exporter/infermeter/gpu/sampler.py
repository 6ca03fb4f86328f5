"""The thread that reads a GPU source, so that nothing else ever waits for a driver.

It hands frozen readings over to the event loop and touches no other state. Start, readiness, scrape and stop don't wait for it: it is
a daemon, and a call that hangs leaves it behind.
"""

from __future__ import annotations

import logging
import threading
import time
from asyncio import AbstractEventLoop, TimerHandle
from collections import Counter
from collections.abc import Callable
from typing import Any

from infermeter.errors import ConfigError, GpuUnavailable
from infermeter.gpu.source import GpuSource, Reading
from infermeter.model import Rejection

log = logging.getLogger(__name__)

REOPEN_INTERVALS = 30
"""How many intervals a source that can't be opened is left alone."""


class Sampler:
    """Reads a source every interval, on a monotonic schedule: a late reading doesn't shift those after it."""

    def __init__(
        self,
        source: GpuSource,
        *,
        interval_seconds: float,
        timeout_seconds: float,
        now: Callable[[], int],
        loop: AbstractEventLoop,
        deliver: Callable[[Reading], None],
        fail: Callable[[Exception], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`deliver` and `fail` are called on the loop; `now` is unix nanoseconds, called on the thread.

        `fail` is told what must end the process: a device was chosen that isn't there, a file is damaged, or a mistake of ours. A
        source that became unavailable is opened again after one interval, and from then on every REOPEN_INTERVALS.
        """
        self._source = source
        self._interval_seconds = interval_seconds
        self._timeout_seconds = timeout_seconds
        self._now = now
        self._monotonic = monotonic
        self._loop = loop
        self._deliver = deliver
        self._fail = fail
        self._stop = threading.Event()
        self._watching: TimerHandle | None = None
        self._thread = threading.Thread(target=self._run, name=f"gpu-{source.name}", daemon=True)
        self._answered = False
        self._ever_opened = False
        self._asked_since: float | None = None
        self._last_error: str | None = None
        self._told: Counter[Rejection] = Counter()

    def start(self) -> None:
        """Begins to read; returns at once. Called on the loop."""
        self._thread.start()
        self._watch()

    def stop(self) -> None:
        """Nothing is delivered any more once this returns and the loop has turned; doesn't wait for a call under way. On the loop."""
        self._stop.set()
        if self._watching:
            self._watching.cancel()

    @property
    def source_name(self) -> str:
        """The label value `source`."""
        return self._source.name

    @property
    def up(self) -> bool:
        """Whether the last read was answered in time, and none hangs now."""
        return self._answered and not self._hangs()

    @property
    def last_error(self) -> str | None:
        """The class of what went wrong last, None while up."""
        return "TimeoutError" if self._hangs() else self._last_error

    def _hangs(self) -> bool:
        since = self._asked_since
        return since is not None and self._monotonic() - since > self._timeout_seconds

    def _watch(self) -> None:
        """On the loop, every timeout: tells of a call that hangs, since the thread that it holds can't."""
        if self._hangs():
            self._down(TimeoutError(f"nothing for more than {self._timeout_seconds:g} s"))
        self._watching = self._loop.call_later(self._timeout_seconds, self._watch)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._stop.wait(self._served())
        except Exception as error:  # noqa: BLE001 - a thread's own mistakes must end the process too
            self._on_loop(self._fail, error)

    def _served(self) -> float:
        """Opens the source and reads it until it fails or is to stop; then how many seconds to leave it alone."""
        try:
            self._open()
            self._read_until_it_fails()
        except GpuUnavailable as error:
            pause_seconds = self._interval_seconds * (1 if self._answered else REOPEN_INTERVALS)
            self._down(error)
            if rejected := self._rejected():
                self._on_loop(self._deliver, Reading(rejected=rejected))
            return pause_seconds
        finally:
            self._source.close()
        return 0.0

    def _open(self) -> None:
        self._asked_since = self._monotonic()
        try:
            identities = self._source.open()
        except ConfigError as error:
            if not self._ever_opened:
                raise
            raise GpuUnavailable(str(error)) from error
        finally:
            self._asked_since = None
        self._ever_opened = True
        log.info("GPU source %s reads %s", self._source.name, ", ".join(identity.uuid for identity in identities) or "no GPU")
        self._on_loop(self._deliver, Reading(identities=identities, rejected=self._rejected()))

    def _read_until_it_fails(self) -> None:
        due = self._monotonic()
        while not self._stop.wait(max(due - self._monotonic(), 0.0)):
            self._read()
            due = next_due(due, self._monotonic(), self._interval_seconds)

    def _read(self) -> None:
        self._asked_since = began = self._monotonic()
        try:
            samples = self._source.read(self._now())
        finally:
            self._asked_since = None
            took_seconds = self._monotonic() - began
        if took_seconds > self._timeout_seconds:
            self._down(TimeoutError(f"a reading took {took_seconds:.3g} s"))
            late: Counter[Rejection] = Counter({"read": len(samples)})
            self._on_loop(self._deliver, Reading(rejected=self._rejected() + late))
            return
        self._up()
        self._on_loop(self._deliver, Reading(tuple(samples), rejected=self._rejected()))

    def _rejected(self) -> Counter[Rejection]:
        """What the source rejected since this was asked last."""
        so_far = Counter(self._source.rejected)
        new = so_far - self._told
        self._told = so_far
        return new

    def _up(self) -> None:
        if self._last_error is not None:
            log.info("GPU source %s answers again", self._source.name)
        self._answered, self._last_error = True, None

    def _down(self, error: Exception) -> None:
        if self._last_error is None:
            log.warning("GPU source %s doesn't answer: %s", self._source.name, error)
        self._answered, self._last_error = False, type(error).__name__

    def _on_loop(self, call: Callable[[Any], None], value: object) -> None:
        if self._stop.is_set():
            return
        try:
            self._loop.call_soon_threadsafe(call, value)
        except RuntimeError:  # the loop was closed: nobody is left to tell
            self._stop.set()


def next_due(due: float, now: float, interval: float) -> float:
    """The next instant of the schedule, in seconds: on its lattice, and not one that has passed already."""
    passed = max(now - due, 0.0) // interval
    return due + (passed + 1) * interval
