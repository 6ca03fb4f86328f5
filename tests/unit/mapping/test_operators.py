"""Each operator of the mapping language, on a tree small enough to be worked out by hand."""

from __future__ import annotations

import math

import pytest

from unit.mapping.hand_made import Span, compute_ms, duration_ms, mapped, mapping, parts_ms, stages_ms

CHILD_QUEUE = "{stages: {queue: {duration: true, in: {rel: child, span: wait}}}}"


def test_an_interval_between_two_events_is_a_stage() -> None:
    span = Span("inference", 0, 100, events=[("QUEUED", 10), ("STARTED", 35)])
    batch = mapped("{stages: {queue: {between: [{event: QUEUED}, {event: STARTED}]}}}", span)
    assert stages_ms(batch) == {"queue": 25, "other": 75}


def test_of_several_events_of_a_name_first_and_last_are_by_time() -> None:
    span = Span("inference", 0, 100, events=[("E", 60), ("E", 20), ("E", 40)])
    batch = mapped("{stages: {compute: {between: [{event: E}, {event: E, pick: last}]}}}", span)
    assert compute_ms(batch) == [(20, 60)]


def test_of_several_event_names_the_first_that_exists_is_meant() -> None:
    rule = "{stages: {compute: {between: [span.start, {event: [A, B]}]}}}"
    batch = mapped(
        rule,
        Span("inference", 0, 100, "one", trace="1", events=[("B", 10), ("A", 50)]),
        Span("inference", 0, 100, "two", trace="2", events=[("B", 10)]),
    )
    assert sorted(stages_ms(batch, row)["compute"] for row in (0, 1)) == [10, 50]


def test_an_interval_without_one_of_its_ends_tells_nothing() -> None:
    span = Span("inference", 0, 100, events=[("QUEUED", 10)])
    batch = mapped("{stages: {queue: {between: [{event: QUEUED}, {event: STARTED}]}}}", span)
    assert stages_ms(batch) == {"other": 100}


def test_an_interval_the_wrong_way_round_is_empty_but_told() -> None:
    span = Span("inference", 0, 100, events=[("DONE", 80), ("SENT", 70)])
    batch = mapped("{stages: {serialisation: [{between: [{event: DONE}, {event: SENT}]}, {duration: true}]}}", span)
    assert stages_ms(batch) == {"serialisation": 0, "other": 100}


def test_a_stage_may_be_the_whole_span() -> None:
    rule = "{stages: {compute: {duration: true}}, latency: {e2e: {between: [{event: E}, span.end]}}}"
    assert stages_ms(mapped(rule, Span("inference", 20, 100, events=[("E", 0)]))) == {"compute": 80, "other": 20}


def test_what_lies_outside_of_the_inference_is_cut_off() -> None:
    batch = mapped(CHILD_QUEUE, Span("inference", 10, 100), Span("wait", 0, 20, "a", "root"), Span("wait", 95, 300, "b", "root"))
    assert stages_ms(batch) == {"queue": 15, "other": 75}


def test_spans_that_overlap_count_an_instant_once() -> None:
    batch = mapped(CHILD_QUEUE, Span("inference", 0, 100), Span("wait", 10, 30, "a", "root"), Span("wait", 20, 40, "b", "root"))
    assert stages_ms(batch) == {"queue": 30, "other": 70}


def test_children_are_not_grandchildren() -> None:
    spans = Span("inference", 0, 100), Span("inner", 0, 50, "a", "root"), Span("wait", 10, 30, "b", "a")
    assert stages_ms(mapped(CHILD_QUEUE, *spans)) == {"other": 100}
    assert stages_ms(mapped(CHILD_QUEUE.replace("child", "descendant"), *spans)) == {"queue": 20, "other": 80}


def test_descendants_are_found_through_spans_that_no_rule_reads() -> None:
    depth = 40
    chain = [Span(f"step{n}", 0, 1, f"s{n}", f"s{n - 1}" if n else "root") for n in range(depth)]
    batch = mapped(CHILD_QUEUE.replace("child", "descendant"), Span("inference", 0, 100), *chain, Span("wait", 5, 9, "w", f"s{depth - 1}"))
    assert stages_ms(batch) == {"queue": 4, "other": 96}


