"""A driver that hangs, under the real program: `infermeter serve` as a process of its own, with a library in NVML's place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families as families

HERE = Path(__file__).parent
GPUS = tuple(f"GPU-{index:08d}-0000-4000-8000-000000000000" for index in range(8))
HUNG = GPUS[5]
SOON = 60.0
"""Seconds until a test gives up."""

CONFIG = """
listen: {web: "127.0.0.1:0", otlp_grpc: null, otlp_http: null}
server: {gpus: all}
gpu: {source: nvml, interval: 50ms, timeout: 200ms, stale_after: 1s}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the library in NVML's place."""
    folder = tmp_path_factory.mktemp("nvml")
    name = "libnvidia-ml.so.1"
    flags = ["-shared", "-fPIC", f"-Wl,-soname,{name}"]
    subprocess.run(["gcc", *flags, "-o", str(folder / name), str(HERE / "nvml_stub.c"), "-lm"], check=True)
    return folder


@dataclass
class Sidecar:
    """A running sidecar on a machine with eight devices, of which one hangs from some reading on until `free` exists."""

    process: subprocess.Popen[str]
    web: str
    free: Path
    all_hang: Path
    longest_scrape_seconds: float = field(default=0.0)

    def scrape(self) -> dict[str, dict[str, float]]:
        """Samples of one scrape: by name, by device ("" where a family has none)."""
        began = time.monotonic()
        with urlopen(f"http://{self.web}/metrics", timeout=SOON) as answer:
            text = answer.read().decode()
        self.longest_scrape_seconds = max(self.longest_scrape_seconds, time.monotonic() - began)
        told: dict[str, dict[str, float]] = {}
        for family in families(text):
            for sample in family.samples:
                told.setdefault(sample.name, {})[sample.labels.get("gpu_uuid") or sample.labels.get("reason", "")] = sample.value
        return told

    def until(self, holds: Callable[[dict[str, dict[str, float]]], bool]) -> dict[str, dict[str, float]]:
        """The first scrape of which this holds."""
        give_up = time.monotonic() + SOON
        while time.monotonic() < give_up:
            told = self.scrape()
            if holds(told):
                return told
            time.sleep(0.02)
        raise AssertionError(f"not after {SOON:g} s")

    def until_up(self, *uuids: str) -> dict[str, dict[str, float]]:
        """The first scrape with exactly these devices up."""
        return self.until(lambda told: told.get("infermeter_gpu_up") == {uuid: float(uuid in uuids) for uuid in GPUS})


@pytest.fixture
def sidecar(library: Path, tmp_path: Path) -> Iterator[Sidecar]:
    file, free, all_hang = tmp_path / "infermeter.yaml", tmp_path / "free", tmp_path / "all_hang"
    file.write_text(CONFIG)
    stub = {"STUB_GPUS": "8", "STUB_HANG": "5", "STUB_HANG_FROM": "5", "STUB_HANG_FILE": str(free), "STUB_HANG_ALL_FILE": str(all_hang)}
    environment = os.environ | {"LD_LIBRARY_PATH": str(library)} | stub
    with started(file, environment) as process:
        assert process.stderr is not None
        web = next(line.partition("listening: web on ")[2].strip() for line in process.stderr if "listening: web on " in line)
        yield Sidecar(process, web, free, all_hang)


@contextmanager
def started(file: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "infermeter", "serve", "--config", str(file)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_devices_that_hang_keep_no_scrape_waiting_hide_no_others_and_come_back(sidecar: Sidecar) -> None:
    others = tuple(uuid for uuid in GPUS if uuid != HUNG)

    before = sidecar.until_up(*others)
    assert list(before["infermeter_gpu_source_up"].values()) == [1]
    now, age = time.time(), before["infermeter_gpu_last_sample_timestamp_seconds"]
    assert now - age[HUNG] > 1
    assert all(now - age[uuid] < 1 for uuid in others)
    assert before["infermeter_gpu_samples_rejected_total"]["read"] > 0
    assert HUNG not in before["infermeter_gpu_power_watts"]

    def has_moved_on(told: dict[str, dict[str, float]]) -> bool:
        return all(told["infermeter_gpu_last_sample_timestamp_seconds"][uuid] > age[uuid] for uuid in others)

    after = sidecar.until(has_moved_on)
    assert after["infermeter_gpu_last_sample_timestamp_seconds"][HUNG] == age[HUNG]

    sidecar.all_hang.touch()
    assert list(sidecar.until_up()["infermeter_gpu_source_up"].values()) == [0]
    with urlopen(f"http://{sidecar.web}/-/ready", timeout=SOON) as answer:
        assert answer.status == 200

    sidecar.free.touch()
    sidecar.all_hang.unlink()
    assert list(sidecar.until_up(*GPUS)["infermeter_gpu_source_up"].values()) == [1]

    assert sidecar.longest_scrape_seconds < 1

    sidecar.process.send_signal(signal.SIGTERM)
    assert sidecar.process.stderr is not None
    lines = sidecar.process.stderr.read().splitlines()
    assert sidecar.process.wait(SOON) == 0
    hung = [sum(f"GPU {uuid} doesn't answer" in line for line in lines) for uuid in GPUS]
    assert hung[5] == 1
    assert max(hung) == 1  # each that was found to hang, before they all came back, is told once
    assert [sum(f"GPU {uuid} answers again" in line for line in lines) for uuid in GPUS] == hung


def test_it_stops_at_once_while_every_device_hangs(sidecar: Sidecar) -> None:
    sidecar.free.touch()
    sidecar.until_up(*GPUS)
    sidecar.all_hang.touch()
    sidecar.until_up()
    began = time.monotonic()
    sidecar.process.send_signal(signal.SIGTERM)
    assert sidecar.process.wait(SOON) == 0
    assert time.monotonic() - began < 5
