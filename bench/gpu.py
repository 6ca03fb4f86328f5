"""What reading eight GPUs costs, on a library in NVML's place (tests/integration/gpu/nvml_stub.c), beside nvitop-exporter on the same.

usage: gpu.py [--rounds 5] [--seconds 10] [--no-peer]

nvitop-exporter is installed into .cache/bench-nvitop the first time. Three questions: CPU of a sample and of the reading thread at 10 Hz,
with and without the library's own; the peer's, for its background reading and a scrape; and how long a scrape of the sidecar waits
while a device hangs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pynvml
from receivers import free_ports, infermeter

from infermeter.gpu.nvml import NvmlSource
from infermeter.gpu.sampler import Sampler
from infermeter.gpu.source import every

GPUS = 8
INTERVAL_SECONDS = 0.1
HANG_SECONDS = 12.0
"""Two until it hangs, two until that is noticed, five until its last sample is stale."""

ROOT = Path(__file__).parents[1]
STUB = ROOT / "tests" / "integration" / "gpu" / "nvml_stub.c"
PEER = ROOT / ".cache" / "bench-nvitop"
NVML = "libnvidia-ml.so.1"


def built(folder: Path) -> dict[str, str]:
    """The environment of a process whose NVML is the stub."""
    flags = ["-O2", "-shared", "-fPIC", f"-Wl,-soname,{NVML}"]
    subprocess.run(["gcc", *flags, "-o", str(folder / NVML), str(STUB), "-lm", "-pthread"], check=True)
    return os.environ | {"LD_LIBRARY_PATH": str(folder), "STUB_GPUS": str(GPUS)}


# --- in a process of its own, on the stub ---------------------------------------------------------------------------------------------
class Told:
    """pynvml, with a list of the calls that were made of it."""

    def __init__(self) -> None:
        self.calls: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever pynvml has
        function = getattr(pynvml, name)

        def call(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - likewise
            self.calls.append((function, arguments, named))
            return function(*arguments, **named)

        return call if callable(function) else function


def sample_seconds(seconds: float) -> dict[str, float]:
    """CPU of one sample of all GPUs, and of the raw calls that it makes, in turn at 10 Hz; medians."""
    told = Told()
    source, traced = (NvmlSource(hardware=False, choose=every, interval_seconds=INTERVAL_SECONDS, library=nvml) for nvml in (pynvml, told))
    source.open()
    traced.open()
    traced.read(time.time_ns())
    told.calls.clear()
    traced.read(time.time_ns())
    calls = list(told.calls)

    def raw() -> None:
        for function, arguments, named in calls:
            function(*arguments, **named)

    def whole() -> None:
        source.read(time.time_ns())

    taken: dict[Callable[[], None], list[float]] = {raw: [], whole: []}
    deadline = time.monotonic() + seconds
    order = [raw, whole]
    while time.monotonic() < deadline:
        for work in order:
            time.sleep(INTERVAL_SECONDS / 2)
            begin = time.thread_time()
            work()
            taken[work].append(time.thread_time() - begin)
        order.reverse()
    medians = {"sample": statistics.median(taken[whole]), "library": statistics.median(taken[raw]), "calls": float(len(calls))}
    return medians | {"sample at once": back_to_back(whole), "library at once": back_to_back(raw)}


def back_to_back(work: Callable[[], None], times: int = 500) -> float:
    """CPU seconds of one, where nothing else has run in between."""
    begin = time.thread_time()
    for _ in range(times):
        work()
    return (time.thread_time() - begin) / times


async def thread_share(seconds: float) -> float:
    """The share of a core that the reading thread takes at 10 Hz, the library's time and handing over included."""
    done = asyncio.Event()
    sampler = Sampler(
        NvmlSource(hardware=False, choose=every, interval_seconds=INTERVAL_SECONDS),
        interval_seconds=INTERVAL_SECONDS,
        timeout_seconds=2,
        now=time.time_ns,
        loop=asyncio.get_running_loop(),
        deliver=lambda _: done.set(),
        fail=lambda error: print(error, file=sys.stderr),
    )
    sampler.start()
    await done.wait()
    await asyncio.sleep(0.5)
    (thread,) = (thread.native_id for thread in threading.enumerate() if thread.name == "gpu-nvml")
    before, begin = on_cpu_seconds(f"/proc/self/task/{thread}"), time.monotonic()
    await asyncio.sleep(seconds)
    share = (on_cpu_seconds(f"/proc/self/task/{thread}") - before) / (time.monotonic() - begin)
    sampler.stop()
    return share


def read(seconds: float) -> None:
    """Prints what this process measured of itself."""
    told = sample_seconds(seconds)
    json.dump(told | {"thread": asyncio.run(thread_share(seconds))}, sys.stdout)


