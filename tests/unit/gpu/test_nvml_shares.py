"""How a device in MIG mode, or one that several servers use, is shared out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.errors import ConfigError, Unavailable
from infermeter.gpu.nvml import NvmlSource
from infermeter.gpu.nvml.processes import LEAST_SHARE, MOST_SHARE, ProcessShare
from infermeter.gpu.nvml.shares import parts_of
from infermeter.gpu.source import Seen, every
from infermeter.model import GpuIdentity, GpuSample
from unit.gpu.nvml_library import LOST, NOT_SUPPORTED, UNKNOWN, Device, Library, processes, used

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS


# --- instances ---------------------------------------------------------------------------------------------------------------------------
def test_the_slices_that_are_seen_have_their_part_and_share_it_by_slices_times_activity() -> None:
    parts = parts_of({"a": 3, "b": 2, "c": 1}, {"a": 0.5, "b": 0.0, "c": 1.0}, 7)
    assert parts == pytest.approx({"a": 6 / 7 * 0.6, "b": 0.0, "c": 6 / 7 * 0.4})


@pytest.mark.parametrize("activity", [(0.0, 0.0), (None, 1.0), (None, None), (0.009, 0.0)])
def test_where_nothing_is_active_or_activity_is_not_known_they_share_by_slices(activity: tuple[float | None, float | None]) -> None:
    assert parts_of({"a": 4, "b": 2}, dict(zip("ab", activity, strict=True)), 7) == pytest.approx({"a": 4 / 7, "b": 2 / 7})


def test_with_more_slices_than_the_device_tells_nothing_is_shared_twice_and_none_is_none() -> None:
    assert parts_of({"a": 4, "b": 4}, {}, 7) == {"a": 0.5, "b": 0.5}
    assert parts_of({}, {}, 7) == {}


INSTANCES = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 8))
ACTIVITY = st.dictionaries(st.sampled_from("abcdefgh"), st.none() | st.floats(0, 1))


@given(INSTANCES, ACTIVITY, st.integers(0, 8))
def test_instances_never_have_more_than_their_device_nor_less_than_nothing(
    slices: dict[str, int], activity: dict[str, float | None], total: int
) -> None:
    parts = parts_of(slices, activity, total)
    assert parts.keys() == slices.keys()
    assert all(part >= 0 for part in parts.values())
    assert sum(parts.values()) <= 1 + 1e-12


@given(INSTANCES.filter(bool), ACTIVITY)
def test_instances_that_hold_all_slices_have_all_of_their_device(slices: dict[str, int], activity: dict[str, float | None]) -> None:
    assert sum(parts_of(slices, activity, sum(slices.values())).values()) == pytest.approx(1)


@given(INSTANCES, ACTIVITY, st.sets(st.sampled_from("abcdefgh")))
def test_sidecars_that_see_some_instances_each_never_have_more_than_the_device(
    slices: dict[str, int], activity: dict[str, float | None], seen_by_one: set[str]
) -> None:
    total = sum(slices.values())
    groups = [{name: slices[name] for name in slices if (name in seen_by_one) is first} for first in (True, False)]
    assert sum(sum(parts_of(group, activity, total).values()) for group in groups) <= 1 + 1e-12


def instance_of(uuid: str, slices: int | None = 1, number: int = 0) -> Device:
    tells: dict[str, Any] = {"nvmlDeviceGetGpuInstanceId": number, "nvmlDeviceGetComputeRunningProcesses": processes(7, 8)}
    if slices is not None:
        tells["nvmlDeviceGetAttributes_v2"] = SimpleNamespace(computeInstanceSliceCount=slices, gpuInstanceSliceCount=slices)
    return Device(uuid, tells=tells)


def partitioned(*instances: Device, **tells: Any) -> Device:
    def instance(index: int) -> Device:
        if index >= len(instances):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return instances[index]

    mig = {
        "nvmlDeviceGetMigMode": [1, 1],
        "nvmlDeviceGetMaxMigDeviceCount": 7,
        "nvmlDeviceGetMigDeviceHandleByIndex": instance,
        "nvmlDeviceGetComputeRunningProcesses": [],
    }
    return Device("GPU-a", tells=mig | tells)


def opened(library: Library, **options: Any) -> NvmlSource:
    source = NvmlSource(**({"hardware": True, "choose": every} | options), library=library)
    source.open()
    return source


def test_an_instance_is_a_device_of_its_own_and_its_parent_is_none() -> None:
    library = Library(partitioned(instance_of("MIG-a"), instance_of("MIG-b")), Device("GPU-b"))
    identities = NvmlSource(hardware=False, choose=every, library=library).open()
    assert [identity.uuid for identity in identities] == ["MIG-a", "MIG-b", "GPU-b"]
    assert identities[0] == GpuIdentity(
        "MIG-a",
        index=0,
        product="NVIDIA H100 80GB HBM3",
        driver_version="580.65.06",
        energy="modelled",
        memory_total_bytes=80 * 2**30,
    )


def test_what_is_true_of_the_chip_is_told_of_each_instance_and_what_adds_up_is_shared() -> None:
    counter = iter((5_000_000, 5_000_000, 5_007_000, 1_000, 8_000))
    parent = partitioned(instance_of("MIG-a", 3), instance_of("MIG-b", 4), nvmlDeviceGetTotalEnergyConsumption=lambda: next(counter))
    source = opened(Library(parent))
    samples = [source.read(second * SECOND_NS) for second in range(4)]
    by_power = 3.0 + 112.5 * 3 / 7, 4.0 + 112.5 * 4 / 7
    energy = [[0.0, 0.0], [3.0, 4.0], by_power, [by_power[0] + 3.0, by_power[1] + 4.0]]
    assert [[sample.energy_joules for sample in each] for each in samples] == [pytest.approx(each) for each in energy]
    assert source.rejected["reset"] == 1
    assert samples[0][0] == GpuSample(
        "MIG-a",
        0,
        power_watts=pytest.approx(112.5 * 3 / 7),
        energy_joules=0.0,
        memory_used_bytes=16 * 2**30,
        memory_total_bytes=80 * 2**30,
        temperature_celsius=41.0,
        sm_clock_hertz=1980e6,
        computing_processes=2,
    )


def test_without_a_counter_the_energy_of_instances_is_integrated_over_gaps_that_are_short() -> None:
    parent = partitioned(instance_of("MIG-a", 7))
    parent.fails["nvmlDeviceGetTotalEnergyConsumption"] = NOT_SUPPORTED
    source = opened(Library(parent))
    energy = [source.read(round(second * SECOND_NS))[0].energy_joules for second in (0, 1, 3, 7, 6, 7)]
    assert energy == pytest.approx([0.0, 112.5, 337.5, 337.5, 337.5, 450.0])


def test_a_parent_that_tells_no_power_leaves_that_of_its_instances_absent() -> None:
    parent = partitioned(instance_of("MIG-a"))
    parent.fails |= dict.fromkeys(("nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetPowerUsage"), NOT_SUPPORTED)
    source = NvmlSource(hardware=False, choose=every, library=Library(parent))
    assert source.open()[0].energy is None
    (sample,) = source.read(0)
    assert (sample.power_watts, sample.energy_joules, sample.computing_processes) == (None, None, 2)


def test_only_chosen_instances_are_told_and_the_others_keep_their_part() -> None:
    parent = partitioned(instance_of("MIG-a", 3), instance_of("MIG-b", 4))
    source = opened(Library(parent), choose=lambda seen: seen.identities[1:])
    (sample,) = source.read(0)
    assert (sample.uuid, sample.power_watts) == ("MIG-b", pytest.approx(112.5 * 4 / 7))


def test_an_instance_that_is_gone_does_not_hide_the_others() -> None:
    gone = instance_of("MIG-a")
    source = opened(Library(partitioned(gone, instance_of("MIG-b"))))
    gone.everything = LOST
    assert [sample.uuid for sample in source.read(0)] == ["MIG-b"]
    assert source.rejected == {"read": 1}


def test_an_instance_that_does_not_support_a_value_lacks_it_alone() -> None:
    lacking, failing = instance_of("MIG-a"), instance_of("MIG-b", None)
    lacking.fails["nvmlDeviceGetComputeRunningProcesses"] = NOT_SUPPORTED
    source = opened(Library(partitioned(lacking, failing)))
    failing.fails["nvmlDeviceGetComputeRunningProcesses"] = UNKNOWN
    assert [sample.computing_processes for sample in source.read(0)] == [None, None]
    del failing.fails["nvmlDeviceGetComputeRunningProcesses"]
    lacking.asked.clear()
    assert [sample.computing_processes for sample in source.read(1)] == [None, 2]
    assert "nvmlDeviceGetComputeRunningProcesses" not in lacking.asked


def test_instances_that_hang_together_are_left_out_together() -> None:
    parent = partitioned(instance_of("MIG-a"), instance_of("MIG-b"))
    source = opened(Library(parent, Device("GPU-b")))
    assert [sample.uuid for sample in source.read(0, without={"MIG-a"})] == ["GPU-b"]
    assert source.rejected == {"read": 1}, "the sampler counts the one that it leaves out"


def test_a_parent_in_mig_mode_without_instances_is_a_device() -> None:
    source = NvmlSource(hardware=False, choose=every, library=Library(partitioned()))
    assert [identity.uuid for identity in source.open()] == ["GPU-a"]


# --- profiling ---------------------------------------------------------------------------------------------------------------------------
PROFILED = {"nvmlGpmQueryDeviceSupport": SimpleNamespace(isSupportedDevice=1), "nvmlGpmSampleGet": lambda _: None}


def later(source: NvmlSource) -> GpuSample:
    """The first device's second sample, with which profiling begins."""
    source.read(0)
    return source.read(SECOND_NS)[0]


