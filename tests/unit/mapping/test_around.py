"""Time around inferences: what spans of lower roles tell of the way to a better one, in traces that they share."""

from __future__ import annotations

from infermeter.config import Limits
from infermeter.mapping import Mapper, ServerMapping
from infermeter.model import InferenceBatch
from unit.mapping.hand_made import MS, Span, batches, mapped, mapper, mapping, ns

SECOND = 1000.0
ENGINE = mapping("{labels: {model: {attr: m}}}", server="engine", match="{span: run}")
WAY = """{stages: {
    compute: {duration: true, estimated: true},
    serialisation: {parts: {
        net_in: {between: [span.start, inner.start]},
        net_out: {between: [inner.end, span.end]},
        length: {attr: l, unit: ms}}}}}"""
ROUTER = mapping(WAY, server="router", role="router", match="{span: route}\n    complete_when: trace_idle")
READ = "{stages: {serialisation: {parts: {read: {duration: true, in: {rel: child, span: read}}}}}}"
GENERIC = mapping(READ, server="generic", role="generic", match="{span: http}")


def add(to: Mapper, *spans: Span, at: float = 0) -> None:
    to.add(batches(spans, to.wanted), ns(at))


def around_ms(batch: InferenceBatch | None) -> dict[tuple[str | None, str], float]:
    assert batch is not None
    return {(model, f"{stage}.{part}"): told / MS for (model, stage, part), told in batch.around_ns.items()}


def told(*spans: Span, mappings: tuple[ServerMapping, ...] = (ENGINE, ROUTER, GENERIC)) -> dict[tuple[str | None, str], float]:
    of = mapper(*mappings, bounded=False)
    add(of, *spans)
    return around_ms(of.finish())


def test_a_router_tells_the_way_to_the_engine_and_back_and_is_no_inference() -> None:
    of = mapper(ENGINE, ROUTER)
    add(of, Span("run", 10, 90, "e", "r", attributes={"m": "llama"}))
    first = of.take(ns(0))
    assert first is not None
    assert (len(first), around_ms(first)) == (1, {})
    add(of, Span("route", 0, 100, "r"), at=SECOND)
    later = of.take(ns(60 * SECOND))
    assert later is not None
    assert len(later) == 0
    assert around_ms(later) == {("llama", "serialisation.net_in"): 10, ("llama", "serialisation.net_out"): 10}
    assert of.take(ns(61 * SECOND)) is None
    assert (of.spans_mapped, dict(+of.spans_unmapped)) == (1, {"suppressed": 1})


def test_a_router_without_an_engine_in_its_trace_tells_no_way() -> None:
    assert told(Span("run", 0, 1, "e", "far", trace="other"), Span("route", 0, 100, "r")) == {}
    batch = mapped(ROUTER, Span("route", 0, 100, "r"))
    assert batch.parts == ()


def test_only_what_lies_outside_of_the_inference_is_told() -> None:
    spans = [Span("http", 0, 100, "h"), Span("read", 5, 30, "x", "h"), Span("read", 80, 95, "y", "h")]
    assert told(*spans, Span("run", 20, 90, "e", "h")) == {(None, "serialisation.read"): 20}


def test_time_around_that_two_spans_tell_counts_once() -> None:
    spans = [Span("http", 0, 120, "h"), Span("read", 5, 30, "x", "h"), Span("route", 10, 110, "r", "h"), Span("run", 20, 90, "e", "r")]
    assert told(*spans) == {
        (None, "serialisation.net_in"): 10,
        (None, "serialisation.net_out"): 20,
        (None, "serialisation.read"): 5,
    }


def test_two_calls_of_one_trace_have_each_their_own_way() -> None:
    spans = [Span("route", 0, 50, "r1", "agent"), Span("run", 10, 45, "e1", "r1"), Span("route", 60, 120, "r2", "agent")]
    assert told(*spans, Span("run", 80, 110, "e2", "r2")) == {
        (None, "serialisation.net_in"): 30,
        (None, "serialisation.net_out"): 15,
    }


def test_of_several_inferences_within_the_way_is_before_the_first_and_after_the_last() -> None:
    spans = [Span("route", 0, 100, "r"), Span("run", 10, 40, "e1", "r"), Span("run", 20, 90, "e2", "r")]
    assert told(*spans) == {(None, "serialisation.net_in"): 10, (None, "serialisation.net_out"): 10}


def test_an_inference_that_nothing_is_above_is_not_remembered() -> None:
    assert told(Span("run", 10, 90, "e"), Span("route", 0, 100, "r", "e")) == {}


def test_a_span_that_contains_a_better_inference_of_its_own_role_is_none_itself() -> None:
    inner, outer = (mapping(READ, server=one, match=f"{{span: {one}}}") for one in ("inner", "outer"))
    of = mapper(inner, outer)
    add(of, Span("outer", 0, 100, "o"), Span("read", 0, 10, "a", "o"), Span("x", 0, 99, "x", "o"), Span("inner", 5, 90, "i", "x"))
    batch = of.take(ns(SECOND))
    assert batch is not None
    assert (len(batch), around_ms(batch)) == (1, {(None, "serialisation.read"): 5})
    assert (of.spans_mapped, dict(+of.spans_unmapped)) == (1, {"suppressed": 2, "no_rule": 1})


def test_the_traces_that_are_remembered_are_bounded() -> None:
    of = mapper(ENGINE, ROUTER, limits=Limits(pending_traces=2))
    add(of, *(Span("run", 10, 90, "e", "r", trace=str(n)) for n in range(4)))
    assert of.take(ns(0)) is not None
    add(of, Span("route", 0, 100, "r", trace="0"), Span("route", 0, 100, "r", trace="1"))
    assert of.take(ns(60 * SECOND)) is None
    add(of, Span("route", 0, 100, "r", trace="2"), Span("route", 0, 100, "r", trace="3"))
    assert around_ms(of.take(ns(120 * SECOND)))[None, "serialisation.net_in"] == 20


def test_what_is_remembered_of_all_traces_together_is_bounded() -> None:
    of = mapper(ENGINE, ROUTER, limits=Limits(pending_traces=3))
    for trace in "12":
        add(of, *(Span("run", 10 * n, 10 * n + 5, f"e{n}", "r", trace=trace) for n in range(1, 9)))
    assert of.take(ns(0)) is not None
    add(of, Span("route", 0, 100, "r", trace="1"))
    assert of.take(ns(60 * SECOND)) is None
    add(of, Span("route", 0, 100, "r", trace="2"))
    assert around_ms(of.take(ns(120 * SECOND))) == {(None, "serialisation.net_in"): 10, (None, "serialisation.net_out"): 15}


def test_the_inferences_of_a_trace_that_are_remembered_are_bounded() -> None:
    runs = [Span("run", 10 * n, 10 * n + 5, f"e{n}", "r") for n in range(40)]
    assert told(*runs, Span("route", 0, 1000, "r")) == {(None, "serialisation.net_out"): 1000 - 315}
