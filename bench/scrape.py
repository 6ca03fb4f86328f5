"""What /metrics costs with 10,000 series: CPU time of its parts, latency of a scrape, and how long exports wait for their answer meanwhile.

Two parts. In a process of its own, a real ledger of so many models that each have an SLA: CPU time of its snapshot, advice, page and
packing. Over HTTP, `infermeter serve` with as many models, each sent spans of vLLM's shape in small exports: scrapes as Prometheus asks
(OpenMetrics, gzip), four a second, and the longest wait of an export that was under way while one was answered, and of the others. The
first scrape of a sidecar, which lays the page out, is told apart.

usage: scrape.py [--models 110] [--rounds 3] [--parts] [--beside FOLDER] [--profile]

The sidecar runs on core 0, the sender on core 1. `--beside` measures another checkout's `exporter` folder in turn with this one.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import itertools
import json
import os
import pstats
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np
from bodies import MODELS, Body, bodies
from generator import Case, Client, clients, exports
from ingest import GENERATOR_CORE, RECEIVER_CORE
from ledger import BATCH, CONFIG, PER_SECOND, SECOND_NS, START_NS, batch, later
from prometheus_client import ProcessCollector
from receivers import Receiver
from receivers import infermeter as sidecar

import infermeter
from infermeter.advice import advise, premises_of
from infermeter.catalogue.shipped import shipped_catalogue
from infermeter.ledger import Ledger
from infermeter.metrics.exposition import Exposition
from infermeter.model import Advice, GpuIdentity, GpuSample, IntakeFacts, LedgerSnapshot, Snapshot
from infermeter.web.encoding import packed

Given = ParamSpec("Given")
Made = TypeVar("Made")

SERIES_MOST = 1_000_000
GPUS = 8
MINUTES = 2
REPEATED = 30

ACCEPT = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
CASE = Case("http", "protobuf", 64, "vllm")
EXPORTS_PER_SECOND = 40
SCRAPE_EVERY_SECONDS = 0.25
WARM_SECONDS = 10.0
ROUND_SECONDS = 60.0
"""240 scrapes, so that one in a hundred is not the slowest."""
MORE = f"limits: {{{{models: {{models}}, series: {SERIES_MOST}}}}}\nledger: {{{{span_delay: 2s}}}}\n"


# --- the parts, in this process ----------------------------------------------------------------------------------------------------
def lived(models: int) -> tuple[Ledger, int]:
    """A ledger that has counted for MINUTES, and the time then."""
    rng = np.random.default_rng(1)
    config = replace(CONFIG, limits=replace(CONFIG.limits, models=models + 1))
    book = Ledger(config, start_ns=START_NS - 10 * SECOND_NS, sampled=False, gpus=[GpuIdentity(f"GPU-{i}") for i in range(GPUS)])
    pool = itertools.cycle([batch(models, rng) for _ in range(4)])
    now_ns, next_ns = START_NS, START_NS
    for second in range(1, MINUTES * 60 + 1):
        now_ns = START_NS + second * SECOND_NS
        while next_ns <= now_ns:
            book.add(later(next(pool), next_ns - START_NS), now_ns)
            next_ns += BATCH * SECOND_NS // PER_SECOND
        book.add_samples([GpuSample(f"GPU-{i}", now_ns, 300.0, 300.0 * second, 1.0, 2**35, 2**36) for i in range(GPUS)])
        book.advance(now_ns, SECOND_NS)
    return book, now_ns


def snapshot_of(ledger: LedgerSnapshot, advice: Advice) -> Snapshot:
    return Snapshot(
        server="bench",
        version="0",
        revision="",
        kind="serve",
        ledger=ledger,
        intake=IntakeFacts({}, {}, {}, {}, 0, None, 0, 1),
        advice=advice,
        gpu_source="simulated",
        gpu_source_up=True,
        price_as_of_ns=START_NS,
        price_source="bench",
        series_limit=SERIES_MOST,
        config_reload_ns=START_NS,
        totals_from="observed",
    )


def parts(models: int, *, profile: bool) -> dict[str, float]:
    """CPU milliseconds of what a scrape consists of, medians; and how many series there were.

    Before each, spans have come of every model, so that no histogram is what it was; before the second snapshot a slot has closed, too.
    """
    book, now_ns = lived(models)
    catalogue, some = shipped_catalogue(), batch(models, np.random.default_rng(2))
    as_text, as_openmetrics = Exposition((ProcessCollector(registry=None),)), Exposition((ProcessCollector(registry=None),))
    taken: dict[str, list[float]] = {}
    page = text = b""

    def timed(what: str, make: Callable[Given, Made], *args: Given.args, **kwargs: Given.kwargs) -> Made:
        begin = time.process_time()
        made = make(*args, **kwargs)
        taken.setdefault(what, []).append(time.process_time() - begin)
        return made

    def advised(ledger: LedgerSnapshot) -> Advice:
        return advise(premises_of(CONFIG, ledger, catalogue, price_as_of_ns=START_NS))

    def lives(seconds: int) -> None:
        nonlocal now_ns
        now_ns += seconds * SECOND_NS
        book.add(later(some, now_ns - START_NS), now_ns)
        timed("a tick" if seconds == 1 else "a tick, slots closed", book.advance, now_ns, seconds * SECOND_NS)

    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)  # as `serve` does
    profiler = cProfile.Profile()
    for number in range(REPEATED):
        lives(10)
        timed("snapshot, slots closed", book.snapshot, now_ns)
        lives(1)
        if profile and number > REPEATED // 2:
            profiler.enable()
        ledger = timed("snapshot", book.snapshot, now_ns)
        advice = timed("advice", advised, ledger)
        snapshot = snapshot_of(ledger, advice)
        page, _ = timed("page, OpenMetrics", as_openmetrics.render, snapshot, ACCEPT)
        profiler.disable()
        text, _ = timed("page, text", as_text.render, snapshot, "text/plain")
        timed("gzip", packed, page, "gzip")
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(30)
    figures = {what: statistics.median(seconds) * 1e3 for what, seconds in taken.items()}
    return figures | {"series": float(sum(1 for line in text.split(b"\n") if line and not line.startswith(b"#")))}


# --- over HTTP ---------------------------------------------------------------------------------------------------------------------
class Answered(NamedTuple):
    """When something was asked and when it was answered, seconds on one clock; and whether what was sent was taken."""

    begin: float
    end: float
    taken: bool = True


def of_many_models(different: Sequence[Body], models: int) -> list[Body]:
    """The bodies, each with model names of its own, as long as those that it had: so nothing else in it changes."""
    numbers = itertools.cycle(range(models))
    renamed = []
    for body in different:
        names = {name.encode(): f"model-{next(numbers):04d}".ljust(len(name), "-").encode() for name in MODELS}
        pieces = body.pieces
        for old, new in names.items():
            pieces = tuple(piece.replace(old, new) for piece in pieces)
        renamed.append(replace(body, pieces=pieces))
    return renamed


async def scraped(web: int, until: float) -> tuple[list[Answered], int]:
    """Scrapes on one connection until then; and the length of the last body, packed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", web)
    request = f"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: {ACCEPT}\r\nAccept-Encoding: gzip\r\n\r\n".encode()
    answered: list[Answered] = []
    length = 0
    while (begin := time.perf_counter()) < until:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        await reader.readexactly(length)
        answered.append(Answered(begin, time.perf_counter()))
        await asyncio.sleep(max(0.0, begin + SCRAPE_EVERY_SECONDS - time.perf_counter()))
    writer.close()
    return answered, length