def test_spans_belong_to_the_inference_of_their_own_trace_whatever_their_ids() -> None:
    batch = mapped(
        CHILD_QUEUE,
        Span("inference", 0, 100, trace="1"),
        Span("inference", 0, 50, trace="2"),
        Span("wait", 10, 40, "w", "root", trace="2"),
    )
    assert sorted(stages_ms(batch, row).get("queue", -1) for row in (0, 1)) == [-1, 30]


def test_the_inference_itself_is_no_selection_of_its_own() -> None:
    batch = mapped("{stages: {queue: {duration: true, in: {rel: descendant, scope: test}}}}", Span("inference", 0, 100))
    assert stages_ms(batch) == {"other": 100}


def test_a_selection_is_narrowed_by_attributes_kind_and_scope() -> None:
    rule = "{stages: {queue: {duration: true, in: {rel: child, scope: lib, kind: [internal], attrs: {type: {any: [a, b]}}}}}}"
    fits = {"parent": "root", "scope": "lib", "kind": "internal", "attributes": {"type": "b"}}
    batch = mapped(
        rule,
        Span("inference", 0, 100),
        Span("x", 0, 10, "1", **fits),
        Span("x", 10, 20, "2", **(fits | {"scope": "test"})),
        Span("x", 20, 30, "3", **(fits | {"kind": "client"})),
        Span("x", 30, 40, "4", **(fits | {"attributes": {"type": "c"}})),
        Span("x", 40, 50, "5", **(fits | {"attributes": {}})),
    )
    assert stages_ms(batch) == {"queue": 10, "other": 90}


@pytest.mark.parametrize(("unit", "milliseconds"), [("s", 25.0), ("ms", 0.025), ("us", 0.000025)])
def test_a_length_has_the_unit_that_the_rule_says(unit: str, milliseconds: float) -> None:
    batch = mapped(f"{{stages: {{queue: {{attr: q, unit: {unit}}}}}}}", Span("inference", 0, 100, attributes={"q": 0.025}))
    assert stages_ms(batch)["queue"] == milliseconds


def test_a_number_in_a_text_is_a_number() -> None:
    assert stages_ms(mapped("{stages: {queue: {attr: q, unit: ms}}}", Span("inference", 0, 100, attributes={"q": "12.5"})))["queue"] == 12.5


def test_of_several_keys_the_first_that_is_there_tells() -> None:
    batch = mapped("{stages: {queue: {attr: [new, old], unit: ms}}}", Span("inference", 0, 100, attributes={"old": 7}))
    assert stages_ms(batch)["queue"] == 7


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, 1e300, "soon", "nan", True, 10**400])
def test_a_value_that_cannot_be_right_makes_its_stage_absent_and_is_not_made_good(value: float | str) -> None:
    rule = "{stages: {queue: [{attr: q, unit: s}, {attr: spare, unit: ms}], serialisation: {rest: true}}}"
    batch = mapped(rule, Span("inference", 0, 100, attributes={"q": value, "spare": 5}))
    assert stages_ms(batch) == {"other": 100}


def test_a_value_above_the_duration_is_rejected_where_the_rule_says_so() -> None:
    rule = "{stages: {queue: {attr: q, unit: ms, valid: {max_of: e2e}}}}"
    assert stages_ms(mapped(rule, Span("inference", 0, 100, attributes={"q": 101}))) == {"other": 100}
    assert stages_ms(mapped(rule, Span("inference", 0, 100, attributes={"q": 100}))) == {"queue": 100, "other": 0}


def test_values_without_measure_are_rejected_wherever_they_stand() -> None:
    rule = "{stages: {queue: {attr: q, unit: s, valid: {max_of: e2e}}}, latency: {tpot: {div: [{attr: q}, {attr: r}]}}}"
    batch = mapped(rule, Span("inference", 0, 100, attributes={"q": 1e305, "r": 1e-305}))
    assert stages_ms(batch) == {"other": 100}
    assert math.isnan(batch.tpot_seconds[0])


