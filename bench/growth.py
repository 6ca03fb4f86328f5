"""What a span costs as there come to be more of anything that a sender controls: CPU time, in one process, without transport.

usage: growth.py [--rounds 7] [--models 1,10,100,500] [--long 4]

Prints three tables and exits 1 where a bound is passed: what a span costs with 1 to 500 models, from its bytes to the ledger, which shall
be the same; how many times as much hostile layouts cost to decode as they cost the plain decoder, which keeps nothing from one export to
the next (protobuf's parser and a map, orjson and a span at a time), measured in turn on the same exports; and with --long what becomes of
cost and memory over so many millions of spans in which a model, a request and every id is new.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

from bodies import MARK, SECOND_NS, SHAPES, Body, as_json
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from infermeter.config import Config, Cost, Limits, Rent, Server, Sla, Slas
from infermeter.mapping import load_mappings
from infermeter.meter import Meter, Surroundings
from infermeter.model import Export, SpanFilter
from infermeter.otlp.answers import Encoding
from infermeter.otlp.backlog import Backlog
from infermeter.otlp.json import decode_any_json
from infermeter.otlp.plain import Plain
from infermeter.otlp.protobuf import decode_protobuf
from infermeter.otlp.receiver import Receiver

MOST_TIMES_AS_MUCH = 1.3
MOST_MIB_MORE = 4.0
START_NS = 1_790_000_000 * SECOND_NS
BEFORE_NS = 60 * SECOND_NS
"""The ledger starts so long before the first export: it books as late what ended before it started."""

SPANS_PER_SECOND = 50_000
EXPORT_SPANS = 512
DIFFERENT_EXPORTS = 8
SPANS_AT_ONCE = 4096
"""Of one measurement, which another follows."""

TENTHS = 10
RENEWED_SECONDS = 10
"""How old exports grow before they are made anew."""

NAME_MARK = "@" * 16
"""Stands in texts where each export has something of its own."""

CONFIG = Config(
    server=Server(kind="vllm", name="bench", sampled=False),
    sla=Slas(default=Sla(0.99, 2.0, 0.5, 0.05)),
    cost=Cost(currency="USD", rent=Rent(per_hour=3.43, per="gpu")),
)

Request = ExportTraceServiceRequest
Change = Callable[[Request, random.Random], Request]


class Pipeline:
    """What `serve` makes of exports, from their bytes to the ledger, and the CPU time that it took."""

    def __init__(self, *, start_ns: int = START_NS, models: int = 20) -> None:
        """`models`: so many are counted apart."""
        config = replace(CONFIG, limits=Limits(models=models))
        self._meter = Meter(config, load_mappings("vllm", {}), start_ns=start_ns - BEFORE_NS)
        self._meter.advance(start_ns, BEFORE_NS)
        self.wanted: SpanFilter = self._meter.wanted
        self._backlog = Backlog(Plain(self.wanted), self._kept)
        self._receiver = Receiver(self.wanted, self._consume, config.limits, overloaded=lambda: False, backlog=self._backlog)
        self.now_ns = start_ns
        self.total_seconds = 0.0
        self.meter_seconds = 0.0

    def take(self, bodies: Sequence[bytes], encoding: Encoding) -> None:
        """Takes exports and books what they hold."""
        begin = time.process_time()
        for body in bodies:
            self._receiver.take(body, encoding, "identity", "http")
        self._drain()
        self.total_seconds += time.process_time() - begin

    def advance(self, elapsed_ns: int) -> None:
        """So much time passes."""
        begin = time.process_time()
        self.now_ns += elapsed_ns
        self._meter.advance(self.now_ns, elapsed_ns)
        self.meter_seconds += time.process_time() - begin
        self.total_seconds += time.process_time() - begin

    def late(self) -> int:
        """How many inferences were booked as late: next to nothing is done with these."""
        nothing: dict[str, int] = {}
        snapshot = self._meter.snapshot(
            self.now_ns,
            spans_received=nothing,
            spans_dropped=nothing,
            exports_refused=nothing,
            connections_displaced=0,
            surroundings=Surroundings(),
        )
        return sum(model.late for model in snapshot.ledger.models)

    def _kept(self) -> None:
        if self._backlog.is_full:
            self._drain()

    def _drain(self) -> None:
        export = self._backlog.drained()
        if export is not None:
            self._consume(export)

    def _consume(self, export: Export) -> None:
        begin = time.process_time()
        self._meter.consume(export, self.now_ns)
        self.meter_seconds += time.process_time() - begin


# --- exports -----------------------------------------------------------------------------------------------------------------------
def exports(change: Change, *, spans: int, now_ns: int, encoding: Encoding, count: int = DIFFERENT_EXPORTS, seed: int = 7) -> list[Body]:
    """So many exports of vLLM's shape, changed."""
    numbers = random.Random(seed)
    made: list[Body] = []
    for _ in range(count):
        request = change(SHAPES["vllm"](spans, numbers, now_ns), numbers)
        encoded = as_json(request, as_triton=False) if encoding == "json" else request.SerializeToString()
        made.append(Body(tuple(encoded.split(MARK.hex().encode() if encoding == "json" else MARK)), spans, spans))
    return made


