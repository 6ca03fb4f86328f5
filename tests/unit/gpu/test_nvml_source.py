"""NVML, with a binding that behaves as the devices of each test do."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pynvml
import pytest

from infermeter.config import GpuChoice
from infermeter.errors import ConfigError, GpuUnavailable
from infermeter.gpu.choice import chosen
from infermeter.gpu.nvml import NvmlSource
from infermeter.gpu.source import Choose, every
from infermeter.model import GpuIdentity, GpuSample
from unit.gpu.nvml_library import GIB, LOST, NOT_SUPPORTED, UNKNOWN, Device, Library


def source_of(library: Library, *, hardware: bool = False, choose: Choose = every) -> NvmlSource:
    return NvmlSource(hardware=hardware, choose=choose, library=library)


def test_a_device_is_identified() -> None:
    assert source_of(Library(Device("GPU-a"))).open() == (
        GpuIdentity(
            "GPU-a",
            index=0,
            product="NVIDIA H100 80GB HBM3",
            driver_version="580.65.06",
            source="nvml",
            energy="counter",
            memory_total_bytes=80 * GIB,
            power_limit_watts=700.0,
        ),
    )


def test_readings_are_in_watts_joules_ratios_and_bytes() -> None:
    source = source_of(Library(Device("GPU-a")))
    source.open()
    assert source.read(5) == [
        GpuSample(
            "GPU-a",
            5,
            power_watts=112.5,
            energy_joules=5000.25,
            utilisation_ratio=0.57,
            memory_used_bytes=16 * GIB,
            memory_total_bytes=80 * GIB,
        )
    ]


def test_temperature_clock_and_limit_are_read_where_they_are_wanted() -> None:
    source = source_of(Library(Device("GPU-a")), hardware=True)
    source.open()
    sample = source.read(5)[0]
    assert (sample.temperature_celsius, sample.sm_clock_hertz, sample.power_limit_watts) == (41.0, 1980e6, 700.0)


def test_what_a_device_does_not_support_is_absent_and_asked_for_once() -> None:
    device = Device(
        "GPU-a",
        fails={
            "nvmlDeviceGetTotalEnergyConsumption": NOT_SUPPORTED,
            "nvmlDeviceGetUtilizationRates": pynvml.NVML_ERROR_NO_PERMISSION,
        },
    )
    source = source_of(Library(device))
    assert source.open()[0].energy == "integrated"
    samples = [source.read(instant)[0] for instant in range(3)]
    assert {(sample.energy_joules, sample.utilisation_ratio, sample.power_watts) for sample in samples} == {(None, None, 112.5)}
    assert device.asked.count("nvmlDeviceGetTotalEnergyConsumption") == 1
    assert source.rejected == {}


def test_a_device_that_tells_neither_power_nor_energy_is_there_all_the_same() -> None:
    missing = ("nvmlDeviceGetPowerUsage", "nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetEnforcedPowerLimit", "nvmlDeviceGetName")
    source = source_of(Library(Device("GPU-a", fails=dict.fromkeys(missing, NOT_SUPPORTED))))
    identity = source.open()[0]
    assert (identity.energy, identity.power_limit_watts, identity.product) == (None, None, None)
    assert source.read(0)[0].power_watts is None


@pytest.mark.parametrize("error", [pynvml.NVML_ERROR_FUNCTION_NOT_FOUND, pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH])
def test_an_old_driver_tells_its_memory_the_old_way(error: int) -> None:
    source = source_of(Library(Device("GPU-a", fails={"memory_v2": error})))
    source.open()
    assert source.read(0)[0].memory_used_bytes == 17 * GIB


def test_a_device_that_fails_does_not_hide_the_others_and_is_counted() -> None:
    failing = Device("GPU-b")
    source = source_of(Library(Device("GPU-a"), failing, Device("GPU-c")))
    source.open()
    failing.fails["memory_v2"] = UNKNOWN
    assert [sample.uuid for sample in source.read(1)] == ["GPU-a", "GPU-c"]
    del failing.fails["memory_v2"]
    assert [sample.uuid for sample in source.read(2)] == ["GPU-a", "GPU-b", "GPU-c"]
    assert source.rejected == {"read": 1}


def test_an_absurd_value_is_rejected_and_counted_and_the_others_count() -> None:
    source = source_of(Library(Device("GPU-a", milliwatts=2**32 - 1)))
    source.open()
    sample = source.read(0)[0]
    assert (sample.power_watts, sample.utilisation_ratio) == (None, 0.57)
    assert source.rejected == {"outlier": 1}


def test_when_no_device_answers_the_source_is_unavailable() -> None:
    device = Device("GPU-a")
    source = source_of(Library(device))
    source.open()
    device.everything = LOST
    with pytest.raises(GpuUnavailable, match="GPU is lost"):
        source.read(0)


def test_a_device_that_does_not_answer_at_the_start_does_not_hide_the_others() -> None:
    source = source_of(Library(Device("GPU-a", everything=LOST), Device("GPU-b")))
    assert [(identity.uuid, identity.index) for identity in source.open()] == [("GPU-b", 1)]
    assert source.rejected == {"read": 1}


def test_without_library_or_driver_the_source_is_unavailable() -> None:
    with pytest.raises(GpuUnavailable, match="Driver Not Loaded"):
        source_of(Library(init=pynvml.NVML_ERROR_DRIVER_NOT_LOADED)).open()


def test_a_library_that_sees_no_device_answers_all_the_same() -> None:
    source = source_of(Library())
    assert source.open() == ()
    assert source.read(0) == []


def test_when_no_device_answers_at_the_start_the_source_is_unavailable() -> None:
    with pytest.raises(GpuUnavailable, match="no GPU answers"):
        source_of(Library(Device("GPU-a", everything=LOST))).open()


def test_a_driver_that_does_not_tell_its_version_is_no_obstacle() -> None:
    assert source_of(Library(Device("GPU-a"), driver=UNKNOWN)).open()[0].driver_version is None


def choosing(name: str | int) -> Choose:
    return lambda seen: chosen(seen.identities, (GpuChoice(name),), {})


def test_only_the_chosen_devices_are_read() -> None:
    other = Device("GPU-a")
    source = source_of(Library(other, Device("GPU-b")), choose=choosing("GPU-b"))
    source.open()
    other.asked.clear()
    assert [sample.uuid for sample in source.read(0)] == ["GPU-b"]
    assert other.asked == []


def test_a_choice_that_no_device_answers_to_is_the_operator_s_error() -> None:
    with pytest.raises(ConfigError, match=r"server\.gpus\[0\]"):
        source_of(Library(Device("GPU-a")), choose=choosing(1)).open()


def test_a_chosen_device_that_does_not_answer_is_unavailable_and_no_error_of_the_operator() -> None:
    with pytest.raises(GpuUnavailable, match=r"a GPU doesn't answer, and server\.gpus\[0\]"):
        source_of(Library(Device("GPU-a"), Device("GPU-b", everything=LOST)), choose=choosing(1)).open()


def test_the_library_is_let_go_of_once_however_often_it_is_closed() -> None:
    library = Library(Device("GPU-a"))
    source = source_of(library)
    source.close()
    source.open()
    assert library.open == 1
    source.close()
    source.close()
    assert library.open == 0


# --- devices that leave and return -----------------------------------------------------------------------------------------------------
SECOND_NS = 1_000_000_000


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [f"{record.levelname} {record.getMessage()}" for record in caplog.records]


def heard(source: NvmlSource, *seconds: float) -> list[list[str]]:
    return [[sample.uuid for sample in source.read(round(second * SECOND_NS))] for second in seconds]


def test_a_device_that_is_gone_is_looked_for_now_and_then_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    lost = Device("GPU-b")
    source = source_of(Library(Device("GPU-a"), lost))
    source.open()
    lost.everything = LOST
    assert heard(source, 1, 2, 10.9, 11, 20) == [["GPU-a"]] * 5
    assert lost.asked.count("handle by UUID") == 1
    lost.everything = None
    assert heard(source, 20.9, 21, 22) == [["GPU-a"], ["GPU-a", "GPU-b"], ["GPU-a", "GPU-b"]]
    assert source.rejected == {"read": 6}
    assert lines(caplog) == ["WARNING GPU GPU-b doesn't answer: GPU is lost", "INFO GPU GPU-b answers again"]


def test_a_device_that_comes_and_goes_is_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    failing = Device("GPU-b")
    source = source_of(Library(Device("GPU-a"), failing))
    source.open()
    for second in range(50):
        failing.everything = UNKNOWN if second % 2 else None
        source.read(second * SECOND_NS)
    assert lines(caplog) == ["WARNING GPU GPU-b doesn't answer: Unknown Error", "INFO GPU GPU-b answers again"]


def test_a_device_that_comes_back_otherwise_than_it_was_stays_away() -> None:
    mig = {"nvmlDeviceGetMigMode": [1, 1], "nvmlDeviceGetMaxMigDeviceCount": 1, "nvmlDeviceGetMigDeviceHandleByIndex": Device("MIG-b")}
    lost = Device("GPU-b")
    source = source_of(Library(Device("GPU-a"), lost))
    source.open()
    lost.everything = LOST
    heard(source, 1)
    lost.everything = None
    lost.tells |= mig
    assert heard(source, 30) == [["GPU-a"]]


def test_a_device_that_was_read_before_is_known_when_the_source_is_opened_without_it() -> None:
    lost = Device("GPU-b")
    source = source_of(
        Library(Device("GPU-a"), lost), choose=lambda seen: chosen(seen.identities, (GpuChoice("GPU-a"), GpuChoice("GPU-b")), {})
    )
    first = source.open()
    source.close()
    lost.everything = LOST
    assert source.open() == first
    assert heard(source, 1) == [["GPU-a"]]
    lost.everything = None
    assert heard(source, 2, 12) == [["GPU-a"], ["GPU-a", "GPU-b"]]
    assert source.rejected == {"read": 3}, "as it was opened, and two readings"


def test_rejections_stay_counted_when_the_choice_changes_and_the_source_is_opened_again() -> None:
    device = Device("GPU-a", milliwatts=2**32 - 1)
    picks = iter([slice(0, 2), slice(1, 2), slice(0, 1)])
    source = source_of(Library(device, Device("GPU-b")), choose=lambda seen: seen.identities[next(picks)])
    counts = []
    for _ in range(3):
        source.open()
        source.read(0)
        source.close()
        counts.append(dict(source.rejected))
    assert counts == [{"outlier": 1}, {"outlier": 1}, {"outlier": 2}]


def test_a_device_that_was_silent_and_answers_or_is_added_makes_the_source_open_anew() -> None:
    silent = Device("GPU-b", everything=LOST)
    library = Library(Device("GPU-a"), silent)
    source = source_of(library)
    source.open()
    heard(source, 0, 61, 122)
    silent.everything = None
    assert heard(source, 180) == [["GPU-a"]], "looked at once a minute"
    with pytest.raises(GpuUnavailable, match="a GPU answers that was silent"):
        source.read(183 * SECOND_NS)
    source.close()
    assert len(source.open()) == 2
    heard(source, 200)
    library.devices = (*library.devices, Device("GPU-c"))
    with pytest.raises(GpuUnavailable, match="a GPU was added"):
        source.read(300 * SECOND_NS)


def test_a_device_that_is_looked_for_already_does_not_make_the_source_open_anew() -> None:
    lost = Device("GPU-b")
    source = source_of(Library(Device("GPU-a"), lost))
    source.open()
    source.close()
    lost.everything = LOST
    source.open()
    heard(source, 0)
    lost.everything = None
    assert heard(source, 61) == [["GPU-a", "GPU-b"]]


def test_a_device_that_is_partitioned_makes_the_source_open_anew() -> None:
    device = Device("GPU-a")
    source = source_of(Library(device))
    source.open()
    heard(source, 0, 61)
    device.tells |= {
        "nvmlDeviceGetMigMode": [1, 1],
        "nvmlDeviceGetMaxMigDeviceCount": 1,
        "nvmlDeviceGetMigDeviceHandleByIndex": Device("MIG-a"),
    }
    assert heard(source, 120) == [["GPU-a"]]
    with pytest.raises(GpuUnavailable, match="GPU GPU-a was partitioned anew"):
        source.read(122 * SECOND_NS)
    source.close()
    assert [identity.uuid for identity in source.open()] == ["MIG-a"]


def test_a_chosen_device_that_tells_nothing_but_its_uuid_does_not_hide_the_others_and_is_opened_when_it_answers() -> None:
    failing = Device("GPU-b", fails={"memory_v2": UNKNOWN})
    both = (GpuChoice("GPU-a"), GpuChoice("GPU-b"))
    source = source_of(Library(Device("GPU-a"), failing), choose=lambda seen: chosen(seen.identities, both, {}))
    assert source.open()[1] == GpuIdentity("GPU-b", index=1, driver_version="580.65.06")
    assert heard(source, 1, 2) == [["GPU-a"], ["GPU-a"]]
    del failing.fails["memory_v2"]
    with pytest.raises(GpuUnavailable, match="GPU GPU-b answers that was silent"):
        source.read(11 * SECOND_NS)
    source.close()
    assert source.open()[1].energy == "counter"
    assert heard(source, 12) == [["GPU-a", "GPU-b"]]


def test_where_no_device_tells_more_than_its_uuid_the_source_is_unavailable() -> None:
    with pytest.raises(GpuUnavailable, match="no GPU answers"):
        source_of(Library(Device("GPU-a", fails={"memory_v2": UNKNOWN}))).open()


# --- devices that hang -----------------------------------------------------------------------------------------------------------------
def test_the_device_that_is_waited_for_is_named() -> None:
    named: list[str | None] = []
    devices = [Device(uuid, before=lambda _: named.append(source.asking)) for uuid in ("GPU-a", "GPU-b")]
    source = source_of(Library(*devices))
    source.open()
    named.clear()
    source.read(0)
    assert set(named[: len(named) // 2]) == {"GPU-a"}
    assert set(named[len(named) // 2 :]) == {"GPU-b"}
    assert source.asking is None


class Hang:
    """Holds the thread that is called so in the first call to a device that it makes."""

    def __init__(self) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()

    def __call__(self, _: str) -> None:
        if threading.current_thread().name == "hangs":
            self.reached.set()
            assert self.go_on.wait(10)


def overtaken(source: NvmlSource, hang: Hang, uuid: str, then: Callable[[], None]) -> list[str]:
    """Who spoke in a reading that hung at a device while `then` happened."""
    brought: list[list[str]] = []
    thread = threading.Thread(target=lambda: brought.extend(heard(source, 1)), name="hangs")
    thread.start()
    assert hang.reached.wait(10)
    assert source.asking == uuid
    then()
    hang.go_on.set()
    thread.join(10)
    return brought[0]


def test_a_reading_that_was_overtaken_asks_nobody_else() -> None:
    """While GPU-b hangs, another thread reads the others; then GPU-b answers."""
    hang, last = Hang(), Device("GPU-c")
    source = source_of(Library(Device("GPU-a"), Device("GPU-b", before=hang), last))
    source.open()

    def read_the_others() -> None:
        assert [sample.uuid for sample in source.read(2 * SECOND_NS, without={"GPU-b"})] == ["GPU-a", "GPU-c"]
        last.asked.clear()

    assert overtaken(source, hang, "GPU-b", read_the_others) == ["GPU-a", "GPU-b"]
    assert last.asked == []
    assert heard(source, 3) == [["GPU-a", "GPU-b", "GPU-c"]]


def test_a_reading_that_was_overtaken_names_nobody_else() -> None:
    """Its device is in MIG mode, so that it has instances to ask yet."""
    hang, named = Hang(), list[str | None]()
    instance = Device("MIG-a", before=lambda _: named.append(source.asking))
    mig = {"nvmlDeviceGetMigMode": [1, 1], "nvmlDeviceGetMaxMigDeviceCount": 1, "nvmlDeviceGetMigDeviceHandleByIndex": instance}
    source = source_of(Library(Device("GPU-a", before=hang, tells=mig), Device("GPU-b")))
    source.open()
    named.clear()
    assert overtaken(source, hang, "MIG-a", lambda: heard_without(source, "MIG-a")) == ["MIG-a"]
    assert set(named) == {None}


def heard_without(source: NvmlSource, uuid: str) -> None:
    source.read(2 * SECOND_NS, without={uuid})