def test_a_value_that_is_a_sentinel_is_rejected_where_the_rule_says_so() -> None:
    rule = "{latency: {ttft: {attr: t, unit: s, valid: {gt: 0}}}}"
    assert math.isnan(mapped(rule, Span("inference", 0, 100, attributes={"t": 0.0})).ttft_seconds[0])
    assert mapped(rule, Span("inference", 0, 100, attributes={"t": 0.05})).ttft_seconds[0] == 0.05


def test_differences_and_quotients_are_of_what_was_told() -> None:
    rule = "{latency: {tpot: {div: [{sub: [{attr: total, unit: s}, {attr: first, unit: s}]}, {sub: [{attr: n}, 1]}]}}}"
    assert mapped(rule, Span("inference", 0, 3000, attributes={"total": 3.0, "first": 1.0, "n": 5})).tpot_seconds[0] == 0.5
    for incomplete in (
        {"total": 3.0, "n": 5},
        {"total": 3.0, "first": 1.0},
        {"total": 3.0, "first": 1.0, "n": 1},
        {"total": 1.0, "first": 2.0, "n": 3},
    ):
        assert math.isnan(mapped(rule, Span("inference", 0, 3000, attributes=incomplete)).tpot_seconds[0])


def test_no_token_comes_later_than_the_inference_ends() -> None:
    rule = "{latency: {ttft: {attr: t, unit: s}, tpot: {attr: t, unit: s}}}"
    for seconds, possible in ((0.1, True), (0.100001, False), (1e305, False)):
        batch = mapped(rule, Span("inference", 0, 100, attributes={"t": seconds}))
        assert [math.isnan(batch.ttft_seconds[0]), math.isnan(batch.tpot_seconds[0])] == [not possible] * 2


def test_an_absurd_number_of_tokens_tells_no_time_per_token() -> None:
    rule = "{counts: {tokens_out: {attr: n}}, latency: {tpot: {div: [{duration: true}, {attr: n}]}}}"
    assert mapped(rule, Span("inference", 0, 100, attributes={"n": 10})).tpot_seconds[0] == 0.01
    assert math.isnan(mapped(rule, Span("inference", 0, 100, attributes={"n": 1e12})).tpot_seconds[0])


@pytest.mark.parametrize("wrong", [{"a": math.inf, "b": 1.0}, {"a": 1.0, "b": math.inf}, {"a": -1.0, "b": 1.0}, {"a": 1.0, "b": -1.0}])
def test_a_difference_of_what_cannot_be_right_is_rejected(wrong: dict[str, float]) -> None:
    batch = mapped(
        "{stages: {compute: [{sub: [{attr: a, unit: ms}, {attr: b, unit: ms}]}, {duration: true}]}}",
        Span("inference", 0, 9, attributes=wrong),
    )
    assert stages_ms(batch) == {"other": 9}


def test_the_span_s_own_duration_is_a_value() -> None:
    batch = mapped(
        "{latency: {ttft: {duration: true}, tpot: {between: [{event: E}, span.end]}}}", Span("inference", 0, 250, events=[("E", 50)])
    )
    assert (batch.ttft_seconds[0], batch.tpot_seconds[0]) == (0.25, 0.2)


def test_the_time_of_other_spans_is_taken_away() -> None:
    rule = """{stages: {
        queue: {duration: true, in: {rel: descendant, span: route}},
        compute: {duration: true, in: {rel: descendant, span: handle}, minus: {rel: descendant, span: route}},
        serialisation: {rest: true}}}"""
    spans = [
        Span("inference", 0, 100),
        Span("route", 5, 10, "r1", "root"),
        Span("handle", 10, 90, "h1", "r1"),
        Span("route", 30, 50, "r2", "h1"),
        Span("handle", 45, 80, "h2", "r2"),
    ]
    batch = mapped(rule, *spans)
    assert stages_ms(batch) == {"queue": 25, "compute": 60, "serialisation": 15, "other": 0}
    assert compute_ms(batch) == [(10, 30), (50, 90)]