async def sent(client: Client, source: Iterator[tuple[Body, bytes]], until: float) -> list[Answered]:
    """Exports at even times from now until then."""
    answered: list[Answered] = []
    begun = time.perf_counter()
    for number in itertools.count():
        due = begun + number / EXPORTS_PER_SECOND
        if due >= until:
            return answered
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        _, encoded = next(source)
        begin = time.perf_counter()
        taken = await client.export(encoded)
        answered.append(Answered(begin, time.perf_counter(), taken))
    raise AssertionError


async def measured(receiver: Receiver, models: int) -> dict[str, float]:
    """Exports, after some time with scrapes: figures in milliseconds."""
    assert receiver.web is not None
    different = of_many_models(bodies(CASE.shape, "protobuf", CASE.spans, count=-(-models // len(MODELS))), models)
    async with clients(f"127.0.0.1:{receiver.http}", CASE) as senders:
        await sent(senders[0], exports(different, CASE), time.perf_counter() + WARM_SECONDS)
        until = time.perf_counter() + ROUND_SECONDS
        waits, (scrapes, length) = await asyncio.gather(sent(senders[0], exports(different, CASE), until), scraped(receiver.web, until))
    first, *later_ones = scrapes
    at_first = [wait for wait in waits if overlap(wait, first)]
    during = [wait for wait in waits if wait not in at_first and any(overlap(wait, scrape) for scrape in later_ones)]
    apart = sorted(set(waits) - set(during) - set(at_first))
    return {
        "first scrape": quantile([first], 1.0),
        "longest export at first": quantile(at_first, 1.0),
        "scrapes": float(len(later_ones)),
        "scrape p50": quantile(later_ones, 0.5),
        "scrape p99": quantile(later_ones, 0.99),
        "exports meanwhile": float(len(during)),
        "longest export meanwhile": quantile(during, 1.0),
        "export p50, apart": quantile(apart, 0.5),
        "longest export, apart": quantile(apart, 1.0),
        "exports refused": float(sum(not wait.taken for wait in waits)),
        "kB packed": length / 1e3,
    }


def overlap(one: Answered, other: Answered) -> bool:
    return one.begin < other.end and other.begin < one.end


def quantile(answered: Sequence[Answered], ratio: float) -> float:
    """Milliseconds; 0 where nothing was asked."""
    ordered = sorted(end - begin for begin, end, _ in answered) or [0.0]
    return ordered[min(int(len(ordered) * ratio), len(ordered) - 1)] * 1e3


def over_http(models: int) -> dict[str, float]:
    """The same in a process of its own, beside a sidecar that was just started."""
    with sidecar("vllm", core=RECEIVER_CORE, more=MORE.format(models=models + 1)) as receiver:
        time.sleep(1)  # spans end within the second before they are made: all of them after the sidecar's start
        os.sched_setaffinity(0, {GENERATOR_CORE})
        return asyncio.run(measured(receiver, models))


# --- processes of their own --------------------------------------------------------------------------------------------------------
def in_turn(arguments: Sequence[str], folders: Sequence[str], times: int) -> dict[str, list[dict[str, float]]]:
    """What this program prints as JSON when it is given `--once`, by the folder that it takes the package from."""
    figures: dict[str, list[dict[str, float]]] = {folder: [] for folder in folders}
    for _ in range(times):
        for folder in folders:
            command = [sys.executable, __file__, "--once", *arguments]
            output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | {"PYTHONPATH": folder}).stdout
            figures[folder].append(json.loads(output))
    return figures


def told(figures: dict[str, list[dict[str, float]]]) -> None:
    """Medians by folder, the range in brackets; of two folders the ratios of the pairs, too."""
    ours, *others = figures.values()
    for what in ours[0]:
        columns: list[str] = []
        for runs in figures.values():
            values = [run[what] for run in runs]
            columns.append(f"{statistics.median(values):9.2f} [{min(values):.2f} to {max(values):.2f}]")
        for runs in others:
            ratios = [a[what] / b[what] for a, b in zip(ours, runs, strict=True) if b[what]]
            columns.append(f"{statistics.median(ratios):6.3f} times as much" if ratios else "")
        print(f"{what:26}", "   ".join(f"{column:34}" for column in columns), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=110)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each")
    parser.add_argument("--beside", help="the exporter folder of another checkout")
    parser.add_argument("--parts", action="store_true", help="CPU time of the parts alone, without HTTP")
    parser.add_argument("--profile", action="store_true", help="the parts once in this process, and where their time goes")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.profile:
        told({"": [parts(args.models, profile=True)]})
    elif args.once:
        figures: dict[str, Any] = {
            what if what == "series" else f"{what}, CPU": value for what, value in parts(args.models, profile=False).items()
        }
        print(json.dumps(figures if args.parts else figures | over_http(args.models)))
    else:
        print(f"load average {os.getloadavg()[0]:.1f}, {args.models} models; milliseconds, medians of {args.rounds} [range]", flush=True)
        folders = [str(Path(infermeter.__file__).parents[1]), *filter(None, [args.beside])]
        told(in_turn(["--models", str(args.models), *["--parts"] * args.parts], folders, args.rounds))


if __name__ == "__main__":
    main()
