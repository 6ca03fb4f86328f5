"""The shipped command at work for as long as it is told (MINUTES, 60), at 20,000 spans/s, while everything around it comes and goes.

What it holds is flat, and the laws of conservation hold: what was sent is what was counted, money and joules by use are those by source.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path

import psutil
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from faults.flooding import Accounts, Flood, accounts, flooded
from faults.serving import LISTEN, Sidecar, serving
from faults.test_overload import CONFIG, GRPC, HTTP, JSON, Seen, agrees, flooded_for, recovers
from soak.quotas import share_of_a_processor

pytestmark = pytest.mark.soak

MINUTES = float(os.environ.get("MINUTES", "60"))
FLOOD_SECONDS = 60 * min(5.0, MINUTES)
CPU_RATIO = 0.2
"""Of one processor: senders on the same machine can't ask ten times as much of a whole one."""

STUB = Path(__file__).parents[1] / "integration/gpu/nvml_stub.c"
LIBRARY = "libnvidia-ml.so.1"
GPUS, PEAK_WATTS = 4, 700
ROUND_SECONDS = 20.0
SCRAPE_SECONDS = 1.0
WARM_UP_SECONDS = min(10 * 60.0, 60 * MINUTES / 2)
"""What is kept of the last minutes is all there by then."""

MEDIAN_SECONDS = 60.0

FAULTS = ("none", "one hangs", "none", "all hang", "none", "the driver is gone")
GROWTH_RATIO = 0.01
PRICES = (3600, 7200)
"""An hour: one and two euros a second."""

SPANS_PER_SECOND = 20_000
SENDERS = tuple(
    Flood(transport, "", connections=4, every_seconds=4 * spans / (SPANS_PER_SECOND / 2), spans=spans)
    for transport, spans in (("http", 512), ("grpc", 256))
)
PACE_RATIO = 0.99
LINES_A_ROUND = 12
"""Of the log: a reload has two, each fault of a GPU two for each device."""


def configuration(price: int, target_seconds: float) -> str:
    return f"""
{LISTEN}
server: {{kind: vllm, name: test, sampled: false, gpus: all}}
sla: {{default: {{quantile: 0.99, duration_seconds: {target_seconds}}}}}
cost: {{currency: EUR, as_of: 2026-11-01, source: test, rent: {{per_hour: {price}, per: instance}}}}
gpu: {{source: nvml, interval: 250ms, timeout: 1s}}
windows: [1m]
ledger: {{span_delay: 5s}}
limits: {{memory_bytes: {512 << 20}}}
"""


@dataclass
class Books:
    """What was seen of the sidecar from outside, at each scrape: when, in seconds, and resident bytes; how senders fared, by protocol."""

    resident: list[tuple[float, int]] = field(default_factory=list)
    received: float = 0.0
    sent: dict[str, Accounts] = field(default_factory=lambda: {"http": Accounts(), "grpc": Accounts()})

    def look(self, sidecar: Sidecar, process: psutil.Process) -> None:
        received = sidecar.value("spans_received_total") or 0.0
        assert received >= self.received
        self.received = received
        self.resident.append((time.monotonic(), process.memory_info().rss))

    def growth_ratio(self, *, warm_up_seconds: float = WARM_UP_SECONDS) -> float:
        """From the median of the first minute after the warm-up to that of the last minute."""
        warm, end = self.resident[0][0] + warm_up_seconds, self.resident[-1][0]
        first = [size for at, size in self.resident if warm <= at < warm + MEDIAN_SECONDS]
        last = [size for at, size in self.resident if at > end - MEDIAN_SECONDS]
        return statistics.median(last) / statistics.median(first) - 1