def test_what_is_taken_away_completely_is_told_and_nothing() -> None:
    rule = "{stages: {compute: [{duration: true, in: {rel: child, span: a}, minus: {rel: child, span: b}}, {duration: true}]}}"
    batch = mapped(rule, Span("inference", 0, 100), Span("a", 10, 20, "a", "root"), Span("b", 0, 50, "b", "root"))
    assert stages_ms(batch) == {"compute": 0, "other": 100}


def test_the_whole_span_may_be_told_but_for_others() -> None:
    batch = mapped(
        "{stages: {compute: {duration: true, minus: {rel: child, span: b}}}}",
        Span("inference", 0, 100),
        Span("b", -5, 20, "b", "root"),
        Span("b", 90, 95, "c", "root"),
    )
    assert compute_ms(batch) == [(20, 90), (95, 100)]


@pytest.mark.parametrize(
    ("point", "milliseconds"),
    [("edge: start", 10), ("edge: end", 20)],
)
def test_an_instant_may_be_where_other_spans_begin_or_end(point: str, milliseconds: float) -> None:
    rule = f"{{latency: {{ttft: {{between: [span.start, {{{point}, in: {{rel: child, span: send}}}}]}}}}}}"
    spans = Span("inference", 0, 100), Span("send", 40, 60, "b", "root"), Span("send", 10, 20, "a", "root")
    assert mapped(rule, *spans).ttft_seconds[0] == milliseconds / 1000
    assert math.isnan(mapped(rule, spans[0]).ttft_seconds[0])


@pytest.mark.parametrize(
    ("text", "milliseconds"), [("1.5ms", 1.5), ("80µs", 0.08), ("80us", 0.08), ("15ns", 0.000015), ("0ns", 0), ("0.0125s", 12.5)]
)
def test_a_time_may_be_a_text_with_its_unit(text: str, milliseconds: float) -> None:
    batch = mapped("{stages: {queue: {attr: q, unit: rust_duration}}}", Span("inference", 0, 100, attributes={"q": text}))
    assert stages_ms(batch)["queue"] == milliseconds


@pytest.mark.parametrize("text", ["", "5", "ms", "-5ms", "5 ms", "1e3s", "5minutes", "5ms!", "9" * 2000 + "s"])
def test_a_text_that_is_no_time_with_a_unit_is_rejected(text: str) -> None:
    rule = "{stages: {queue: [{attr: q, unit: rust_duration}, {attr: r, unit: ms}]}}"
    assert stages_ms(mapped(rule, Span("inference", 0, 100, attributes={"q": text, "r": 5}))) == {"other": 100}


def test_a_value_of_other_spans_is_that_of_the_earliest_that_has_one() -> None:
    rule = "{counts: {tokens_in: {attr: [n, m], in: {rel: child, span: call}}, tokens_out: {attr: o, in: {rel: child, span: call}}}}"
    batch = mapped(
        rule,
        Span("inference", 0, 100, attributes={"n": 1}),
        Span("call", 30, 40, "b", "root", attributes={"n": 20, "m": 3}),
        Span("call", 10, 20, "a", "root", attributes={"m": 30}),
        Span("call", 20, 30, "c", "root", attributes={"n": 10, "o": "many"}),
    )
    assert (batch.tokens_input.tolist(), batch.tokens_output.tolist()) == ([10], [-1])


def test_parts_add_up_to_their_stage_and_the_first_in_the_file_wins_an_instant() -> None:
    rule = "{stages: {transfer: {parts: {a: {between: [{event: A}, {event: B}]}, b: {between: [span.start, {event: B}]}}}}}"
    batch = mapped(rule, Span("inference", 0, 100, events=[("A", 10), ("B", 30)]))
    assert stages_ms(batch) == {"transfer": 30, "other": 70}
    assert parts_ms(batch) == {("transfer", "a"): 20, ("transfer", "b"): 10}


