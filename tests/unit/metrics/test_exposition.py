from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families

from infermeter.metrics import catalog
from infermeter.metrics.budget import thrifty
from infermeter.metrics.exposition import Exposition
from infermeter.metrics.exposition_layout import ROWS_A_PIECE, Header
from infermeter.metrics.exposition_lines import TEXT
from infermeter.metrics.families import families
from infermeter.model import CapacityFacts, Exemplar, Histogram, ModelFacts, Snapshot
from support.golden import assert_golden
from support.library_pages import by_the_library
from support.snapshots import SECOND_NS, empty_snapshot, llm, rich_snapshot

GOLDEN = Path(__file__).parent / "golden"
OPENMETRICS = "application/openmetrics-text"
HOSTILE = 'a"b\\c\nd\re\x00f{}=,#\u2028 \u00e9\U0001f600'

text_of_any_kind = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=40)


def text(snapshot: Snapshot, exposition: Exposition | None = None) -> str:
    body, content_type = (exposition or Exposition()).render(snapshot, "text/plain")
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    return body.decode("utf-8")


def openmetrics(snapshot: Snapshot) -> str:
    body, content_type = Exposition().render(snapshot, OPENMETRICS)
    assert content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    return body.decode("utf-8")


def sample_lines(body: str) -> list[str]:
    return [line for line in body.split("\n") if line and not line.startswith("#")]


def value(body: str, name: str) -> float:
    (line,) = (line for line in sample_lines(body) if re.match(rf"infermeter_{name}[{{ ]", line))
    return float(line.rsplit(" ", 1)[1])


def by_name(metrics: list[Metric]) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics}


def test_text_is_as_committed() -> None:
    assert_golden(GOLDEN / "rich.prom", text(rich_snapshot()))


def test_openmetrics_is_as_committed() -> None:
    assert_golden(GOLDEN / "rich.openmetrics", openmetrics(rich_snapshot()))


def test_a_sidecar_that_has_just_started_is_as_committed() -> None:
    assert_golden(GOLDEN / "empty.prom", text(empty_snapshot()))


