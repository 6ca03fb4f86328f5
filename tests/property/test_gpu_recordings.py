"""Laws of recorded power files: what is written is read, whatever is damaged is told, and the cadence of reading changes nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infermeter.errors import InputError
from infermeter.gpu.capture_csv import instant_ns
from infermeter.gpu.recording import read_recording
from infermeter.gpu.replay import ReplaySource
from infermeter.gpu.rows import Recording
from infermeter.model import GpuSample, HostSample

RECORDINGS = Path(__file__).parents[1] / "recordings"
SECOND = 10**9
FROM = 1_795_168_800 * SECOND
LATER = 1_800_000_000 * SECOND


def read_text(text: bytes) -> Recording:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "power.csv"
        path.write_bytes(text)
        return read_recording(path)


def joules(samples: Sequence[GpuSample | HostSample]) -> dict[str, float]:
    """The trapezoid over the power of each device, and of the host."""
    total: dict[str, float] = {}
    last: dict[str, GpuSample | HostSample] = {}
    for sample in samples:
        name = sample.uuid if isinstance(sample, GpuSample) else "host"
        before = last.get(name)
        if before is not None:
            mean = ((before.power_watts or 0.0) + (sample.power_watts or 0.0)) / 2
            total[name] = total.get(name, 0.0) + mean * (sample.time_ns - before.time_ns) / SECOND
        last[name] = sample
    return total


def host_samples(recording: Recording) -> tuple[HostSample, ...]:
    """A host whose power wanders, read every 0.7 s, from before the first sample of a device."""
    first_ns = int(recording.samples.time_ns[0]) - SECOND
    return tuple(HostSample(first_ns + i * 7 * SECOND // 10, 300.0 + 5 * (i % 9)) for i in range(80))


def played(*, steps_ns: list[int], until_ns: int, loop: bool, host: bool = False) -> list[GpuSample | HostSample]:
    """All that the source brings when it is read after each of these steps, over and over, and at the end."""
    recording = read_recording(RECORDINGS / "eight-gpus.csv")
    if host:
        recording = replace(recording, host_samples=host_samples(recording))
    source = ReplaySource(lambda: recording, loop=loop, hardware=False, choose=lambda seen: seen.identities)
    source.open()
    samples: list[GpuSample | HostSample] = []
    now_ns = LATER
    while now_ns < LATER + until_ns:
        for step_ns in steps_ns:
            samples += source.read(min(now_ns, LATER + until_ns))
            now_ns += step_ns
    return samples + list(source.read(LATER + until_ns))


@pytest.mark.parametrize("host", [False, True])
@pytest.mark.parametrize("loop", [False, True])
@settings(max_examples=15, deadline=None)
@given(steps_ns=st.lists(st.integers(min_value=SECOND // 2, max_value=55 * SECOND), min_size=1, max_size=5))
def test_the_energy_of_a_replay_is_the_same_whatever_the_cadence_of_reading(loop: bool, host: bool, steps_ns: list[int]) -> None:
    reference = played(steps_ns=[SECOND], until_ns=150 * SECOND, loop=loop, host=host)
    samples = played(steps_ns=steps_ns, until_ns=150 * SECOND, loop=loop, host=host)
    assert samples == reference
    assert joules(samples) == joules(reference)
    assert ("host" in joules(samples)) == host


def test_under_a_clock_that_starts_at_the_first_sample_devices_and_host_are_played_as_recorded() -> None:
    recording = read_recording(RECORDINGS / "eight-gpus.csv")
    recording = replace(recording, samples=recording.samples.without_hardware(), host_samples=host_samples(recording))
    source = ReplaySource(lambda: recording, loop=False, hardware=False, choose=lambda seen: seen.identities)
    source.open()
    first_ns = recording.host_samples[0].time_ns
    samples = [sample for second in range(70) for sample in source.read(first_ns + second * SECOND)]
    assert [sample for sample in samples if isinstance(sample, GpuSample)] == list(recording.samples)
    assert [sample for sample in samples if isinstance(sample, HostSample)] == list(recording.host_samples)
    assert [sample.time_ns for sample in samples] == sorted(sample.time_ns for sample in samples)


def test_the_energy_of_a_replay_is_that_of_the_recording_s_own_counters() -> None:
    recording = read_recording(RECORDINGS / "eight-gpus.csv")
    integrated = joules(played(steps_ns=[SECOND], until_ns=60 * SECOND, loop=False))
    for identity in recording.identities:
        own = list(recording.samples.of([identity.uuid]))
        counted = (own[-1].energy_joules or 0.0) - (own[0].energy_joules or 0.0)
        assert integrated[identity.uuid] == pytest.approx(counted, rel=1e-9)


@given(time_ns=st.integers(min_value=0, max_value=2**62))
def test_an_instant_is_read_to_the_nanosecond(time_ns: int) -> None:
    assert instant_ns(f"{time_ns // SECOND}.{time_ns % SECOND:09d}") == time_ns


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(min_value=0, max_value=20_000),
            st.sampled_from(["GPU-a", "GPU-b"]),
            st.none() | st.floats(min_value=0, max_value=1000),
            st.none() | st.floats(min_value=-1e3, max_value=1e14),
        ),
        max_size=30,
    )
)
def test_every_row_is_read_or_counted_and_every_value_is_as_written_or_counted(
    rows: list[tuple[int, str, float | None, float | None]],
) -> None:
    lines = [f"{FROM // SECOND + at}.{at:05d},{gpu},{_cell(w)},{_cell(e)}" for at, gpu, w, e in rows]
    text = "\n".join(["time_unix_seconds,gpu,power_watts,energy_joules", *lines, f"# end: {len(rows)} rows", ""])
    recording = read_text(text.encode())
    read, last, out_of_order, absurd = [], {"GPU-a": -1, "GPU-b": -1}, 0, 0
    for at, gpu, watts, energy in rows:
        if at <= last[gpu]:
            out_of_order += 1
            continue
        last[gpu] = at
        sane = energy if energy is None or 0 <= energy <= 1e13 else None
        absurd += sane != energy
        read.append(GpuSample(gpu, FROM + at * SECOND + at * 10_000, power_watts=watts, energy_joules=sane))
    assert sorted(recording.samples, key=_by_device) == sorted(read, key=_by_device)
    assert recording.rejected.get("read", 0) == out_of_order
    assert recording.rejected.get("outlier", 0) == absurd


def _cell(value: float | None) -> str:
    return "" if value is None else repr(value)


def _by_device(sample: GpuSample) -> tuple[str, int]:
    return sample.uuid, sample.time_ns


@settings(max_examples=150, deadline=None)
@given(data=st.data(), name=st.sampled_from(["eight-gpus.csv", "nvidia-smi.csv"]))
def test_a_damaged_file_is_read_in_part_or_refused(data: st.DataObject, name: str) -> None:
    whole = (RECORDINGS / name).read_bytes()[:3000]
    at = data.draw(st.integers(min_value=0, max_value=len(whole)))
    damage: Callable[[bytes], bytes] = data.draw(
        st.sampled_from(
            [
                lambda text: text[:at],
                lambda text: text[:at] + text[at + 1 :],
                lambda text: text[:at] + b"\xff" + text[at:],
                lambda text: text[:at] + b",9e99\n" + text[at:],
                lambda text: text[:at] + b"-" + text[at:],
            ]
        )
    )
    try:
        recording = read_text(damage(whole))
    except InputError:
        return
    assert all(0 <= (sample.power_watts or 0) <= 20_000 for sample in recording.samples)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_are_refused(junk: bytes) -> None:
    with pytest.raises(InputError):
        read_text(junk)