def test_a_stage_with_a_rejected_part_is_absent_with_all_its_parts() -> None:
    rule = "{stages: {compute: {parts: {a: {attr: a, unit: ms}, b: {attr: b, unit: ms}}}}}"
    batch = mapped(rule, Span("inference", 0, 100, attributes={"a": 10, "b": -1}))
    assert stages_ms(batch) == {"other": 100}
    assert parts_ms(batch) == {}


def test_the_rest_is_what_the_others_leave_and_nothing_where_one_of_them_is_missing() -> None:
    rule = "{stages: {queue: {attr: q, unit: ms}, compute: {attr: c, unit: ms}, serialisation: {rest: true, estimated: true}}}"
    batch = mapped(rule, Span("inference", 0, 100, attributes={"q": 10, "c": 60}))
    assert stages_ms(batch) == {"queue": 10, "compute": 60, "serialisation": 30, "other": 0}
    assert batch.quality == {"queue": "measured", "compute": "measured", "serialisation": "estimated"}
    lacking = mapped(rule, Span("inference", 0, 100, attributes={"q": 10}))
    assert stages_ms(lacking) == {"queue": 10, "other": 90}
    assert lacking.quality == {"queue": "measured"}


def test_the_rest_alone_is_everything() -> None:
    batch = mapped("{stages: {serialisation: {rest: true}}}", Span("inference", 0, 100))
    assert stages_ms(batch) == {"serialisation": 100, "other": 0}
    assert batch.quality == {"serialisation": "measured"}


def test_an_alternative_that_is_an_estimate_shows_only_where_it_was_used() -> None:
    rule = "{stages: {compute: [{attr: c, unit: ms}, {attr: guess, unit: ms, estimated: true}]}}"
    assert mapped(rule, Span("inference", 0, 100, attributes={"c": 10, "guess": 20})).quality == {"compute": "measured"}
    assert mapped(rule, Span("inference", 0, 100, attributes={"guess": 20})).quality == {"compute": "estimated"}
    assert mapped(rule, Span("inference", 0, 100)).quality == {}


def test_lengths_fill_what_intervals_leave_and_never_more() -> None:
    rule = "{stages: {compute: {between: [{event: A}, {event: B}]}, queue: {attr: q, unit: ms}, serialisation: {attr: s, unit: ms}}}"
    batch = mapped(rule, Span("inference", 0, 100, events=[("A", 20), ("B", 80)], attributes={"q": 90, "s": 30}))
    assert stages_ms(batch) == {"compute": 60, "serialisation": 30, "queue": 10, "other": 0}


def test_compute_told_as_a_length_begins_when_the_queue_ends() -> None:
    rule = "{stages: {queue: {attr: q, unit: ms}, compute: {attr: c, unit: ms}}}"
    assert compute_ms(mapped(rule, Span("inference", 0, 100, attributes={"q": 20, "c": 50}))) == [(20, 70)]
    rule = "{stages: {queue: {between: [{event: A}, {event: B}]}, compute: {attr: c, unit: ms}}}"
    assert compute_ms(mapped(rule, Span("inference", 0, 100, events=[("A", 10), ("B", 30)], attributes={"c": 50}))) == [(30, 80)]
    assert compute_ms(mapped(rule, Span("inference", 0, 100, events=[("A", 70), ("B", 90)], attributes={"c": 50}))) == [(50, 100)]


def test_compute_that_lower_stages_overlap_stays_one_interval() -> None:
    rule = "{stages: {compute: {between: [{event: A}, {event: B}]}, queue: {between: [{event: C}, {event: D}]}}}"
    batch = mapped(rule, Span("inference", 0, 100, events=[("A", 10), ("B", 90), ("C", 20), ("D", 95)]))
    assert compute_ms(batch) == [(10, 90)]
    assert stages_ms(batch) == {"compute": 80, "queue": 5, "other": 15}


def test_where_compute_is_not_told_what_nobody_claims_counts_as_computing() -> None:
    rule = "{stages: {serialisation: {between: [{event: A}, {event: B}]}}}"
    batch = mapped(rule, Span("inference", 0, 100, events=[("A", 20), ("B", 30)]))
    assert compute_ms(batch) == [(0, 20), (30, 100)]
    assert batch.compute_estimated.tolist() == [True]


