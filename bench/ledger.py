"""What the ledger costs by itself: time an inference, time a second, memory of an hour of windows, time of a snapshot.

Batches of 4,096 inferences at 1,000 a second, with an SLA for each model (so that each has a capacity), prices, and a GPU sample a
second. CPU time of this process alone, so that other work beside changes little; memory as what the process has grown by.

usage: ledger.py [--minutes 60] [--models 3,20] [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import multiprocessing
import os
import pstats
import statistics
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from infermeter.config import Config, Cost, LedgerConfig, Rent, Server, Sla, Slas
from infermeter.ledger import Ledger
from infermeter.model import GpuIdentity, GpuSample, InferenceBatch

BATCH = 4096
PER_SECOND = 1000
SECOND_NS = 10**9
START_NS = 1_784_548_800 * SECOND_NS
CONFIG = Config(
    server=Server(kind="vllm", sampled=False),
    sla=Slas(default=Sla(0.99, 4.0, 0.5, 0.05)),
    cost=Cost(currency="USD", rent=Rent(per_hour=3.43, per="gpu")),
    ledger=LedgerConfig(),
)


def batch(models: int, rng: np.random.Generator) -> InferenceBatch:
    """Inferences of a server that batches, whose ends lie in the 4 s before START_NS."""
    duration_ns = (rng.lognormal(0.0, 0.5, BATCH) * SECOND_NS).astype(np.int64)
    queue_ns = (duration_ns * 0.1).astype(np.int64)
    end_ns = START_NS - rng.integers(0, BATCH * SECOND_NS // PER_SECOND, BATCH)
    tokens = rng.integers(1, 400, BATCH)
    return InferenceBatch(
        model=[f"model-{i}" for i in rng.integers(0, models, BATCH).tolist()],
        start_ns=end_ns - duration_ns,
        end_ns=end_ns,
        stages_ns=np.column_stack((queue_ns, duration_ns - queue_ns, np.full(BATCH, -1), np.full(BATCH, -1))),
        parts=(),
        compute_rows=np.arange(BATCH),
        compute_start_ns=end_ns - duration_ns + queue_ns,
        compute_end_ns=end_ns,
        compute_estimated=np.zeros(BATCH, np.bool_),
        ttft_seconds=rng.lognormal(-2.0, 0.5, BATCH),
        tpot_seconds=duration_ns / SECOND_NS / tokens,
        tokens_input=tokens * 2,
        tokens_output=tokens,
        error=rng.random(BATCH) < 0.001,
        trace_id=[bytes(row) for row in rng.integers(0, 256, (BATCH, 16), np.uint8)],
        quality={"queue": "measured", "compute": "measured"},
    )


def later(one: InferenceBatch, ns: int) -> InferenceBatch:
    return replace(
        one,
        start_ns=one.start_ns + ns,
        end_ns=one.end_ns + ns,
        compute_start_ns=one.compute_start_ns + ns,
        compute_end_ns=one.compute_end_ns + ns,
    )


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(models: int, minutes: float, *, profile: bool) -> None:
    """A life of so many minutes; prints what it cost."""
    rng = np.random.default_rng(1)
    pool = [batch(models, rng) for _ in range(8)]
    warm = Ledger(CONFIG, start_ns=START_NS, sampled=False, gpus=[GpuIdentity("GPU-0")])
    warm.add(pool[0], START_NS)
    gc.collect()
    before = resident_bytes()
    book = Ledger(CONFIG, start_ns=START_NS - 10 * SECOND_NS, sampled=False, gpus=[GpuIdentity("GPU-0")])
    profiler = cProfile.Profile() if profile else None
    added, passed, inferences, next_ns = 0.0, 0.0, 0, START_NS
    for second in range(1, round(minutes * 60) + 1):
        now_ns = START_NS + second * SECOND_NS
        while next_ns <= now_ns:
            arrived = later(pool[inferences // BATCH % len(pool)], next_ns - START_NS)
            if profiler:
                profiler.enable()
            begin = time.process_time()
            book.add(arrived, now_ns)
            added += time.process_time() - begin
            if profiler:
                profiler.disable()
            inferences += BATCH
            next_ns += BATCH * SECOND_NS // PER_SECOND
        begin = time.process_time()
        book.add_samples([GpuSample("GPU-0", now_ns, 300.0, 300.0 * second, 1.0, 2**35, 2**36)])
        book.advance(now_ns, SECOND_NS)
        passed += time.process_time() - begin
    gc.collect()
    grown = resident_bytes() - before
    shots = []
    for _ in range(20):
        begin = time.process_time()
        snapshot = book.snapshot(now_ns)
        shots.append(time.process_time() - begin)
    told = sum(model.observed_ok + model.observed_error for model in snapshot.models)
    if told != inferences:
        raise SystemExit(f"{told} of {inferences} inferences were counted")
    print(
        f"{models:3} models: {added / inferences * 1e6:.2f} us an inference, {passed / minutes / 60 * 1e6:.0f} us a second of settling, "
        f"{(added + passed) / inferences * 1e6:.2f} us an inference in all; {grown / 2**20:.1f} MiB more after {minutes:g} minutes "
        f"({inferences:,} inferences); snapshot {statistics.median(shots) * 1e3:.2f} ms [{min(shots) * 1e3:.2f} to {max(shots) * 1e3:.2f}]",
        flush=True,
    )
    if profiler:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--models", default="3,20")
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f}", flush=True)
    for models in map(int, args.models.split(",")):
        alone = multiprocessing.get_context("spawn").Process(target=measure, args=(models, args.minutes), kwargs={"profile": args.profile})
        alone.start()
        alone.join()
        if alone.exitcode:
            raise SystemExit(alone.exitcode)


if __name__ == "__main__":
    main()