# --- the peer -----------------------------------------------------------------------------------------------------------------------
@contextlib.contextmanager
def nvitop(environment: dict[str, str]) -> Iterator[tuple[int, int]]:
    """nvitop-exporter at its own interval of a second: its pid and its port."""
    if not (PEER / "bin" / "nvitop-exporter").exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEER)], check=True)
        subprocess.run([str(PEER / "bin" / "pip"), "install", "-q", "nvitop-exporter"], check=True)
    (port,) = free_ports(1)
    command = [str(PEER / "bin" / "nvitop-exporter"), "--port", str(port)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 30
            while not answers(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("nvitop-exporter doesn't start")
                time.sleep(0.1)
            yield process.pid, port
        finally:
            process.terminate()


def answers(port: int) -> bool:
    try:
        return b"gpu_power_usage" in page(port)
    except OSError:
        return False


def peer_costs(pid: int, port: int, seconds: float, scrapes: int = 300) -> dict[str, float]:
    """CPU seconds of its background reading, once a second, and of a scrape beyond that, whose thread ends with it."""
    before, begin = process_seconds(pid), time.monotonic()
    time.sleep(seconds)
    background = (process_seconds(pid) - before) / (time.monotonic() - begin)
    process = psutil.Process(pid)
    ticks, begin = process.cpu_times(), time.monotonic()
    for _ in range(scrapes):
        page(port)
    after, elapsed = process.cpu_times(), time.monotonic() - begin
    used = after.user + after.system - ticks.user - ticks.system
    return {"background": background, "scrape": (used - background * elapsed) / scrapes}


# --- a device that hangs ------------------------------------------------------------------------------------------------------------
def scrape_seconds(environment: dict[str, str], *, hangs: bool, seconds: float) -> tuple[list[float], str]:
    """How long scrapes of the sidecar took, one every 20 ms, and what the last one said of the first GPU."""
    hang = {"STUB_HANG": "0", "STUB_HANG_FROM": "20"} if hangs else {}
    with replaced(os.environ, environment | hang), infermeter("vllm", gpu="{source: nvml, interval: 100ms}") as receiver:
        port = receiver.web or 0
        page(port)
        took, deadline, text = [], time.monotonic() + seconds, b""
        while time.monotonic() < deadline:
            begin = time.monotonic()
            text = page(port)
            took.append(time.monotonic() - begin)
            time.sleep(0.02)
    up = next(line for line in text.decode().splitlines() if line.startswith("infermeter_gpu_up") and "00000000-" in line)
    return took, up.rpartition(" ")[2]


@contextlib.contextmanager
def replaced(environ: os._Environ[str], values: dict[str, str]) -> Iterator[None]:
    before = dict(environ)
    environ.update(values)
    try:
        yield
    finally:
        environ.clear()
        environ.update(before)


# --- what they share ----------------------------------------------------------------------------------------------------------------
def page(port: int) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        return bytes(response.read())


def on_cpu_seconds(task: str) -> float:
    """A thread's CPU time, to the nanosecond."""
    return int(Path(task, "schedstat").read_text().split()[0]) / 1e9


def process_seconds(pid: int) -> float:
    """CPU time of all threads that a process has now, to the nanosecond."""
    return sum(on_cpu_seconds(str(task)) for task in Path(f"/proc/{pid}/task").iterdir())


def told(what: str, values: list[float], unit: str, scale: float) -> None:
    low, middle, high = (scale * value for value in (min(values), statistics.median(values), max(values)))
    print(f"{what:68} {middle:8.3f} {unit} [{low:.3f} to {high:.3f}]", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement in a round")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--read", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read:
        read(args.seconds)
        return
    print(f"load average {os.getloadavg()[0]:.1f}, {GPUS} GPUs on the stub, medians of {args.rounds} rounds [range]", flush=True)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        environment = built(Path(folder))
        peer = None if args.no_peer else stack.enter_context(nvitop(environment))
        ours, theirs = [], []
        for _ in range(args.rounds):
            command = [sys.executable, __file__, "--read", "--seconds", str(args.seconds)]
            ours.append(json.loads(subprocess.run(command, env=environment, check=True, capture_output=True).stdout))
            if peer:
                theirs.append(peer_costs(*peer, args.seconds))
        stack.close()
        report(ours, theirs)
        for hangs in (False, True):
            took, up = scrape_seconds(environment, hangs=hangs, seconds=HANG_SECONDS)
            state = "hangs from the second second on" if hangs else "answers"
            told(f"a scrape while a device {state}, gpu_up {up}; {len(took)} scrapes", took, "ms", 1e3)


def report(ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> None:
    share = [one["thread"] for one in ours]
    library = [one["library"] / INTERVAL_SECONDS for one in ours]
    told(f"a sample, with the library ({ours[0]['calls']:.0f} calls)", [one["sample"] for one in ours], "ms", 1e3)
    told("  the library's calls alone", [one["library"] for one in ours], "ms", 1e3)
    told("  apart from the library", [one["sample"] - one["library"] for one in ours], "ms", 1e3)
    told("a sample, one right after the other", [one["sample at once"] for one in ours], "ms", 1e3)
    told("  apart from the library", [one["sample at once"] - one["library at once"] for one in ours], "ms", 1e3)
    told("the reading thread at 10 Hz, with the library", share, "% of a core", 100)
    told("  apart from the library", [all_ - part for all_, part in zip(share, library, strict=True)], "% of a core", 100)
    if theirs:
        told("nvitop-exporter: a scrape", [one["scrape"] for one in theirs], "ms", 1e3)
        told("nvitop-exporter: its background reading, once a second", [one["background"] for one in theirs], "ms", 1e3)
        ratios = [their["scrape"] / our["sample"] for our, their in zip(ours, theirs, strict=True)]
        told("its scrape over our sample", ratios, "times", 1)
        ratios = [their["background"] / our["sample"] for our, their in zip(ours, theirs, strict=True)]
        told("its background reading over our sample", ratios, "times", 1)


if __name__ == "__main__":
    main()
