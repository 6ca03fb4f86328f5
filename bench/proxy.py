"""What `infermeter proxy` costs: CPU and latency of a request, beside the same proxy without spans, the least that aiohttp takes, and none.

Upstream, proxy and load are processes of their own; `infermeter serve` takes the spans. Variants take turns within a run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import aiohttp
import psutil
from aiohttp import web
from receivers import free_ports, infermeter

from infermeter.commands import proxy as command
from infermeter.proxy import Spans

BODY = b'{"input": [' + b"0.123, " * 250 + b"0]}"
ANSWER = b'{"output": [' + b"0.456, " * 60 + b"0]}"
READY_SECONDS = 15


async def upstream(port: int) -> None:
    """Answers at once: what comes on top is the proxy's."""

    async def answer(request: web.BaseRequest) -> web.Response:
        await request.read()
        return web.Response(body=ANSWER, content_type="application/json")

    await asyncio.get_running_loop().create_server(web.Server(answer, access_log=None), "127.0.0.1", port)
    await asyncio.Event().wait()


async def bare(port: int, upstream_url: str) -> None:
    """The least that a proxy of aiohttp's parts does, which is neither safe nor whole: the yardstick of this machine."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False) as http:

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            async with http.request(request.method, upstream_url + request.path_qs, data=await request.read()) as upstream:
                response = web.StreamResponse(status=upstream.status, headers=upstream.headers)
                await response.prepare(request)
                async for piece in upstream.content.iter_any():
                    await response.write(piece)
                await response.write_eof()
                return response

        await asyncio.get_running_loop().create_server(web.Server(answer, access_log=None), "127.0.0.1", port)
        await asyncio.Event().wait()


class Silent(Spans):
    """No spans: the same proxy without them."""

    def add(self, *_: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def started(*words: object, core: int | None = None) -> Iterator[psutil.Process]:
    """This file again, as a process of another role."""
    pinned = [] if core is None else ["taskset", "--cpu-list", str(core)]
    process = subprocess.Popen([*pinned, sys.executable, __file__, *map(str, words)], env=os.environ)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(40)


async def ready(http: aiohttp.ClientSession, url: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            async with http.post(url, data=BODY) as response:
                if response.status == 200:
                    return
        except aiohttp.ClientError:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.05)


async def asked(http: aiohttp.ClientSession, url: str, *, seconds: float, rate: float) -> list[float]:
    """Latencies in seconds of requests that come at random instants, so many a second."""
    latencies = []
    draws = random.Random(0)

    async def one() -> None:
        begin = time.perf_counter()
        async with http.post(url, data=BODY) as response:
            await response.read()
            assert response.status == 200
        latencies.append(time.perf_counter() - begin)

    due = begin = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        while due - begin < seconds:
            due += draws.expovariate(rate)
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            tasks.create_task(one())
    return latencies


def cpu_seconds(process: psutil.Process) -> float:
    used = process.cpu_times()
    return used.user + used.system


def quantile(values: list[float], q: float) -> float:
    return sorted(values)[min(len(values) - 1, int(q * len(values)))]


async def measure(args: argparse.Namespace) -> None:
    up, least, silent, spans = free_ports(4)
    variants = {"direct": up, "bare aiohttp": least, "without spans": silent, "with spans": spans}
    cpu: dict[str, list[float]] = {name: [] for name in variants}
    tail: dict[str, list[float]] = {name: [] for name in variants}
    middle: dict[str, list[float]] = {name: [] for name in variants}
    quiet: dict[str, list[float]] = {name: [] for name in variants}  # p99 of the quietest second of a round
    with infermeter("infermeter", core=1) as receiver, contextlib.ExitStack() as stack:
        endpoint = f"http://127.0.0.1:{receiver.http}"
        stack.enter_context(started("upstream", up, core=1))
        options = ("--upstream", f"http://127.0.0.1:{up}", "--endpoint", endpoint, "--model", "m")
        processes = {
            "bare aiohttp": stack.enter_context(started("bare", least, f"http://127.0.0.1:{up}", core=0)),
            "without spans": stack.enter_context(started("silent", "--listen", f"127.0.0.1:{silent}", *options, core=0)),
            "with spans": stack.enter_context(started("proxy", "--listen", f"127.0.0.1:{spans}", *options, core=0)),
        }
        http = aiohttp.ClientSession()
        async with http:
            for port in variants.values():
                await ready(http, f"http://127.0.0.1:{port}/infer")
                await asked(http, f"http://127.0.0.1:{port}/infer", seconds=1, rate=args.rate)
            for _ in range(args.rounds):
                for name, port in variants.items():
                    before = {other: cpu_seconds(process) for other, process in processes.items()}
                    latencies = await asked(http, f"http://127.0.0.1:{port}/infer", seconds=args.seconds, rate=args.rate)
                    await asyncio.sleep(1.5)  # the last spans go
                    if name in processes:
                        cpu[name].append((cpu_seconds(processes[name]) - before[name]) / len(latencies) * 1e6)
                    tail[name].append(quantile(latencies, 0.99) * 1e3)
                    second = int(args.rate)
                    windows = [latencies[at : at + second] for at in range(0, len(latencies) - second + 1, second)]
                    quiet[name].append(min(quantile(window, 0.99) for window in windows) * 1e3)
                    middle[name].append(quantile(latencies, 0.5) * 1e3)
    for name in variants:
        used = f"CPU {statistics.median(cpu[name]):4.0f} us [{min(cpu[name]):.0f} to {max(cpu[name]):.0f}]" if cpu[name] else ""
        print(
            f"{name:14} p50 {statistics.median(middle[name]):6.2f} ms  p99 {statistics.median(tail[name]):6.2f} ms"
            f" [{min(tail[name]):.2f} to {max(tail[name]):.2f}], of its quietest second {min(quiet[name]):.2f}  {used}"
        )
    for other in ("without spans", "bare aiohttp"):
        ratios = [a / b for a, b in zip(cpu["with spans"], cpu[other], strict=True)]
        print(f"CPU with spans / {other}: {statistics.median(ratios):.2f} [{min(ratios):.2f} to {max(ratios):.2f}]")
    for other in ("direct", "bare aiohttp", "without spans"):
        for name, values in (("p50", middle), ("p99", tail), ("p99 of the quietest seconds", quiet)):
            added = [a - b for a, b in zip(values["with spans"], values[other], strict=True)]
            print(f"{name} with spans less {other}: {statistics.median(added):.2f} ms [{min(added):.2f} to {max(added):.2f}]")


def main() -> None:
    if sys.argv[1:2] == ["upstream"]:
        asyncio.run(upstream(int(sys.argv[2])))
    elif sys.argv[1:2] == ["bare"]:
        asyncio.run(bare(int(sys.argv[2]), sys.argv[3]))
    elif sys.argv[1:2] in (["proxy"], ["silent"]):
        if sys.argv[1] == "silent":
            command.Spans = Silent  # type: ignore[misc]
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        command.run(parser.parse_args(sys.argv[2:]))
    else:
        parser = argparse.ArgumentParser()
        parser.add_argument("--rounds", type=int, default=5)
        parser.add_argument("--seconds", type=float, default=5)
        parser.add_argument("--rate", type=float, default=300, help="requests a second")
        asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