@dataclass(frozen=True)
class Gpus:
    """Devices in NVML's place, which hang, are lost with their driver, and come back."""

    folder: Path

    def environment(self) -> dict[str, str]:
        command = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{LIBRARY}", "-o", str(self.folder / LIBRARY), str(STUB), "-lm"]
        subprocess.run(command, check=True)
        self.file("free").touch()
        faults = {"STUB_HANG": "2", "STUB_HANG_FILE": "free", "STUB_HANG_ALL_FILE": "hang", "STUB_GONE_FILE": "gone"}
        files = {key: value if value.isdecimal() else str(self.file(value)) for key, value in faults.items()}
        return {"LD_LIBRARY_PATH": str(self.folder), "STUB_GPUS": str(GPUS), "STUB_PEAK": str(PEAK_WATTS), **files}

    def file(self, name: str) -> Path:
        return self.folder / name

    def faults(self) -> Iterator[str]:
        """One after the other, for ever; each is over when the next is asked for."""
        for name in cycle(FAULTS):
            self.file("free").unlink(missing_ok=True) if name == "one hangs" else self.file("free").touch()
            self.file("hang").touch() if name == "all hang" else self.file("hang").unlink(missing_ok=True)
            self.file("gone").touch() if name == "the driver is gone" else self.file("gone").unlink(missing_ok=True)
            yield name


def rounds(sidecar: Sidecar, file: Path, gpus: Gpus, books: Books) -> int:
    """Rounds of senders that come and go, each with another configuration and another fault; how many there were."""
    process = psutil.Process(sidecar.process.pid)
    faults = gpus.faults()
    ends = time.monotonic() + 60 * MINUTES
    number, since = 0, time.monotonic()
    while time.monotonic() < ends:
        number += 1
        next(faults)
        file.write_text(configuration(PRICES[number % 2], 1.0 + number % 3))
        sidecar.process.send_signal(signal.SIGHUP)
        addressed = [replace(each, address=sidecar.addresses[f"otlp_{each.transport}"], since=since) for each in SENDERS]
        with flooded(addressed) as senders:
            round_ends = time.monotonic() + ROUND_SECONDS
            while time.monotonic() < round_ends:
                books.look(sidecar, process)
                time.sleep(SCRAPE_SECONDS)
            since = time.monotonic()  # what nobody sends while senders end and start is made up for
            for flood, told in zip(SENDERS, accounts(senders), strict=True):
                books.sent[flood.transport] += told
    return number


def totals(sidecar: Sidecar) -> dict[str, float]:
    """The sums of all families, of one scrape."""
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(sidecar.openmetrics()):
        for sample in family.samples:
            name = sample.name.removeprefix("infermeter_")
            sums[name] = sums.get(name, 0.0) + sample.value
    return sums


