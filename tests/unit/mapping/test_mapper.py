"""What becomes of spans: which rule, which role, when a trace is complete, and by which reason a span is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from infermeter.config import Assembly, Limits
from infermeter.mapping import Mapper, ServerMapping, load_mappings
from infermeter.mapping.schema import read_mapping
from infermeter.model import InferenceBatch
from unit.mapping.hand_made import EPOCH_NS, Span, batches, duration_ms, mapped, mapper, mapping, ns, stages_ms

QUEUED = "{stages: {queue: {duration: true, in: {rel: child, span: wait}}}}"
BELOW = "{stages: {queue: {duration: true, in: {rel: descendant, span: wait}}}}"
SECOND = 1000.0
"""In milliseconds, as times are written here."""


def add(to: Mapper, *spans: Span, at: float = 0) -> None:
    to.add(batches(spans, to.wanted), ns(at))


def count(batch: InferenceBatch | None) -> int:
    return 0 if batch is None else len(batch)


def fates(of: Mapper) -> dict[str, int]:
    return {key: n for key, n in {"mapped": of.spans_mapped, **of.spans_unmapped, **of.spans_dropped}.items() if n}


# --- completeness --------------------------------------------------------------------------------------------------------------------
def test_a_rule_that_reads_its_own_span_only_counts_at_once() -> None:
    of = mapper(mapping("{}"))
    add(of, Span("inference", 0, 1))
    assert (of.traces_pending, of.spans_pending) == (0, 1)
    assert count(of.take(ns(0))) == 1
    assert of.take(ns(0)) is None


def test_a_trace_is_complete_when_the_grace_has_passed_without_a_new_span() -> None:
    of = mapper(mapping(QUEUED), assembly=Assembly(grace=1.0))
    add(of, Span("wait", 0, 40, "w", "root"), at=0)
    add(of, Span("inference", 0, 100), at=500)
    assert of.take(ns(1499)) is None
    batch = of.take(ns(1500))
    assert batch is not None
    assert stages_ms(batch) == {"queue": 40, "other": 60}


def test_a_new_span_starts_the_grace_anew() -> None:
    of = mapper(mapping(QUEUED))
    add(of, Span("inference", 0, 100), at=0)
    add(of, Span("wait", 0, 40, "w", "root"), at=900)
    assert of.take(ns(1800)) is None
    assert stages_ms(of.take(ns(1900)) or mapped("{}")) == {"queue": 40, "other": 60}


def test_spans_wait_for_their_inference_until_the_trace_was_idle() -> None:
    of = mapper(mapping(QUEUED), assembly=Assembly(grace=1.0, idle=12.0))
    add(of, Span("wait", 0, 40, "w", "root", trace="1"), Span("wait", 0, 40, "w", "root", trace="2"), at=0)
    assert of.take(ns(11 * SECOND)) is None
    add(of, Span("inference", 0, 100, trace="1"), at=11 * SECOND)
    assert count(of.take(ns(12 * SECOND))) == 1
    assert fates(of) == {"mapped": 2, "incomplete": 1}


def test_a_trace_from_several_processes_is_complete_when_it_was_idle() -> None:
    several = mapping("{}", match="{span: inference}\n    complete_when: trace_idle")
    of = mapper(several, mapping(QUEUED, server="other", match="{span: another}"), assembly=Assembly(grace=1.0, idle=12.0))
    add(of, Span("inference", 0, 100, trace="1"), Span("another", 0, 100, trace="2"), at=0)
    add(of, Span("another", 0, 100, "b", "far", trace="1"), at=5 * SECOND)
    assert count(of.take(ns(6 * SECOND))) == 1
    assert of.take(ns(16 * SECOND)) is None
    assert count(of.take(ns(17 * SECOND))) == 2


def test_of_too_many_traces_from_several_processes_the_oldest_is_complete_early() -> None:
    of = mapper(mapping(QUEUED, match="{span: inference}\n    complete_when: trace_idle"), limits=Limits(pending_traces=2))
    for n in range(5):
        add(of, Span("wait", 0, 10, "w", "root", trace=str(n)), Span("inference", 0, 100, trace=str(n)), at=n)
    assert of.traces_pending == 2
    assert count(of.take(ns(5))) == 3
    assert count(of.take(ns(12 * SECOND + 5))) == 2
    assert fates(of) == {"mapped": 10}


def test_a_trace_from_several_processes_that_was_evicted_stays_so() -> None:
    of = mapper(mapping(QUEUED, match="{span: inference}\n    complete_when: trace_idle"), limits=Limits(pending_traces=1))
    add(of, Span("wait", 0, 10, "w", "root", trace="1"))
    add(of, Span("wait", 0, 10, "w", "root", trace="2"))
    add(of, Span("inference", 0, 100, trace="1"), Span("inference", 0, 100, trace="2"))
    assert count(of.take(ns(12 * SECOND))) == 1
    assert fates(of) == {"evicted": 2, "mapped": 2}


def test_a_parent_that_nobody_exports_holds_nothing_back() -> None:
    of = mapper(mapping(QUEUED))
    add(of, Span("inference", 0, 100, parent="remote"))
    assert count(of.take(ns(SECOND))) == 1


def test_a_clock_that_was_set_back_holds_nothing_back() -> None:
    of = mapper(mapping(QUEUED))
    add(of, Span("inference", 0, 100), at=0)
    assert count(of.take(ns(-3600 * SECOND))) == 1


def test_the_end_completes_everything() -> None:
    of = mapper(mapping(QUEUED))
    add(of, Span("inference", 0, 100), Span("wait", 5, 10, "w", "root", trace="other"))
    assert count(of.finish()) == 1
    assert of.finish() is None
    assert (of.traces_pending, of.spans_pending) == (0, 0)
    assert fates(of) == {"mapped": 1, "incomplete": 1}


# --- losses --------------------------------------------------------------------------------------------------------------------------
def test_spans_from_the_future_and_from_long_ago_are_dropped() -> None:
    of = mapper(mapping("{}"), limits=Limits(age=3600.0, future=5.0))
    add(
        of, Span("inference", 0, 5001, "a"), Span("inference", 0, 5000, "b"), Span("inference", -3600 * SECOND - 1, -3600 * SECOND - 1, "c")
    )
    add(of, Span("inference", 0, 9000, "d"))
    assert fates(of) == {"future": 2, "ancient": 1}
    assert of.last_span_ns == ns(5000)
    assert count(of.take(ns(0))) == 1


def test_a_recording_is_of_any_age() -> None:
    of = mapper(mapping("{}"), bounded=False)
    add(of, Span("inference", 0, 9000), at=-(10**9))
    add(of, Span("inference", 0, 9000), at=10**9)
    assert count(of.finish()) == 2


def test_a_recording_is_complete_when_it_ends_and_not_before() -> None:
    of = mapper(mapping(QUEUED), bounded=False, assembly=Assembly(grace=0.0))
    add(of, Span("inference", 0, 100))
    assert of.take(ns(10**9)) is None
    add(of, Span("wait", 0, 40, "w", "root"))
    assert stages_ms(of.finish() or mapped("{}")) == {"queue": 40, "other": 60}


def test_within_a_trace_a_span_id_counts_once() -> None:
    of = mapper(mapping(QUEUED))
    add(of, Span("inference", 0, 100), Span("wait", 0, 10, "w", "root"))
    add(of, Span("wait", 0, 10, "w", "root"), Span("inference", 0, 100))
    assert count(of.take(ns(SECOND))) == 1
    assert fates(of) == {"mapped": 2, "duplicate": 2}


def test_late_spans_of_a_completed_trace_are_dropped_and_what_was_counted_is_not_counted_again() -> None:
    of = mapper(mapping(QUEUED))
    add(of, Span("inference", 0, 100))
    assert count(of.take(ns(SECOND))) == 1
    add(of, Span("inference", 0, 100), Span("wait", 0, 10, "w", "root"), at=SECOND)
    assert of.take(ns(60 * SECOND)) is None
    assert fates(of) == {"mapped": 1, "duplicate": 1, "late": 1}


@pytest.mark.parametrize("between", [(), (Span("step", 0, 100, "step", "root"),)])
@pytest.mark.parametrize("step_first", [False, True])
def test_an_inference_that_comes_after_one_below_it_has_counted_does_not_count_again(between: tuple[Span, ...], step_first: bool) -> None:
    of = mapper(mapping(QUEUED))
    above = between[-1].id if between else "root"
    add(of, *(between if step_first else ()), Span("inference", 0, 100, "call", above), Span("wait", 0, 10, "w", "call"))
    assert count(of.take(ns(SECOND))) == 1
    add(of, *(() if step_first else between), Span("inference", 0, 200), Span("wait", 0, 20, "w2", "root"), at=5 * SECOND)
    assert of.take(ns(60 * SECOND)) is None
    told = fates(of)
    assert (told.pop("mapped"), told.pop("late")) == (2, 2)
    assert told.keys() <= {"no_rule"}


def test_a_proxy_request_of_litellm_whose_call_has_counted_does_not_count_again() -> None:
    of = mapper(*load_mappings("litellm", {}))
    add(of, Span("litellm_request", 100, 900, "call", "root", scope="litellm"), at=1.0 * SECOND)
    assert count(of.take(ns(3 * SECOND))) == 1
    add(of, Span("Received Proxy Server Request", 0, 1000, scope="litellm"), at=6.0 * SECOND)
    assert of.take(ns(60 * SECOND)) is None
    assert fates(of) == {"mapped": 1, "late": 1}


def test_an_inference_that_comes_late_counts_though_others_of_its_trace_have() -> None:
    """The one above both never comes."""
    of = mapper(mapping(QUEUED))
    add(of, Span("inference", 0, 100, "one", "agent"))
    assert count(of.take(ns(SECOND))) == 1
    add(of, Span("inference", 0, 300, "two", "agent"), Span("inference", 0, 100, "below", "two"), at=5 * SECOND)
    assert count(of.take(ns(60 * SECOND))) == 1
    add(of, Span("inference", 0, 400, "agent"), at=65 * SECOND)
    assert of.take(ns(120 * SECOND)) is None
    assert fates(of) == {"mapped": 2, "suppressed": 1, "late": 1}


def test_a_better_inference_counts_though_one_below_it_was_there_before() -> None:
    """What a server asks of others is in its traces, and may be over and exported first."""
    other = mapping("{latency: {e2e: {between: [span.start, span.end]}}}", server="other", role="generic", match="{span: other}")
    waits = replace(other, rules=(replace(other.rules[0], complete_when="subtree"),))
    of = mapper(mapping(QUEUED), waits)
    add(of, Span("other", 0, 50, "below", "root"))
    assert of.take(ns(SECOND)) is None
    add(of, Span("inference", 0, 100), at=2 * SECOND)
    assert count(of.take(ns(3 * SECOND))) == 1
    assert fates(of) == {"mapped": 1, "suppressed": 1}


def test_a_trace_that_goes_on_with_another_inference_counts_it() -> None:
    of = mapper(mapping(QUEUED))
    add(of, Span("inference", 0, 100, "one", "agent"))
    assert count(of.take(ns(SECOND))) == 1
    add(of, Span("inference", 2000, 2100, "two", "agent"), Span("wait", 2000, 2010, "w", "two"), at=3 * SECOND)
    batch = of.take(ns(4 * SECOND))
    assert batch is not None
    assert stages_ms(batch) == {"queue": 10, "other": 90}
    assert fates(of) == {"mapped": 3}


def test_of_too_many_traces_the_oldest_is_evicted_and_the_rest_of_it_is_lost() -> None:
    of = mapper(mapping(QUEUED), limits=Limits(pending_traces=2))
    add(of, Span("wait", 0, 10, "w", "root", trace="1"), at=0)
    add(of, Span("inference", 0, 100, trace="2"), at=1)
    add(of, Span("inference", 0, 100, trace="3"), at=2)
    assert (of.traces_pending, fates(of)) == (2, {"evicted": 1})
    add(of, Span("inference", 0, 100, trace="1"), at=3)
    assert fates(of) == {"evicted": 2}
    assert count(of.take(ns(SECOND + 3))) == 2


def test_of_too_many_traces_one_that_is_an_inference_already_is_complete_at_once() -> None:
    of = mapper(mapping(QUEUED), limits=Limits(pending_traces=2))
    for n in range(5):
        add(of, Span("wait", 0, 10, "w", "root", trace=str(n)), Span("inference", 0, 100, trace=str(n)), at=n)
    assert of.traces_pending == 2
    assert count(of.take(ns(5))) == 3
    assert count(of.take(ns(SECOND + 5))) == 2
    assert fates(of) == {"mapped": 10}


def test_a_trace_that_was_about_to_be_complete_early_takes_what_still_comes() -> None:
    of = mapper(mapping(QUEUED), limits=Limits(pending_traces=1))
    add(of, Span("inference", 0, 100, trace="1"), at=0)
    add(of, Span("inference", 0, 100, trace="2"), at=1)
    add(of, Span("wait", 0, 10, "w", "root", trace="1"), at=2)
    batch = of.take(ns(SECOND + 2))
    assert count(batch) == 2
    assert batch is not None
    assert sorted(batch.stages_ns[:, 0].tolist()) == [-1, 10_000_000]
    assert fates(of) == {"mapped": 3}


MODEL_BELOW = "{labels: {model: {attr: m, in: {rel: child, span: x}}}}"


def test_traces_that_hold_too_many_bytes_and_are_no_inference_yet_are_evicted() -> None:
    of = mapper(mapping(MODEL_BELOW), limits=Limits(pending_bytes=8_000))
    add(of, Span("x", 0, 100, "x", "root", trace="1", attributes={"m": "y" * 1000}), at=1)
    add(of, Span("x", 0, 100, "x", "root", trace="2", attributes={"m": "y" * 1000}), at=2)
    assert (of.traces_pending, fates(of)) == (1, {"evicted": 1})
    add(of, *(Span("x", 0, 100, f"x{n}", "root", trace="3", attributes={"m": "y" * 1000}) for n in range(6)), at=3)
    assert (of.traces_pending, fates(of)) == (0, {"evicted": 8})
    assert not of.presses


def test_of_a_long_text_only_what_is_looked_at_waits() -> None:
    of = mapper(mapping(MODEL_BELOW), limits=Limits(pending_bytes=20_000))
    for n, letter in enumerate(("y", "\U0001f525")):
        add(of, Span("x", 0, 100, "x", "root", trace=str(n), attributes={"m": letter * 100_000}), at=n)
        add(of, Span("inference", 0, 100, trace=str(n)), at=n)
    batch = of.take(ns(SECOND + 2))
    assert batch is not None
    assert sorted(map(str, batch.model)) == ["y" * 256, "\U0001f525" * 256]
    assert not of.spans_dropped.total()


def test_numbers_that_came_as_one_block_wait_like_others() -> None:
    of = mapper(mapping("{counts: {tokens_in: {attr: t, in: {rel: child, span: x}}}}"))
    add(of, Span("inference", 0, 100))
    (below,) = batches([Span("x", 0, 10, "x", "root")], of.wanted)
    of.add([replace(below, attributes=(np.array([7.0]),))], ns(0))
    batch = of.take(ns(SECOND))
    assert batch is not None
    assert batch.tokens_input.tolist() == [7]


def test_inferences_that_hold_too_many_bytes_are_complete_at_once_and_press_to_be_taken() -> None:
    of = mapper(mapping(MODEL_BELOW), limits=Limits(pending_bytes=20_000))
    for n in range(4):
        child = Span("x", 0, 100, "x", "root", trace=str(n), attributes={"m": "y" * 1000})
        add(of, Span("inference", 0, 100, trace=str(n)), child, at=n)
    assert of.presses
    assert count(of.take(ns(4))) >= 1
    assert not of.presses
    assert count(of.take(ns(SECOND + 4))) >= 1
    assert fates(of) == {"mapped": 8}


def test_the_trace_that_was_touched_longest_ago_makes_room_whatever_else_came_with_it() -> None:
    of = mapper(mapping(QUEUED), limits=Limits(pending_traces=3))
    add(of, Span("wait", 0, 10, "w", "root", trace="1"))
    add(of, Span("inference", 0, 100, trace="2"))
    add(of, Span("wait", 0, 10, "w", "root", trace="3"))
    assert of.take(ns(0)) is None
    add(of, Span("inference", 0, 100, trace="4"), Span("inference", 0, 100, trace="5"))
    assert count(of.take(ns(0))) == 1
    assert fates(of) == {"evicted": 1, "mapped": 1}


def test_what_became_of_traces_is_remembered_for_as_many_as_may_be_pending() -> None:
    of = mapper(mapping(QUEUED), limits=Limits(pending_traces=3))
    for n in range(10):
        add(of, Span("inference", 0, 100, trace=str(n)), at=n * SECOND)
        assert count(of.take(ns((n + 1) * SECOND))) == 1
    add(of, Span("inference", 0, 100, trace="9"), Span("inference", 0, 100, trace="1"), at=10 * SECOND)
    assert count(of.take(ns(11 * SECOND))) == 1
    assert fates(of) == {"mapped": 11, "duplicate": 1}


def test_what_is_remembered_of_a_trace_with_very_many_inferences_is_bounded() -> None:
    of = mapper(mapping(QUEUED), limits=Limits(pending_traces=3))
    add(of, *(Span("inference", 0, 100, f"i{n}") for n in range(13)))
    assert count(of.take(ns(SECOND))) == 13
    add(of, Span("inference", 0, 100, "i1"), at=SECOND)
    assert count(of.take(ns(2 * SECOND))) == 1


def test_spans_that_no_rule_has_a_use_for_are_counted_and_not_kept() -> None:
    of = mapper(mapping(QUEUED))
    add(of, Span("something", 0, 1), Span("inference", 0, 1, "b"))
    assert (of.traces_pending, of.spans_pending, fates(of)) == (1, 1, {"no_rule": 1})
    of = mapper(mapping("{}"))
    add(of, Span("something", 0, 1))
    assert (of.traces_pending, of.spans_pending, fates(of)) == (0, 0, {"no_rule": 1})


def test_links_between_ancestors_and_descendants_are_bounded_like_traces() -> None:
    of = mapper(mapping(BELOW), limits=Limits(pending_traces=2))
    for n in range(5):
        add(of, Span("something", 0, 1, trace=str(n)), Span("something", 0, 1, trace=str(n)))
    assert (of.traces_pending, of.spans_pending, fates(of)) == (2, 0, {"no_rule": 10})
    add(of, Span("inference", 0, 1, trace="0"))
    assert count(of.take(ns(60 * SECOND))) == 1
    assert of.traces_pending == 0


def test_links_come_in_any_order() -> None:
    spans = [Span("inference", 0, 100), Span("a", 0, 50, "a", "root"), Span("b", 0, 50, "b", "a"), Span("wait", 10, 30, "w", "b")]
    for order in (spans, spans[::-1], [spans[i] for i in (1, 3, 0, 2)]):
        of = mapper(mapping(BELOW))
        for span in order:
            add(of, span)
        assert stages_ms(of.take(ns(SECOND)) or mapped("{}")) == {"queue": 20, "other": 80}


def test_spans_that_are_their_own_ancestors_count_nowhere_and_harm_nothing() -> None:
    circle = [
        Span("inference", 0, 100, "a", "b"),
        Span("inference", 0, 100, "b", "a"),
        Span("wait", 0, 10, "w", "v"),
        Span("x", 0, 1, "v", "w"),
    ]
    of = mapper(mapping(BELOW))
    add(of, *circle, Span("inference", 0, 100, "own", "own", trace="2"))
    assert count(of.take(ns(12 * SECOND))) == 1
    assert fates(of) == {"mapped": 1, "suppressed": 2, "incomplete": 1, "no_rule": 1}


# --- what is no inference ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("told", [-1.0, 1e9, "soon", float("nan"), 20.0])
def test_an_inference_whose_duration_cannot_be_right_is_not_counted(told: float | str) -> None:
    of = mapper(mapping("{latency: {e2e: [{attr: e, unit: s}, {duration: true}]}}"))
    add(
        of,
        Span("inference", 0, 1000, attributes={"e": told}),
        Span("inference", 0, 1000, "b", attributes={"e": 0.9}),
        Span("inference", 0, 1000, "c"),
    )
    assert count(of.take(ns(0))) == 2
    assert fates(of) == {"mapped": 2, "invalid": 1}


def test_an_inference_without_any_duration_is_not_counted() -> None:
    of = mapper(mapping("{latency: {e2e: {between: [{event: A}, {event: B}]}}}"))
    add(of, Span("inference", 0, 1000, "a"), Span("inference", 0, 1000, "b", events=[("A", 9), ("B", 4)]))
    assert of.take(ns(0)) is None
    assert fates(of) == {"invalid": 2}


def test_a_span_of_more_than_a_week_is_not_counted() -> None:
    of = mapper(mapping("{}"))
    add(of, Span("inference", -8 * 86_400 * SECOND, 0))
    assert of.take(ns(0)) is None
    assert fates(of) == {"invalid": 1}


def test_ignored_spans_are_no_inferences_of_that_mapping() -> None:
    first = mapping("{labels: {model: {attr: m}}}", server="first", extra="ignore: [{attrs: {path: /health}}]")
    of = mapper(first)
    add(of, Span("inference", 0, 1, "a", attributes={"path": "/health"}), Span("inference", 0, 1, "b", attributes={"path": "/v1"}))
    assert count(of.take(ns(0))) == 1
    assert fates(of) == {"mapped": 1, "no_rule": 1}
    of = mapper(first, mapping("{}", server="second"))
    add(of, Span("inference", 0, 1, "a", attributes={"path": "/health"}), Span("inference", 0, 1, "b", attributes={"path": "/v1"}))
    assert count(of.take(ns(0))) == 2
    whole = mapping("{}", extra="ignore: [{scope: test}]")
    of = mapper(whole)
    add(of, Span("inference", 0, 1))
    assert fates(of) == {"no_rule": 1}


# --- precedence ----------------------------------------------------------------------------------------------------------------------
def role(name: str, span: str, *, rule: str = "{}", extra: str = "") -> ServerMapping:
    return mapping(rule, server=name, role=name, match=f"{{span: {span}}}", extra=extra)


def test_the_first_rule_that_a_span_fits_has_it() -> None:
    of = mapper(
        mapping("{labels: {model: {attr: a}}}", server="one", match="{attrs: {a: true}}"),
        mapping("{labels: {model: {attr: b}}}", server="two"),
    )
    add(of, Span("inference", 0, 1, "x", attributes={"a": "A", "b": "B"}), Span("inference", 0, 1, "y", attributes={"b": "B"}))
    batch = of.take(ns(0))
    assert batch is not None
    assert sorted(batch.model, key=str) == ["A", "B"]


def test_a_span_below_an_inference_is_not_another_one() -> None:
    of = mapper(mapping(QUEUED))
    add(
        of,
        Span("inference", 0, 100),
        Span("inner", 0, 60, "i", "root"),
        Span("inference", 0, 50, "nested", "i"),
        Span("wait", 5, 10, "w", "nested"),
    )
    batch = of.take(ns(SECOND))
    assert batch is not None
    assert duration_ms(batch) == 100
    assert fates(of)["suppressed"] == 1


TWO_RULES = """
schema: 1
server: two
title: a test
versions: "1"
role: engine
rules:
  - {id: inner, match: {span: inner}, complete_when: subtree, emit: {}}
  - {id: outer, match: {span: outer}, complete_when: subtree, emit: {}}
