"""pynvml as it is, over a library in NVML's place: loading, ctypes, versioned names and error codes are the real ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from infermeter.config import Config, Gpu
from infermeter.ledger import Ledger
from infermeter.ledger.energy import EnergyMeter
from infermeter.model import GpuIdentity, GpuSample

HERE = Path(__file__).parent
SECOND_NS = 1_000_000_000
GPU = [f"GPU-{index:08d}-0000-4000-8000-000000000000" for index in range(8)]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the library in NVML's place."""
    folder = tmp_path_factory.mktemp("nvml")
    name = "libnvidia-ml.so.1"
    flags = ["-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-Wl,-soname,{name}"]
    subprocess.run(["gcc", *flags, "-o", str(folder / name), str(HERE / "nvml_stub.c"), "-lm"], check=True)
    return folder


def outcome(
    folder: Path, *, reads: int = 1, through: str = "", stub: dict[str, str] | None = None, script: dict[str, Any] | None = None, **gpu: Any
) -> Any:
    """What a process reads whose NVML lies in `folder`; `script` as read_nvml.py has it."""
    environment = os.environ | {"LD_LIBRARY_PATH": str(folder)} | (stub or {})
    wanted = json.dumps({"gpu": {"source": "nvml"} | gpu, "reads": reads, "through": through} | (script or {}))
    done = subprocess.run(
        [sys.executable, str(HERE / "read_nvml.py"), wanted], env=environment, check=True, capture_output=True, text=True, timeout=60
    )
    return json.loads(done.stdout)


def of_device(seen: Any, uuid: str) -> list[GpuSample]:
    """The samples of one device, in order."""
    return [GpuSample(**sample) for samples in seen["samples"] for sample in samples if sample["uuid"] == uuid]


@pytest.mark.parametrize("gpus", [2, 8])
def test_devices_are_identified_and_read(library: Path, gpus: int) -> None:
    seen = outcome(library, reads=2, stub={"STUB_GPUS": str(gpus), "STUB_LOAD": "steps"}, script={"step_seconds": 1}, hardware=True)
    assert len(seen["identities"]) == gpus
    assert seen["identities"][1] == {
        "uuid": GPU[1],
        "index": 1,
        "product": "Stub",
        "driver_version": "580.65.06",
        "source": "nvml",
        "energy": "counter",
        "memory_total_bytes": 80000,
        "power_limit_watts": 700.0,
        "share_ratio": 1.0,
        "share_by_process": False,
        "assumed": False,
        "power_kind": "average",
        "power_scope": "gpu",
    }
    first, second = of_device(seen, GPU[1])
    assert first.sm_active_ratio is None
    assert second == GpuSample(
        GPU[1],
        1_800_000_001 * SECOND_NS,
        power_watts=100.0,
        energy_joules=1100.0,
        utilisation_ratio=0.0,
        memory_used_bytes=19000,
        memory_total_bytes=80000,
        temperature_celsius=41.0,
        sm_clock_hertz=1980e6,
        power_limit_watts=700.0,
        sm_active_ratio=0.0,
        tensor_active_ratio=0.0,
        dram_active_ratio=0.0,
        computing_processes=0,
        sm_occupancy_ratio=0.0,
        throttled_power_seconds=pytest.approx(0.11),
        throttled_thermal_seconds=pytest.approx(0.05),
        throttled_other_seconds=pytest.approx(0.006),
        pcie_transmitted_bytes=10**9,
        pcie_received_bytes=2 * 10**9,
    )
    assert seen["allocated"] == 0