def test_profiling_is_told_in_ratios_and_its_memory_given_back() -> None:
    library = Library(Device("GPU-a", tells=PROFILED))
    source = opened(library)
    assert source.read(0)[0].sm_active_ratio is None, "two samples make one measurement"
    (sample,) = source.read(SECOND_NS)
    told = (sample.sm_active_ratio, sample.sm_occupancy_ratio, sample.tensor_active_ratio, sample.dram_active_ratio)
    assert told == pytest.approx((0.2, 0.3, 0.5, 1.0))
    assert sample.utilisation_ratio == 0.57, "the driver's own is preferred"
    assert library.gpm_samples == 2
    source.close()
    assert library.gpm_samples == 0


def test_profiling_stands_in_for_utilisation_that_is_not_told() -> None:
    device = Device("GPU-a", tells=PROFILED, fails={"nvmlDeviceGetUtilizationRates": NOT_SUPPORTED})
    source = opened(Library(device))
    assert [source.read(second * SECOND_NS)[0].utilisation_ratio for second in (0, 1)] == [None, 0.1]


def test_profiling_is_not_asked_for_more_often_than_it_is_refreshed() -> None:
    device = Device("GPU-a", tells=PROFILED)
    source = opened(Library(device))
    told = [source.read(tenths * SECOND_NS // 20)[0].sm_active_ratio for tenths in range(5)]
    assert told == [None, None, 0.2, 0.2, 0.2]
    assert device.asked.count("nvmlGpmMetricsGet") == 2


def test_profiling_that_is_off_or_not_supported_is_not_asked_for() -> None:
    off, lacking = (
        Device("GPU-a", tells=PROFILED),
        Device("GPU-b", tells=PROFILED | {"nvmlGpmQueryDeviceSupport": SimpleNamespace(isSupportedDevice=0)}),
    )
    library = Library(off, lacking)
    assert later(opened(library, profiling="off")).sm_active_ratio is None
    assert not any(call.startswith("nvmlGpm") for call in off.asked)
    assert later(opened(Library(lacking))).sm_active_ratio is None
    assert library.gpm_samples == 0


def test_profiling_that_is_not_permitted_or_fails_just_now_is_absent() -> None:
    forbidden = Device("GPU-a", tells=PROFILED, fails={"nvmlGpmSampleGet": pynvml.NVML_ERROR_NO_PERMISSION})
    library = Library(forbidden)
    source = opened(library)
    assert (later(source).sm_active_ratio, library.gpm_samples) == (None, 0)
    failing = Device("GPU-a", tells=PROFILED)
    source = opened(Library(failing))
    source.read(0)
    failing.fails["nvmlGpmMetricsGet"] = UNKNOWN
    assert source.read(SECOND_NS)[0].sm_active_ratio is None
    del failing.fails["nvmlGpmMetricsGet"]
    assert source.read(2 * SECOND_NS)[0].sm_active_ratio == pytest.approx(0.2)


def test_of_instances_that_are_profiled_the_active_one_has_the_power() -> None:
    """All of them say the same here, so what counts is that each instance is asked for with its own number."""
    asked: list[int] = []
    tells = PROFILED | {"nvmlGpmMigSampleGet": lambda number, _: asked.append(number)}
    parent = partitioned(instance_of("MIG-a", 3, number=1), instance_of("MIG-b", 4, number=2), **tells)
    library = Library(parent)
    source = opened(library)
    source.read(0)
    (first, second) = source.read(SECOND_NS)
    assert (first.utilisation_ratio, first.sm_active_ratio) == pytest.approx((0.1, 0.2))
    assert (first.power_watts, second.power_watts) == pytest.approx((112.5 * 3 / 7, 112.5 * 4 / 7))
    assert set(asked) == {1, 2}
    assert library.gpm_samples == 4
    source.close()
    assert library.gpm_samples == 0


# --- processes ---------------------------------------------------------------------------------------------------------------------------
class Usage:
    """What the driver recorded of processes: pid, second, per cent."""

    def __init__(self, *readings: tuple[int, float, int]) -> None:
        self.readings = list(readings)

    def __call__(self, since_us: int) -> Any:
        new = [used(pid, round(second * 1e6), per_cent) for pid, second, per_cent in self.readings if second * 1e6 > since_us]
        if not new:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return new


def device_of(usage: Any, *residents: int) -> Device:
    return Device("GPU-a", tells={"nvmlDeviceGetProcessUtilization": usage, "nvmlDeviceGetComputeRunningProcesses": processes(*residents)})


def share_of(device: Device, own: Callable[[], frozenset[int]] | set[int]) -> ProcessShare:
    return ProcessShare(Library(), device, device.uuid, own if callable(own) else lambda: frozenset(own))


def told(share: ProcessShare, *seconds: float) -> list[float | None]:
    return [share.from_now(round(second * SECOND_NS)) for second in seconds]


def test_the_share_is_what_own_processes_used_in_the_minute_that_ended() -> None:
    usage = Usage((1, 30, 60), (2, 30, 20), (1, 70, 10), (2, 70, 10))
    share = share_of(device_of(usage, 1, 2), {1})
    assert told(share, 20, 20.5, 40, 60, 61, 120) == [
        LEAST_SHARE,
        None,
        None,
        pytest.approx(0.75, abs=1e-5),
        None,
        pytest.approx(0.5, abs=1e-5),
    ]


def test_where_nobody_used_anything_the_share_goes_by_who_is_resident_and_where_nobody_is_it_stays() -> None:
    device = device_of(Usage((1, 30, 0)), 1, 2, 3)
    share = share_of(device, {1})
    assert told(share, 20, 60) == [LEAST_SHARE, pytest.approx(1 / 3, abs=1e-5)]
    device.tells["nvmlDeviceGetComputeRunningProcesses"] = []
    assert told(share, 120) == [None]


def test_a_share_is_never_nothing() -> None:
    assert told(share_of(device_of(Usage((1, 30, 50)), 1), set()), 20, 60)[-1] == LEAST_SHARE > 0


def unknown() -> frozenset[int]:
    message = "the server's pid isn't there"
    raise Unavailable(message)


def test_a_server_whose_processes_are_not_known_has_the_least() -> None:
    assert told(share_of(device_of(Usage((1, 30, 50)), 1), unknown), 20, 60)[-1] == LEAST_SHARE


def test_a_server_that_is_not_on_its_device_is_told_once_and_when_it_is_there(caplog: pytest.LogCaptureFixture) -> None:
    """Also where its pids are those of a container, which the driver doesn't know."""
    caplog.set_level(logging.INFO)
    device = device_of(Usage(), 1, 2)
    share = share_of(device, {7})
    told(share, 20, 60, 120)
    device.tells["nvmlDeviceGetComputeRunningProcesses"] = processes(1, 7)
    told(share, 180, 240)
    assert [f"{record.levelname} {record.getMessage()}" for record in caplog.records] == [
        "WARNING GPU GPU-a: no process of the server computes on it, so its share is nothing; pids are the host's",
        "INFO GPU GPU-a: the server's processes compute on it",
    ]


def test_usage_that_is_absurd_late_or_of_the_future_does_not_count() -> None:
    usage = Usage((1, 30, 50), (2, 30, 4_000_000_000), (2, 5, 50), (2, 500, 50))
    share = share_of(device_of(usage, 1, 2), {1})
    assert told(share, 61, 120) == [LEAST_SHARE, pytest.approx(0.5, abs=1e-5)], "what was used a minute before doesn't count"
    share = share_of(device_of(Usage((1, 30, 50), (2, 30, 4_000_000_000), (2, 500, 50)), 1, 2), {1})
    assert told(share, 20, 60)[-1] == MOST_SHARE


@pytest.mark.parametrize(("error", "asked"), [(NOT_SUPPORTED, 1), (UNKNOWN, 2)])
def test_a_device_that_does_not_tell_usage_is_shared_by_who_is_resident(error: int, asked: int) -> None:
    device = device_of(Usage(), 1, 2)
    device.fails["nvmlDeviceGetProcessUtilization"] = error
    assert told(share_of(device, {1}), 20, 60)[-1] == pytest.approx(0.5, abs=1e-5)
    assert device.asked.count("nvmlDeviceGetProcessUtilization") == asked


SERVERS = st.lists(st.sets(st.integers(1, 12), max_size=4), min_size=1, max_size=5)
READINGS = st.lists(st.tuples(st.integers(1, 12), st.integers(30, 119), st.integers(0, 100)), max_size=30)


@given(SERVERS, READINGS, st.sets(st.integers(1, 12)), st.lists(st.floats(0.0, 0.9), min_size=5, max_size=5))
def test_sidecars_of_one_device_never_have_more_than_all_of_it(
    servers: list[set[int]], readings: list[tuple[int, int, int]], residents: set[int], delays: list[float]
) -> None:
    """Whenever within a second each of them looks."""
    apart = [server - set().union(*servers[:place]) for place, server in enumerate(servers)]
    device = device_of(Usage(*readings), *residents)
    current = [1.0] * len(apart)
    shares = [share_of(device, server) for server in apart]
    for second in range(45, 125):
        for place, share in enumerate(shares):
            new = share.from_now(round((second + delays[place]) * SECOND_NS))
            current[place] = current[place] if new is None else new
        assert sum(current) <= 1
        assert all(0 < share <= 1 for share in current)


def by_process(seen: Seen) -> tuple[GpuIdentity, ...]:
    return tuple(replace(identity, share_by_process=True) for identity in seen.identities)


def test_a_changed_share_comes_with_the_first_sample_from_then_on() -> None:
    device = device_of(Usage((1, 30, 60), (2, 30, 20)), 1, 2)
    source = opened(Library(device), choose=by_process, own_processes=lambda: frozenset({1}))
    shares = [source.read(second * SECOND_NS)[0].share_ratio for second in (20, 59, 60, 61)]
    assert shares == [LEAST_SHARE, None, pytest.approx(0.75, abs=1e-5), None]


def test_a_share_by_process_of_one_instance_leaves_the_others_alone() -> None:
    library = Library(partitioned(instance_of("MIG-a"), instance_of("MIG-b")))
    source = opened(library, choose=lambda seen: (by_process(seen)[0], seen.identities[1]), own_processes=lambda: frozenset({7}))
    shares = [[sample.share_ratio for sample in source.read(second * SECOND_NS)] for second in (20, 60)]
    assert shares == [[LEAST_SHARE, None], [pytest.approx(0.5, abs=1e-5), None]]


def test_a_device_that_does_not_tell_who_uses_it_cannot_be_shared_by_process() -> None:
    source = NvmlSource(hardware=False, choose=by_process, library=Library(Device("GPU-a")))
    with pytest.raises(ConfigError, match=r"server\.gpus: share: process, but GPU GPU-a doesn't tell who uses it"):
        source.open()


def test_a_device_that_does_not_tell_who_uses_it_just_now_may_later() -> None:
    device = device_of(Usage(), 1)
    device.fails["nvmlDeviceGetComputeRunningProcesses"] = UNKNOWN
    assert opened(Library(device), choose=by_process).read(0)[0].share_ratio == LEAST_SHARE


def test_who_computes_on_each_device_is_told_to_whoever_chooses() -> None:
    heard: list[Mapping[str, frozenset[int]]] = []

    def choose(seen: Seen) -> tuple[GpuIdentity, ...]:
        assert seen.processes is not None
        heard.append(seen.processes())
        return seen.identities

    old = Device("GPU-b", tells={"nvmlDeviceGetComputeRunningProcesses_v2": processes(3)})
    old.fails["nvmlDeviceGetComputeRunningProcesses"] = pynvml.NVML_ERROR_FUNCTION_NOT_FOUND
    opened(Library(device_of(Usage(), 1, 2), old, Device("GPU-c")), choose=choose)
    assert heard == [{"GPU-a": frozenset({1, 2}), "GPU-b": frozenset({3})}]
