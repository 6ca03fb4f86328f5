"""The `metrics` section of a mapping file is read strictly, and says which series are what."""

from __future__ import annotations

import pytest

from infermeter.errors import ConfigErrors, MappingError
from infermeter.mapping import ServerMapping, shipped_mappings
from infermeter.mapping.metrics import CountRule, MetricRules
from infermeter.mapping.reference import metrics_text, servers_markdown
from infermeter.mapping.schema import read_mapping
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
        ("endpoint: x", ": counters is missing"),
        ("counter: {ok: {name: a}}", ".counter: unknown key; did you mean counters?"),
        ("counters: {}", ".counters: must have exactly one of inferences, ok"),
        ("counters: {errors: {name: a}}", ".counters: must have exactly one of inferences, ok"),
        ("counters: {ok: {name: a}, inferences: {name: b}}", ".counters: must have exactly one of inferences, ok"),
        ("counters: {ok: {name: a}, tokens_in: {name: b}}", ".counters.tokens_in: unknown key; known are inferences, ok, errors"),
        ("counters: {ok: a}", ".counters.ok: must be a mapping"),
        ("counters: {ok: {}}", ".counters.ok: name is missing"),
        ("counters: {ok: {name: 1st}}", ".counters.ok.name: must match [a-zA-Z_:][a-zA-Z0-9_:]*"),
        ("counters: {ok: {name: a, by: {label: l, error: x}}}", ".counters.ok.by: unknown key; known are name"),
        ("counters: {inferences: {name: a, by: {label: l}}}", ".counters.inferences.by: error is missing"),
        ("counters: {inferences: {name: a, by: {label: l, error: []}}}", ".counters.inferences.by.error: is empty"),
        (
            "counters: {inferences: {name: a, by: {label: l, error: x}}, errors: {name: b}}",
            ".counters.errors: means nothing beside inferences with by: its label tells the errors",
        ),
        ("counters: {ok: {name: a}, errors: {name: a}}", ": two readings are of one metric"),
        ("counters: {ok: {name: a}}, gauges: {running: {name: a}}", ": two readings are of one metric"),
        ("counters: {ok: {name: a}}, gauges: {}", ".gauges: running is missing"),
        ("counters: {ok: {name: a}}, gauges: {runing: {name: b}}", ".gauges.runing: unknown key; did you mean running?"),
        ("counters: {ok: {name: a}}, gauges: {running: {nam: b}}", ".gauges.running.nam: unknown key; did you mean name?"),
        ("counters: {ok: {name: a}}, labels: {}", ".labels: model is missing"),
        ("counters: {ok: {name: a}}, labels: {model: [a]}", ".labels.model: must be a text"),
        ("counters: {ok: {name: a}}, inner_calls: false", ".inner_calls: must be true (or left out)"),
    ],
)
def test_a_problem_is_told_with_its_path(metrics: str, told: str) -> None:
    assert problem(metrics) == told


def test_a_file_without_the_section_tells_no_metrics() -> None:
    assert read_mapping(SPANS, "own.yaml").metrics is None


def test_the_section_is_what_its_file_says() -> None:
    assert rules(
        "endpoint: here, labels: {model: m}, inner_calls: true, counters: {ok: {name: a}, errors: {name: b}}, gauges: {running: {name: c}}"
    ) == MetricRules((CountRule("a", "ok"), CountRule("b", "error")), "m", "c", inner_calls=True, endpoint="here")
    assert rules("counters: {inferences: {name: 'a:b_total'}}") == MetricRules((CountRule("a:b_total"),))
    assert rules("counters: {inferences: {name: a, by: {label: l, error: [x, y]}}}").counts == (
        CountRule("a", None, "l", frozenset(("x", "y"))),
    )


def test_the_names_that_are_wanted_of_a_page_are_counters_and_gauge() -> None:
    assert rules("counters: {ok: {name: a}, errors: {name: b}}, gauges: {running: {name: c}}").names == ("a", "b", "c")
    assert rules("counters: {ok: {name: a}}").names == ("a",)


def test_an_outcome_is_the_counters_own_or_what_its_label_says_or_unknown() -> None:
    by = CountRule("a", None, "reason", frozenset({"abort"}))
    assert CountRule("a", "error").outcome_of({"reason": "x"}) == "error"
    assert CountRule("a").outcome_of({"reason": "abort"}) is None
    assert (by.outcome_of({"reason": "abort"}), by.outcome_of({"reason": "stop"}), by.outcome_of({})) == ("error", "ok", "ok")


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


# --- what is shipped -----------------------------------------------------------------------------------------------------------------
def test_triton_and_vllm_tell_what_they_served() -> None:
    names = {server: read.metrics.names for server, read in shipped_mappings().items() if read.metrics}
    assert names == {
        "triton": ("nv_inference_request_success", "nv_inference_request_failure"),
        "vllm": ("vllm:request_success_total", "vllm:num_requests_running"),
    }


def test_the_reference_tells_what_each_server_counts() -> None:
    text = servers_markdown()
    assert text.count("- own metrics: none that are read") == len([1 for read in shipped_mappings().values() if read.metrics is None])
    for read in shipped_mappings().values():
        assert all(f"(`{name}`" in text for name in (read.metrics.names if read.metrics else ()))
    assert "failed where `finished_reason` is `abort` or `error`" in text


def test_the_reference_tells_what_a_server_leaves_to_the_configuration() -> None:
    assert metrics_text(rules("counters: {inferences: {name: a}, errors: {name: b}}")) == (
        ": inferences (`a`); failed inferences (`b`); those that ended well are the rest; no model: `server.model`"
    )