class Nonces:
    """Bytes that no export has had yet."""

    def __init__(self) -> None:
        self._number = 0

    def body(self, body: Body, encoding: Encoding) -> bytes:
        """The export with ids and names of its own."""
        self._number += 1
        nonce = self._number.to_bytes(4, "big")
        own = body.with_ids_of(nonce.hex().encode() if encoding == "json" else nonce)
        return own.replace(NAME_MARK.encode(), f"{self._number:0{len(NAME_MARK)}}".encode())


def spans_of(request: Request) -> Iterator[Span]:
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            yield from scope.spans


def as_it_is(request: Request, numbers: random.Random) -> Request:  # noqa: ARG001 - one of the changes
    return request


def models(count: int) -> Change:
    def changed(request: Request, numbers: random.Random) -> Request:
        for span in spans_of(request):
            attribute(span, "gen_ai.response.model").string_value = f"model-{numbers.randrange(count):03}"
        return request

    return changed


def every_text_is_new(request: Request, numbers: random.Random) -> Request:  # noqa: ARG001 - one of the changes
    for number, span in enumerate(spans_of(request)):
        attribute(span, "gen_ai.response.model").string_value = f"model-{number}-{NAME_MARK}"
        attribute(span, "gen_ai.request.id").string_value = f"cmpl-{number}-{NAME_MARK}"
    return request


def attribute(span: Span, key: str) -> AnyValue:
    """The value of an attribute that is there."""
    return next(told.value for told in span.attributes if told.key == key)


def random_texts(request: Request, numbers: random.Random) -> Request:
    for span in spans_of(request):
        for told in span.attributes:
            if told.value.HasField("string_value"):
                told.value.string_value = "t" * numbers.randrange(300)
    return request


def unknown_attributes(request: Request, numbers: random.Random) -> Request:
    for span in spans_of(request):
        for _ in range(numbers.randrange(20)):
            span.attributes.append(KeyValue(key=f"key-{numbers.randrange(1000)}", value=AnyValue(int_value=numbers.getrandbits(32))))
    return request


def shuffled_attributes(request: Request, numbers: random.Random) -> Request:
    for span in spans_of(request):
        told = list(span.attributes)
        numbers.shuffle(told)
        del span.attributes[:]
        span.attributes.extend(told)
    return request


def a_resource_each(request: Request, numbers: random.Random) -> Request:
    each = Request()
    for span in spans_of(request):
        told = each.resource_spans.add()
        told.resource.CopyFrom(request.resource_spans[0].resource)
        told.resource.attributes.append(KeyValue(key="gen_ai.request.model", value=AnyValue(string_value=f"r{numbers.random()}")))
        scoped = told.scope_spans.add()
        scoped.scope.CopyFrom(request.resource_spans[0].scope_spans[0].scope)
        scoped.spans.append(span)
    return each


def a_scope_each(request: Request, numbers: random.Random) -> Request:
    each = Request()
    told = each.resource_spans.add()
    told.resource.CopyFrom(request.resource_spans[0].resource)
    for span in spans_of(request):
        scoped = told.scope_spans.add()
        scoped.scope.name = f"scope-{numbers.getrandbits(32)}"
        scoped.spans.append(span)
    return each


def a_name_each(request: Request, numbers: random.Random) -> Request:
    for span in spans_of(request):
        span.name = f"name-{numbers.getrandbits(32)}"
    return request


