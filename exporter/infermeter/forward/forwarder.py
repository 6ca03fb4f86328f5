"""The queue of exports to be passed on: bounded in bytes, emptied by a few senders, and never waited for.

An export leaves it once it was taken, rejected, or grew too old; its bytes are counted until then.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from infermeter.config import Forward
from infermeter.endpoints import absent_variables, endpoint_of, with_variables
from infermeter.errors import Answered, ConfigError, ConfigErrors, Unavailable
from infermeter.forward.http import HttpTarget
from infermeter.forward.outcomes import Busy, Rejected, Taken, wait_seconds
from infermeter.forward.target import ATTEMPTS_AT_ONCE, Target
from infermeter.model import Accepted, ForwardFacts, NotForwarded
from infermeter.polling import Outages

log = logging.getLogger(__name__)

EXPORT_BYTES: Final = 512
"""What an export in the queue takes beside its body."""

FULL_TOLD_SECONDS: Final = 60.0
"""That the queue is full is told so often at most."""


@dataclass(frozen=True, slots=True)
class _Queued:
    """An export in the queue, `since` on the monotonic clock."""

    accepted: Accepted
    since: float

    @property
    def size_bytes(self) -> int:
        return len(self.accepted.body) + EXPORT_BYTES


def forwarder(
    forward: Forward, environ: Mapping[str, str], *, monotonic: Callable[[], float], fail: Callable[[Exception], None]
) -> Forwarder:
    """What passes exports on to `forward.endpoint`, which is set and fits. Raises: ConfigErrors for a variable that isn't there."""
    absent = absent_variables(forward.headers, environ)
    if absent:
        raise ConfigErrors(tuple(ConfigError(f"forward.headers.{name}", problem) for name, problem in absent.items()))
    endpoint = endpoint_of(forward.endpoint or "", forward.protocol)
    headers = with_variables(forward.headers, environ)

    def target() -> Target:
        if forward.protocol == "http":
            return HttpTarget(endpoint, headers, timeout_seconds=forward.timeout)
        from infermeter.forward.grpc import GrpcTarget  # noqa: PLC0415 - grpcio takes 20 MB, which is for those alone who need it

        return GrpcTarget(endpoint, headers, timeout_seconds=forward.timeout)

    return Forwarder(target, queue_bytes=forward.queue_bytes, retry_seconds=forward.retry_for, monotonic=monotonic, fail=fail)


