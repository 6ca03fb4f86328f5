"""Law 4 for spans: order and splitting of exports change nothing, nor do repeated spans; and every span is counted exactly once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from infermeter.config import Assembly, Limits
from infermeter.mapping import Mapper, ServerMapping, load_mappings
from infermeter.model import Column, InferenceBatch, Names, SpanBatch, SpanEvents
from infermeter.otlp.columns import TRACE_ID, events, objects
from mapping.recordings import TESTS, decoded, unbounded
from support import span_rows
from unit.mapping.hand_made import Span, batches, mapper, mapping, ns

RECORDINGS = {
    "triton": ("triton/001.json", "triton/003.json", "triton/variants/001.json", "triton/variants/002.json"),
    "pytriton": ("pytriton/002.json", "pytriton/005.json", "pytriton/006.pb", "pytriton/007.pb", "pytriton/008.pb"),
    "bentoml": ("bentoml/002.pb",),
    "ray-serve": (
        "ray-serve/ray-003-grpc.json",
        "ray-serve/ray-004-grpc.json",
        "ray-serve/ray-005-grpc.json",
        "ray-serve/ray-006-grpc.json",
    ),
    "vllm": ("vllm/grpc/003.pb", "vllm/grpc/004.pb", "vllm/http/008.pb"),
}


def inferences(batch: InferenceBatch | None) -> Counter[tuple[object, ...]]:
    """Everything that is known of each inference, as a bag."""
    if batch is None:
        return Counter()
    more: list[set[tuple[object, ...]]] = [set() for _ in range(len(batch))]
    for part in batch.parts:
        for row, part_ns in zip(part.rows.tolist(), part.ns.tolist(), strict=True):
            more[row].add((part.stage, part.part, part_ns))
    for row, *interval in zip(batch.compute_rows.tolist(), batch.compute_start_ns.tolist(), batch.compute_end_ns.tolist(), strict=True):
        more[row].add(tuple(interval))
    columns = ("model", "start_ns", "end_ns", "compute_estimated", "tokens_input", "tokens_output", "error", "trace_id")
    return Counter(
        (
            *(getattr(batch, name)[row] for name in columns),
            *batch.stages_ns[row].tolist(),
            *(None if told != told else told for told in (batch.ttft_seconds[row], batch.tpot_seconds[row])),  # noqa: PLR0124 - NaN
            frozenset(more[row]),
        )
        for row in range(len(batch))
    )


def test_inferences_are_compared_by_all_that_is_known_of_them() -> None:
    assert {field.name for field in fields(InferenceBatch)} == {
        *("model", "start_ns", "end_ns", "stages_ns", "parts", "compute_rows", "compute_start_ns", "compute_end_ns", "compute_estimated"),
        *("ttft_seconds", "tpot_seconds", "tokens_input", "tokens_output", "error", "trace_id", "quality", "around_ns"),
    }


def single_spans(of: Mapper, name: str) -> list[SpanBatch]:
    """Every span of a recording alone, in the order of the files."""
    exports = [decoded(TESTS / "captures" / path, of) for path in RECORDINGS[name]]
    return [single(batch, row) for export in exports for batch in export.batches for row in range(len(batch))]


def single(batch: SpanBatch, row: int) -> SpanBatch:
    columns = ("trace_id", "span_id", "parent_id", "kind", "status", "start_ns", "end_ns")
    events = batch.events
    if events is not None:
        own = events.row == row
        events = SpanEvents(events.names, np.zeros(own.sum(), np.int64), events.name[own], events.time_ns[own])
    return replace(
        batch,
        **{name: getattr(batch, name)[row : row + 1] for name in columns},
        attributes=tuple(None if column is None else column[row : row + 1] for column in batch.attributes),
        events=events,
    )


@cache
def expected(name: str) -> tuple[Counter[tuple[object, ...]], int, Counter[str]]:
    """What a recording gives as it was sent: inferences, spans mapped and unmapped."""
    of = unbounded("auto")
    for path in RECORDINGS[name]:
        of.add(decoded(TESTS / "captures" / path, of).batches, 0)
    return inferences(of.finish()), of.spans_mapped, of.spans_unmapped


@settings(max_examples=4, deadline=None)
@pytest.mark.parametrize("name", RECORDINGS)
@given(seed=st.integers(0, 2**32), exports=st.integers(1, 60))
def test_order_and_splitting_of_exports_change_nothing(name: str, seed: int, exports: int) -> None:
    of = unbounded("auto")
    spans = single_spans(of, name)
    chance = random.Random(seed)
    chance.shuffle(spans)
    cuts = sorted(chance.choices(range(len(spans)), k=exports))
    for first, last in zip([0, *cuts], [*cuts, len(spans)], strict=True):
        of.add(spans[first:last], 0)
    assert (inferences(of.finish()), of.spans_mapped, of.spans_unmapped) == expected(name)


@settings(max_examples=4, deadline=None)
@pytest.mark.parametrize("name", ["triton", "bentoml"])
@given(seed=st.integers(0, 2**32))
def test_spans_that_come_again_within_their_trace_change_nothing(name: str, seed: int) -> None:
    of = unbounded("auto")
    spans = single_spans(of, name)
    chance = random.Random(seed)
    again = chance.choices(spans, k=50)
    everything = spans + again
    chance.shuffle(everything)
    of.add(everything, 0)
    assert (inferences(of.finish()), of.spans_mapped, of.spans_unmapped) == expected(name)
    assert of.spans_dropped["duplicate"] == len(again)


# --- many traces at once -------------------------------------------------------------------------------------------------------------
CASES = sorted((TESTS / "mapping" / "cases").glob("*/*.yaml"))
COPIES, MOST_TRACES = 2, 6
SECOND = 10**9


def copies(of: Mapper, path: Path) -> dict[bytes, list[SpanBatch]]:
    """The spans of a case by their traces, each trace more than once, under ids of its own."""
    traces: dict[bytes, list[SpanBatch]] = {}
    for name in yaml.safe_load(path.read_text("utf-8"))["input"]:
        for batch in decoded(TESTS / name, of).batches:
            for one in (single(batch, row) for row in range(len(batch))):
                traces.setdefault(one.trace_id[0].tobytes(), []).append(one)
    return {
        trace_id[:15] + bytes([copy]): [replace(span, trace_id=np.array([trace_id[:15] + bytes([copy])], TRACE_ID)) for span in spans]
        for trace_id, spans in list(traces.items())[:MOST_TRACES]
        for copy in range(COPIES)
    }


@cache
def alone(path: Path) -> Counter[tuple[object, ...]]:
    """What each trace of a case gives to a mapper that sees no other."""
    found: Counter[tuple[object, ...]] = Counter()
    for trace_id in copies(unbounded(path.parent.name), path):
        of = unbounded(path.parent.name)
        of.add(copies(of, path)[trace_id], 0)
        found += inferences(of.finish())
    return found


def together(spans: Sequence[SpanBatch]) -> list[SpanBatch]:
    """As a decoder would have made them of one export: a batch for each resource and layout."""
    groups: dict[tuple[object, ...], list[SpanBatch]] = {}
    for one in spans:
        groups.setdefault((*one.resource.items(), one.scope, one.layout), []).append(one)
    columns = ("trace_id", "span_id", "parent_id", "kind", "status", "start_ns", "end_ns")
    return [
        replace(
            group[0],
            **{name: np.concatenate([getattr(one, name) for one in group]) for name in columns},
            attributes=tuple(
                objects([value for one in group for value in span_rows.values(one.attributes[i], 1)])
                for i in range(len(group[0].attributes))
            ),
            events=events([events for one in group for events in span_rows.events(one) or []]) if group[0].layout.events else None,
        )
        for group in groups.values()
    ]


@settings(max_examples=3, deadline=None)
@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
@given(seed=st.integers(0, 2**32))
def test_traces_that_come_mixed_and_at_any_time_are_mapped_as_each_of_them_alone(path: Path, seed: int) -> None:
    of = Mapper(load_mappings(path.parent.name, {}), assembly=Assembly(), limits=Limits(age=1e9))
    chance = random.Random(seed)
    traces = copies(of, path)
    last_ns = max(span.end_ns[0] for spans in traces.values() for span in spans)
    exports: dict[int, list[SpanBatch]] = {}
    for spans in traces.values():
        begin = chance.randrange(40)  # tenths of a second; a trace comes within the grace
        for span in spans:
            exports.setdefault(begin + chance.randrange(9), []).append(span)
    found: Counter[tuple[object, ...]] = Counter()
    for tenth in range(60):
        now_ns = last_ns + tenth * SECOND // 10
        of.add(together(exports.get(tenth, ())), now_ns)
        found += inferences(of.take(now_ns))
    assert found + inferences(of.finish()) == alone(path)


# --- every span is counted exactly once ----------------------------------------------------------------------------------------------
MAPPINGS: tuple[ServerMapping, ...] = (
    mapping("{stages: {queue: {duration: true, in: {rel: descendant, span: wait}}}}", server="trace", match="{span: run}"),
    mapping("{latency: {e2e: {attr: e, unit: ms}}}", server="alone", match="{span: now}"),
    mapping("{}", server="last", role="generic", match="{span: any}", extra="ignore: [{attrs: {e: '0'}}]"),
)

SPANS = st.builds(
    Span,
    name=st.sampled_from(["run", "run", "wait", "wait", "now", "any", "else"]),
    start=st.just(-100.0),
    end=st.sampled_from([0.0, 10.0, 10.0, 10.0, 10**5, -(10**4)]),
    id=st.sampled_from("abcdef"),
    parent=st.sampled_from(["", "a", "b", "c", "d", "far"]),
    trace=st.sampled_from("123456"),
    attributes=st.sampled_from([{}, {"e": 5}, {"e": -5}, {"e": 0}]),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.lists(SPANS, max_size=6), st.sampled_from([0, 100, 1000, 20_000])), max_size=12), st.integers(1, 4), st.booleans()
)
def test_every_span_is_mapped_unmapped_dropped_or_pending(
    steps: Sequence[tuple[Sequence[Span], int]], pending_traces: int, bounded: bool
) -> None:
    limits = Limits(pending_traces=pending_traces, age=5.0, future=5.0)
    of = mapper(*MAPPINGS, bounded=bounded, assembly=Assembly(), limits=limits)
    received, now = 0, 0
    for spans, milliseconds in steps:
        of.add(batches(spans, of.wanted), ns(0))
        received += len(spans)
        now += milliseconds
        of.take(ns(now))
        assert accounted(of) == received
        assert not bounded or of.traces_pending <= pending_traces
    of.finish()
    assert of.spans_pending == 0
    assert accounted(of) == received


def accounted(of: Mapper) -> int:
    return of.spans_mapped + of.spans_unmapped.total() + of.spans_dropped.total() + of.spans_pending


# --- many exports at once ------------------------------------------------------------------------------------------------------------
JOINED: tuple[ServerMapping, ...] = (
    mapping(
        "{stages: {queue: {duration: true, in: {rel: descendant, span: wait}},"
        " compute: {between: [{event: a, in: {rel: child, span: wait}}, {event: b}]}},"
        " labels: {model: [{attr: e, in: {rel: child, span: wait}}, {resource: m}]}}",
        server="trace",
        match="{span: run}",
    ),
    mapping("{latency: {e2e: [{attr: e, unit: ms}, {duration: true}]}}", server="alone", match="{span: now}"),
    mapping("{counts: {tokens_in: {attr: e}}}", server="some", match="{span: some, resource: {m: {re: '^(1|x)$'}}}"),
    mapping("{}", server="last", role="generic", match="{span: any}", extra="ignore: [{attrs: {e: '0'}}]"),
)

ATTRIBUTES = st.sampled_from([{}, {"e": 5}, {"e": 5.0}, {"e": True}, {"e": "5"}, {"e": -5}, {"e": 2**70}, {"e": float("nan")}])
COMING = st.one_of(
    st.builds(
        Span,
        name=st.sampled_from(["run", "wait", "wait", "else"]),
        start=st.just(-100.0),
        end=st.sampled_from([0.0, 10.0]),
        id=st.sampled_from("abc"),
        parent=st.sampled_from(["", "a", "b", "far"]),
        trace=st.sampled_from("1234"),
        attributes=ATTRIBUTES,
        events=st.sampled_from([(), (("a", 1.0),), (("b", 2.0), ("a", 3.0)), (("other", 1.0),)]),
    ),
    st.builds(
        Span,
        name=st.sampled_from(["now", "some", "some", "any"]),
        start=st.just(-100.0),
        end=st.sampled_from([0.0, 6000.0, -6000.0]),
        trace=st.sampled_from("56"),
        attributes=ATTRIBUTES,
        resource=st.sampled_from([{}, {"m": "x"}, {"m": 1}, {"m": True}, {"m": 1.0}]),
    ),
)


def as_block(column: Column | None) -> Column | None:
    """A column as a decoder makes it that knows its type."""
    types = set() if column is None else set(map(type, column.tolist()))
    if types == {float}:
        return np.array(column, np.float64)
    if types == {str} and column is not None:
        return Names.of(column.tolist())
    return np.array(column, np.int64) if types == {int} and column is not None and max(column) < 2**63 else column


def state(of: Mapper) -> tuple[object, ...]:
    fates = (of.spans_mapped, dict(of.spans_unmapped), dict(of.spans_dropped))
    return fates, of.spans_pending, of.traces_pending, of.last_span_ns, of.presses, of.sampled


@settings(max_examples=300, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.lists(COMING, min_size=1, max_size=4),
            st.sampled_from(["neither", "together", "both"]),
            st.sampled_from([0, 1, 400, 1000, -3000]),
            st.integers(0, 4),
        ),
        max_size=14,
    ),
    limits=st.builds(Limits, pending_traces=st.sampled_from([1, 2, 10_000]), age=st.just(5.0), future=st.just(5.0)),
    bounded=st.booleans(),
)
def test_exports_that_wait_to_be_mapped_together_become_what_they_become_one_by_one(
    steps: Sequence[tuple[Sequence[Span], str, int, int]], limits: Limits, bounded: bool
) -> None:
    """Whatever the types of their columns. Whoever reads a counter makes the mapper find out what becomes of each export as it comes.

    Together they take less memory, so that limits.pending_bytes may spare some of them.
    """
    together, one_by_one = (Mapper(JOINED, assembly=Assembly(), limits=limits, bounded=bounded) for _ in range(2))
    now = 0
    for spans, blocks, milliseconds, take in steps:
        now += milliseconds
        for of in (together, one_by_one):
            coming = batches(spans, of.wanted)
            if blocks == "both" or (blocks == "together" and of is together):
                coming = [replace(batch, attributes=tuple(map(as_block, batch.attributes))) for batch in coming]
            of.add(coming[:1], ns(now))
            of.add(coming[1:], ns(now))
        state(one_by_one)
        assert together.presses == one_by_one.presses
        if not take:
            assert inferences(together.take(ns(now))) == inferences(one_by_one.take(ns(now)))
            assert state(together) == state(one_by_one)
    assert inferences(together.finish()) == inferences(one_by_one.finish())
    assert state(together) == state(one_by_one)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), few=st.booleans())
def test_exports_of_too_many_traces_make_the_same_room_together_as_one_by_one(seed: int, few: bool) -> None:
    """Most traces come whole; of some a part comes later, or nothing but what no rule matches, so that they are evicted."""
    chance = random.Random(seed)
    together, one_by_one = (Mapper(JOINED, assembly=Assembly(), limits=Limits(pending_traces=130)) for _ in range(2))
    opened = 0
    unmatched = [0]
    for step in range(25):
        spans: list[Span] = []
        for trace in range(opened, opened := opened + chance.choice((0, 1, 2, 30, 40))):
            spans.append(Span("wait", -100, 0, "w", "root", str(trace)))
            if chance.random() < (0.02 if few else 0.1):
                unmatched.append(trace)
            else:
                spans.append(Span("run", -100, 0, trace=str(trace)))
        if chance.random() < 0.3:
            known = chance.choice((chance.choice(unmatched), chance.randrange(max(opened - 200, 0), opened + 1)))
            spans.insert(chance.randrange(len(spans) + 1), Span("wait", -100, 0, "late", "root", str(known)))
        for of in (together, one_by_one):
            of.add(batches(spans, of.wanted), ns(step))
        state(one_by_one)
        if chance.random() < 0.3:
            assert inferences(together.take(ns(step))) == inferences(one_by_one.take(ns(step)))
            assert state(together) == state(one_by_one)
    assert inferences(together.finish()) == inferences(one_by_one.finish())
    assert state(together) == state(one_by_one)