def malformed_ids(request: Request, numbers: random.Random) -> Request:
    for span in spans_of(request):
        span.span_id = span.span_id[: numbers.randrange(4, 8)]
    return request


def one_is_malformed(request: Request, numbers: random.Random) -> Request:
    every = list(spans_of(request))
    every[numbers.randrange(1, len(every) - 1)].trace_id = b""
    return request


HOSTILE: Mapping[str, Change] = {
    "as vLLM sends": as_it_is,
    "texts of random lengths": random_texts,
    "unknown attributes": unknown_attributes,
    "attributes in any order": shuffled_attributes,
    "a resource each": a_resource_each,
    "a scope each": a_scope_each,
    "a name each": a_name_each,
    "all ids malformed": malformed_ids,
    "one id malformed": one_is_malformed,
}


# --- tables ------------------------------------------------------------------------------------------------------------------------
def by_models(counts: Sequence[int], *, rounds: int) -> bool:
    """Prints what a span costs by the number of models; whether that is the same."""
    print(f"{'models':>24} {'decode':>8} {'map, book':>10}   us a span of {EXPORT_SPANS} an export", flush=True)
    pipelines = {count: Pipeline(models=max(counts) + 1) for count in counts}
    made = {count: exports(models(count), spans=EXPORT_SPANS, now_ns=START_NS, encoding="protobuf") for count in counts}
    nonces = Nonces()
    costs: dict[int, list[tuple[float, float]]] = {count: [] for count in counts}
    for number in range(rounds + 1):
        for count, pipeline in pipelines.items():
            pipeline.total_seconds = pipeline.meter_seconds = 0.0
            for _ in range(4):
                pipeline.take([nonces.body(body, "protobuf") for body in made[count]], "protobuf")
            spans = 4 * EXPORT_SPANS * DIFFERENT_EXPORTS
            if number:  # the first warms up
                meter = pipeline.meter_seconds / spans * 1e6
                costs[count].append((pipeline.total_seconds / spans * 1e6 - meter, meter))
            pipeline.advance(SECOND_NS // 10)
    for count, each in costs.items():
        decode, meter = (statistics.median(column) for column in zip(*each, strict=True))
        print(f"{count:24} {decode:8.2f} {meter:10.2f}")
    least, most = (min(costs[count], key=sum) for count in (min(counts), max(counts)))
    ratio = sum(most) / sum(least)
    print(f"{max(counts)} models cost {ratio:.2f} times as much as {min(counts)} (at most {MOST_TIMES_AS_MUCH})\n", flush=True)
    late = sum(pipeline.late() for pipeline in pipelines.values())
    if late:
        print(f"{late} inferences were late: that isn't what spans cost\n", flush=True)
    return ratio <= MOST_TIMES_AS_MUCH and not late


@dataclass
class Contest:
    """What decodes exports of one sort, and what decodes them plainly."""

    name: str
    encoding: Encoding
    made: list[Body]
    receiver: Receiver
    wanted: SpanFilter

    def __post_init__(self) -> None:
        self.costs: list[tuple[float, float]] = []

    def measure(self, nonces: Nonces) -> None:
        """Decodes the same exports both ways."""
        bodies = [nonces.body(body, self.encoding) for body in self.made]
        spans = sum(body.spans for body in self.made)
        begin = time.process_time()
        for body in bodies:
            self.receiver.take(body, self.encoding, "identity", "http")
        middle = time.process_time()
        plain = decode_any_json if self.encoding == "json" else decode_protobuf
        for body in bodies:
            plain(body, self.wanted)
        self.costs.append(((middle - begin) / spans * 1e6, (time.process_time() - middle) / spans * 1e6))


def by_layout(*, rounds: int) -> bool:
    """Prints what hostile layouts cost; whether none is dearer than it may be."""
    print(f"{'layout':>24} {'encoding':>9} {'spans':>6} {'decode':>8} {'plain':>8}   us a span, and the ratio", flush=True)
    contests = [contest(name, encoding, spans) for name in HOSTILE for encoding in ("protobuf", "json") for spans in (EXPORT_SPANS, 64)]
    nonces = Nonces()
    gc.collect()
    gc.freeze()
    for _ in range(rounds + 1):
        for one in contests:
            one.measure(nonces)
    dear = 0
    for one in contests:
        costs = one.costs[1:]  # the first warms up
        ratio = statistics.median(cost / plain for cost, plain in costs)
        cost, plain = (min(column) for column in zip(*costs, strict=True))
        is_dear = ratio > MOST_TIMES_AS_MUCH
        dear += is_dear
        print(f"{one.name:>24} {one.encoding:>9} {one.made[0].spans:6} {cost:8.2f} {plain:8.2f} {ratio:6.2f}{' too dear' * is_dear}")
    print(f"{dear} cost more than {MOST_TIMES_AS_MUCH} times as much\n", flush=True)
    return not dear


def contest(name: str, encoding: Encoding, spans: int) -> Contest:
    made = exports(HOSTILE[name], spans=spans, now_ns=START_NS, encoding=encoding, count=SPANS_AT_ONCE // spans)
    wanted = Pipeline().wanted
    backlog: Backlog

    def kept() -> None:
        if backlog.is_full:
            backlog.drained()

    backlog = Backlog(Plain(wanted), kept)
    receiver = Receiver(wanted, lambda _export: None, CONFIG.limits, overloaded=lambda: False, backlog=backlog)
    return Contest(name, encoding, made, receiver, wanted)


def over_time(millions: float) -> bool:
    """Prints cost and memory tenth by tenth, beside those of as many models as are counted apart; whether neither grows by what is new."""
    print(f"{'million spans':>24} {'us a span':>19} {'resident, MiB':>19}   as few models, and every model, request and id new", flush=True)
    lives = []
    for change in ("few", "new"):
        receiving, sending = multiprocessing.Pipe(duplex=False)
        alone = multiprocessing.get_context("spawn").Process(target=live, args=(change, millions, sending))
        alone.start()
        lives.append([receiving.recv() for _ in range(TENTHS)])
        alone.join()
    for (spans, cost, resident), (_, new_cost, new_resident) in zip(*lives, strict=True):
        print(f"{spans / 1e6:24.2f} {cost:9.2f} {new_cost:9.2f} {resident:9.1f} {new_resident:9.1f}")
    costs = [cost for _, cost, _ in lives[1]]
    ratio = statistics.median(costs[-3:]) / statistics.median(costs[1:4])
    more = max(new[2] - few[2] for few, new in zip(*lives, strict=True))
    print(f"at the end {ratio:.2f} times as much (at most {MOST_TIMES_AS_MUCH}), and {more:.1f} MiB more (at most {MOST_MIB_MORE})")
    return ratio <= MOST_TIMES_AS_MUCH and more <= MOST_MIB_MORE


def live(change: Literal["few", "new"], millions: float, sending: Connection) -> None:
    """Sends spans, CPU us a span and resident MiB after each tenth of so many millions."""
    pipeline, nonces = Pipeline(), Nonces()
    apart = CONFIG.limits.models + 1  # the rest is one more
    spans, renewed_ns = 0, 0
    made: list[Body] = []
    for tenth in range(1, TENTHS + 1):
        pipeline.total_seconds, before = 0.0, spans
        while spans < tenth * millions * 1e6 / TENTHS:
            if pipeline.now_ns >= renewed_ns:
                changed = models(apart) if change == "few" else every_text_is_new
                made = exports(changed, spans=EXPORT_SPANS, now_ns=pipeline.now_ns, encoding="protobuf", seed=spans)
                renewed_ns = pipeline.now_ns + RENEWED_SECONDS * SECOND_NS
            pipeline.take([nonces.body(body, "protobuf") for body in made], "protobuf")
            pipeline.advance(EXPORT_SPANS * len(made) * SECOND_NS // SPANS_PER_SECOND)
            spans += EXPORT_SPANS * len(made)
        sending.send((spans, pipeline.total_seconds / (spans - before) * 1e6, resident_mib()))


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--models", default="1,10,100,500")
    parser.add_argument("--long", type=float, metavar="MILLIONS", help="only this, for so many millions of spans")
    args = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f}", flush=True)
    if args.long is not None:
        return int(not over_time(args.long))
    is_flat = by_models([int(count) for count in args.models.split(",")], rounds=args.rounds)
    return int(not by_layout(rounds=args.rounds) or not is_flat)


if __name__ == "__main__":
    sys.exit(main())