def test_where_compute_is_not_told_and_other_stages_only_by_length_it_begins_when_the_queue_ends() -> None:
    batch = mapped(
        "{stages: {queue: {attr: q, unit: ms}, transfer: {attr: t, unit: ms}}}", Span("inference", 0, 100, attributes={"q": 30, "t": 10})
    )
    assert compute_ms(batch) == [(30, 90)]
    assert batch.compute_estimated.tolist() == [True]


def test_compute_of_no_length_is_told_and_no_interval() -> None:
    batch = mapped("{stages: {compute: {attr: c, unit: ms}}}", Span("inference", 0, 100, attributes={"c": 0}))
    assert compute_ms(batch) == []
    assert stages_ms(batch) == {"compute": 0, "other": 100}
    assert batch.compute_estimated.tolist() == [False]


def test_the_duration_may_begin_before_the_span() -> None:
    rule = "{latency: {e2e: [{between: [{event: RECEIVED}, span.end]}, {duration: true}]}}"
    early = mapped(rule, Span("inference", 10, 100, events=[("RECEIVED", 4)]))
    assert (duration_ms(early), compute_ms(early)) == (96, [(4, 100)])
    assert duration_ms(mapped(rule, Span("inference", 10, 100))) == 90


def test_the_tail_of_a_span_beyond_the_told_duration_is_dropped() -> None:
    batch = mapped("{latency: {e2e: {attr: e, unit: ms}}}", Span("inference", 0, 100, attributes={"e": 98}))
    assert compute_ms(batch) == [(0, 98)]


def test_labels_come_from_the_span_else_from_the_resource_else_from_nowhere() -> None:
    rule = "{labels: {model: [{attr: [model, name]}, {resource: service.name}]}}"
    assert list(mapped(rule, Span("inference", 0, 1, attributes={"name": "llama"}, resource={"service.name": "chat"})).model) == ["llama"]
    assert list(mapped(rule, Span("inference", 0, 1, resource={"service.name": "chat"})).model) == ["chat"]
    assert list(mapped(rule, Span("inference", 0, 1, attributes={"model": 7})).model) == [None]
    assert list(mapped("{}", Span("inference", 0, 1)).model) == [None]


def test_labels_are_cleaned_and_bounded() -> None:
    rule = "{labels: {model: {attr: model}}}"
    assert list(mapped(rule, Span("inference", 0, 1, attributes={"model": " a\x00b\nc\ud800 "})).model) == ["abc"]
    assert list(mapped(rule, Span("inference", 0, 1, attributes={"model": "\x07"})).model) == [None]
    assert list(mapped(rule, Span("inference", 0, 1, attributes={"model": "x" * 100_000})).model) == ["x" * 256]


def test_a_label_may_be_captured_from_a_text() -> None:
    rule = "{labels: {model: [{attr: [url, path], re: '/models/([^/]*)'}, {attr: spare}]}}"
    assert list(mapped(rule, Span("inference", 0, 1, attributes={"path": "/v2/models/mlp/infer"})).model) == ["mlp"]
    assert list(mapped(rule, Span("inference", 0, 1, attributes={"path": "/v2/models//infer", "spare": "s"})).model) == ["s"]
    assert list(mapped(rule, Span("inference", 0, 1, attributes={"path": "/", "url": "/models/a"})).model) == ["a"]


def test_a_label_of_related_spans_is_that_of_the_earliest() -> None:
    batch = mapped(
        "{labels: {model: {attr: model, in: {rel: child, scope: test}}}}",
        Span("inference", 0, 100, trace="1"),
        Span("late", 20, 30, "b", "root", trace="1", attributes={"model": "second"}),
        Span("early", 10, 30, "a", "root", trace="1", attributes={"model": "first"}),
        Span("silent", 5, 30, "c", "root", trace="1"),
        Span("inference", 0, 100, trace="2"),
    )
    assert sorted(batch.model, key=str) == [None, "first"]


