"""Recording this machine's readings for a while: from the threads that read to a capture's rows."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from infermeter.errors import GpuUnavailable
from infermeter.gpu import GpuSource, Reading
from infermeter.gpu.capture_writer import CaptureWriter
from infermeter.gpu.sampler import Sampler
from infermeter.host.source import HostSource
from infermeter.model import GpuIdentity, GpuSample, HostSample, Rejection
from infermeter.polling import Poller


class Capture:
    """One capture: readings come from threads and become rows on the loop."""

    def __init__(
        self,
        source: GpuSource,
        host: HostSource | None,
        write: Callable[[str], object],
        *,
        duration_seconds: float,
        interval_seconds: float,
        timeout_seconds: float,
    ) -> None:
        """Made on the loop. `write` is given whole lines; a call of a source that takes longer than the time-out is given up."""
        self._write = write
        self._duration_seconds = duration_seconds
        self._interval_seconds = interval_seconds
        self._source_name = source.name
        self._host_name = host.name if host else None
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._timer = self._ending()
        self._rejected: Counter[Rejection] = Counter()
        self._writer: CaptureWriter | None = None
        self._sampler = Sampler(
            _Present(source),
            interval_seconds=interval_seconds,
            timeout_seconds=timeout_seconds,
            now=time.time_ns,
            loop=self._loop,
            deliver=self._take,
            fail=self.end,
        )
        self._poller = (
            None
            if host is None
            else Poller(
                "host power",
                host.read,
                interval_seconds=interval_seconds,
                timeout_seconds=timeout_seconds,
                now=time.time_ns,
                loop=self._loop,
                deliver=self._take_host,
                fail=self.end,
            )
        )

    async def record(self) -> str:
        """Reads once the devices are there, then every interval, up to the end of the duration; what was recorded and what was lost.

        Raises: GpuUnavailable where there is nothing to record, and what the sources and `write` raise.
        """
        self._sampler.start()
        try:
            await self._ended
        except _Absent as error:
            raise GpuUnavailable(f"no GPU to record: {error}") from error
        finally:
            self._timer.cancel()
            self._sampler.stop()
            if self._poller:
                self._poller.stop()
        if self._writer is None:
            raise GpuUnavailable("no GPU answered")
        self._writer.end()
        return self._summary(self._writer)

    def end(self, error: Exception | None = None) -> None:
        """Ends it before its time, as if that were over; or because of an error."""
        if self._ended.done():
            return
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)

    def _ending(self) -> asyncio.TimerHandle:
        """The end of the duration from now on, where no reading comes that is the last."""
        self._ends_at = self._loop.time() + self._duration_seconds
        return self._loop.call_at(self._ends_at + self._interval_seconds / 2, self.end)

    def _take(self, reading: Reading) -> None:
        self._rejected.update(reading.rejected)
        if reading.identities is not None and self._writer is None:
            self._begin(reading.identities)
        self._add(reading.samples)
        if reading.samples and self._loop.time() >= self._ends_at - self._interval_seconds / 2:
            self.end()

    def _take_host(self, sample: HostSample) -> None:
        self._add([sample])

    def _begin(self, identities: Sequence[GpuIdentity]) -> None:
        self._writer = CaptureWriter(
            self._write, identities, started_ns=time.time_ns(), source=self._source_name, host_source=self._host_name
        )
        self._timer.cancel()
        self._timer = self._ending()
        if self._poller:
            self._poller.start()

    def _add(self, samples: Sequence[GpuSample | HostSample]) -> None:
        if not samples or self._writer is None or self._ended.done():
            return
        try:
            self._writer.add(samples)
        except (OSError, GpuUnavailable) as error:
            self.end(error)

    def _summary(self, writer: CaptureWriter) -> str:
        rejected = self._rejected + writer.rejected
        lost = ", ".join(f"{n} {reason}" for reason, n in sorted(rejected.items())) or "none"
        return f"{writer.rows} rows, {writer.devices} {'GPU' if writer.devices == 1 else 'GPUs'}, readings rejected: {lost}"


class _Absent(Exception):
    """No device when the capture began."""


class _Present:
    """A source that must be there when it is opened first; later it may go and come back."""

    def __init__(self, source: GpuSource) -> None:
        self._source = source
        self._opened = False

    @property
    def name(self) -> str:
        return self._source.name

    @property
    def rejected(self) -> Mapping[Rejection, int]:
        return self._source.rejected

    @property
    def asking(self) -> str | None:
        return self._source.asking

    def open(self) -> tuple[GpuIdentity, ...]:
        """Raises: _Absent."""
        try:
            identities = self._source.open()
        except GpuUnavailable as error:
            if self._opened:
                raise
            raise _Absent(str(error)) from error
        if not identities and not self._opened:
            raise _Absent("none is seen")
        self._opened = True
        return identities

    def read(self, now_ns: int, *, without: Collection[str] = ()) -> Sequence[GpuSample | HostSample]:
        return self._source.read(now_ns, without=without)

    def close(self) -> None:
        self._source.close()