def test_it_holds_no_more_and_loses_nothing_however_long_it_works(tmp_path: Path) -> None:
    gpus, books = Gpus(tmp_path), Books()
    with serving(tmp_path, configuration(PRICES[0], 1.0), environment=gpus.environment()) as sidecar:
        process = psutil.Process(sidecar.process.pid)
        sidecar.until(lambda: (sidecar.value("gpu_up") or 0) == GPUS)
        descriptors, threads = process.num_fds(), process.num_threads()
        number = rounds(sidecar, tmp_path / "infermeter.yaml", gpus, books)
        next(gpus.faults())  # none
        sidecar.until(lambda: (sidecar.value("gpu_up") or 0) == GPUS)
        for protocol, told in books.sent.items():
            assert agrees(sidecar, protocol, told), told
            assert (told.unhinted, told.cut) == (0, 0)
        at = time.time()
        end = totals(sidecar)
        unsettled_seconds = at - end["settled_timestamp_seconds"] + 2.0
        figures = {
            "spans": end["spans_received_total"],
            "spans a second": end["spans_received_total"] / 60 / MINUTES,
            "rounds": number,
            "refused": {protocol: told.refused.total() for protocol, told in books.sent.items()},
            "growth": books.growth_ratio(),
            "resident MiB": [round(size / 2**20, 1) for _, size in books.resident[:: max(1, len(books.resident) // 20)]],
            "unsettled seconds": unsettled_seconds,
            "euros": (end["cost_total"], end["cost_by_use_total"]),
            "joules": (end["gpu_energy_joules_total"], end["energy_joules_total"]),
            "descriptors": (descriptors, process.num_fds()),
            "threads": (threads, process.num_threads()),
            "lines": len(sidecar.lines),
        }
        sys.stdout.write(f"{figures}\n")
        dropped = end.get("spans_dropped_total", 0.0) + end.get("spans_unmapped_total", 0.0)
        assert end["inferences_observed_total"] == end["spans_received_total"] - dropped
        assert dropped == 0
        assert end["inference_duration_seconds_count"] == end["inferences_observed_total"]
        assert end["inferences_observed_within_sla_total"] <= end["inferences_observed_total"]
        assert -1e-6 <= end["cost_total"] - end["cost_by_use_total"] <= max(PRICES) / 3600 * unsettled_seconds
        assert -1e-3 <= end["gpu_energy_joules_total"] - end["energy_joules_total"] <= GPUS * PEAK_WATTS * unsettled_seconds
        assert end["config_last_reload_successful"] == 1
        sidecar.until(lambda: process.num_fds() <= descriptors + 2)
        assert sidecar.stopped()[0] == 0
    assert len(sidecar.lines) <= LINES_A_ROUND * (number + 1), sidecar.lines[-20:]
    assert figures["spans a second"] > PACE_RATIO * SPANS_PER_SECOND
    assert books.growth_ratio() < GROWTH_RATIO


def test_growth_is_that_from_the_minute_after_the_warm_up_to_the_last() -> None:
    steps = ((60, 50), (60, 100), (600, 400), (60, 102))
    sizes = [size for seconds, size in steps for _ in range(seconds)]
    books = Books(list(enumerate(sizes)))
    assert books.growth_ratio(warm_up_seconds=60) == pytest.approx(0.02)
    assert books.growth_ratio(warm_up_seconds=0) > 1


@pytest.mark.parametrize("floods", [(HTTP, GRPC), (JSON, GRPC)], ids=["protobuf", "json"])
def test_minutes_of_flood_are_refused_and_accounted_for_exactly_and_are_over_at_once(floods: tuple[Flood, ...], tmp_path: Path) -> None:
    seen = Seen()
    with serving(tmp_path, CONFIG) as sidecar:
        told = flooded_for(sidecar, floods, FLOOD_SECONDS, seen)
        sys.stdout.write(f"{FLOOD_SECONDS:.0f} s: {seen}\n")
        for flood, one in zip(floods, told, strict=True):
            asked = one.exports + one.refused.total() + one.cut
            sys.stdout.write(f"{flood.transport} {flood.encoding}: {asked / max(one.exports, 1):.1f} x what was taken: {one}\n")
            assert one.exports > 0
            assert set(one.refused) <= {"503", "UNAVAILABLE"}
            assert one.unhinted == 0
            assert agrees(sidecar, flood.transport, one), one
        sys.stdout.write(f"recovered after {recovers(sidecar):.2f} s\n")
        assert sidecar.stopped()[0] == 0
    assert not [line for line in sidecar.lines if " WARNING " in line or " ERROR " in line]


@pytest.mark.skipif(os.geteuid() != 0, reason="a share of a processor takes root")
def test_ten_times_what_it_can_take_on_a_share_of_a_processor_is_refused_and_accounted_for_exactly(tmp_path: Path) -> None:
    seen, floods = Seen(), (HTTP, GRPC)
    with share_of_a_processor(CPU_RATIO) as line, serving(tmp_path, CONFIG, shell=line) as sidecar:
        told = flooded_for(sidecar, floods, FLOOD_SECONDS, seen)
        taken = sum(one.exports for one in told)
        asked = taken + sum(one.refused.total() + one.cut for one in told)
        sys.stdout.write(f"{FLOOD_SECONDS:.0f} s: {seen}; {asked / taken:.1f} x what was taken\n")
        for flood, one in zip(floods, told, strict=True):
            sys.stdout.write(f"{flood.transport}: {one}\n")
            assert one.exports > 0
            assert set(one.refused) <= {"503", "UNAVAILABLE"}
            assert one.unhinted == 0
            assert agrees(sidecar, flood.transport, one), one
        assert asked > 10 * taken
        sys.stdout.write(f"recovered after {recovers(sidecar):.2f} s\n")
        assert sidecar.stopped()[0] == 0
    assert not [line for line in sidecar.lines if " WARNING " in line or " ERROR " in line]
