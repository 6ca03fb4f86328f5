"""What the sidecar takes while it does little: start, memory, idle CPU, stop. Beside eight replayed GPUs.

usage: footprint.py [--repetitions 5] [--idle-seconds 60]
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from ingest import repetition
from receivers import Receiver, infermeter

GPUS = 8
RECORDED_SECONDS = 60
SCRAPE_EVERY_SECONDS = 15
SPANS = 100_000


def recording(path: Path) -> None:
    """Writes a capture of busy and idle GPUs, a row a second and device."""
    lines = ["# infermeter capture: 1", "# source: synthetic"]
    lines += [f"# gpu: GPU-{gpu:08d},{gpu},Bench GPU,700,85899345920" for gpu in range(GPUS)]
    lines.append("time_unix_seconds,gpu,power_watts,utilisation_ratio,memory_used_bytes,memory_total_bytes")
    for second in range(RECORDED_SECONDS):
        for gpu in range(GPUS):
            share = (1 + math.sin(second / 10 + gpu)) / 2
            lines.append(f"{1_790_000_000 + second},GPU-{gpu:08d},{100 + 500 * share:.1f},{share:.2f},68719476736,85899345920")
    path.write_text("\n".join([*lines, f"# end: {RECORDED_SECONDS * GPUS} rows"]) + "\n")


@contextmanager
def sidecar(folder: Path) -> Iterator[Receiver]:
    """`infermeter serve` beside the replayed GPUs."""
    capture = folder / "gpus.csv"
    recording(capture)
    with infermeter("vllm", gpu=f"{{source: replay, file: '{capture}', loop: true}}") as receiver:
        yield receiver


def page(receiver: Receiver, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{receiver.web}{path}", timeout=10) as response:
        return bytes(response.read())


def start_seconds(folder: Path) -> float:
    """From the start of the process until /-/ready answers 200."""
    begin = time.monotonic()
    with sidecar(folder):
        return time.monotonic() - begin


def stop_seconds(folder: Path) -> float:
    """From SIGTERM, right after the last of many spans, until the process has ended."""
    with sidecar(folder) as receiver:
        repetition(receiver, "http:protobuf:512:vllm", SPANS, warmup=0)
        begin = time.monotonic()
        os.kill(receiver.pid, signal.SIGTERM)
        psutil.Process(receiver.pid).wait(30)
        return time.monotonic() - begin


def resident_mib(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 2**20


def idle(folder: Path, seconds: int) -> None:
    """Prints memory and CPU while nothing but GPU readings and scrapes come, then memory after many spans."""
    with sidecar(folder) as receiver:
        process = psutil.Process(receiver.pid)
        page(receiver, "/metrics")
        before, begin = process.cpu_times(), time.monotonic()
        for _ in range(max(1, seconds // SCRAPE_EVERY_SECONDS)):
            time.sleep(SCRAPE_EVERY_SECONDS)
            page(receiver, "/metrics")
        after, elapsed = process.cpu_times(), time.monotonic() - begin
        used = after.user + after.system - before.user - before.system
        print(f"idle CPU, a scrape every {SCRAPE_EVERY_SECONDS} s   {used / elapsed:.2%} of a core over {elapsed:.0f} s", flush=True)
        print(f"resident memory, idle            {resident_mib(process):.0f} MiB", flush=True)
        repetition(receiver, "http:protobuf:512:vllm", SPANS, warmup=0)
        series = sum(1 for line in page(receiver, "/metrics").splitlines() if not line.startswith(b"#"))
        print(f"resident memory, {SPANS:,} spans   {resident_mib(process):.0f} MiB, {series} lines in /metrics", flush=True)


def told(what: str, measure: Callable[[Path], float], folder: Path, repetitions: int) -> None:
    seconds = [measure(folder) for _ in range(repetitions)]
    print(f"{what:32} {statistics.median(seconds):.2f} s [{min(seconds):.2f}-{max(seconds):.2f}]", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--idle-seconds", type=int, default=60)
    args = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f}, {GPUS} replayed GPUs, medians of {args.repetitions} [range]", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        told("start to ready", start_seconds, folder, args.repetitions)
        told("SIGTERM to the end", stop_seconds, folder, args.repetitions)
        idle(folder, args.idle_seconds)


if __name__ == "__main__":
    main()
