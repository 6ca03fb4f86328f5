"""pynvml as it is, over a library in NVML's place: loading, ctypes, versioned names and error codes are the real ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the library in NVML's place."""
    folder = tmp_path_factory.mktemp("nvml")
    name = "libnvidia-ml.so.1"
    flags = ["-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-Wl,-soname,{name}"]
    subprocess.run(["gcc", *flags, "-o", str(folder / name), str(HERE / "nvml_stub.c")], check=True)
    return folder


def outcome(folder: Path, *, reads: int = 1, through: str = "", stub: dict[str, str] | None = None, **gpu: Any) -> Any:
    """What a process reads whose NVML lies in `folder`."""
    environment = os.environ | {"LD_LIBRARY_PATH": str(folder)} | (stub or {})
    wanted = json.dumps({"gpu": {"source": "nvml"} | gpu, "reads": reads, "through": through})
    done = subprocess.run(
        [sys.executable, str(HERE / "read_nvml.py"), wanted], env=environment, check=True, capture_output=True, text=True, timeout=60
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("gpus", [2, 8])
def test_devices_are_identified_and_read(library: Path, gpus: int) -> None:
    seen = outcome(library, reads=2, stub={"STUB_GPUS": str(gpus)}, hardware=True)
    assert len(seen["identities"]) == gpus
    assert seen["identities"][1] == {
        "uuid": "GPU-00000001-0000-4000-8000-000000000000",
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
        "power_kind": None,
        "power_scope": "gpu",
    }
    first, second = (samples[1] for samples in seen["samples"])
    told = {key: value for key, value in first.items() if value is not None}
    assert told == {
        "uuid": "GPU-00000001-0000-4000-8000-000000000000",
        "time_ns": 0,
        "power_watts": 101.5,
        "energy_joules": first["energy_joules"],
        "utilisation_ratio": 0.1,
        "memory_used_bytes": 19000,
        "memory_total_bytes": 80000,
        "temperature_celsius": 41.0,
        "sm_clock_hertz": 1980e6,
        "power_limit_watts": 700.0,
    }
    assert second["energy_joules"] - first["energy_joules"] == 101.5


FIELDS = {
    "nvmlDeviceGetPowerUsage": "power_watts",
    "nvmlDeviceGetTotalEnergyConsumption": "energy_joules",
    "nvmlDeviceGetUtilizationRates": "utilisation_ratio",
    "nvmlDeviceGetTemperature": "temperature_celsius",
    "nvmlDeviceGetClockInfo": "sm_clock_hertz",
    "nvmlDeviceGetEnforcedPowerLimit": "power_limit_watts",
}


@pytest.mark.parametrize("function", FIELDS)
def test_what_a_device_does_not_support_is_absent_and_the_rest_is_there(library: Path, function: str) -> None:
    seen = outcome(library, stub={"STUB_UNSUPPORTED": function}, hardware=True)
    absent = [name for name in FIELDS.values() if seen["samples"][0][0][name] is None]
    assert absent == [FIELDS[function]]
    assert seen["rejected"] == {}


def test_an_old_library_tells_its_memory_the_old_way(library: Path) -> None:
    seen = outcome(library, stub={"STUB_UNSUPPORTED": "nvmlDeviceGetMemoryInfo_v2"})
    assert seen["samples"][0][0]["memory_used_bytes"] == 20000


def test_a_lost_device_does_not_hide_the_others(library: Path) -> None:
    seen = outcome(library, reads=4, stub={"STUB_GPUS": "3", "STUB_LOST": "1"})
    assert [len(samples) for samples in seen["samples"]] == [3, 2, 2, 2]
    assert seen["rejected"] == {"read": 3}


def test_auto_takes_the_library_that_is_there(library: Path) -> None:
    assert outcome(library, source="auto")["name"] == "nvml"


def test_a_driver_that_is_not_loaded_is_told(library: Path) -> None:
    assert outcome(library, stub={"STUB_INIT": "9"}) == {"unavailable": "NVML: Driver Not Loaded"}


def test_no_library_is_told(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"no library")
    assert outcome(tmp_path) == {"unavailable": "NVML: NVML Shared Library Not Found"}
    assert outcome(tmp_path, source="auto") is None


def test_a_call_that_takes_too_long_marks_the_source_and_its_reading_is_rejected(library: Path) -> None:
    seen = outcome(library, stub={"STUB_SLOW_MS": "100"}, through="sampler", interval=0.01, timeout=0.05)
    assert seen == {"samples": 0, "rejected": {"read": 2}, "up": False, "last_error": "TimeoutError"}