"""


def test_a_span_that_contains_an_inference_of_an_earlier_rule_is_none_itself() -> None:
    of = mapper(read_mapping(TWO_RULES, "two.yaml"))
    chain = [Span(f"s{n}", 0, 100, f"s{n}", f"s{n - 1}" if n else "o") for n in range(9)]
    add(of, Span("outer", 0, 100, "o"), *chain, Span("inner", 5, 95, "i", "s8"), Span("outer", 10, 90, "p", "i"))
    add(of, Span("outer", 0, 100, "alone", trace="2"))
    batch = of.take(ns(SECOND))
    assert batch is not None
    assert sorted(duration_ms(batch, row) for row in range(2)) == [90, 100]
    assert fates(of) == {"mapped": 2, "suppressed": 2, "no_rule": 9}


def test_spans_of_two_rules_that_are_their_own_ancestors_count_nowhere_and_harm_nothing() -> None:
    of = mapper(read_mapping(TWO_RULES, "two.yaml"))
    circle = [Span("inner", 0, 100, "a", "c"), Span("outer", 0, 100, "b", "a"), Span("outer", 0, 100, "c", "b")]
    add(of, *circle, Span("inner", 0, 50, "x", "far", trace="2"), Span("outer", 0, 50, "y", "far", trace="2"))
    assert count(of.take(ns(SECOND))) == 2
    assert fates(of) == {"mapped": 2, "suppressed": 3}


def test_an_engine_below_a_gateway_is_the_one_that_counts() -> None:
    engine, gateway = role("engine", "run", rule=QUEUED), role("gateway", "serve", rule=QUEUED)
    of = mapper(engine, gateway)
    add(of, Span("serve", 0, 100), Span("run", 10, 90, "r", "root"), Span("wait", 10, 20, "w", "r"))
    batch = of.take(ns(SECOND))
    assert batch is not None
    assert duration_ms(batch) == 80
    assert fates(of) == {"mapped": 2, "suppressed": 1}


def test_what_a_server_s_own_rule_reads_by_name_is_no_request_of_a_generic_one() -> None:
    generic = mapping("{}", server="generic", role="generic", match="{attrs: {http: true}}")
    for rule in (QUEUED, "{stages: {queue: {duration: true, in: {rel: child, scope: test}}}}"):
        of = mapper(mapping(rule, match="{span: inference, scope: test}"), generic, bounded=False)
        add(of, Span("wait", 0, 40, "w", "root", attributes={"http": "x"}), Span("wait", 0, 40, "lone", "far", attributes={"http": "x"}))
        add(of, Span("inference", 0, 100))
        assert count(of.finish()) == 1
        assert fates(of) == {"mapped": 2, "incomplete": 1}


def test_what_a_rule_reads_of_a_scope_that_is_not_its_own_may_be_a_request() -> None:
    of = mapper(
        mapping("{stages: {queue: {duration: true, in: {rel: child, scope: lib}}}}"),
        mapping("{}", server="generic", role="generic", match="{attrs: {http: true}}"),
        bounded=False,
    )
    add(of, Span("wait", 0, 40, "w", "far", scope="lib", attributes={"http": "x"}))
    assert count(of.finish()) == 1


def test_once_a_better_role_was_seen_lower_ones_count_no_more() -> None:
    of = mapper(role("engine", "run"), role("router", "route"), role("gateway", "serve"))
    add(of, Span("serve", 0, 1))
    assert count(of.take(ns(0))) == 1
    add(of, Span("route", 0, 1), Span("serve", 0, 1, "s"))
    assert count(of.take(ns(0))) == 1
    add(of, Span("run", 0, 1), Span("route", 0, 1, "r"), Span("serve", 0, 1, "s"))
    assert count(of.take(ns(0))) == 1
    assert fates(of) == {"mapped": 3, "suppressed": 3}


def test_a_better_role_without_an_inference_that_counts_outranks_nobody() -> None:
    of = mapper(role("engine", "run", rule="{latency: {e2e: {attr: e, unit: s}}}"), role("gateway", "serve"))
    add(of, Span("run", 0, 1, "r"), Span("serve", 0, 1, "s"))
    assert count(of.take(ns(0))) == 1
    assert fates(of) == {"mapped": 1, "invalid": 1}


def test_generic_inferences_are_held_for_thirty_seconds_and_count_at_once_from_then_on() -> None:
    of = mapper(role("engine", "run"), role("generic", "serve"))
    add(of, Span("serve", 0, 1, "a"))
    assert of.take(ns(0)) is None
    add(of, Span("serve", 0, 1, "b"), at=10 * SECOND)
    assert of.take(ns(29 * SECOND)) is None
    assert of.spans_pending == 2
    assert count(of.take(ns(30 * SECOND))) == 2
    add(of, Span("serve", 0, 1, "c"), at=31 * SECOND)
    assert count(of.take(ns(31 * SECOND))) == 1
    assert (of.spans_pending, fates(of)) == (0, {"mapped": 3})


def test_held_inferences_do_not_count_when_an_engine_shows_up() -> None:
    of = mapper(role("engine", "run"), role("generic", "serve"))
    add(of, Span("serve", 0, 1, "a"))
    assert of.take(ns(0)) is None
    add(of, Span("run", 0, 1, "b"), at=20 * SECOND)
    assert count(of.take(ns(20 * SECOND))) == 1
    assert of.take(ns(60 * SECOND)) is None
    assert of.finish() is None
    assert fates(of) == {"mapped": 1, "suppressed": 1}


def test_held_inferences_count_when_the_input_ends() -> None:
    of = mapper(role("generic", "serve"), bounded=False)
    add(of, Span("serve", 0, 1, "a"))
    assert of.take(ns(0)) is None
    assert of.take(ns(3600 * SECOND)) is None
    assert count(of.finish()) == 1


def test_too_many_held_inferences_push_out_the_oldest() -> None:
    of = mapper(role("generic", "serve"), limits=Limits(pending_traces=2))
    for n in range(4):
        add(of, Span("serve", 0, 1, str(n)))
        assert of.take(ns(0)) is None
    assert fates(of) == {"evicted": 2}
    assert count(of.take(ns(30 * SECOND))) == 2


# --- what is told about the whole ----------------------------------------------------------------------------------------------------
def test_a_pinned_mapping_says_whether_spans_are_a_sample() -> None:
    assert mapper(*load_mappings("triton", {})).sampled
    assert not mapper(*load_mappings("vllm", {})).sampled


def test_under_auto_spans_are_a_sample_once_such_a_server_was_seen() -> None:
    of = mapper(role("engine", "run", extra="sampled: true"), role("gateway", "serve"))
    assert not of.sampled
    add(of, Span("run", 0, 1))
    assert count(of.take(ns(0))) == 1
    assert of.sampled


def test_a_pinned_mapping_says_whether_the_server_reserves_memory_and_under_auto_the_one_that_was_seen() -> None:
    assert mapper(*load_mappings("vllm", {})).reserves_memory
    assert not mapper(*load_mappings("triton", {})).reserves_memory
    of = mapper(role("engine", "run", extra="reserves_memory: true"), role("gateway", "serve"))
    assert not of.reserves_memory
    add(of, Span("run", 0, 1))
    assert count(of.take(ns(0))) == 1
    assert of.reserves_memory


def test_every_reason_is_there_from_the_start() -> None:
    of = mapper(mapping("{}"))
    assert dict(of.spans_unmapped) == {"no_rule": 0, "incomplete": 0, "invalid": 0, "suppressed": 0}
    assert dict(of.spans_dropped) == {"future": 0, "ancient": 0, "evicted": 0, "late": 0, "duplicate": 0}
    assert of.last_span_ns is None


def test_inferences_of_several_rules_come_as_one_batch() -> None:
    one = mapping("{stages: {queue: {parts: {p: {attr: q, unit: ms}}}}}", server="one", match="{span: a}")
    two = mapping(
        "{stages: {queue: {parts: {p: {attr: q, unit: ms, estimated: true}}}, transfer: {rest: true}}}", server="two", match="{span: b}"
    )
    of = mapper(one, two)
    add(
        of,
        Span("a", 0, 10, "1", attributes={"q": 1}),
        Span("b", 0, 20, "2", attributes={"q": 2}),
        Span("b", 0, 30, "3", attributes={"q": 3}),
    )
    batch = of.take(ns(0))
    assert batch is not None
    (part,) = batch.parts
    assert [duration_ms(batch, row) for row in range(3)] == [10, 20, 30]
    assert (part.rows.tolist(), part.ns.tolist()) == ([0, 1, 2], [1_000_000, 2_000_000, 3_000_000])
    assert sorted(batch.compute_rows.tolist()) == [0]
    assert batch.quality == {"queue": "estimated", "transfer": "measured"}
    assert (batch.end_ns - EPOCH_NS).tolist() == [10_000_000, 20_000_000, 30_000_000]


# --- what a sender can invent --------------------------------------------------------------------------------------------------------
def test_names_without_end_lead_to_a_few_layouts_only() -> None:
    of = mapper(*load_mappings("auto", {}))
    layouts = {of.wanted.layout(f"scope{n}", f"name{n}") for n in range(10_000)}
    assert len(layouts) == 1
    assert of.wanted.layout("vllm.tracing.otel", "llm_request") is of.wanted.layout("vllm.tracing", "llm_request")


def test_a_name_is_looked_at_only_as_far_as_it_is_bounded() -> None:
    of = mapper(mapping("{}", match="{span: {re: 'x$'}}"))
    add(of, Span("a" * 100_000 + "x", 0, 1))
    assert fates(of) == {"no_rule": 1}


def test_resources_without_end_are_not_remembered_without_end() -> None:
    of = mapper(mapping("{labels: {model: [{attr: m, in: {rel: child, span: x}}, {resource: service.name}]}}"))
    for n in range(1100):
        add(of, Span("inference", 0, 1, trace=str(n), resource={"service.name": str(n)}))
    batch = of.take(ns(SECOND))
    assert batch is not None
    assert sorted(batch.model, key=str) == sorted(map(str, range(1100)))


def test_only_what_some_rule_reads_is_wanted() -> None:
    of = mapper(*load_mappings("vllm", {}))
    keys: Sequence[str] = of.wanted.layout("vllm.tracing.otel", "llm_request").keys
    assert "gen_ai.latency.e2e" in keys
    assert "gen_ai.usage.num_sequences" not in keys
    assert not of.wanted.layout("vllm.tracing.otel", "llm_request").events
    assert of.wanted.layout("any", "thing").keys == ()
    assert of.wanted.resource_keys == {"vllm.instrumenting_module_name", "gen_ai.request.model"}