FIELDS = {
    "nvmlDeviceGetTotalEnergyConsumption": {"energy_joules"},
    "nvmlDeviceGetUtilizationRates": set(),
    "nvmlDeviceGetTemperature": {"temperature_celsius"},
    "nvmlDeviceGetClockInfo": {"sm_clock_hertz"},
    "nvmlDeviceGetEnforcedPowerLimit": {"power_limit_watts"},
    "nvmlDeviceGetComputeRunningProcesses_v3": {"computing_processes"},
    "nvmlDeviceGetFieldValues": {"pcie_transmitted_bytes", "pcie_received_bytes"},
    "nvmlGpmQueryDeviceSupport": {"sm_active_ratio", "sm_occupancy_ratio", "tensor_active_ratio", "dram_active_ratio"},
    "nvmlGpmSampleGet": {"sm_active_ratio", "sm_occupancy_ratio", "tensor_active_ratio", "dram_active_ratio"},
    "nvmlDeviceGetMigMode": set(),
}


@pytest.mark.parametrize("function", FIELDS)
def test_what_a_device_does_not_support_is_absent_and_the_rest_is_there(library: Path, function: str) -> None:
    seen = outcome(library, reads=2, stub={"STUB_UNSUPPORTED": f"{function}:1"}, script={"step_seconds": 1}, hardware=True)
    whole, lacking = (seen["samples"][1][0], next(sample for sample in reversed(seen["samples"][1]) if sample["uuid"] == GPU[1]))
    assert {name for name, value in whole.items() if value is None} == {"share_ratio"}
    assert {name for name, value in lacking.items() if value is None} - {"share_ratio"} == FIELDS[function]
    assert seen["rejected"] == {}


def test_a_device_that_supports_nothing_is_there_all_the_same(library: Path) -> None:
    functions = [*FIELDS, "nvmlDeviceGetPowerUsage", "nvmlDeviceGetViolationStatus", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetSamples"]
    seen = outcome(library, reads=2, stub={"STUB_UNSUPPORTED": ",".join([*functions, "nvmlDeviceGetMemoryInfo_v2"])}, hardware=True)
    assert seen["identities"][0]["energy"] is None
    assert {name for name, value in seen["samples"][1][0].items() if value is not None} == {"uuid", "time_ns"}


def test_an_old_library_tells_its_memory_the_old_way(library: Path) -> None:
    seen = outcome(library, stub={"STUB_UNSUPPORTED": "nvmlDeviceGetMemoryInfo_v2"})
    assert seen["samples"][0][0]["memory_used_bytes"] == 20000


def test_throttling_is_told_by_the_older_call_where_the_fields_are_not(library: Path) -> None:
    seen = outcome(library, reads=2, stub={"STUB_UNSUPPORTED": "nvmlDeviceGetFieldValues"}, script={"step_seconds": 10})
    sample = of_device(seen, GPU[0])[1]
    told = (sample.throttled_power_seconds, sample.throttled_thermal_seconds, sample.throttled_other_seconds)
    assert told == (pytest.approx(1.0), pytest.approx(0.5), pytest.approx(0.06))


# --- power -----------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("interval", "stub", "kind", "scope", "watts"),
    [
        (1.0, {}, "average", "gpu", 100.0),
        (0.1, {}, "instant", "gpu", 700.0),
        (0.1, {"STUB_FIELDS": "186=3"}, "average", "gpu", 100.0),
        (1.0, {"STUB_FIELDS": "185=999"}, "instant", "gpu", 700.0),
        (0.1, {"STUB_FIELDS": "185=3,186=2", "STUB_ARCHITECTURE": "9"}, "average", "gpu", 100.0),
        (0.1, {"STUB_FIELDS": "185=3,186=2", "STUB_ARCHITECTURE": "7", "STUB_CAPABILITY": "86"}, "average", "gpu", 100.0),
        (1.0, {"STUB_FIELDS": "185=3,186=2", "STUB_ARCHITECTURE": "7", "STUB_CAPABILITY": "80"}, "instant", "gpu", 100.0),
        (1.0, {"STUB_FIELDS": "185=3,186=2", "STUB_ARCHITECTURE": "5"}, "instant", "gpu", 100.0),
        (1.0, {"STUB_FIELDS": "185=3,186=2", "STUB_ARCHITECTURE": "-1"}, None, "gpu", 100.0),
        (1.0, {"STUB_SCOPE": "module"}, "average", "module", 100.0),
    ],
)
def test_power_is_what_it_is_called(library: Path, interval: float, stub: dict[str, str], kind: str, scope: str, watts: float) -> None:
    """The load has just stepped up: the mean of the last second is still low."""
    steps = {"STUB_LOAD": "steps", "STUB_PERIOD_MS": "8000"} | stub
    seen = outcome(library, reads=2, stub=steps, script={"step_seconds": 4.0}, interval=interval)
    identity = seen["identities"][0]
    assert (identity["power_kind"], identity["power_scope"]) == (kind, scope)
    assert of_device(seen, GPU[0])[1].power_watts == watts


