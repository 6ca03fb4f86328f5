"""What the sidecar takes beside eight replayed GPUs: start, stop, CPU while idle, and the most memory that it ever had.

usage: footprint.py [--repetitions 5] [--idle-seconds 60] [--load-seconds 30] [--million-spans 0]

Memory is that of the process at its largest (VmHWM), under 100,000 spans a second in exports of 512 (as many as it takes, if that is
less), scraped all the time, with both transports and with HTTP alone. `--million-spans 10` sends so many on, with a million different
names of models among them, and tells how memory went.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import math
import os
import re
import signal
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import psutil
from bodies import MODELS, Body, bodies
from generator import Case, Client, clients, exports
from ingest import repetition
from receivers import Receiver, infermeter

GPUS = 8
RECORDED_SECONDS = 60
SCRAPE_EVERY_SECONDS = 15
SPANS = 100_000

SPANS_PER_SECOND = 100_000
CASES = {"http": Case("http", "protobuf", 512, "vllm"), "grpc": Case("grpc", "protobuf", 512, "vllm")}
DIFFERENT_BODIES = 32
SCRAPE_UNDER_LOAD_SECONDS = 1.0
NAMES = 1_000_000


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
def sidecar(folder: Path, *, takes_grpc: bool = True) -> Iterator[Receiver]:
    """`infermeter serve` beside the replayed GPUs."""
    capture = folder / "gpus.csv"
    recording(capture)
    with infermeter("vllm", gpu=f"{{source: replay, file: '{capture}', loop: true}}", takes_grpc=takes_grpc) as receiver:
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


def peak_mib(receiver: Receiver) -> float:
    """What was resident at the most since the process began. Source: proc(5), VmHWM."""
    status = Path(f"/proc/{receiver.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


class Load:
    """Exports at an even pace over all transports at once; what is late is sent at once, and nothing is made up for but by that."""

    def __init__(self, transports: list[str], *, spans_per_second: float, seconds: float) -> None:
        self.sent = self.refused = 0
        self._transports = transports
        self._begin, self._seconds = 0.0, seconds
        self._interval_seconds = CASES["http"].spans / spans_per_second
        self._numbers = itertools.count()

    async def run(self, receiver: Receiver) -> float:
        """Spans a second that were answered."""
        async with AsyncExitStack() as stack:
            senders: list[tuple[Client, Iterator[tuple[Body, bytes]]]] = []
            for transport in self._transports:
                case = CASES[transport]
                source = exports(bodies(case.shape, case.encoding, case.spans, count=DIFFERENT_BODIES), case)
                port = receiver.http if transport == "http" else receiver.grpc
                senders += [(one, source) for one in await stack.enter_async_context(clients(f"127.0.0.1:{port}", case))]
            self._begin = time.perf_counter()
            scraping = asyncio.create_task(self._scrape(receiver))
            await asyncio.gather(*(self._send(*sender) for sender in senders))
            seconds = time.perf_counter() - self._begin
            scraping.cancel()
        return self.sent / seconds

    async def _send(self, client: Client, source: Iterator[tuple[Body, bytes]]) -> None:
        while (due := next(self._numbers) * self._interval_seconds) < self._seconds:
            await asyncio.sleep(max(0.0, self._begin + due - time.perf_counter()))
            if time.perf_counter() > self._begin + self._seconds:
                return
            body, encoded = next(source)
            taken = await client.export(encoded)
            self.sent += body.spans if taken else 0
            self.refused += not taken

    async def _scrape(self, receiver: Receiver) -> None:
        while True:
            await asyncio.to_thread(page, receiver, "/metrics")
            await asyncio.sleep(SCRAPE_UNDER_LOAD_SECONDS)


def loaded(folder: Path, transports: list[str], seconds: float) -> None:
    """Prints what memory was at the most under load."""
    with sidecar(folder, takes_grpc="grpc" in transports) as receiver:
        time.sleep(1)  # spans end within the second before they are made: all of them after the sidecar's start
        before, load = peak_mib(receiver), Load(transports, spans_per_second=SPANS_PER_SECOND, seconds=seconds)
        per_second = asyncio.run(load.run(receiver))
        page(receiver, "/api/v1/report")
        print(
            f"peak memory, {' and '.join(transports):13}       {peak_mib(receiver):.0f} MiB at {per_second:,.0f} spans/s"
            f" ({load.refused} exports refused), {before:.0f} MiB before",
            flush=True,
        )


def many_names(folder: Path, million_spans: int) -> None:
    """Prints how memory goes while a million models are named."""
    case, numbers = CASES["http"], itertools.count()
    names = re.compile(b"|".join(re.escape(name.encode()) for name in MODELS))

    def renamed(found: re.Match[bytes]) -> bytes:
        """As long as it was, so that nothing else changes."""
        return f"{next(numbers) % NAMES:07d}".ljust(len(found[0]), "-").encode()

    async def send(receiver: Receiver, spans: int) -> None:
        source = exports(bodies(case.shape, case.encoding, case.spans, count=DIFFERENT_BODIES), case)
        async with clients(f"127.0.0.1:{receiver.http}", case) as senders:
            for _ in range(0, spans, case.spans * len(senders)):
                await asyncio.gather(*(sender.export(names.sub(renamed, next(source)[1])) for sender in senders))

    with sidecar(folder) as receiver:
        time.sleep(1)
        process = psutil.Process(receiver.pid)
        for million in range(1, million_spans + 1):
            asyncio.run(send(receiver, 1_000_000))
            page(receiver, "/metrics")
            print(f"{million:3} million spans, {NAMES:,} names  {resident_mib(process):.0f} MiB, peak {peak_mib(receiver):.0f}", flush=True)


def idle(folder: Path, seconds: int) -> None:
    """Prints memory and CPU while nothing but GPU readings and scrapes come."""
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


def told(what: str, measure: Callable[[Path], float], folder: Path, repetitions: int) -> None:
    seconds = [measure(folder) for _ in range(repetitions)]
    print(f"{what:32} {statistics.median(seconds):.2f} s [{min(seconds):.2f}-{max(seconds):.2f}]", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--idle-seconds", type=int, default=60)
    parser.add_argument("--load-seconds", type=int, default=30)
    parser.add_argument("--million-spans", type=int, default=0, help="after that, so many with a million names")
    parser.add_argument("--memory", action="store_true", help="memory alone")
    args = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f}, {GPUS} replayed GPUs, medians of {args.repetitions} [range]", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not args.memory:
            told("start to ready", start_seconds, folder, args.repetitions)
            told("SIGTERM to the end", stop_seconds, folder, args.repetitions)
            idle(folder, args.idle_seconds)
        for transports in (["http", "grpc"], ["http"]):
            loaded(folder, transports, args.load_seconds)
        if args.million_spans:
            many_names(folder, args.million_spans)


if __name__ == "__main__":
    main()
