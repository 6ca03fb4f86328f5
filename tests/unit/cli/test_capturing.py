"""Recording for a while: what comes from sources becomes rows, and whatever happens the capture is ended properly."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from infermeter.commands.capturing import Capture
from infermeter.errors import GpuUnavailable, InputError, Unavailable
from infermeter.gpu.recording import read_recording
from infermeter.gpu.rows import Recording
from infermeter.model import GpuIdentity, GpuSample, HostSample, Rejection

LONG, SHORT = 60.0, 0.01


class Gpus:
    """Devices that answer as told: a number of watts for each reading, or an exception; after the last, `over` is called."""

    name = "fake"
    asking: str | None = None

    def __init__(self, *answers: float | Exception, uuids: Sequence[str] = ("GPU-a",), absent: Iterable[Exception | None] = ()) -> None:
        self.rejected: Mapping[Rejection, int] = {}
        self.over: Callable[[], None] = lambda: None
        self._answers = list(answers)
        self._uuids = uuids
        self._absent = list(absent)

    def open(self) -> tuple[GpuIdentity, ...]:
        if self._absent and (error := self._absent.pop(0)):
            raise error
        return tuple(GpuIdentity(uuid) for uuid in self._uuids)

    def read(self, now_ns: int, *, without: Collection[str] = ()) -> Sequence[GpuSample]:
        assert not without
        if not self._answers:
            self.over()
            return ()
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            self.rejected = {"read": self.rejected.get("read", 0) + 1}
            raise answer
        return [GpuSample(uuid, now_ns, power_watts=answer) for uuid in self._uuids]

    def close(self) -> None:
        """Nothing to let go of."""


class Host:
    """A host whose power is told by a counter, twice; then it is silent."""

    name = "rapl"

    def __init__(self) -> None:
        self.joules = [1000.0, 1001.0]
        self.silent = threading.Event()

    def read(self, now_ns: int) -> HostSample:
        if not self.joules:
            self.silent.set()
            raise Unavailable("silent")
        return HostSample(now_ns, source="rapl", energy_joules=self.joules.pop(0))


def captured(
    gpus: Gpus,
    write: Callable[[str], object],
    *,
    duration_seconds: float = LONG,
    timeout_seconds: float = 5,
    host: Host | None = None,
) -> str:
    """What a capture says that ends with the last answer, or when its time is over."""

    async def record() -> str:
        loop = asyncio.get_running_loop()
        capture = Capture(gpus, host, write, duration_seconds=duration_seconds, interval_seconds=SHORT, timeout_seconds=timeout_seconds)
        if duration_seconds == LONG:
            gpus.over = lambda: loop.call_soon_threadsafe(capture.end) and None
        return await capture.record()

    return asyncio.run(record())


def recording(folder: Path, text: str) -> Recording:
    path = folder / "capture.csv"
    path.write_text(text)
    return read_recording(path)


def test_each_reading_becomes_a_row_of_each_device(tmp_path: Path) -> None:
    written: list[str] = []
    summary = captured(Gpus(100.0, 110.0, 120.0, uuids=("GPU-a", "GPU-b")), written.append)
    seen = recording(tmp_path, "".join(written))
    assert [sample.power_watts for sample in seen.samples.of(["GPU-b"])] == [100, 110, 120]
    assert (len(seen.samples), seen.origin, seen.warnings) == (6, "fake", ())
    assert summary == "6 rows, 2 GPUs, readings rejected: none"


def test_it_ends_when_the_time_is_over(tmp_path: Path) -> None:
    written: list[str] = []
    captured(Gpus(*[100.0] * 10_000), written.append, duration_seconds=0.1)
    seen = recording(tmp_path, "".join(written))
    times = seen.samples.time_ns
    assert seen.warnings == ()
    assert 0 < times[-1] - times[0] < 10e9


def test_a_device_that_does_not_answer_for_a_while_is_missing_and_counted(tmp_path: Path) -> None:
    written: list[str] = []
    summary = captured(Gpus(100.0, GpuUnavailable("gone"), 120.0, 1e9), written.append)
    assert [sample.power_watts for sample in recording(tmp_path, "".join(written)).samples] == [100, 120, None]
    assert summary == "3 rows, 1 GPU, readings rejected: 1 outlier, 1 read"


def test_a_device_that_hangs_is_missing_and_the_others_go_on(tmp_path: Path) -> None:
    released = threading.Event()

    class Hanging(Gpus):
        def read(self, now_ns: int, *, without: Collection[str] = ()) -> Sequence[GpuSample]:
            if "GPU-a" not in without:
                self.asking = "GPU-a"
                released.wait()
                return ()
            self.asking = None
            return [sample for sample in super().read(now_ns) if sample.uuid not in without]

    written: list[str] = []
    try:
        summary = captured(Hanging(100.0, 110.0, 120.0, uuids=("GPU-a", "GPU-b")), written.append, timeout_seconds=0.05)
    finally:
        released.set()
    assert [(sample.uuid, sample.power_watts) for sample in recording(tmp_path, "".join(written)).samples] == [
        ("GPU-b", 100),
        ("GPU-b", 110),
        ("GPU-b", 120),
    ]
    assert summary.startswith("3 rows, 1 GPU, readings rejected: ")


def test_a_driver_that_comes_back_after_it_was_there_is_waited_for(tmp_path: Path) -> None:
    written: list[str] = []
    captured(Gpus(100.0, GpuUnavailable("gone"), 120.0, absent=[None, GpuUnavailable("no driver")]), written.append)
    assert len(recording(tmp_path, "".join(written)).samples) == 2


def test_the_host_s_power_is_recorded_beside(tmp_path: Path) -> None:
    written: list[str] = []
    host, gpus = Host(), Gpus(*[100.0] * 3)

    class UntilSilent(Gpus):
        def read(self, now_ns: int, *, without: Collection[str] = ()) -> Sequence[GpuSample]:
            if not self._answers and not host.silent.is_set():
                return [GpuSample("GPU-a", now_ns, power_watts=1.0)]
            return super().read(now_ns, without=without)

    gpus = UntilSilent(*[100.0] * 3)
    captured(gpus, written.append, host=host)
    seen = recording(tmp_path, "".join(written))
    (sample,) = seen.host_samples
    assert sample.power_watts is not None
    assert 0 < sample.power_watts < 1.5 / SHORT


@pytest.mark.parametrize(
    ("gpus", "problem"),
    [
        (Gpus(absent=[GpuUnavailable("NVML: no driver")]), "no GPU to record: NVML: no driver"),
        (Gpus(uuids=()), "no GPU to record: none is seen"),
        (Gpus(), "no GPU answered"),
    ],
)
def test_without_a_gpu_there_is_nothing_to_record(gpus: Gpus, problem: str) -> None:
    written: list[str] = []
    with pytest.raises(GpuUnavailable) as caught:
        captured(gpus, written.append)
    assert (str(caught.value), written) == (problem, [])


def test_a_driver_that_hangs_when_it_is_opened_ends_the_capture_in_time() -> None:
    released = threading.Event()

    class Hanging(Gpus):
        def open(self) -> tuple[GpuIdentity, ...]:
            released.wait()
            return ()

    try:
        with pytest.raises(GpuUnavailable, match="no GPU answered"):
            captured(Hanging(), str, duration_seconds=0.05)
    finally:
        released.set()


def test_what_can_t_be_written_ends_the_capture() -> None:
    def write(_: str) -> None:
        raise OSError(28, "No space left on device", "/out")

    with pytest.raises(OSError, match="No space left"):
        captured(Gpus(*[100.0] * 10_000), write, duration_seconds=0.1)


def test_a_full_disk_amid_the_capture_ends_it_at_once() -> None:
    def write(text: str) -> None:
        if "infermeter capture" not in text:
            raise OSError(28, "No space left on device", "/out")

    class Fast(Gpus):
        second = 0

        def read(self, now_ns: int, *, without: Collection[str] = ()) -> Sequence[GpuSample]:
            self.second += 1
            return super().read(now_ns + self.second * 10**9, without=without)

    with pytest.raises(OSError, match="No space left"):
        captured(Fast(*[100.0] * 10_000), write, duration_seconds=LONG + 1)


def test_a_source_s_own_error_ends_the_capture() -> None:
    with pytest.raises(InputError, match="x: damaged"):
        captured(Gpus(absent=[InputError("x", "damaged")]), str)


def test_what_ends_it_first_counts() -> None:
    async def record() -> str:
        capture = Capture(Gpus(100.0), None, str, duration_seconds=LONG, interval_seconds=SHORT, timeout_seconds=5)
        capture.end(InputError("first", "counts"))
        capture.end()
        return await capture.record()

    with pytest.raises(InputError, match="first"):
        asyncio.run(record())