# --- energy against the truth -----------------------------------------------------------------------------------------------------------
def counted(samples: list[GpuSample]) -> float:
    """What the ledger's own meter makes of samples, in joules."""
    meter = EnergyMeter(3 * SECOND_NS)
    steps = [meter.read(sample).step for sample in samples]
    return sum(step.joules for step in steps if step is not None)


LOADS = [{}, {"STUB_PERIOD_MS": "1700"}, {"STUB_LOAD": "steps", "STUB_PERIOD_MS": "9000"}]
INTERVALS = [(0, 300), (13, 114), (50, 250), (101, 132)]


@pytest.mark.parametrize("load", LOADS)
def test_energy_over_any_interval_is_within_half_a_per_cent_of_the_counter(library: Path, load: dict[str, str]) -> None:
    stub = {"STUB_GPUS": "3"} | load
    seen = outcome(library, reads=301, stub=stub, script={"step_seconds": 0.1}, interval=0.1)
    for begin, end in INTERVALS:
        for device in range(3):
            truth = seen["truth"][end][device] - seen["truth"][begin][device]
            assert counted(of_device(seen, GPU[device])[begin : end + 1]) == pytest.approx(truth, rel=0.005)


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("history", [False, True])
def test_energy_integrated_from_power_at_ten_hertz_is_within_two_per_cent(library: Path, load: dict[str, str], *, history: bool) -> None:
    missing = ["nvmlDeviceGetTotalEnergyConsumption", *([] if history else ["nvmlDeviceGetSamples"])]
    stub = {"STUB_GPUS": "3", "STUB_UNSUPPORTED": ",".join(missing)} | load
    seen = outcome(library, reads=301, stub=stub, script={"step_seconds": 0.1}, interval=0.1)
    assert {identity["energy"] for identity in seen["identities"]} == {"integrated"}
    for device in range(3):
        samples = of_device(seen, GPU[device])
        assert len(samples) == pytest.approx(601 if history else 301, abs=2)
        truth = seen["truth"][300][device] - seen["truth"][0][device]
        assert counted(samples) == pytest.approx(truth, rel=0.02)


def test_history_shows_what_readings_far_apart_miss(library: Path) -> None:
    """A load of 1.7 s read every 1.7 s looks constant; what the driver recorded between does not."""
    script, load = {"step_seconds": 1.7}, {"STUB_GPUS": "1", "STUB_PERIOD_MS": "1700"}
    missing = "nvmlDeviceGetTotalEnergyConsumption"
    recorded = outcome(library, reads=31, stub=load | {"STUB_UNSUPPORTED": missing}, script=script, interval=0.1)
    without = {"STUB_UNSUPPORTED": f"{missing},nvmlDeviceGetSamples"}
    plain = outcome(library, reads=31, stub=load | without, script=script, interval=0.1)
    truth = recorded["truth"][30][0]
    assert counted(of_device(recorded, GPU[0])) == pytest.approx(truth, rel=0.02)
    assert abs(counted(of_device(plain, GPU[0])) / truth - 1) > 0.5
    times = [sample.time_ns for sample in of_device(recorded, GPU[0])]
    assert times == sorted(set(times))
    assert times[0] >= 1_800_000_000 * SECOND_NS


