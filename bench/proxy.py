"""What `infermeter proxy` costs: CPU and latency of a request, beside the same proxy without spans, the least that aiohttp takes, and none.

Upstream and the end point of spans (one process, no library), proxies and load are processes of their own. Variants take
turns within a round, in an order that changes. Latency at a rate: requests come at random instants, whether earlier ones have been
answered or not, each timed from when it is written. CPU besides while one request follows the other.
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
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
from aiohttp import web
from receivers import free_ports

from infermeter.commands import proxy as command
from infermeter.proxy import Spans

BODY = b'{"input": [' + b"0.123, " * 250 + b"0]}"
ANSWER = b'{"output": [' + b"0.456, " * 60 + b"0]}"
ANSWERED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER)
READY_SECONDS = 15
VARIANTS = "direct", "bare aiohttp", "without spans", "with spans"


class Messages(asyncio.Protocol):
    """Calls back for each message of a connection that is complete; all have a Content-Length."""

    def __init__(self, came: Callable[[asyncio.Transport], None]) -> None:
        self._came = came
        self._bytes = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps what to answer on."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Takes bytes."""
        self._bytes += data
        while (head := self._bytes.find(b"\r\n\r\n")) >= 0:
            length = self._bytes[:head].lower().partition(b"\r\ncontent-length:")[2].split(b"\r\n", 1)[0]
            end = head + 4 + int(length or 0)
            if len(self._bytes) < end:
                return
            self._bytes = self._bytes[end:]
            self._came(self.transport)


async def upstream(port: int) -> None:
    """Answers at once, also to exports: what comes on top is the proxy's."""
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Messages(lambda transport: transport.write(ANSWERED)), "127.0.0.1", port)
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


class Client:
    """Requests over connections that are kept."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.Transport, list[asyncio.Future[None]]]] = []
        self._request = (
            b"POST /infer HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: */*\r\nUser-Agent: bench\r\nContent-Type: application/json\r\n" % port
        )
        self._request += b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY

    async def seconds(self) -> float:
        """How long one request takes."""
        loop = asyncio.get_running_loop()
        if not self._idle:
            answers: list[asyncio.Future[None]] = []
            transport, _ = await loop.create_connection(lambda: Messages(lambda _: answers.pop().set_result(None)), "127.0.0.1", self._port)
            self._idle.append((transport, answers))
        connection = self._idle.pop()
        answer = loop.create_future()
        connection[1].append(answer)
        begin = time.perf_counter()
        connection[0].write(self._request)
        await answer
        self._idle.append(connection)
        return time.perf_counter() - begin

    async def at_rate(self, rate: float, seconds: float, *, even: bool) -> list[float]:
        """Of requests that come so many a second, at random instants or evenly."""
        due = begin = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            asked = []
            while due - begin < seconds:
                due += 1 / rate if even else random.expovariate(rate)
                await asyncio.sleep(max(due - time.perf_counter(), 0))
                asked.append(tasks.create_task(self.seconds()))
        return [task.result() for task in asked]

    async def in_turn(self, count: int) -> list[float]:
        """Of requests, one after the other."""
        return [await self.seconds() for _ in range(count)]

    def close(self) -> None:
        """Ends its connections."""
        while self._idle:
            self._idle.pop()[0].close()


@contextlib.contextmanager
def started(*words: object, core: int) -> Iterator[int]:
    """This file again, as a process of another role, on a core; its number."""
    process = subprocess.Popen(["taskset", "--cpu-list", str(core), sys.executable, __file__, *map(str, words)], env=os.environ)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(40)


async def ready(port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


def cpu_seconds(pid: int) -> float:
    """Of all its threads, from the scheduler."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9


def quantile(values: list[float], q: float) -> float:
    return sorted(values)[min(len(values) - 1, int(q * len(values)))]


def spread(values: list[float], form: str = ".2f") -> str:
    return f"{statistics.median(values):{form}} [{min(values):{form}} to {max(values):{form}}]"


async def measure(args: argparse.Namespace) -> None:
    ports = dict(zip(VARIANTS, free_ports(4), strict=True))
    target = f"http://127.0.0.1:{ports['direct']}"
    told: dict[str, dict[str, list[float]]] = {
        what: {name: [] for name in VARIANTS} for what in ("p50", "p99", "p99_in_turn", "cpu", "cpu_in_turn")
    }
    pooled: dict[str, list[float]] = {name: [] for name in VARIANTS}
    print("load average before:", *(f"{load:.2f}" for load in os.getloadavg()))
    with contextlib.ExitStack() as stack:
        stack.enter_context(started("upstream", ports["direct"], core=1))
        options = ("--upstream", target, "--endpoint", target, "--model", "m")
        pids = {"bare aiohttp": stack.enter_context(started("bare", ports["bare aiohttp"], target, core=0))}
        for name, role in (("without spans", "silent"), ("with spans", "proxy")):
            pids[name] = stack.enter_context(started(role, "--listen", f"127.0.0.1:{ports[name]}", *options, core=0))
        for port in ports.values():
            await ready(port)
            await Client(port).in_turn(500)
        for _ in range(args.rounds):
            for name in random.sample(VARIANTS, len(VARIANTS)):
                client = Client(ports[name])
                await client.in_turn(50)
                for what, asked in (
                    ("cpu", client.at_rate(args.rate, args.seconds, even=args.even)),
                    ("cpu_in_turn", client.in_turn(args.in_turn)),
                ):
                    before = cpu_seconds(pids[name]) if name in pids else 0
                    latencies = await asked
                    await asyncio.sleep(1.1)  # the last spans go
                    if name in pids:
                        told[what][name].append((cpu_seconds(pids[name]) - before) / len(latencies) * 1e6)
                    if what == "cpu":
                        pooled[name] += latencies
                        told["p50"][name].append(quantile(latencies, 0.5) * 1e3)
                    told["p99" if what == "cpu" else "p99_in_turn"][name].append(quantile(latencies, 0.99) * 1e3)
                client.close()
    print("load average after:", *(f"{load:.2f}" for load in os.getloadavg()))
    report(args, told, pooled)


def report(args: argparse.Namespace, told: dict[str, dict[str, list[float]]], pooled: dict[str, list[float]]) -> None:
    for name in VARIANTS:
        used = f"CPU {spread(told['cpu'][name], '.0f')} us, in turn {spread(told['cpu_in_turn'][name], '.0f')}" if told["cpu"][name] else ""
        latency = f"p50 {spread(told['p50'][name])} ms, p99 {spread(told['p99'][name])}, of all {quantile(pooled[name], 0.99) * 1e3:.2f}"
        print(f"{name:14} {latency}; {used}")
    for what, unit in (("cpu", f"at {args.rate:.0f} a second"), ("cpu_in_turn", "in turn")):
        for other in ("without spans", "bare aiohttp"):
            ratios = [a / b for a, b in zip(told[what]["with spans"], told[what][other], strict=True)]
            print(f"CPU with spans / {other}, {unit}: {spread(ratios)}")
    for other in ("direct", "bare aiohttp", "without spans"):
        for what in ("p50", "p99", "p99_in_turn"):
            added = [a - b for a, b in zip(told[what]["with spans"], told[what][other], strict=True)]
            print(f"{what} with spans less {other}: {spread(added)} ms")


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
        parser.add_argument("--rounds", type=int, default=8)
        parser.add_argument("--seconds", type=float, default=5)
        parser.add_argument("--rate", type=float, default=200, help="requests a second, at random instants")
        parser.add_argument("--even", action="store_true", help="at even instants instead")
        parser.add_argument("--in-turn", type=int, default=1000, help="requests one after the other")
        asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
