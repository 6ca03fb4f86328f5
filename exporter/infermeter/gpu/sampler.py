"""The threads that read a GPU source, so that nothing else ever waits for a driver.

One thread reads all devices. While a call to one of them hangs, that thread is left behind in it, and another one reads the others; there
are never more of them than devices. They hand frozen readings over to the event loop and touch no other state: what is stuck, what is up
and what is logged of it is the loop's. Start, readiness, scrape and stop wait for none of them: they are daemons.

A source is never closed under a thread that is inside it: NVML's shutdown would wait for the same driver, or take the library away from
under the call. So a source with a stuck device is read on as it is, and opened anew, if it must be, once that call has returned.
"""

from __future__ import annotations

import logging
import threading
import time
from asyncio import AbstractEventLoop, TimerHandle
from collections import Counter
from collections.abc import Callable, Collection

from infermeter.errors import ConfigError, GpuUnavailable
from infermeter.gpu.source import GpuSource, Reading
from infermeter.gpu.voices import Voices
from infermeter.model import Rejection
from infermeter.polling import HandOver, Outages, next_due

log = logging.getLogger(__name__)

REOPEN_INTERVALS = 30
"""How many intervals a source that can't be opened is left alone, though not longer than REOPEN_SECONDS if an interval is shorter."""

REOPEN_SECONDS = 60.0

LOOKS = 8
"""How often within the time-out it is looked at what the thread is waiting for."""


IN_VAIN = 3
"""After how many time-outs in a row the source counts as down, even if not every device has been found to hang yet."""

NOBODY_ANSWERS = "none of its GPUs does"