def test_a_counter_that_starts_again_costs_one_step_and_no_more(library: Path) -> None:
    stub = {"STUB_GPUS": "1", "STUB_RESET_MS": "5050"}
    seen = outcome(library, reads=101, stub=stub, script={"step_seconds": 0.1}, interval=0.1)
    samples = of_device(seen, GPU[0])
    counter = [sample.energy_joules or 0.0 for sample in samples]
    assert min(after - before for before, after in pairwise(counter)) < -1000
    assert counted(samples) == pytest.approx(seen["truth"][100][0], rel=0.005)


def test_a_device_whose_power_is_recorded_by_the_driver_can_be_known_to_be_idle(library: Path) -> None:
    """Steps of 30 s: with nothing computing in the server, what it drew at rest is idle, and the rest nobody's."""
    stub = {"STUB_GPUS": "1", "STUB_LOAD": "steps", "STUB_PERIOD_MS": "60000", "STUB_UNSUPPORTED": "nvmlDeviceGetTotalEnergyConsumption"}
    seen = outcome(library, reads=61, stub=stub, script={"step_seconds": 1}, interval=1.0)
    config = Config(gpu=Gpu(source="nvml"))
    start_ns = 1_800_000_000 * SECOND_NS
    ledger = Ledger(config, start_ns=start_ns, sampled=False, gpus=[GpuIdentity(GPU[0])], offline=True)
    ledger.add_samples(of_device(seen, GPU[0]))
    ledger.finish(start_ns + 60 * SECOND_NS)
    (facts,) = ledger.snapshot(start_ns + 60 * SECOND_NS).gpus
    assert facts.state_seconds["active"] == pytest.approx(30, abs=2)
    assert facts.state_seconds["held_idle"] + facts.state_seconds["idle"] == pytest.approx(30, abs=2)


# --- instances ---------------------------------------------------------------------------------------------------------------------
def test_a_counter_that_starts_again_costs_instances_nothing_and_is_counted(library: Path) -> None:
    steady = {"STUB_LOAD": "steps", "STUB_PERIOD_MS": "90000"}
    stub = {"STUB_GPUS": "1", "STUB_MIG": "0:3+4", "STUB_MIG_ACTIVE": "50+50", "STUB_RESET_MS": "15500"} | steady
    seen = outcome(library, reads=31, stub=stub, script={"step_seconds": 1}, interval=1.0)
    energy = sum(counted(of_device(seen, identity["uuid"])) for identity in seen["identities"])
    assert energy == pytest.approx(seen["truth"][30][0] - seen["truth"][0][0], rel=0.005)
    assert seen["rejected"]["reset"] == 1


def test_instances_share_the_energy_of_their_device_by_what_they_did(library: Path) -> None:
    stub = {"STUB_GPUS": "2", "STUB_MIG": "0:3+2+1", "STUB_MIG_ACTIVE": "50+0+100"}
    seen = outcome(library, reads=101, stub=stub, script={"step_seconds": 0.1}, interval=0.1)
    assert [identity["uuid"][:3] for identity in seen["identities"]] == ["MIG", "MIG", "MIG", "GPU"]
    assert [identity["energy"] for identity in seen["identities"]] == ["modelled", "modelled", "modelled", "counter"]
    assert [identity["memory_total_bytes"] for identity in seen["identities"]] == [30000, 20000, 10000, 80000]
    assert [identity["power_limit_watts"] for identity in seen["identities"]] == [None, None, None, 700.0]
    truth = seen["truth"][100][0] - seen["truth"][0][0]
    energy = [counted(of_device(seen, identity["uuid"])) for identity in seen["identities"]]
    expected = [6 / 7 * 1.5 / 2.5, 0.0, 6 / 7 * 1.0 / 2.5]
    assert energy[:3] == pytest.approx([truth * part for part in expected], rel=0.005)
    assert {sample.utilisation_ratio for sample in of_device(seen, seen["identities"][0]["uuid"])[1:]} == {0.5}
    assert seen["allocated"] == 0


