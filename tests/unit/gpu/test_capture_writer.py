"""Readings written as a capture: what is written is what is read."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infermeter.errors import GpuUnavailable
from infermeter.gpu.capture_writer import FIRST_READINGS, MOST_WAITING, CaptureWriter
from infermeter.gpu.columns import COLUMNS, Column
from infermeter.gpu.recording import read_recording
from infermeter.gpu.rows import Recording
from infermeter.model import GpuIdentity, GpuSample, HostSample

SECOND = 10**9
THEN = 1_795_168_800 * SECOND
A, B = GpuIdentity("GPU-a", index=0, product="Some GPU", driver_version="580.65.06"), GpuIdentity("GPU-b")


class Paper:
    """Keeps what is written on it."""

    def __init__(self, *identities: GpuIdentity, host: str | None = None, source: str = "nvml") -> None:
        self.pieces: list[str] = []
        self.writer = CaptureWriter(self.pieces.append, identities, started_ns=THEN + 1, source=source, host_source=host)

    @property
    def lines(self) -> list[str]:
        return "".join(self.pieces).splitlines()

    @property
    def table(self) -> list[str]:
        return [line for line in self.lines if not line.startswith("#")]

    def read(self) -> Recording:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "capture.csv"
            path.write_text("".join(self.pieces))
            return read_recording(path)


def gpu(second: float, uuid: str = "GPU-a", **told: Any) -> GpuSample:
    return GpuSample(uuid, THEN + round(second * SECOND), **({"power_watts": 100.0} | told))


def host(second: float, **told: float) -> HostSample:
    return HostSample(THEN + round(second * SECOND), source="rapl", **told)


def test_a_capture_says_what_was_read_and_when_in_comments_header_rows_and_end() -> None:
    limited = GpuIdentity("GPU-a", 3, "Some GPU", "580.65.06", power_limit_watts=700.0, memory_total_bytes=85520809984)
    paper = Paper(limited, B, source="nvml")
    for second in range(3):
        paper.writer.add([gpu(second, energy_joules=5.25), gpu(second + 0.0015, "GPU-b", utilisation_ratio=0.5)])
    paper.writer.end()
    assert paper.lines == [
        "# infermeter capture: 1",
        "# started: 2026-11-20T10:00:00Z",
        "# source: nvml",
        "# driver: 580.65.06",
        "# gpu: GPU-a,3,Some GPU,700,85520809984",
        "# gpu: GPU-b,,,,",
        "time_unix_seconds,gpu,power_watts,energy_joules,utilisation_ratio",
        "1795168800,GPU-a,100,5.25,",
        "1795168800.0015,GPU-b,100,,0.5",
        "1795168801,GPU-a,100,5.25,",
        "1795168801.0015,GPU-b,100,,0.5",
        "1795168802,GPU-a,100,5.25,",
        "1795168802.0015,GPU-b,100,,0.5",
        "# end: 6 rows",
    ]
    assert (paper.writer.rows, paper.writer.devices, paper.writer.rejected) == (6, 2, {})


def test_the_header_waits_for_values_that_take_some_readings_and_no_longer() -> None:
    paper = Paper(A)
    paper.writer.add([gpu(0.0)])
    paper.writer.add([gpu(0.5, sm_active_ratio=0.25)])
    paper.writer.add([gpu(1.0)])
    assert paper.lines == []
    paper.writer.add([gpu(1.5)])
    assert paper.table[0] == "time_unix_seconds,gpu,power_watts,sm_active_ratio"
    assert len(paper.table) == 5
    paper.writer.add([gpu(2.0, sm_active_ratio=0.5, tensor_active_ratio=0.5)])
    assert paper.table[-1] == "1795168802,GPU-a,100,0.5"


def test_what_was_written_is_a_capture_at_every_instant() -> None:
    paper = Paper(A)
    for second in range(6):
        paper.writer.add([gpu(second)])
        if paper.pieces:
            assert len(paper.read().samples) == second + 1
            assert paper.pieces[-1].endswith("\n")
    assert len(paper.pieces) > FIRST_READINGS


def test_a_device_that_does_not_answer_has_no_row() -> None:
    paper = Paper(A, B)
    for second in range(4):
        paper.writer.add([gpu(second), gpu(second, "GPU-b")] if second != 2 else [gpu(second)])
    paper.writer.add([])
    paper.writer.end()
    assert len(paper.read().samples.of(["GPU-b"])) == 3


def test_a_device_that_comes_later_has_rows_too() -> None:
    paper = Paper(A)
    for second in range(4):
        paper.writer.add([gpu(second)])
    paper.writer.add([gpu(4), gpu(4, "GPU-new")])
    paper.writer.end()
    assert [identity.uuid for identity in paper.read().identities] == ["GPU-a", "GPU-new"]


def test_what_is_absurd_or_out_of_order_is_left_out_and_counted() -> None:
    paper = Paper(A)
    for second in range(3):
        paper.writer.add([gpu(second, energy_joules=1.0, temperature_celsius=1e9)])
    paper.writer.add([gpu(3, power_watts=3.69e12, energy_joules=2.0)])
    paper.writer.add([gpu(2.5)])
    paper.writer.add([GpuSample("GPU-a", 5, power_watts=1.0)])
    paper.writer.add([gpu(4, power_watts=float("nan"))])
    paper.writer.end()
    assert paper.table[0] == "time_unix_seconds,gpu,power_watts,energy_joules"
    assert paper.table[-2:] == ["1795168803,GPU-a,,2", "1795168804,GPU-a,,"]
    assert paper.writer.rejected == {"outlier": 3, "read": 1}
    recording = paper.read()
    assert (recording.rejected, recording.warnings) == ({}, ())


def test_the_host_s_power_is_in_rows_of_its_own() -> None:
    paper = Paper(A, host="hwmon")
    for second in range(3):
        paper.writer.add([host(second - 0.25, power_watts=250.5)])
        paper.writer.add([gpu(second)])
    paper.writer.end()
    assert "# host: hwmon" in paper.lines
    assert paper.table[:3] == ["time_unix_seconds,gpu,power_watts,host_power_watts", "1795168799.75,,,250.5", "1795168800,GPU-a,100,"]
    assert [sample.power_watts for sample in paper.read().host_samples] == [250.5] * 3
    assert paper.writer.devices == 1


def test_the_host_s_counter_becomes_mean_power_in_the_middle_between_its_readings() -> None:
    paper = Paper(A, host="rapl")
    for second, joules in enumerate([1000.0, 1300.0, 1700.0, 5.0, 105.0]):
        paper.writer.add([host(second, energy_joules=joules)])
        paper.writer.add([gpu(second)])
    paper.writer.add([host(4, energy_joules=200.0)])
    paper.writer.end()
    assert [(sample.time_ns - THEN) / SECOND for sample in paper.read().host_samples] == [0.5, 1.5, 3.5]
    assert [sample.power_watts for sample in paper.read().host_samples] == [300, 400, 100]
    assert paper.writer.rejected == {"reset": 2}


def test_without_a_source_of_host_power_there_is_no_row_of_the_host() -> None:
    paper = Paper(A)
    for second in range(3):
        paper.writer.add([gpu(second), host(second, power_watts=300.0)])
    paper.writer.end()
    assert paper.table == ["time_unix_seconds,gpu,power_watts", *(f"{1795168800 + second},GPU-a,100" for second in range(3))]


def test_of_a_host_only_power_makes_a_row() -> None:
    paper = Paper(A, host="rapl")
    paper.writer.add([gpu(0), host(0), host(1, energy_joules=5.0), host(2)])
    paper.writer.end()
    assert paper.writer.rows == 1


def test_energy_that_was_estimated_stays_an_estimate() -> None:
    paper = Paper(GpuIdentity("GPU-a", energy="modelled"), GpuIdentity("GPU-b", energy="integrated"))
    paper.writer.add([gpu(0), gpu(0, "GPU-b")])
    paper.writer.end()
    assert [identity.energy for identity in paper.read().identities] == ["modelled", "integrated"]


@pytest.mark.parametrize(
    ("samples", "problem"),
    [
        ([], "no GPU answered"),
        ([host(0, power_watts=5.0)], "no GPU answered"),
        ([gpu(0, power_watts=None, utilisation_ratio=1.0)], "no GPU tells its power or its energy"),
        ([gpu(0, power_watts=1e9)], "no GPU tells its power or its energy"),
    ],
)
def test_where_there_is_nothing_to_write_nothing_is_written(samples: Sequence[GpuSample | HostSample], problem: str) -> None:
    paper = Paper(A, host="rapl")
    paper.writer.add(samples)
    with pytest.raises(GpuUnavailable, match=problem):
        paper.writer.end()
    assert paper.pieces == []


def test_a_host_alone_isn_t_waited_for_without_end() -> None:
    paper = Paper(A, host="rapl")
    for second in range(MOST_WAITING - 1):
        paper.writer.add([host(second, power_watts=5.0)])
    with pytest.raises(GpuUnavailable, match="no GPU answered"):
        paper.writer.add([host(MOST_WAITING, power_watts=5.0)])


def test_names_that_would_break_the_format_are_told_without_their_commas_and_line_ends() -> None:
    paper = Paper(GpuIdentity("GPU-a\n# end: 0 rows", product="A, \x1b[2J B"), GpuIdentity(","))
    paper.writer.add([gpu(0, "GPU-a\n# end: 0 rows"), gpu(0, ",")])
    paper.writer.end()
    (identity,) = paper.read().identities
    assert (identity.uuid, identity.product) == ("GPU-a # end: 0 rows", "A   [2J B")
    assert len(paper.read().samples) == 1


def values(column: Column) -> st.SearchStrategy[float | None]:
    if column.whole:
        return st.none() | st.integers(int(column.lowest), int(min(column.highest, 2**53)))
    return st.none() | st.floats(column.lowest, column.highest)


SAMPLES = st.builds(
    GpuSample,
    uuid=st.sampled_from(["GPU-a", "MIG-b", "0000:01:00.0"]),
    time_ns=st.integers(THEN, THEN + 5 * SECOND),
    power_watts=st.floats(0, 20_000),
    **{column.name: values(column) for column in COLUMNS if column.name != "power_watts"},
)
HOSTS = st.builds(HostSample, time_ns=st.integers(THEN, THEN + 5 * SECOND), power_watts=st.floats(0, 20_000))


@settings(max_examples=100, deadline=None)
@given(samples=st.lists(SAMPLES | HOSTS, min_size=1, max_size=20, unique_by=lambda sample: sample.time_ns), batch=st.integers(1, 25))
def test_what_was_written_is_what_is_read(samples: list[GpuSample | HostSample], batch: int) -> None:
    samples.sort(key=lambda sample: sample.time_ns)
    told = [sample for sample in samples if isinstance(sample, GpuSample)]
    paper = Paper(*(GpuIdentity(uuid) for uuid in sorted({sample.uuid for sample in told})), host="rapl")
    paper.writer.add([gpu(-10)])
    paper.writer.add([GpuSample("GPU-a", THEN - 1, **{column.name: max(column.lowest, 1) for column in COLUMNS})])
    for i in range(0, len(samples), batch):
        paper.writer.add(samples[i : i + batch])
    paper.writer.end()
    recording = paper.read()
    assert list(recording.samples)[2:] == told
    assert list(recording.host_samples) == [sample for sample in samples if isinstance(sample, HostSample)]
    assert (recording.rejected, recording.warnings, paper.writer.rejected) == ({}, (), {})
    assert len(samples) + 2 == paper.writer.rows