@pytest.mark.parametrize(
    ("error", "attributes", "status", "expected"),
    [
        ("[{status: error}]", {}, "error", True),
        ("[{status: error}]", {}, "ok", False),
        ("[{attrs: {code: {re: '^5..$'}}}]", {"code": 503}, "unset", True),
        ("[{attrs: {code: {re: '^5..$'}}}]", {"code": 200}, "unset", False),
        ("[{attrs: {code: {re: '^5..$'}}}, {attrs: {failed: {prefix: Time}}}]", {"failed": "TimeoutError"}, "unset", True),
        ("[{attrs: {failed: true}}]", {"failed": False}, "unset", True),
        ("[{span: something}]", {}, "error", False),
    ],
)
def test_an_error_is_what_the_rule_says(error: str, attributes: dict[str, int], status: str, *, expected: bool) -> None:
    batch = mapped(f"{{error: {error}}}", Span("inference", 0, 1, attributes=attributes, status=status))
    assert batch.error.tolist() == [expected]


def test_token_counts_are_whole_and_absurd_ones_absent() -> None:
    rule = "{counts: {tokens_in: {attr: i}, tokens_out: {attr: o}}}"
    batch = mapped(rule, Span("inference", 0, 1, attributes={"i": "12", "o": 1e12}))
    assert (batch.tokens_input.tolist(), batch.tokens_output.tolist()) == ([12], [-1])


def test_parts_may_be_named_by_the_sender() -> None:
    rule = "{stages: {transfer: {of: {duration: true, in: {rel: child, span: copy}}, part_attr: part}}}"
    batch = mapped(
        rule,
        Span("inference", 0, 100),
        Span("copy", 0, 20, "a", "root", attributes={"part": "kv"}),
        Span("copy", 10, 30, "b", "root", attributes={"part": "host_to_device"}),
        Span("copy", 50, 55, "c", "root", attributes={"part": "My Prompt!"}),
        Span("copy", 60, 70, "d", "root"),
    )
    assert stages_ms(batch) == {"transfer": 45, "other": 55}
    assert parts_ms(batch) == {("transfer", "host_to_device"): 20, ("transfer", "kv"): 10, ("transfer", "other"): 5}


def test_a_stage_whose_parts_the_sender_names_is_absent_without_its_spans() -> None:
    rule = "{stages: {transfer: {of: {duration: true, in: {rel: child, span: copy}}, part_attr: part}}}"
    assert stages_ms(mapped(rule, Span("inference", 0, 100))) == {"other": 100}


def test_the_ninth_name_of_a_part_is_other() -> None:
    rule = "{stages: {transfer: {of: {duration: true, in: {rel: child, span: copy}}, part_attr: part}}}"
    spans = [Span("copy", n, n + 1, f"c{n}", "root", attributes={"part": f"p{n}"}) for n in range(10)]
    parts = parts_ms(mapped(rule, Span("inference", 0, 100), *spans))
    assert parts == {("transfer", f"p{n}"): 1 for n in range(8)} | {("transfer", "other"): 2}


def test_a_rule_may_match_by_resource_and_by_any_of_several_conditions() -> None:
    rule = mapping(
        "{}", match="{any: [{resource: {engine: {any: [x, y]}}}, {attrs: {served: true}}, {span: {re: '^in.*n$'}, kind: [client]}]}"
    )
    matching = [
        Span("a", 0, 1, trace="1", resource={"engine": "y"}),
        Span("a", 0, 1, trace="2", attributes={"served": 0}),
        Span("inflation", 0, 1, trace="3", kind="client"),
    ]
    others = [Span("a", 0, 1, trace="4", resource={"engine": "z"}), Span("a", 0, 1, trace="5"), Span("inflation", 0, 1, trace="6")]
    assert len(mapped(rule, *matching, *others)) == 3
    rule = mapping("{}", match="{any: [{span: a}, {span: b}]}")
    assert len(mapped(rule, Span("a", 0, 1, trace="1"), Span("b", 0, 1, trace="2"), Span("c", 0, 1, trace="3"))) == 2