@pytest.mark.parametrize("unmeasured", ["nvmlGpmQueryDeviceSupport", "nvmlGpmMigSampleGet", "nvmlDeviceGetGpuInstanceId"])
def test_instances_that_cannot_be_measured_share_by_slices(library: Path, unmeasured: str) -> None:
    stub = {"STUB_GPUS": "1", "STUB_MIG": "0:3+2+1", "STUB_UNSUPPORTED": unmeasured}
    seen = outcome(library, reads=2, stub=stub, script={"step_seconds": 1.0}, interval=0.1)
    joules = [GpuSample(**sample).energy_joules for sample in seen["samples"][1]]
    assert joules == pytest.approx([seen["truth"][1][0] * slices / 7 for slices in (3, 2, 1)], rel=0.001)


# --- processes ---------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("usage", "shares"), [("11=60,12=20,13=0", [0.75, 0.25]), ("", [1 / 3, 2 / 3])])
def test_two_servers_on_one_device_never_have_more_than_all_of_it(library: Path, usage: str, shares: list[float]) -> None:
    stub = {"STUB_GPUS": "1", "STUB_PROCESSES": "0:11+12+13", "STUB_USAGE": usage}
    script = {"step_seconds": 1.0, "begin_seconds": 1_800_000_030}
    told = []
    for own, delay in (([11], 0.0), ([12, 13], 0.4)):
        timing = script | {"begin_seconds": script["begin_seconds"] + delay, "own": own}
        samples = of_device(outcome(library, reads=120, stub=stub, script=timing), GPU[0])
        told.append([sample.share_ratio for sample in samples if sample.share_ratio is not None])
    assert [len(each) for each in told] == [3, 3]
    assert [each[-1] for each in told] == pytest.approx(shares, abs=1e-5)
    assert all(sum(pair) <= 1 for pair in zip(*told, strict=True))


# --- what goes wrong -------------------------------------------------------------------------------------------------------------------
def test_a_lost_device_does_not_hide_the_others_and_comes_back(library: Path, tmp_path: Path) -> None:
    back = tmp_path / "back"
    stub = {"STUB_GPUS": "3", "STUB_LOST": "1", "STUB_BACK_FILE": str(back)}
    seen = outcome(library, reads=30, stub=stub, script={"step_seconds": 1.0, "touch": {"15": str(back)}})
    heard = [len(samples) for samples in seen["samples"]]
    lost = heard.index(2)
    assert heard[:lost] == [3] * lost
    assert heard[lost : lost + 20] == [2] * 20
    assert heard[lost + 20 :] == [3] * (30 - lost - 20)
    assert seen["rejected"] == {"read": 20}
    assert seen["allocated"] == 0


def test_a_device_that_hangs_does_not_keep_the_others_and_is_heard_again(library: Path, tmp_path: Path) -> None:
    free = tmp_path / "free"
    stub = {"STUB_GPUS": "8", "STUB_HANG": "5", "STUB_HANG_FILE": str(free)}
    script = {"until": [[uuid for uuid in GPU if uuid != GPU[5]], GPU], "touch": {"1": str(free)}}
    seen = outcome(library, stub=stub, through="sampler", script=script, interval=0.05, timeout=0.2)
    assert seen == {"is_rejected": True, "up": True, "failed": 0}


def test_auto_takes_the_library_that_is_there(library: Path) -> None:
    assert outcome(library, source="auto")["name"] == "nvml"


def test_a_driver_that_is_not_loaded_is_told(library: Path) -> None:
    assert outcome(library, stub={"STUB_INIT": "9"}) == {"unavailable": "NVML: Driver Not Loaded"}


def test_a_driver_that_goes_is_told(library: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    seen = outcome(library, reads=5, stub={"STUB_GONE_FILE": str(gone)}, script={"step_seconds": 1.0, "touch": {"2": str(gone)}})
    assert seen["samples"][2:] == ["NVML: Driver Not Loaded"]
    assert seen["rejected"] == {"read": 2}


def test_no_library_is_told(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"no library")
    assert outcome(tmp_path) == {"unavailable": "NVML: NVML Shared Library Not Found"}
    assert outcome(tmp_path, source="auto") is None