@pytest.mark.parametrize(
    "snapshot", [rich_snapshot(), empty_snapshot(), rich_snapshot(models=(llm(HOSTILE),))], ids=["rich", "empty", "hostile"]
)
def test_promtool_finds_nothing_to_complain_about(snapshot: Snapshot) -> None:
    promtool = shutil.which("promtool")
    assert promtool, "promtool is missing: install the Debian package `prometheus`"
    checked = subprocess.run([promtool, "check", "metrics"], input=text(snapshot).encode(), capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


@pytest.mark.parametrize("snapshot", [rich_snapshot(), empty_snapshot()], ids=["rich", "empty"])
def test_both_formats_hold_the_same_families_and_values(snapshot: Snapshot) -> None:
    parsed = by_name(list(openmetrics_families(openmetrics(snapshot))))
    plain = by_name(list(text_families(text(snapshot))))
    assert set(parsed) == set(plain)
    for name, metric in parsed.items():
        assert {(s.name, tuple(sorted(s.labels.items())), s.value) for s in metric.samples} == {
            (s.name, tuple(sorted(s.labels.items())), s.value) for s in plain[name].samples
        }


def test_every_family_of_the_catalog_is_exposed_with_its_kind_help_and_unit() -> None:
    parsed = by_name(list(openmetrics_families(openmetrics(rich_snapshot()))))
    assert len(parsed) == len(catalog.CATALOG)
    for family in catalog.CATALOG:
        metric = parsed[family.full_name.removesuffix("_total")]
        assert metric.type == {"info": "gauge", "state set": "gauge"}.get(family.kind, family.kind)
        assert (metric.documentation, metric.unit) == (family.help, family.unit)


def test_hostile_label_values_come_back_as_they_were() -> None:
    snapshot = rich_snapshot(models=(llm(HOSTILE),))
    for parsed in (openmetrics_families(openmetrics(snapshot)), text_families(text(snapshot))):
        models = {sample.labels["model"] for metric in parsed for sample in metric.samples if "model" in sample.labels}
        assert models == {HOSTILE, "llama-3-8b"}


@settings(max_examples=30, deadline=None)
@given(text_of_any_kind)
def test_any_name_of_a_model_comes_back_as_it_was(name: str) -> None:
    snapshot = rich_snapshot(gpus=0, models=(llm(name),))
    for parsed in (openmetrics_families(openmetrics(snapshot)), text_families(text(snapshot))):
        (served,) = (metric for metric in parsed if metric.name == "infermeter_inferences")
        assert {sample.labels["model"] for sample in served.samples} == {name}


def test_exemplars_are_in_openmetrics_alone_and_carry_a_trace_id() -> None:
    parsed = by_name(list(openmetrics_families(openmetrics(rich_snapshot()))))
    exemplars = [sample.exemplar for sample in parsed["infermeter_inference_duration_seconds"].samples if sample.exemplar]
    assert [exemplar.labels for exemplar in exemplars] == [{"trace_id": "0af7651916cd43dd8448eb211c80319c"}]
    assert all(len("".join(pair for item in exemplar.labels.items() for pair in item)) <= 128 for exemplar in exemplars)
    assert "trace_id" not in text(rich_snapshot())


def test_an_exemplar_stands_at_its_own_bucket_with_its_value_and_time() -> None:
    traced = Histogram((0.1, 0.2), (0, 3, 0), 0.5, (None, Exemplar("ab" * 16, 0.15, 7 * SECOND_NS), None))
    body = openmetrics(rich_snapshot(models=(replace(llm(), ttft=traced),)))
    line = next(
        line for line in sample_lines(body) if line.startswith("infermeter_time_to_first_token_seconds_bucket") and 'le="0.2"' in line
    )
    assert line.endswith(f' 3.0 # {{trace_id="{"ab" * 16}"}} 0.15 7.0')


def test_histograms_are_cumulative_and_end_in_infinity() -> None:
    untraced = Histogram((0.1, 0.2), (1, 0, 2), 9.0)
    lines = [
        line
        for line in sample_lines(text(rich_snapshot(models=(replace(llm("m"), ttft=untraced),))))
        if line.startswith("infermeter_time_to_first_token_seconds")
    ]
    assert lines == [
        'infermeter_time_to_first_token_seconds_bucket{le="0.1",model="m",server="chat"} 1.0',
        'infermeter_time_to_first_token_seconds_bucket{le="0.2",model="m",server="chat"} 1.0',
        'infermeter_time_to_first_token_seconds_bucket{le="+Inf",model="m",server="chat"} 3.0',
        'infermeter_time_to_first_token_seconds_count{model="m",server="chat"} 3.0',
        'infermeter_time_to_first_token_seconds_sum{model="m",server="chat"} 9.0',
    ]


def test_there_are_no_created_series_and_no_nan() -> None:
    for body in (text(rich_snapshot()), openmetrics(rich_snapshot())):
        assert "_created" not in body
        assert "NaN" not in body


def test_series_tells_how_many_series_there_are() -> None:
    body = text(rich_snapshot(), Exposition((ProcessCollector(registry=None),)))
    assert value(body, "series") == len(sample_lines(body))
    assert value(body, "series_limit") == 5000
    assert value(body, "series_overflowed_total") == 0


def test_the_limit_holds_and_what_is_left_out_is_counted_each_time() -> None:
    whole = len(sample_lines(text(rich_snapshot())))
    limited = replace(rich_snapshot(), series_limit=whole - 20)
    exposition = Exposition()
    first, second = text(limited, exposition), text(limited, exposition)
    assert whole - 40 < len(sample_lines(first)) <= whole - 20
    left_out = whole - len(sample_lines(first))
    assert (value(first, "series_overflowed_total"), value(second, "series_overflowed_total")) == (left_out, 2 * left_out)


def test_gpu_energy_and_cost_families_stay_whatever_the_limit() -> None:
    def kept(body: str) -> list[str]:
        return [line for line in sample_lines(body) if re.match(r"infermeter_(gpu|energy|cost|window_cost)", line)]

    assert kept(text(replace(rich_snapshot(gpus=8), series_limit=100))) == kept(text(rich_snapshot(gpus=8)))


def test_process_metrics_keep_their_own_names() -> None:
    body = text(empty_snapshot(), Exposition((ProcessCollector(registry=None),)))
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total"} <= {line.split(" ")[0] for line in sample_lines(body)}


SAMPLE = st.sampled_from
REALS = st.none() | st.floats(allow_nan=True) | st.floats(0, 10)


@st.composite
def models(draw: st.DrawFn) -> ModelFacts:
    """A model of which anything may be absent."""
    model = llm(draw(SAMPLE(("a", "b", 'c"\n', "\udc80"))))
    windows = [
        replace(
            window,
            cost_per_inference=draw(REALS),
            cost_per_inference_at_sla=draw(st.dictionaries(SAMPLE(catalog.BASIS.values), st.floats())),
            latency_at_sla_quantile_seconds=draw(st.dictionaries(SAMPLE(catalog.SIGNAL.values), st.floats(0, 9))),
            sla_state=draw(st.none() | SAMPLE(catalog.SLA_STATE.values)),
        )
        for window in model.windows * draw(SAMPLE((0, 1, 1)))
    ]
    histograms = st.builds(Histogram, st.just((0.1, 0.2)), st.tuples(*[st.integers(0, 9)] * 3), st.floats(), st.just(()))
    stages = st.dictionaries(SAMPLE(catalog.STAGE.values), histograms)
    parts = st.dictionaries(SAMPLE([("compute", "prefill"), ("compute", "decode"), ("queue", "wait")]), st.floats(0, 9))
    return replace(
        model,
        within_sla=draw(st.none() | st.integers(0, 2**40)),
        tokens_output=draw(st.none() | st.integers(0, 2**40)),
        sla=draw(st.none() | st.just(model.sla)),
        capacity=draw(st.none() | st.builds(CapacityFacts, REALS, st.booleans(), REALS)),
        ttft=draw(st.none() | histograms),
        tpot=draw(st.none() | st.just(model.tpot)),
        stages=draw(stages),
        part_seconds=draw(parts),
        cost=draw(SAMPLE(({}, model.cost))),
        windows=tuple(windows),
    )


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    told = draw(st.lists(models(), max_size=3, unique_by=lambda model: model.model))
    snapshot = rich_snapshot(gpus=draw(st.integers(0, 2)), models=tuple(told))
    ledger = replace(snapshot.ledger, coverage_ratio=draw(REALS), busy_seconds=draw(st.floats()))
    return replace(snapshot, ledger=ledger, server=draw(SAMPLE(("chat", "\udc80"))), totals_from=draw(SAMPLE(("server", "observed", None))))


def lines(body: list[bytes]) -> list[bytes]:
    return [line for line in body if not line.startswith(b"#")]


def without_itself(body: bytes) -> list[bytes]:
    """The lines, apart from those that describe the exposition."""
    return [line for line in body.split(b"\n") if not re.match(rb"(# \w+ )?infermeter_series", line)]


@settings(max_examples=25, deadline=None)
@given(st.lists(snapshots(), min_size=1, max_size=4))
def test_a_page_holds_every_point_of_the_families_whatever_was_exposed_before(many: list[Snapshot]) -> None:
    exposition = Exposition()
    for snapshot in (*many, *reversed(many)):
        told = thrifty(families(snapshot))
        page = [(Header(family.full_name, "counter", ""), points) for family, points in told.items()]
        body, _ = exposition.render(snapshot, "text/plain")
        assert lines(without_itself(body)) == lines(by_the_library(page, TEXT).split(b"\n"))


@settings(max_examples=15, deadline=None)
@given(st.lists(snapshots(), min_size=1, max_size=4), st.lists(st.integers(1, 400), min_size=8, max_size=8))
def test_an_exposition_that_has_rendered_others_says_what_one_says_that_is_new(many: list[Snapshot], limits: list[int]) -> None:
    exposition = Exposition()
    for snapshot, limit in zip((*many, *reversed(many)), limits, strict=False):
        limited = replace(snapshot, series_limit=limit)
        for accept in ("text/plain", OPENMETRICS):
            (told, _), (new, _) = exposition.render(limited, accept), Exposition().render(limited, accept)
            assert without_itself(told) == without_itself(new)
            assert value(told.decode(), "series") == value(new.decode(), "series")


def test_others_have_a_turn_before_and_after_laying_out_and_of_a_first_page_meanwhile() -> None:
    snapshot, exposition = rich_snapshot(models=tuple(llm(f"m{i}") for i in range(2 * ROWS_A_PIECE))), Exposition()
    first, second = (list(exposition.pieces(snapshot, OPENMETRICS)[0]) for _ in range(2))
    assert (first.count(b"") >= 4, second.count(b"")) == (True, 2)
    assert b"".join(first) == b"".join(second)