class _Call:
    """One call of the source. The first who claims it has its end: the thread that makes it, or the loop that gives it up."""

    def __init__(self, since: float, without: Collection[str], *, is_read: bool) -> None:
        self.since = since
        self.without = set(without)
        self.is_read = is_read
        self._claim = threading.Lock()

    def claim(self) -> bool:
        """True for the first who asks; never waits."""
        return self._claim.acquire(blocking=False)


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
        source that became unavailable is opened again after one interval, and from then on every REOPEN_INTERVALS. A device is stuck when
        a read takes longer than the time-out, and waits for that device for more than half of it.
        """
        self._source = source
        self._interval_seconds = interval_seconds
        self._timeout_seconds = timeout_seconds
        self._now = now
        self._monotonic = monotonic
        self._loop = loop
        self._deliver = deliver
        self._fail = fail
        self._on_loop = HandOver(loop)
        self._stop = self._on_loop.stopped
        # the loop's
        self._watching: TimerHandle | None = None
        self._watched: tuple[_Call | None, str | None] = (None, None)
        self._watched_since = 0.0
        self._left_behind: dict[_Call, str] = {}
        self._is_read = False
        self._answered = False
        self._heard = 0.0
        self._last_error: str | None = None
        self._voices = Voices()
        self._outages = Outages(f"GPU source {source.name}", log, monotonic)
        # the loop's, read by the threads: replaced, never changed
        self._stuck: frozenset[str] = frozenset()
        # the thread's that reads now; the loop looks at the call, and takes it away when it gives it up
        self._call: _Call | None = None
        self._is_open = False
        self._ever_opened = False
        self._answers = False
        self._due = 0.0
        self._told: dict[Rejection, int] = {}

    def start(self) -> None:
        """Begins to read; returns at once. Called on the loop."""
        self._begin()
        self._watch()

    def stop(self) -> None:
        """Nothing is delivered any more once this returns; doesn't wait for a call under way. On the loop."""
        self._stop.set()
        if self._watching:
            self._watching.cancel()

    @property
    def source_name(self) -> str:
        """The label value `source`."""
        return self._source.name

    @property
    def up(self) -> bool:
        """Whether the last read was answered in time, and none hangs now; a device that is stuck doesn't count while others answer."""
        return self._answered and not self._hangs()

    @property
    def last_error(self) -> str | None:
        """The class of what went wrong last, None while up."""
        return "TimeoutError" if self._hangs() else self._last_error

    # --- on the loop ---------------------------------------------------------------------------------------------------------------
    def _hangs(self) -> bool:
        """Whether a call takes too long that can't be blamed on one device, or one device after the other is found to hang."""
        call = self._call
        if call is not None and self._awaited(call) is None and self._takes_too_long(call):
            return True
        patience_seconds = self._interval_seconds + IN_VAIN * self._timeout_seconds
        return bool(self._left_behind) and self._monotonic() - self._heard > patience_seconds

    def _takes_too_long(self, call: _Call) -> bool:
        return self._monotonic() - call.since > self._timeout_seconds

    def _awaited(self, call: _Call) -> str | None:
        """The device that a read waits for: also where a thread that was left behind, and came back, has wiped it out."""
        if not call.is_read:
            return None
        watched, uuid = self._watched
        return self._source.asking or (uuid if watched is call else None)

    def _watch(self) -> None:
        """Sees to calls that hang, since the thread that they hold can't."""
        self._watching = self._loop.call_later(self._timeout_seconds / LOOKS, self._watch)
        call = self._call
        uuid = None if call is None else self._awaited(call)
        if (call, uuid) != self._watched:
            self._watched, self._watched_since = (call, uuid), self._monotonic()
        if call is None or not self._takes_too_long(call):
            return
        if uuid is None:
            self._down(TimeoutError(f"nothing for more than {self._timeout_seconds:g} s"))
        elif self._monotonic() - self._watched_since > self._timeout_seconds / 2 and call.claim():
            self._give_up(call, uuid)

    def _give_up(self, call: _Call, uuid: str) -> None:
        """Leaves a thread behind with the device that it waits for; the others are read on by a new one."""
        self._call = None
        self._left_behind[call] = uuid
        self._stuck = frozenset(self._left_behind.values())
        call.without.update(self._voices.devices)  # should it ever come back, it asks nobody else
        self._voices.hangs(uuid, self._timeout_seconds)
        self._deliver(Reading(rejected={"read": 1}))
        self._is_read = False
        if self._voices.devices <= self._stuck:
            self._down(TimeoutError(NOBODY_ANSWERS))
        else:
            self._begin()

    def _came_back(self, call: _Call, samples: int) -> None:
        """A call that was given up has returned: its device is asked again, and the other samples that it brought are lost."""
        del self._left_behind[call]
        self._stuck = frozenset(self._left_behind.values())
        if samples:
            self._deliver(Reading(rejected={"read": samples}))
        if not self._is_read:
            self._begin()

    def _begin(self) -> None:
        self._is_read = True
        threading.Thread(target=self._run, name=f"gpu-{self._source.name}", daemon=True).start()

    def _opened(self, reading: Reading) -> None:
        self._voices.expect(self._source.name, reading.identities or ())
        self._deliver(reading)

    def _up(self, reading: Reading) -> None:
        self._outages.back()
        self._answered, self._last_error = True, None
        self._heard = self._monotonic()
        self._voices.hear(reading)
        self._deliver(reading)

    def _down(self, error: Exception, rejected: Counter[Rejection] | None = None) -> None:
        self._outages.silent(error)
        self._answered, self._last_error = False, type(error).__name__
        if rejected:
            self._deliver(Reading(rejected=rejected))

    # --- on the thread -------------------------------------------------------------------------------------------------------------
    def _run(self) -> None:
        pause_seconds: float | None = 0.0
        try:
            while pause_seconds is not None and not self._stop.wait(pause_seconds):
                pause_seconds = self._served()
        except Exception as error:  # noqa: BLE001 - a thread's own mistakes must end the process too
            self._on_loop(self._fail, error)

    def _served(self) -> float | None:
        """Opens the source and reads it until it fails or is to stop; then how many seconds to leave it alone.

        None: this thread was left behind, and the source is another one's.
        """
        is_mine = True
        try:
            if not self._is_open:
                self._open()
            is_mine = self._read_until_it_fails()
        except GpuUnavailable as error:
            pause_seconds = self._interval_seconds if self._answers else reopen_seconds(self._interval_seconds)
            self._answers = False
            self._on_loop(self._down, error, self._rejected())
            return pause_seconds
        finally:
            if is_mine and not self._stuck:
                self._is_open = False
                self._source.close()
        return 0.0 if is_mine else None

    def _open(self) -> None:
        self._call = _Call(self._monotonic(), (), is_read=False)
        try:
            identities = self._source.open()
        except ConfigError as error:
            if not self._ever_opened:
                raise
            raise GpuUnavailable(str(error)) from error
        finally:
            self._call = None
        self._is_open = self._ever_opened = True
        self._due = self._monotonic()
        self._on_loop(self._opened, Reading(identities=identities, rejected=self._rejected()))

    def _read_until_it_fails(self) -> bool:
        """Reads until it is to stop; False if it was given up before. Raises: GpuUnavailable."""
        while not self._stop.wait(max(self._due - self._monotonic(), 0.0)):
            if not self._read():
                return False
            self._due = next_due(self._due, self._monotonic(), self._interval_seconds)
        return True

    def _read(self) -> bool:
        """Reads once; False if the loop has given it up meanwhile. Raises: GpuUnavailable."""
        stuck = self._stuck
        self._call = call = _Call(self._monotonic(), stuck, is_read=True)
        reading = Reading()
        unavailable: GpuUnavailable | None = None
        try:
            reading = Reading(tuple(self._source.read(self._now(), without=call.without)))
        except GpuUnavailable as error:
            unavailable = error
        took_seconds = self._monotonic() - call.since
        if not call.claim():
            self._on_loop(self._came_back, call, len(reading.samples))
            return False
        self._call = None
        if unavailable:
            raise unavailable
        self._answers = took_seconds <= self._timeout_seconds
        if not self._answers:
            late = TimeoutError(f"a reading took {took_seconds:.3g} s")
            self._on_loop(self._down, late, self._rejected(missed=len(stuck) + len(reading.samples)))
        elif stuck and not reading.samples:  # instances of one device hang together
            self._on_loop(self._down, TimeoutError(NOBODY_ANSWERS), self._rejected(missed=len(stuck)))
        else:
            self._on_loop(self._up, Reading(reading.samples, rejected=self._rejected(missed=len(stuck))))
        return True

    def _rejected(self, *, missed: int = 0) -> Counter[Rejection]:
        """What the source rejected since this was asked last, and these readings."""
        so_far = self._source.rejected
        new: Counter[Rejection] = Counter()
        if so_far != self._told:
            new = Counter(so_far) - Counter(self._told)
            self._told = dict(so_far)
        if missed:
            new["read"] += missed
        return new


def reopen_seconds(interval_seconds: float) -> float:
    """How long a source that can't be opened is left alone."""
    return min(REOPEN_INTERVALS * interval_seconds, max(interval_seconds, REOPEN_SECONDS))
