"""What mapping costs by itself: CPU seconds per million spans from decoded columns to inferences, and memory under a flood.

Decoding and ledger are not in it. Triton's and vLLM's shape are those of bodies.py, the others recorded cases of the tests; every export
has trace ids that none had before it. Spans come at a fixed rate of a clock of its own, 510 an export, and are taken every 8,192 spans.
Every repetition is a process of its own. With `--beside` another checkout's `exporter` folder is measured in turn with this one.

usage: mapping.py [--shapes triton,vllm,...] [--spans 200000] [--repetitions 5] [--beside FOLDER] [--auto] [--profile] [--flood]
"""

from __future__ import annotations

import argparse
import cProfile
import functools
import gc
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

import numpy as np
from bodies import MARK, SECOND_NS, bodies
from flood import FLOODS

import infermeter
from infermeter.config import Assembly, Limits
from infermeter.mapping import Mapper, load_mappings
from infermeter.model import SpanBatch, SpanEvents
from infermeter.otlp.json import decode_json
from infermeter.otlp.protobuf import decode_protobuf
from infermeter.otlp.templates import Templates

EXPORT_SPANS = 510
FLUSH_SPANS = 8192
SPANS_PER_SECOND = {"ray": 3_000}
OTHERS_PER_SECOND = 40_000
"""Fewer traces are pending than may be (Ray's for 12 seconds, the others for one), so that all are complete by time."""

TESTS = Path(__file__).parents[1] / "tests"
RAY = [f"captures/ray-serve/ray-{n:03}-grpc.json" for n in (3, 4, 5, 6)]
SHAPES: dict[str, tuple[str, Sequence[str]]] = {
    "triton": ("triton", ()),
    "vllm": ("vllm", ()),
    "ray": ("ray_serve", RAY),
    "native": ("infermeter", ["mapping/cases/infermeter/native.json"]),
    "sglang": ("sglang", ["mapping/cases/sglang/generations.json"]),
}
"""The mapping of each shape, and recordings below tests/, where bodies.py doesn't make it."""


def mapper_of(kind: str, limits: Limits | None = None) -> Mapper:
    return Mapper(load_mappings(kind, {}), assembly=Assembly(), limits=limits or Limits())