class Forwarder:
    """Takes exports at once, and passes them on when it can. The loop's alone."""

    def __init__(
        self,
        target: Callable[[], Target],
        *,
        queue_bytes: int,
        retry_seconds: float,
        monotonic: Callable[[], float],
        fail: Callable[[Exception], None],
        wait: Callable[[int, float | None], float] = lambda attempt, asked: wait_seconds(attempt, asked, random.random),
    ) -> None:
        """`target` is made at the start; exports age by `monotonic`, in seconds; `fail` gets a mistake of ours, which ends the process.

        `wait` tells how many seconds pass after the attempt of this number (from 0), given how many the receiver asked for.
        """
        self._make_target = target
        self._target: Target | None = None
        self._queue_bytes = queue_bytes
        self._retry_seconds = retry_seconds
        self._monotonic = monotonic
        self._fail = fail
        self._wait = wait
        self._queue: asyncio.Queue[_Queued] = asyncio.Queue()
        self._held_bytes = 0
        self._held_spans = 0
        self._forwarded = 0
        self._reencoded = 0
        self._dropped: Counter[NotForwarded] = Counter()
        self._senders: tuple[asyncio.Task[None], ...] = ()
        self._ending = asyncio.Event()
        self._outages = Outages("forward.endpoint", log, time.monotonic)
        self._full_told: float | None = None

    def start(self) -> None:
        """Begins to send; connects with the first export."""
        target = self._target = self._make_target()
        self._senders = tuple(asyncio.create_task(self._send(target)) for _ in range(ATTEMPTS_AT_ONCE))

    def offer(self, accepted: Accepted) -> None:
        """Queues an export, or drops it where there is no room; returns at once."""
        queued = _Queued(accepted, self._monotonic())
        if self._held_bytes + queued.size_bytes > self._queue_bytes:
            self._dropped["queue_full"] += accepted.spans
            self._tell_full()
            return
        self._held_bytes += queued.size_bytes
        self._held_spans += accepted.spans
        self._queue.put_nowait(queued)

    def facts(self) -> ForwardFacts:
        """What became of the spans so far."""
        return ForwardFacts(self._forwarded, self._reencoded, dict(self._dropped), self._held_bytes, self._queue_bytes)

    async def stop(self, *, seconds: float) -> None:
        """Sends what it can in this time, each export at most once more, then breaks off and drops what is left; at once if cancelled."""
        self._ending.set()
        if self._target is None:
            return
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(seconds, 0.0)):
                    await self._queue.join()
        finally:
            await self._break_off(self._target)

    async def _break_off(self, target: Target) -> None:
        for sender in self._senders:
            sender.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)
        await target.close()
        self._dropped["shutdown"] += self._held_spans
        self._held_bytes = self._held_spans = 0
        if self._dropped["shutdown"]:
            log.warning("forward.endpoint: %d spans weren't passed on before the end, and are dropped", self._dropped["shutdown"])

    async def _send(self, target: Target) -> None:
        """Passes on one export after the other."""
        while True:
            queued = await self._queue.get()
            try:
                await self._settle(target, queued)
            except Exception as error:  # noqa: BLE001 - a task's own mistakes must end the process too
                self._fail(error)
            finally:
                self._queue.task_done()

    async def _settle(self, target: Target, queued: _Queued) -> None:
        """Tries until the export is out of the queue."""
        came = queued.accepted
        fitted = await target.fitted(came)
        if fitted is not came:
            queued = self._replace(queued, fitted)
        if fitted.spans == 0:
            self._leave(queued)
            return
        attempt = 0
        while True:
            outcome = await target.send(fitted)
            if isinstance(outcome, Taken):
                self._outages.back()
                self._leave(queued)
                self._forwarded += fitted.spans - outcome.rejected
                self._reencoded += 0 if fitted is came else fitted.spans - outcome.rejected
                self._dropped["rejected"] += outcome.rejected
                return
            silent = isinstance(outcome, Busy) and not outcome.answered
            self._outages.silent(Unavailable(outcome.problem) if silent else Answered(f"answers {outcome.problem}"))
            wait = None if isinstance(outcome, Rejected) else self._wait(attempt, outcome.asked_seconds)
            reason = self._given_up(queued, wait)
            if reason is not None:
                self._leave(queued)
                self._dropped[reason] += fitted.spans
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._ending.wait()
            attempt += 1

    def _given_up(self, queued: _Queued, wait: float | None) -> NotForwarded | None:
        """Why an export isn't tried again after `wait` seconds; None: it is."""
        if wait is None:
            return "rejected"
        if self._ending.is_set():
            return "shutdown"
        return "expired" if self._monotonic() + wait > queued.since + self._retry_seconds else None

    def _replace(self, queued: _Queued, fitted: Accepted) -> _Queued:
        """Holds the export as it will be sent in place of as it came."""
        self._leave(queued)
        self._dropped["unencodable"] += queued.accepted.spans - fitted.spans
        replaced = _Queued(fitted, queued.since)
        self._held_bytes += replaced.size_bytes
        self._held_spans += fitted.spans
        return replaced

    def _leave(self, queued: _Queued) -> None:
        self._held_bytes -= queued.size_bytes
        self._held_spans -= queued.accepted.spans

    def _tell_full(self) -> None:
        now = self._monotonic()
        if self._full_told is None or now - self._full_told >= FULL_TOLD_SECONDS:
            self._full_told = now
            log.warning("forward.queue_bytes: the queue is full, and further exports aren't passed on; told once a minute at most")
