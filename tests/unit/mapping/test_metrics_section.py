"""The `metrics` section of a mapping file is read strictly, and says which series are what."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from infermeter.errors import ConfigErrors, MappingError
from infermeter.mapping import ServerMapping, shipped_mappings
from infermeter.mapping.metrics import WORK, CountRule, MetricRules
from infermeter.mapping.metrics_reference import metrics_lines
from infermeter.mapping.reference import servers_markdown
from infermeter.mapping.schema import read_mapping
from infermeter.mapping.series import SeriesRule
from infermeter.mapping.texts import TextMatch
from infermeter.mapping.times import PER_SECOND, TimeRule
from unit.mapping.test_schema import rule

SPANS = rule("{id: a, match: {span: s}, emit: {}}")


def mapping(metrics: str) -> ServerMapping:
    return read_mapping(f"{SPANS}metrics: {{{metrics}}}\n", "own.yaml")


def rules(metrics: str) -> MetricRules:
    read = mapping(metrics).metrics
    assert read is not None
    return read


def problem(metrics: str) -> str:
    with pytest.raises(ConfigErrors) as caught:
        mapping(metrics)
    assert all(isinstance(error, MappingError) for error in caught.value.problems)
    return str(caught.value.problems[0]).removeprefix("own.yaml: metrics")


@pytest.mark.parametrize(
    ("metrics", "told"),
    [
        ("endpoint: x", ": must have counters or gauges"),
        ("counter: {ok: {name: a}}", ".counter: unknown key; did you mean counters?"),
        ("counters: {}", ".counters: is empty"),
        ("gauges: {}", ".gauges: is empty"),
        ("counters: {errors: {name: a}}", ".counters.errors: means nothing without inferences or ok"),
        ("counters: {ok: {name: a}, inferences: {name: b}}", ".counters: must not have both inferences and ok"),
        (
            "counters: {ok: {name: a}, tokens: {name: b}}",
            ".counters.tokens: unknown key; did you mean tokens_in?",
        ),
        ("counters: {ok: a}", ".counters.ok: must be a mapping"),
        ("counters: {ok: {}}", ".counters.ok: name is missing"),
        ("counters: {ok: {name: 1st}}", ".counters.ok.name: must match [a-zA-Z_:][a-zA-Z0-9_:]*"),
        ("counters: {ok: {name: a, older: [2nd]}}", ".counters.ok.older[0]: must match [a-zA-Z_:][a-zA-Z0-9_:]*"),
        ("counters: {ok: {name: a, older: []}}", ".counters.ok.older: is empty"),
        ("counters: {ok: {name: a, where: {l: {is: x}}}}", ".counters.ok.where.l.is: unknown key; known are any, prefix, re"),
        ("counters: {ok: {name: a, by: {label: l, error: x}}}", ".counters.ok.by: unknown key; known are name, older, where"),
        ("counters: {inferences: {name: a, by: {label: l}}}", ".counters.inferences.by: error is missing"),
        ("counters: {inferences: {name: a, by: {label: l, error: []}}}", ".counters.inferences.by.error: is empty"),
        (
            "counters: {inferences: {name: a, by: {label: l, error: x}}, errors: {name: b}}",
            ".counters.errors: means nothing beside inferences with by: its label tells the errors",
        ),
        ("counters: {batch_size: {name: a}}", ".counters.batch_size: per is missing"),
        ("counters: {batch_size: {name: a, per: 1st}}", ".counters.batch_size.per: must match [a-zA-Z_:][a-zA-Z0-9_:]*"),
        ("counters: {ok: {name: a}, errors: {name: a}}", ": two readings are of one metric"),
        ("counters: {ok: {name: a}, tokens_in: {name: b, older: a}}", ": two readings are of one metric"),
        ("counters: {ok: {name: a}}, gauges: {running: {name: a}}", ": two readings are of one metric"),
        ("counters: {ok: {name: a}}, gauges: {runing: {name: b}}", ".gauges.runing: unknown key; did you mean running?"),
        ("counters: {ok: {name: a}}, gauges: {running: {nam: b}}", ".gauges.running.nam: unknown key; did you mean name?"),
        ("counters: {ok: {name: a}}, labels: {}", ".labels: model is missing"),
        ("counters: {ok: {name: a}}, labels: {model: [a]}", ".labels.model: must be a text"),
        (
            "counters: {tokens_in: {name: a}}, inner_calls: true",
            ".inner_calls: with tokens: those of inner calls would count too",
        ),
        ("counters: {ok: {name: a}}, histograms: {}", ".histograms: is empty"),
        ("counters: {ok: {name: a}}, histograms: {e2e: {name: h}}", ".histograms.e2e: unit is missing"),
        ("counters: {ok: {name: a}}, histograms: {e2e: {name: h, unit: h}}", ".histograms.e2e.unit: unknown; known are s, ms, us"),
        (
            "counters: {ok: {name: a}}, histograms: {e2e: {name: h, unit: s, per: a}}",
            ".histograms.e2e.per: unknown key; known are name, unit, older, where",
        ),
        (
            "counters: {ok: {name: a}}, histograms: {ttft: {parts: {}}}",
            ".histograms.ttft.parts: unknown key; known are name, unit, older, where",
        ),
        ("counters: {ok: {name: a}}, summaries: {tptot: {name: h}}", ".summaries.tptot: unknown key; did you mean tpot?"),
        ("counters: {compute: {parts: {}}}", ".counters.compute.parts: is empty"),
        ("counters: {compute: {name: a}}", ".counters.compute: unit is missing"),
        ("counters: {compute: {}}", ".counters.compute: name is missing"),
        (
            "counters: {compute: {unit: s, parts: {a: {name: b, unit: s}}}}",
            ".counters.compute: has no name: it is what its parts are together, and must have nothing besides them",
        ),
        (
            "counters: {compute: {parts: {A: {name: b, unit: s}}}}",
            ".counters.compute.parts.A: the name of a part must match [a-z][a-z0-9_]{0,31}",
        ),
        ("counters: {compute: {parts: {a: {name: b}}}}", ".counters.compute.parts.a: unit is missing"),
        ("counters: {queue: {name: b, unit: s}}, summaries: {queue: {name: c, unit: s}}", ": two readings are of one time"),
        ("counters: {queue: {name: b, unit: s}, compute: {name: b, unit: s}}", ": two readings are of one time"),
        ("counters: {flops: {name: b, unit: s}}", ".counters.flops.unit: unknown key; known are name, older, where"),
        ("histograms: {e2e: {name: h, unit: s}}", ": must have counters or gauges"),
        ("counters: {ok: {name: a}}, origin: measured", ".origin: unknown; did you mean captured?"),
        ("counters: {ok: {name: a}}, known_by: []", ".known_by: is empty"),
        ("counters: {ok: {name: a}}, known_by: [b, 1st]", ".known_by[1]: must match [a-zA-Z_:][a-zA-Z0-9_:]*"),
        ("counters: {ok: {name: a}}, known_as: b", ".known_as: unknown key; did you mean known_by?"),
        (
            "counters: {ok: {name: a, older: b}}, known_by: [b]",
            ".known_by: means nothing of a metric that is read without where: a page is known by it anyway",
        ),
        ("counters: {ok: {name: a}}, inner_calls: false", ".inner_calls: unknown; known are true, several"),
        (
            "counters: {ok: {name: a}}, inner_calls: several",
            ".inner_calls: means nothing without labels: nobody says whether there are several",
        ),
    ],
)
def test_a_problem_is_told_with_its_path(metrics: str, told: str) -> None:
    assert problem(metrics) == told


def test_a_file_without_the_section_tells_no_metrics() -> None:
    assert read_mapping(SPANS, "own.yaml").metrics is None


def test_a_file_without_rules_is_one_of_a_server_without_spans_if_it_has_metrics() -> None:
    head = SPANS[: SPANS.index("rules:")] + "rules: []\n"
    read = read_mapping(f"{head}metrics: {{counters: {{ok: {{name: a}}}}}}\n", "own.yaml")
    assert (read.rules, read.metrics) == ((), MetricRules((CountRule(named("a"), "ok"),)))
    assert read.sampled  # that no span comes says nothing of what it serves
    with pytest.raises(ConfigErrors) as caught:
        read_mapping(head, "own.yaml")
    assert str(caught.value) == "own.yaml: rules: is empty, and there are no metrics: nothing would be known of this server"


def test_a_page_is_known_by_what_needs_no_label_and_by_what_is_not_read() -> None:
    read = rules("counters: {ok: {name: a}, errors: {name: b, where: {l: x}}}, known_by: [c, b]")
    assert read.unmistakable_names == ("a", "c", "b")
    assert read.names == ("a", "b")
    assert not read.reads("c", {})


def named(*names: str, **where: TextMatch) -> SeriesRule:
    return SeriesRule(names, tuple(where.items()))


def one_of(*texts: str) -> TextMatch:
    return TextMatch(exact=frozenset(texts))


def test_the_section_is_what_its_file_says() -> None:
    assert rules(
        "endpoint: here, labels: {model: m}, inner_calls: true, counters: {ok: {name: a}, errors: {name: b}}, gauges: {running: {name: c}}"
    ) == MetricRules(
        (CountRule(named("a"), "ok"), CountRule(named("b"), "error")), {"running": named("c")}, "m", inner_calls=True, endpoint="here"
    )
    assert rules("counters: {inferences: {name: 'a:b_total'}}") == MetricRules((CountRule(named("a:b_total")),))
    assert rules("counters: {inferences: {name: a, by: {label: l, error: [x, {prefix: y}]}}}").counts == (
        CountRule(named("a"), None, "l", (one_of("x"), TextMatch(prefix="y"))),
    )


def test_older_names_and_labels_say_which_series_are_meant() -> None:
    assert rules("counters: {ok: {name: a, older: [b, c], where: {l: x, m: {any: [y, z]}}}}").counts == (
        CountRule(named("a", "b", "c", l=one_of("x"), m=one_of("y", "z")), "ok"),
    )
    meant = named("a", l=one_of("x"), m=TextMatch(prefix="y"))
    assert meant.fits({"l": "x", "m": "yz", "n": "1"})
    assert not meant.fits({"l": "x"})
    assert not meant.fits({"l": "y", "m": "y"})


def test_tokens_batches_and_gauges_are_read_too() -> None:
    read = rules(
        "counters: {tokens_in: {name: i}, tokens_out: {name: o}, batch_size: {name: s_sum, per: s_count, where: {l: x}}}, "
        "gauges: {kv_cache_used: {name: k}, waiting: {name: w}, running: {name: r}, batch_size: {name: r}}"
    )
    where = one_of("x")
    assert read.counts == (
        CountRule(named("i"), "input"),
        CountRule(named("o"), "output"),
        CountRule(named("s_sum", l=where), "executed"),
        CountRule(named("s_count", l=where), "executions"),
    )
    assert read.gauges == {"running": named("r"), "waiting": named("w"), "batch_size": named("r"), "kv_cache_used": named("k")}
    assert (read.inferences, read.directions) == ((), {"input", "output"})
    assert rules("counters: {ok: {name: a}, tokens_out: {name: o}}").directions == {"output"}


def test_one_metric_may_tell_two_things_of_which_its_labels_say_which() -> None:
    read = rules("counters: {tokens_in: {name: t, where: {l: in}}, tokens_out: {name: t, where: {l: out}}}")
    assert read.names == ("t",)
    assert read.reads("t", {"l": "out"})
    assert not read.reads("t", {"l": "other"})
    assert not read.reads("u", {"l": "out"})


def test_the_names_that_are_wanted_of_a_page_are_all_that_are_read_each_once() -> None:
    read = rules("counters: {ok: {name: a, older: z}, errors: {name: b}}, gauges: {running: {name: c}, batch_size: {name: c}}")
    assert read.names == ("a", "z", "b", "c")
    assert rules("counters: {ok: {name: a}}").names == ("a",)


def test_an_outcome_is_the_counters_own_or_what_its_label_says_or_unknown() -> None:
    by = CountRule(named("a"), None, "reason", (one_of("abort"), TextMatch(prefix="5")))
    assert CountRule(named("a"), "error").what_of({"reason": "x"}) == "error"
    assert CountRule(named("a")).what_of({"reason": "abort"}) is None
    assert [by.what_of({"reason": reason}) for reason in ("abort", "stop", "503")] == ["error", "ok", "error"]
    assert by.what_of({}) == "ok"


@pytest.mark.parametrize(
    ("counters", "left"),
    [
        ("inferences: {name: a}, errors: {name: b}", True),
        ("inferences: {name: a}", False),
        ("inferences: {name: a, by: {label: l, error: x}}", False),
        ("ok: {name: a}, errors: {name: b}", False),
        ("ok: {name: a}", False),
    ],
)
def test_ok_is_what_is_left_where_errors_are_counted_among_all(counters: str, *, left: bool) -> None:
    assert rules(f"counters: {{{counters}}}").ok_is_what_is_left is left


def _told(metrics: MetricRules) -> list[SeriesRule]:
    """What is told of, a histogram or summary by its own name."""
    whole = [replace(time.sums, names=tuple(name.removesuffix("_sum") for name in time.sums.names)) for time in metrics.times]
    return [*(count.series for count in metrics.counts), *metrics.gauges.values(), *whole, *metrics.work.values()]


# --- what is shipped -----------------------------------------------------------------------------------------------------------------
def test_the_reference_tells_what_each_server_tells() -> None:
    text = servers_markdown()
    assert text.count("- own metrics: none that are read") == len([1 for read in shipped_mappings().values() if read.metrics is None])
    for read in shipped_mappings().values():
        names = {name for series in _told(read.metrics) for name in series.names} if read.metrics else set()
        assert names == {name for name in names if f"`{name}`" in text}
    assert "failed where `finished_reason` is `abort` or `error`" in text


def test_the_reference_tells_what_a_server_leaves_to_the_configuration() -> None:
    (line,) = metrics_lines(rules("counters: {inferences: {name: a}, errors: {name: b}}"))
    assert line.startswith("- own metrics: inferences (`a`); failed inferences (`b`); those that ended well are the rest; no model: ")
    assert line.endswith("`server.model`, or the only one that its API lists")
    assert list(metrics_lines(None)) == ["- own metrics: none that are read"]


def test_the_reference_tells_older_names_and_which_labels_are_meant() -> None:
    (line,) = metrics_lines(
        rules(
            "endpoint: here, labels: {model: m}, counters: {inferences: {name: a, older: b, where: {l: {any: [x, y]}, k: {prefix: z}}, "
            "by: {label: s, error: {re: ^5}}}}, gauges: {running: {name: r}}"
        )
    )
    assert line == (
        "- own metrics, here: inferences (`a` or `b` where `l` is `x` or `y` where `k` is `z...`, failed where `s` is like `^5`); "
        "inferences that run right now (`r`); by model (`m`)"
    )


def test_a_server_without_spans_is_said_to_emit_none() -> None:
    text = servers_markdown()
    assert text.count("It emits no spans") == len([1 for read in shipped_mappings().values() if not read.rules]) > 0


# --- times ---------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("unit", "seconds"), [("s", 250.0), ("ms", 0.25), ("us", 0.00025)])
def test_a_histogram_is_read_by_its_sum_its_count_and_its_buckets_whose_edges_are_in_seconds(unit: str, seconds: float) -> None:
    read = rules(f"counters: {{ok: {{name: a}}}}, histograms: {{e2e: {{name: h, older: old, unit: {unit}, where: {{way: out}}}}}}")
    (time,) = read.times
    out = (("way", TextMatch(exact=frozenset({"out"}))),)
    assert time.of == "duration"
    assert time.series == tuple(SeriesRule((f"h_{ending}", f"old_{ending}"), out) for ending in ("sum", "count", "bucket"))
    assert read.names == ("a", "h_sum", "old_sum", "h_count", "old_count", "h_bucket", "old_bucket")
    assert time.edge_seconds({"le": "250"}) == pytest.approx(seconds)
    assert time.edge_seconds({"le": "+Inf"}) == math.inf


@pytest.mark.parametrize("labels", [{}, {"le": "much"}, {"le": "NaN"}, {"le": "0"}, {"le": "-1"}])
def test_a_bucket_whose_edge_is_no_duration_tells_nothing(labels: dict[str, str]) -> None:
    assert TimeRule("duration", SeriesRule(("h_sum",))).edge_seconds(labels) is None


def test_a_summary_has_no_buckets_and_a_counter_counts_those_of_another_if_it_says_so() -> None:
    read = rules(
        "counters: {ok: {name: a}, queue: {name: q, unit: us, per: a, where: {w: x}}, transfer: {name: t, unit: s}}, "
        "summaries: {ttft: {name: f, unit: s}}"
    )
    x = (("w", TextMatch(exact=frozenset({"x"}))),)
    assert read.times == (
        TimeRule("queue", SeriesRule(("q",), x), SeriesRule(("a",), x), None, 1e6),
        TimeRule("transfer", SeriesRule(("t",))),
        TimeRule("ttft", SeriesRule(("f_sum",)), SeriesRule(("f_count",))),
    )


def test_a_stage_has_a_name_or_parts_or_both() -> None:
    part = "parts: {a: {name: a, unit: s}, b: {name: b, unit: ms}}"
    read = rules(f"counters: {{ok: {{name: n}}, queue: {{name: q, unit: s, {part}}}, compute: {{parts: {{c: {{name: c, unit: s}}}}}}}}")
    assert [time.of for time in read.times] == ["queue", ("queue", "a"), ("queue", "b"), ("compute", "c")]


@pytest.mark.parametrize(
    ("told", "inner", "several"), [("", False, False), (", inner_calls: true", True, False), (", inner_calls: several", True, True)]
)
def test_calls_by_other_models_are_in_the_counts_of_each_or_of_several(told: str, *, inner: bool, several: bool) -> None:
    read = rules(f"labels: {{model: m}}, counters: {{ok: {{name: a}}}}{told}")
    assert (read.inner_calls, read.among_several) == (inner, several)
    assert ("where there are several" in list(metrics_lines(read))[-1]) is several


def test_work_is_read_of_each_kind_that_is_told() -> None:
    read = rules("counters: {flops: {name: f, older: g}, bytes_read: {name: r}}")
    assert read.work == {"flops": SeriesRule(("f", "g")), "bytes_read": SeriesRule(("r",))}
    assert read.names == ("f", "g", "r")


def test_the_reference_tells_of_times_and_of_work() -> None:
    (line,) = metrics_lines(
        rules(
            "counters: {ok: {name: a}, queue: {name: q, unit: s, per: a}, transfer: {parts: {kv: {name: t, unit: s}}}, flops: {name: f}}, "
            "histograms: {e2e: {name: h, older: i, unit: s}}, summaries: {ttft: {name: s, unit: s}}"
        )
    )
    assert "; time in queue (`q`, a sum over `a`); transfer's part `kv` (`t`, a sum); durations (`h` or `i`, a histogram); " in line
    assert "; times to first token (`s`, a sum); floating-point operations of a GPU, estimated (`f`); " in line


def test_every_kind_of_time_and_of_work_is_shipped() -> None:
    shipped = [read.metrics for read in shipped_mappings().values() if read.metrics]
    times = [time for read in shipped for time in read.times]
    assert {time.of for time in times if isinstance(time.of, str)} == {"duration", "ttft", "tpot", "queue", "compute", "transfer"}
    assert {time.of[0] for time in times if isinstance(time.of, tuple)} == {"compute", "transfer", "serialisation"}
    assert {time.units_per_second for time in times} == set(PER_SECOND.values())
    assert {(time.counts is None, time.buckets is None) for time in times} == {(False, False), (False, True), (True, True)}
    assert {work for read in shipped for work in read.work} == set(WORK)