# --- speed -------------------------------------------------------------------------------------------------------------------------
def decoded(shape: str, mapper: Mapper) -> list[SpanBatch]:
    """The spans of one export."""
    _, files = SHAPES[shape]
    if not files:
        body = bodies(shape, "protobuf", EXPORT_SPANS, count=1)[0].with_ids_of(MARK)
        return list(decode_protobuf(body, mapper.wanted, Templates(mapper.wanted)).batches)
    once = [batch for name in files for batch in decode_json((TESTS / name).read_bytes(), mapper.wanted).batches]
    return [repeated(batch, EXPORT_SPANS // sum(map(len, once))) for batch in once]


def repeated(batch: SpanBatch, times: int) -> SpanBatch:
    """So many times the spans of a batch, each time in traces of their own."""
    names = ("span_id", "parent_id", "kind", "status", "start_ns", "end_ns")
    traces = [n.to_bytes(2, "big") + one[2:] for n in range(times) for one in batch.trace_id.tolist()]
    events = batch.events
    if events is not None:
        row = np.concatenate([events.row + n * len(batch) for n in range(times)])
        events = SpanEvents(events.names, row, np.tile(events.name, times), np.tile(events.time_ns, times))
    return replace(
        batch,
        **{name: np.tile(getattr(batch, name), times) for name in names},
        trace_id=np.array(traces, batch.trace_id.dtype),
        attributes=tuple(None if one is None else np.tile(one, times) for one in batch.attributes),
        events=events,
    )


def renewed(batches: Sequence[SpanBatch], number: int) -> list[SpanBatch]:
    """The same spans in traces that nobody has seen."""
    nonce = number.to_bytes(4, "big")

    traces = [[one[:4] + nonce + one[8:] for one in batch.trace_id.tolist()] for batch in batches]
    return [replace(batch, trace_id=np.array(ids, batch.trace_id.dtype)) for batch, ids in zip(batches, traces, strict=True)]


class Measured:
    """A mapper that is fed, and the CPU time that this took."""

    def __init__(self, shape: str, *, kind: str) -> None:
        self.mapper = mapper_of(kind)
        self._export = decoded(shape, self.mapper)
        self.spans_per_second = SPANS_PER_SECOND.get(shape, OTHERS_PER_SECOND)
        self.export_spans = sum(map(len, self._export))
        self._now_ns = max(max(batch.end_ns) for batch in self._export)
        self._number = 0
        self._waiting = 0
        self.inferences = 0

    def feed(self, spans: int, profile: cProfile.Profile | None = None) -> float:
        """CPU seconds."""
        taken_seconds = 0.0
        for _ in range(spans // self.export_spans):
            self._number += 1
            export = renewed(self._export, self._number)
            if profile:
                profile.enable()
            begin = time.process_time()
            self.mapper.add(export, self._now_ns)
            self._waiting += self.export_spans
            if self._waiting >= FLUSH_SPANS:
                self._waiting = 0
                if (batch := self.mapper.take(self._now_ns)) is not None:
                    self.inferences += len(batch)
            taken_seconds += time.process_time() - begin
            if profile:
                profile.disable()
            self._now_ns += self.export_spans * SECOND_NS // self.spans_per_second
        return taken_seconds


def microseconds_per_span(shape: str, spans: int, *, kind: str, profile: bool) -> float:
    of = Measured(shape, kind=kind)
    of.feed(80_000)  # as many as are pending, and again
    gc.collect()
    profiler = cProfile.Profile() if profile else None
    seconds = of.feed(spans, profiler)
    if profiler:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)
    if not of.inferences or of.mapper.spans_dropped.total():
        sys.exit(f"{shape}: {of.inferences} inferences, dropped {dict(of.mapper.spans_dropped)}")
    return seconds / (spans // of.export_spans * of.export_spans) * 1e6


# --- memory ------------------------------------------------------------------------------------------------------------------------
def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def flooded_mib(name: str) -> tuple[float, int]:
    """By how much the process grew under spans whose root never comes, MiB, at most; and how many came."""
    flood = FLOODS[name]
    mapper = mapper_of(flood.kind)
    exports: Iterator[bytes] = iter(flood.exports())
    now_ns = time.time_ns()
    for _ in range(3):
        decode_protobuf(next(exports), mapper.wanted)
    gc.collect()
    before, most, spans = resident_bytes(), 0, 0
    for number, body in enumerate(exports):
        export = decode_protobuf(body, mapper.wanted)
        mapper.add(export.batches, now_ns + number * 1_000_000)
        spans += export.spans
        del export, body
        if mapper.presses or number % 8 == 0:
            mapper.take(now_ns + number * 1_000_000)
        most = max(most, resident_bytes())
    return (most - before) / 2**20, spans


# --- processes of their own --------------------------------------------------------------------------------------------------------
def in_turn(arguments: Sequence[str], folders: Sequence[str], repetitions: int) -> dict[str, list[list[float]]]:
    """What this program prints as JSON when it is given `--once`, by the folder that it takes the package from."""
    figures: dict[str, list[list[float]]] = {folder: [] for folder in folders}
    for _ in range(repetitions):
        for folder in folders:
            command = [sys.executable, __file__, "--once", *arguments]
            path = {"PYTHONPATH": folder}
            output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | path).stdout
            figures[folder].append(json.loads(output))
    return figures


def told(name: str, unit: str, figures: dict[str, list[list[float]]]) -> None:
    for folder, runs in figures.items():
        values = [run[0] for run in runs]
        print(f"{name:16} {statistics.median(values):7.2f} {unit} [{min(values):.2f} to {max(values):.2f}]  {folder}", flush=True)
    if len(figures) == 2:
        mine, other = ([run[0] for run in runs] for runs in figures.values())
        ratios = [a / b for a, b in zip(mine, other, strict=True)]
        print(f"{name:16} {statistics.median(ratios):7.2f} times as much [{min(ratios):.2f} to {max(ratios):.2f}]", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", help=f"of {','.join(SHAPES)}; with --flood of {','.join(FLOODS)}")
    parser.add_argument("--spans", type=int, default=200_000, help="of a repetition")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--beside", help="the exporter folder of another checkout")
    parser.add_argument("--auto", action="store_true", help="all mappings apply, not only the server's own")
    parser.add_argument("--profile", action="store_true", help="one repetition in this process, and where its time goes")
    parser.add_argument("--flood", action="store_true", help="memory under floods instead of speed")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    folders = [str(Path(infermeter.__file__).parents[1]), *filter(None, [args.beside])]
    for shape in args.shapes.split(",") if args.shapes else FLOODS if args.flood else SHAPES:
        passed = ["--shapes", shape, "--spans", str(args.spans), *["--auto"] * args.auto, *["--flood"] * args.flood]
        measure: Callable[[], Sequence[float]] = (
            functools.partial(flooded_mib, shape)
            if args.flood
            else lambda shape=shape: [  # type: ignore[misc]  # a default binds the shape
                microseconds_per_span(shape, args.spans, kind="auto" if args.auto else SHAPES[shape][0], profile=args.profile)
            ]
        )
        if args.once:
            print(json.dumps(measure()))
        elif args.profile:
            print(f"{shape:16} {measure()[0]:7.2f} CPU s/M under the profiler", flush=True)
        else:
            told(shape, "MiB" if args.flood else "CPU s/M", in_turn(passed, folders, args.repetitions))
    return 0


if __name__ == "__main__":
    sys.exit(main())
