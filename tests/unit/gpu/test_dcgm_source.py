"""dcgm-exporter's page as a source: its units, its spellings, what it repeats, and the MIG instances that share one device."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.errors import ConfigError, GpuUnavailable, Unavailable
from infermeter.gpu.dcgm import DcgmSource
from infermeter.gpu.page import DEVICES_MOST, OLD_SECONDS, STILL_SECONDS
from infermeter.gpu.source import Choose, Seen, every
from infermeter.model import GpuIdentity, GpuSample
from unit.gpu.power_files import RECORDINGS

SECOND_NS = 1_000_000_000
NOW_NS = 1_795_401_860 * SECOND_NS
FEDERATED_NS = 1_795_401_850 * SECOND_NS
MIB = 2**20
BUSY, QUIET = "GPU-5d1c0000-5e1f-4000-8000-000000000000", "GPU-5d1c0001-5e1f-4000-8000-000000000001"
T4 = "GPU-5d1c0002-5e1f-4000-8000-000000000002"
H100 = "GPU-5d1c0003-5e1f-4000-8000-000000000003"
ENERGY, POWER = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "DCGM_FI_DEV_POWER_USAGE"
PAGE, FEDERATED, MIG = ((RECORDINGS / name).read_text() for name in ("dcgm-exporter.txt", "dcgm-federated.txt", "dcgm-mig.txt"))


@dataclass
class Exporter:
    """What answers with `page`, which a test changes."""

    page: str
    error: Unavailable | None = field(default=None)

    def __call__(self) -> bytes:
        if self.error is not None:
            raise self.error
        return self.page.encode()


def source(
    exporter: Callable[[], bytes], *, choose: Choose = every, hardware: bool = False, profiling: bool = True, node: str | None = None
) -> DcgmSource:
    return DcgmSource(exporter, choose=choose, hardware=hardware, interval_seconds=1.0, profiling=profiling, node=node)


def opened(exporter: Callable[[], bytes], **wishes: Any) -> DcgmSource:
    dcgm = source(exporter, **wishes)
    dcgm.open()
    return dcgm


def read(page: str, **wishes: Any) -> dict[str, GpuSample]:
    """What one reading of a page brings, by device."""
    samples = opened(Exporter(page), **wishes).read(NOW_NS)
    return {sample.uuid: sample for sample in samples}


def told(page: str, name: str, *values: object, device: str = "") -> str:
    """The page with other values of a metric, on the rows of a device in their order."""
    left = list(values)
    lines = [
        line.rpartition(" ")[0] + f" {left.pop(0)}" if left and line.startswith(name + "{") and device in line else line
        for line in page.splitlines()
    ]
    assert not left
    return "\n".join(lines) + "\n"


def without(page: str, *names: str) -> str:
    return "".join(line for line in page.splitlines(keepends=True) if not any(line.startswith(name + "{") for name in names))


def grown(page: str, millijoules: int = 1_000) -> str:
    """The page after another sampling: every energy counter went on."""
    return re.sub(rf"^({ENERGY}{{.*}}) (\d+)$", lambda m: f"{m[1]} {int(m[2]) + millijoules}", page, flags=re.MULTILINE)


# --- names, units, labels ----------------------------------------------------------------------------------------------------------
def test_the_devices_are_those_of_the_page() -> None:
    assert source(Exporter(PAGE)).open() == (
        GpuIdentity(BUSY, 0, "NVIDIA H100 80GB HBM3", "580.65.06", "dcgm", "counter", 81_559 * MIB),
        GpuIdentity(QUIET, 1, "NVIDIA H100 80GB HBM3", "580.65.06", "dcgm", "counter", 81_559 * MIB),
    )


def test_units_are_converted() -> None:
    samples = read(PAGE, hardware=True)
    assert samples[BUSY] == GpuSample(
        BUSY,
        NOW_NS,
        power_watts=361.527,
        energy_joules=pytest.approx(55_018_227.615),  # type: ignore[arg-type]
        utilisation_ratio=0.87,
        memory_used_bytes=71_234 * MIB,
        memory_total_bytes=81_559 * MIB,
        temperature_celsius=54.0,
        sm_clock_hertz=1.98e9,
        tensor_active_ratio=0.3125,
        dram_active_ratio=0.625,
    )
    assert samples[QUIET].utilisation_ratio == 0


def test_hardware_values_come_only_when_asked_for() -> None:
    sample = read(PAGE)[BUSY]
    assert (sample.temperature_celsius, sample.sm_clock_hertz, sample.power_limit_watts) == (None, None, None)
    assert sample.power_watts == 361.527


def test_without_profiling_its_fields_are_absent() -> None:
    sample = read(PAGE, profiling=False)[BUSY]
    assert (sample.tensor_active_ratio, sample.dram_active_ratio) == (None, None)
    assert sample.utilisation_ratio == 0.87


@pytest.mark.parametrize(
    ("old", "new", "name", "factor"),
    [
        ("DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_BOARD_POWER_WATTS", "power_watts", 1),
        ("DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_POWER_USAGE_INSTANT", "power_watts", 1),
        ("DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_BOARD_POWER_RAW_WATTS", "power_watts", 1),
        ("DCGM_FI_DEV_GPU_TEMP", "DCGM_FI_DEV_GPU_TEMP_CELSIUS", "temperature_celsius", 1),
        ("DCGM_FI_DEV_MEM_CLOCK", "DCGM_FI_DEV_ENFORCED_POWER_LIMIT", "power_limit_watts", 1),
        ("DCGM_FI_DEV_MEM_CLOCK", "DCGM_FI_DEV_BOARD_POWER_LIMIT_ENFORCED_WATTS", "power_limit_watts", 1),
        ("DCGM_FI_DEV_MEM_CLOCK", "DCGM_FI_DEV_POWER_MGMT_LIMIT", "power_limit_watts", 1),
        ("DCGM_FI_DEV_MEM_CLOCK", "DCGM_FI_DEV_BOARD_POWER_LIMIT_REQUESTED_WATTS", "power_limit_watts", 1),
        ("DCGM_FI_PROF_DRAM_ACTIVE", "DCGM_FI_PROF_SM_ACTIVE", "sm_active_ratio", 1),
        ("DCGM_FI_PROF_DRAM_ACTIVE", "DCGM_FI_PROF_SM_UTIL_RATIO", "sm_active_ratio", 1),
        ("DCGM_FI_PROF_DRAM_ACTIVE", "DCGM_FI_PROF_SM_OCCUPANCY", "sm_occupancy_ratio", 1),
        ("DCGM_FI_PROF_DRAM_ACTIVE", "DCGM_FI_PROF_SM_OCCUPANCY_RATIO", "sm_occupancy_ratio", 1),
        ("DCGM_FI_PROF_DRAM_ACTIVE", "DCGM_FI_PROF_DRAM_UTIL_RATIO", "dram_active_ratio", 1),
        ("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "DCGM_FI_PROF_TENSOR_UTIL_RATIO", "tensor_active_ratio", 1),
        ("DCGM_FI_DEV_XID_ERRORS", "DCGM_FI_DEV_CLOCKS_EVENT_REASON_SYNC_BOOST_NS", "throttled_other_seconds", 1e-9),
    ],
)
def test_a_value_goes_by_its_old_and_its_new_name(old: str, new: str, name: str, factor: float) -> None:
    value = {"sm_active_ratio": 0.5, "sm_occupancy_ratio": 0.5, "dram_active_ratio": 0.5, "tensor_active_ratio": 0.5}.get(name, 150)
    page = told(without(PAGE, new).replace(f"{old}{{", f"{new}{{"), new, value, device=BUSY)
    assert getattr(read(page, hardware=True)[BUSY], name) == pytest.approx(value * factor)


def test_where_both_names_are_there_the_enforced_limit_and_the_averaged_power_count() -> None:
    labels = PAGE.partition("{")[2].partition("}")[0]
    more = f"DCGM_FI_DEV_POWER_MGMT_LIMIT{{{labels}}} 700\nDCGM_FI_DEV_ENFORCED_POWER_LIMIT{{{labels}}} 500\n"
    instant = f"DCGM_FI_DEV_POWER_USAGE_INSTANT{{{labels}}} 400\n"
    exporter = Exporter(instant + more + PAGE)
    assert source(exporter).open()[0].power_limit_watts == 500
    sample = read(exporter.page, hardware=True)[BUSY]
    assert (sample.power_limit_watts, sample.power_watts) == (500, 361.527)


def test_throttled_time_is_the_sum_over_what_a_reason_has_nanoseconds_for() -> None:
    labels = PAGE.partition("{")[2].partition("}")[0]
    reasons = {"SW_POWER_CAP": 4_000_000_000, "HW_POWER_BRAKE_SLOWDOWN": 1_500_000_000, "HW_THERM_SLOWDOWN": 250_000_000}
    lines = "".join(f"DCGM_FI_DEV_CLOCKS_EVENT_REASON_{name}_NS{{{labels}}} {ns}\n" for name, ns in reasons.items())
    sample = read(lines + PAGE)[BUSY]
    assert (sample.throttled_power_seconds, sample.throttled_thermal_seconds, sample.throttled_other_seconds) == (5.5, 0.25, None)


def test_what_has_no_unit_that_can_be_relied_on_is_absent() -> None:
    page = PAGE.replace("DCGM_FI_DEV_GPU_UTIL{", "DCGM_FI_DEV_GPU_UTIL_RATIO{").replace("XID_ERRORS{", "POWER_VIOLATION{")
    sample = read(page, profiling=False)[BUSY]
    assert (sample.utilisation_ratio, sample.throttled_power_seconds) == (None, None)


def test_the_engines_activity_stands_in_for_a_utilisation_that_is_absent_and_its_noise_is_0() -> None:
    page = told(without(PAGE, "DCGM_FI_DEV_GPU_UTIL"), "DCGM_FI_PROF_GR_ENGINE_ACTIVE", 0.00731, device=QUIET)
    samples = read(page)
    assert (samples[BUSY].utilisation_ratio, samples[QUIET].utilisation_ratio) == (0.912345, 0.0)
    renamed = read(page.replace("GR_ENGINE_ACTIVE", "GR_ENGINE_UTIL_RATIO"))
    assert renamed[BUSY].utilisation_ratio == 0.912345
    assert read(page, profiling=False)[BUSY].utilisation_ratio is None


@pytest.mark.parametrize(
    ("change", "total"),
    [
        (lambda page: page.replace("DCGM_FI_DEV_FB_FREE{", "DCGM_FI_DEV_FB_TOTAL{"), 9_324),
        (lambda page: without(page, "DCGM_FI_DEV_FB_RESERVED"), 80_558),
        (lambda page: without(page, "DCGM_FI_DEV_FB_FREE"), None),
    ],
    ids=["told", "nothing reserved", "not told"],
)
def test_the_whole_memory_is_told_or_the_sum_of_its_parts(change: Callable[[str], str], total: int | None) -> None:
    assert read(change(PAGE))[BUSY].memory_total_bytes == (None if total is None else total * MIB)


def test_an_older_page_behind_a_prometheus_has_other_labels_times_of_its_own_and_blanks() -> None:
    asked: list[Seen] = []
    dcgm = source(Exporter(FEDERATED), choose=lambda seen: asked.append(seen) or every(seen), hardware=True)  # type: ignore[func-returns-value]
    assert dcgm.open() == (GpuIdentity(T4, 0, "Tesla T4", "535.104.05", "dcgm", "integrated", 15_360 * MIB),)
    assert asked[0].pods == {T4: ("inference", "triton-5f9c")}
    assert asked[0].processes is None
    (sample,) = dcgm.read(NOW_NS)
    assert sample == GpuSample(
        T4,
        FEDERATED_NS,
        power_watts=64.125,
        utilisation_ratio=0.5,
        memory_used_bytes=13_312 * MIB,
        memory_total_bytes=15_360 * MIB,
        temperature_celsius=66.0,
        sm_clock_hertz=1.59e9,
    )
    assert dcgm.rejected == {"read": 0, "outlier": 0}


@pytest.mark.parametrize("blank", [2_147_483_632, 2_147_483_635, 9_223_372_036_854_775_792, 9_223_372_036_854_775_795, 140_737_488_355_328])
def test_a_blank_is_absent_and_no_outlier(blank: int) -> None:
    exporter = Exporter(told(PAGE, "DCGM_FI_DEV_GPU_TEMP", blank, device=BUSY))
    dcgm = opened(exporter, hardware=True)
    assert dcgm.read(NOW_NS)[0].temperature_celsius is None
    assert dcgm.rejected["outlier"] == 0


def test_a_counter_may_stand_where_another_value_would_be_blank() -> None:
    assert read(told(PAGE, ENERGY, 2_147_483_635, device=BUSY))[BUSY].energy_joules == pytest.approx(2_147_483.635)


def test_labels_of_the_old_namespace_are_read() -> None:
    old = (
        PAGE.replace("UUID=", "uuid=")
        .replace("pod=", "pod_name=")
        .replace("namespace=", "pod_namespace=")
        .replace("hostname=", "Hostname=")
    )
    seen: list[Seen] = []
    source(Exporter(old), choose=lambda each: seen.append(each) or every(each)).open()  # type: ignore[func-returns-value]
    assert seen[0].pods == {BUSY: ("inference", "vllm-0")}
    assert [identity.uuid for identity in seen[0].identities] == [BUSY, QUIET]


def test_a_device_that_several_pods_share_stands_there_for_each_and_is_one_device_of_none_of_them() -> None:
    other = "".join(line.replace("vllm-0", "vllm-1") for line in PAGE.splitlines(keepends=True) if BUSY in line)
    seen: list[Seen] = []
    dcgm = source(Exporter(PAGE + other), choose=lambda each: seen.append(each) or every(each))  # type: ignore[func-returns-value]
    assert len(dcgm.open()) == 2
    assert seen[0].pods == {}
    assert [sample.power_watts for sample in dcgm.read(NOW_NS)] == [361.527, 71.25]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('modelName="NVIDIA H100 80GB HBM3"', f'modelName="{"x" * 200}"', (0, None, "580.65.06")),
        ('modelName="NVIDIA H100 80GB HBM3"', 'modelName="a\\nb"', (0, None, "580.65.06")),
        ('modelName="NVIDIA H100 80GB HBM3",', "", (0, None, "580.65.06")),
        ('DRIVER_VERSION="580.65.06"', 'DRIVER_VERSION="5 8"', (0, "NVIDIA H100 80GB HBM3", None)),
        ("DCGM_FI_DRIVER_VERSION", "DCGM_FI_SYSTEM_DRIVER_VERSION", (0, "NVIDIA H100 80GB HBM3", "580.65.06")),
        ('gpu="0"', 'gpu="zero"', (None, "NVIDIA H100 80GB HBM3", "580.65.06")),
    ],
)
def test_what_names_a_device_is_taken_only_in_a_form_that_can_be_shown(old: str, new: str, expected: tuple[object, ...]) -> None:
    identity = source(Exporter(PAGE.replace(old, new))).open()[0]
    assert (identity.index, identity.product, identity.driver_version) == expected


# --- bad pages ---------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("", "no DCGM_FI_DEV_"),
        ("# HELP DCGM_FI_DEV_POWER_USAGE x\n", "no DCGM_FI_DEV_"),
        ("DCGM_FI_DEV_XID_ERRORS 0\nnode_load1 0.5\n", "no DCGM_FI_DEV_"),
        ("DCGM_FI_DEV_POWER_USAGE 12\n", "no GPU's UUID"),
        ('DCGM_FI_DEV_POWER_USAGE{UUID="<b>x</b>"} 12\n', "no GPU's UUID"),
        ('DCGM_FI_DEV_POWER_USAGE{UUID="MIG-5d1c"} 12\n', "no GPU's UUID"),
        ("<html></html>\n", "HTML or XML"),
        (PAGE[:4000], "cut off"),
        (told(PAGE, POWER, "ERROR - FAILED TO CONVERT TO STRING", device=BUSY), "not in Prometheus' text format"),
        ("".join(f'DCGM_FI_DEV_POWER_USAGE{{UUID="GPU-{i}"}} 1\n' for i in range(DEVICES_MOST + 1)), f"more than {DEVICES_MOST} GPUs"),
    ],
)
def test_a_page_that_tells_of_no_gpu_or_garbled_is_unavailable(page: str, text: str) -> None:
    with pytest.raises(GpuUnavailable, match=text):
        source(Exporter(page)).open()
    exporter = Exporter(PAGE)
    dcgm = opened(exporter)
    exporter.page = page
    with pytest.raises(GpuUnavailable, match=text):
        dcgm.read(NOW_NS)


DAMAGE = st.lists(
    st.tuples(st.integers(0, len(MIG) - 1), st.integers(0, 400), st.text('{}"\\,= \n#0123456789e.-Na', max_size=6)), min_size=1
)


@given(DAMAGE)
def test_a_page_however_damaged_is_read_or_unavailable(damage: list[tuple[int, int, str]]) -> None:
    exporter = Exporter(MIG)
    dcgm = opened(exporter)
    for start, length, text in damage:
        exporter.page = exporter.page[:start] + text + exporter.page[start + length :]
    with suppress(GpuUnavailable):
        assert {sample.uuid for sample in dcgm.read(NOW_NS)} <= set(INSTANCES)


def test_nobody_there_is_unavailable_with_what_fetching_says() -> None:
    with pytest.raises(GpuUnavailable, match=r"^http://x: HTTP 503$"):
        source(Exporter(PAGE, Unavailable("http://x: HTTP 503"))).open()


def test_a_value_that_no_device_has_is_rejected_alone() -> None:
    dcgm = opened(Exporter(told(told(PAGE, POWER, 3.69e12, device=BUSY), POWER, -4, device=QUIET)))
    busy, quiet = dcgm.read(NOW_NS)
    assert (busy.power_watts, busy.utilisation_ratio, quiet.power_watts) == (None, 0.87, None)
    assert dcgm.rejected["outlier"] == 2


def test_a_device_that_vanished_is_missing_and_counted_and_the_others_go_on() -> None:
    exporter = Exporter(PAGE)
    dcgm = opened(exporter)
    exporter.page = "".join(line for line in grown(PAGE).splitlines(keepends=True) if QUIET not in line)
    assert [sample.uuid for sample in dcgm.read(NOW_NS)] == [BUSY]
    assert dcgm.rejected["read"] == 1
    exporter.page = grown(PAGE, 2_000)
    assert [sample.uuid for sample in dcgm.read(NOW_NS)] == [BUSY, QUIET]


def only(uuid: str) -> Choose:
    def choose(seen: Seen) -> tuple[GpuIdentity, ...]:
        mine = tuple(identity for identity in seen.identities if identity.uuid == uuid)
        if not mine:
            raise ConfigError("server.gpus[0]", "no such GPU")
        return mine

    return choose


def test_without_any_of_the_servers_devices_the_source_is_unavailable() -> None:
    exporter = Exporter(PAGE)
    dcgm = opened(exporter, choose=only(QUIET))
    exporter.page = "".join(line for line in PAGE.splitlines(keepends=True) if QUIET not in line)
    with pytest.raises(GpuUnavailable, match="none of the server's GPUs"):
        dcgm.read(NOW_NS)
    assert dcgm.rejected["read"] == 1


def test_only_chosen_devices_are_read_and_a_choice_that_isnt_there_is_the_operators() -> None:
    assert read(PAGE, choose=only(QUIET)).keys() == {QUIET}
    with pytest.raises(ConfigError):
        source(Exporter(PAGE), choose=only("GPU-x")).open()


def test_a_device_that_is_to_be_left_out_is_left_out() -> None:
    dcgm = opened(Exporter(PAGE))
    assert [sample.uuid for sample in dcgm.read(NOW_NS, without={BUSY})] == [QUIET]
    assert dcgm.asking is None


def test_no_chosen_device_is_no_sample() -> None:
    assert opened(Exporter(PAGE), choose=lambda _: ()).read(NOW_NS) == []


def test_devices_that_appear_make_the_source_look_anew() -> None:
    exporter = Exporter("".join(line for line in PAGE.splitlines(keepends=True) if QUIET not in line))
    dcgm = opened(exporter)
    exporter.page = PAGE
    with pytest.raises(GpuUnavailable, match="not there before"):
        dcgm.read(NOW_NS)
    dcgm.close()
    assert [identity.uuid for identity in dcgm.open()] == [BUSY, QUIET]


def test_a_page_with_ever_other_devices_is_refused_once_no_machine_has_as_many() -> None:
    exporter = Exporter(PAGE)
    dcgm = opened(exporter)
    refused = []
    for i in range(4):
        dcgm.close()
        others = (f'DCGM_FI_DEV_POWER_USAGE{{UUID="GPU-{i}-{k}"}} 1\n' for k in range(DEVICES_MOST // 4))
        exporter.page = PAGE + "".join(others)
        try:
            dcgm.open()
        except GpuUnavailable as error:
            refused.append((i, str(error)))
    assert refused == [(3, "the page tells of ever other GPUs, more than 256 by now, which no machine has")]
    exporter.page = PAGE
    assert len(dcgm.open()) == 2


def test_another_machines_page_is_refused_since_its_joules_are_not_the_servers() -> None:
    exporter = Exporter(PAGE)
    dcgm = opened(exporter)
    dcgm.close()
    exporter.page = FEDERATED
    with pytest.raises(GpuUnavailable, match="another machine"):
        dcgm.open()
    exporter.page = PAGE
    assert len(dcgm.open()) == 2


def test_of_several_hosts_only_this_nodes_devices_count() -> None:
    both = PAGE + FEDERATED
    assert read(both, node="Node-A").keys() == {BUSY, QUIET}
    assert read(both, node="dcgm-exporter-x7k2p").keys() == {T4}
    assert read(both).keys() == {BUSY, QUIET, T4}
    assert read(PAGE, node="elsewhere").keys() == {BUSY, QUIET}
    with pytest.raises(GpuUnavailable, match=r"GPUs of 2 hosts there, none of them \$NODE_NAME"):
        source(Exporter(both), node="elsewhere").open()


# --- a page that stands still ------------------------------------------------------------------------------------------------------
def test_what_was_not_sampled_anew_is_no_reading() -> None:
    exporter = Exporter(PAGE)
    dcgm = opened(exporter)
    assert len(dcgm.read(NOW_NS)) == 2
    assert [dcgm.read(NOW_NS + i * SECOND_NS) for i in range(1, 1_000)] == [[]] * 999
    exporter.page = told(PAGE, ENERGY, 55_018_300_000, device=BUSY)
    (sample,) = dcgm.read(NOW_NS + 1_000 * SECOND_NS)
    assert (sample.uuid, sample.time_ns) == (BUSY, NOW_NS + 1_000 * SECOND_NS)
    assert dcgm.rejected == {"read": 0, "outlier": 0}


def test_a_page_that_stood_still_is_no_fresher_after_an_outage() -> None:
    exporter = Exporter(PAGE)
    dcgm = opened(exporter)
    dcgm.read(NOW_NS)
    exporter.error = Unavailable("HTTP 503")
    with pytest.raises(GpuUnavailable):
        dcgm.read(NOW_NS + SECOND_NS)
    dcgm.close()
    exporter.error = None
    dcgm.open()
    assert dcgm.read(NOW_NS + 2 * SECOND_NS) == []


def test_without_a_counter_values_may_stand_still_for_a_while_and_not_for_ever() -> None:
    exporter = Exporter(without(PAGE, ENERGY))
    dcgm = opened(exporter)
    still_ns = round(STILL_SECONDS * SECOND_NS)
    assert len(dcgm.read(NOW_NS)) == 2
    assert [sample.time_ns for sample in dcgm.read(NOW_NS + still_ns)] == [NOW_NS + still_ns] * 2
    assert dcgm.read(NOW_NS + still_ns + SECOND_NS) == []
    exporter.page = told(exporter.page, POWER, 71.3, device=QUIET)
    assert [sample.uuid for sample in dcgm.read(NOW_NS + still_ns + 2 * SECOND_NS)] == [QUIET]


def test_a_time_on_the_lines_is_the_samples_and_tells_each_once_only_forwards_and_never_of_the_future() -> None:
    exporter = Exporter(FEDERATED)
    dcgm = opened(exporter)

    def at(milliseconds: int, watts: float, now_ns: int) -> list[int]:
        exporter.page = (
            told(FEDERATED, POWER, f"{watts} 0").replace("1795401850000", str(milliseconds)).replace(" 0\n", f" {milliseconds}\n")
        )
        return [sample.time_ns for sample in dcgm.read(now_ns)]

    assert at(1_795_401_850_000, 64.0, NOW_NS) == [FEDERATED_NS]
    assert at(1_795_401_850_000, 64.5, NOW_NS) == []
    assert at(1_795_401_840_000, 65.0, NOW_NS) == []
    assert at(1_795_401_855_000, 66.0, NOW_NS) == [FEDERATED_NS + 5 * SECOND_NS]
    assert at(1_795_401_999_000, 67.0, NOW_NS + SECOND_NS) == [NOW_NS + SECOND_NS]


def test_lines_of_long_ago_tell_nothing_of_the_present() -> None:
    dcgm = opened(Exporter(FEDERATED))
    old_ns = round(OLD_SECONDS * SECOND_NS)
    assert dcgm.read(FEDERATED_NS + old_ns + 1) == []
    assert len(dcgm.read(FEDERATED_NS + old_ns)) == 1


def test_a_clock_that_was_set_back_stops_no_reading() -> None:
    exporter = Exporter(PAGE)
    dcgm = opened(exporter)
    dcgm.read(NOW_NS)
    exporter.page = grown(PAGE)
    assert [sample.time_ns for sample in dcgm.read(NOW_NS - 60 * SECOND_NS)] == [NOW_NS - 60 * SECOND_NS] * 2


def test_an_interval_shorter_than_the_exporters_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    exporter = Exporter(PAGE)
    dcgm = opened(exporter)
    with caplog.at_level(logging.WARNING):
        for second in range(91):
            exporter.page = grown(PAGE, 1_000 * (second // 30 * 30))
            dcgm.read(NOW_NS + second * SECOND_NS)
    (record,) = caplog.records
    assert "changed after 30 s only, and gpu.interval is 1 s" in record.getMessage()


def test_a_pace_that_the_ledger_bridges_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    exporter = Exporter(PAGE)
    dcgm = opened(exporter)
    with caplog.at_level(logging.WARNING):
        for second in range(60):
            exporter.page = grown(PAGE, 1_000 * (second // 3 * 3))
            dcgm.read(NOW_NS + second * SECOND_NS)
    assert caplog.records == []


# --- MIG ---------------------------------------------------------------------------------------------------------------------------
INSTANCES = (f"{H100}/1", f"{H100}/2", f"{H100}/7")
WORK = (3 * 0.5, 2 * 0.25)


def test_each_instance_is_a_device_whose_energy_is_modelled() -> None:
    seen: list[Seen] = []
    identities = source(Exporter(MIG), choose=lambda each: seen.append(each) or every(each)).open()  # type: ignore[func-returns-value]
    assert identities == tuple(
        GpuIdentity(uuid, 0, f"NVIDIA H100 80GB HBM3 MIG {profile}", "580.65.06", "dcgm", "modelled", total * MIB)
        for uuid, profile, total in zip(INSTANCES, ("3g.40gb", "2g.20gb", "1g.10gb"), (40_000, 20_000, 9_712), strict=True)
    )
    assert seen[0].pods == {INSTANCES[0]: ("inference", "vllm-a"), INSTANCES[1]: ("inference", "vllm-b")}


def test_the_devices_power_and_energy_are_shared_by_what_the_instances_do() -> None:
    exporter = Exporter(MIG)
    dcgm = opened(exporter, hardware=True)
    exporter.page = grown(MIG, 8_000_000)
    first, second, third = dcgm.read(NOW_NS)
    assert [sample.power_watts for sample in (first, second, third)] == pytest.approx([280 * 0.75, 280 * 0.25, 0])
    assert [sample.energy_joules for sample in (first, second, third)] == pytest.approx([6_000, 2_000, 0])
    assert [sample.utilisation_ratio for sample in (first, second, third)] == [0.5, 0.25, 0.0]
    assert (first.memory_used_bytes, second.dram_active_ratio, third.temperature_celsius) == (10_000 * MIB, 0.2, 48.0)


@pytest.mark.parametrize("profiling", [True, False])
def test_where_no_instance_is_active_slices_decide(profiling: bool) -> None:
    samples = read(told(MIG, "DCGM_FI_PROF_GR_ENGINE_ACTIVE", 0.0, 0.0001, 0.0) if profiling else MIG, profiling=profiling)
    assert [samples[uuid].power_watts for uuid in INSTANCES] == pytest.approx([280 * 3 / 7, 280 * 2 / 7, 280 / 7])


def test_where_no_engine_is_told_the_multiprocessors_decide() -> None:
    samples = read(MIG.replace("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "DCGM_FI_PROF_SM_ACTIVE"))
    assert [samples[uuid].power_watts for uuid in INSTANCES] == pytest.approx([280 * 0.7498, 280 * 0.24994, 0], abs=0.1)
    assert samples[INSTANCES[0]].utilisation_ratio is None


@pytest.mark.parametrize(
    ("product", "profile", "share"),
    [
        ("NVIDIA A30", "2g.12gb", 2 / 4),
        ("NVIDIA A300", "2g.12gb", 2 / 7),
        ("NVIDIA H100", "1c.3g.40gb", 3 / 7),
        ("NVIDIA H100", "1g.10gb+me", 1 / 7),
        ("NVIDIA H100", "?", 1 / 7),
    ],
)
def test_slices_are_the_profiles_out_of_the_products(product: str, profile: str, share: float) -> None:
    page = f'{POWER}{{UUID="GPU-1",modelName="{product}",GPU_I_ID="1",GPU_I_PROFILE="{profile}"}} 100\n'
    assert read(page)["GPU-1/1"].power_watts == pytest.approx(100 * share)


def test_beside_its_instances_the_device_itself_is_no_device_and_its_own_values_count() -> None:
    labels = f'gpu="0",UUID="{H100}",modelName="NVIDIA H100 80GB HBM3",hostname="node-a"'
    samples = read(f"{POWER}{{{labels}}} 300\nDCGM_FI_DEV_ENFORCED_POWER_LIMIT{{{labels}}} 700\n" + MIG, hardware=True)
    assert samples.keys() == set(INSTANCES)
    assert samples[INSTANCES[0]].power_watts == pytest.approx(225)
    assert samples[INSTANCES[0]].power_limit_watts is None


def test_without_power_and_energy_instances_tell_none() -> None:
    exporter = Exporter(without(MIG, POWER, ENERGY))
    assert [identity.energy for identity in source(exporter).open()] == [None] * 3
    samples = read(exporter.page)
    assert {(sample.power_watts, sample.energy_joules) for sample in samples.values()} == {(None, None)}


def test_an_instance_that_does_nothing_is_read_while_its_device_is_sampled() -> None:
    exporter = Exporter(MIG)
    dcgm = opened(exporter)
    dcgm.read(NOW_NS)
    assert dcgm.read(NOW_NS + SECOND_NS) == []
    exporter.page = grown(MIG)
    assert [sample.uuid for sample in dcgm.read(NOW_NS + 2 * SECOND_NS)] == list(INSTANCES)


def test_a_counter_that_fell_gives_no_instance_energy_and_goes_on_from_there() -> None:
    exporter = Exporter(MIG)
    dcgm = opened(exporter)
    joules = []
    for millijoules in (41_000_100_000, 5_000, 9_000):
        exporter.page = told(MIG, ENERGY, *[millijoules] * 3)
        joules.append([sample.energy_joules for sample in dcgm.read(NOW_NS)])
    assert joules == [pytest.approx([75, 25, 0]), pytest.approx([75, 25, 0]), pytest.approx([78, 26, 0])]
    assert dcgm.rejected["reset"] == 1


ACTIVITIES = st.tuples(*[st.floats(0, 1)] * 3)


@given(st.lists(st.tuples(st.integers(0, 10**9), st.floats(0, 1_000), ACTIVITIES), min_size=1, max_size=8))
def test_instances_never_have_more_than_their_device_drew(steps: list[tuple[int, float, tuple[float, ...]]]) -> None:
    exporter = Exporter(MIG)
    dcgm = opened(exporter)
    counter, drawn = 41_000_000_000, 0.0
    given_before = [0.0] * 3
    for i, (millijoules, watts, activities) in enumerate(steps):
        counter += millijoules
        drawn += millijoules / 1e3
        page = told(told(MIG, ENERGY, *[counter] * 3), POWER, *[f"{watts:f}"] * 3)
        exporter.page = told(page, "DCGM_FI_PROF_GR_ENGINE_ACTIVE", *[f"{ratio:f}" for ratio in activities])
        samples = dcgm.read(NOW_NS + i * SECOND_NS)
        if i and not millijoules:
            assert samples == []
            continue
        assert sum(sample.power_watts or 0 for sample in samples) <= watts + 1e-6
        joules = [sample.energy_joules or 0.0 for sample in samples]
        assert sum(joules) <= drawn * (1 + 1e-9) + 1e-6
        assert all(now >= before for now, before in zip(joules, given_before, strict=True))
        given_before = joules
