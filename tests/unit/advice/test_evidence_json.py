from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.advice.evidence_json import ENTRIES_MOST, told_advice, told_prices
from infermeter.errors import ConfigError
from infermeter.metrics.report import report
from support.snapshots import empty_snapshot, rich_snapshot, sizing


def rich() -> dict[str, Any]:
    told: dict[str, Any] = orjson.loads(orjson.dumps(report(rich_snapshot())))
    return told


def problem(document: object) -> str:
    with pytest.raises(ConfigError) as raised:
        told_advice(document if isinstance(document, bytes) else orjson.dumps(document), "a.json")
    return str(raised.value)


def test_what_a_report_says_of_advice_comes_back_as_it_was() -> None:
    told = told_advice(orjson.dumps(rich()), "a.json")
    snapshot = rich_snapshot()
    assert told.advice == snapshot.advice
    assert told.server == snapshot.server
    assert told.slas == {model.model: model.sla for model in snapshot.ledger.models if model.sla is not None}
    assert told.price_source == "list price, on demand"
    assert told.price_as_of == date(2026, 7, 20)


def test_a_sidecar_that_has_just_started_says_nothing() -> None:
    told = told_advice(orjson.dumps(report(empty_snapshot())), "a.json")
    assert told.advice == empty_snapshot().advice
    assert told.price_as_of is None
    assert told.slas == {}


def test_what_binds_is_the_one_that_is_1() -> None:
    snapshot = replace(rich_snapshot(), advice=replace(rich_snapshot().advice, bound="queue"))
    assert told_advice(orjson.dumps(report(snapshot)), "a.json").advice.bound == "queue"


def test_what_a_later_version_says_on_top_is_no_mistake() -> None:
    document = rich()
    document["report"]["sizing"]["evidence"]["colour"] = "blue"
    assert told_advice(orjson.dumps(document), "a.json").advice == rich_snapshot().advice


def test_what_has_a_default_may_be_missing() -> None:
    document = rich()
    del document["report"]["findings"][0]["saving_per_hour"]
    assert told_advice(orjson.dumps(document), "a.json").advice == rich_snapshot().advice


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"{", "a.json: is not JSON"),
        ([], "a.json: is no report"),
        ({}, "a.json: is no report"),
        ({"report": {}}, "a.json: is no report"),
        ({"report": {"schema": 2}}, "a.json: is a report of another schema than 1"),
        ({"report": {"schema": 1}}, "report.cost is missing"),
    ],
)
def test_what_is_no_report_of_this_schema_is_told(document: object, words: str) -> None:
    assert words in problem(document)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("report.sizing.evidence.gpus", "two", "report.sizing.evidence.gpus must be a number"),
        ("report.sizing.evidence.gpus", True, "report.sizing.evidence.gpus must be a number"),
        ("report.sizing.evidence.memory_peak_bytes", 1.5, "report.sizing.evidence.memory_peak_bytes must be a whole number"),
        ("report.sizing.evidence.memory_is_reserved", 1, "report.sizing.evidence.memory_is_reserved must be true or false"),
        ("report.sizing.evidence.precision", 8, "report.sizing.evidence.precision must be a text"),
        ("report.sizing.evidence.products", "H100", "report.sizing.evidence.products must be a list"),
        ("report.sizing.evidence.cost_per_hour", [], "report.sizing.evidence.cost_per_hour must be an object"),
        ("report.sizing.evidence.cost_per_hour", {"rent": 1.0}, "a key of report.sizing.evidence.cost_per_hour must be one of"),
        ("report.sizing.evidence.models", [{"model": "m"}], "report.sizing.evidence.models[0].workload is missing"),
        ("report.sizing.candidates", [3], "report.sizing.candidates[0] must be an object"),
        ("report.sizing.moves", None, "report.sizing.moves must be a list"),
        ("report.sizing", [], "report.sizing must be an object"),
        ("report.workloads", {"m": "fast"}, "report.workloads must be one of latency, batch, edge"),
        ("report.findings", [{"code": "idle_gpu", "level": "fatal"}], "report.findings[0].level must be one of info, warning"),
        ("report.findings", [1] * (ENTRIES_MOST + 1), "report.findings must be a list of at most"),
        ("report.cost.as_of", "yesterday", "report.cost.as_of must be a date"),
        ("report.sla", [{"model": "m"}], "report.sla[0].quantile_ratio is missing"),
        ("resource_bound", [{"value": 1, "labels": {"resource": "luck"}}], "resource_bound[0].labels.resource must be one of"),
        ("resource_bound", [{"labels": {}}], "resource_bound[0].value is missing"),
    ],
)  # fmt: skip
def test_what_is_damaged_is_told_by_its_path(path: str, value: object, words: str) -> None:
    document = rich()
    *owners, last = path.split(".")
    owner = document
    for name in owners:
        owner = owner[name]
    owner[last] = value
    told = problem(document)
    assert told.startswith("a.json: is a damaged report, or one of another version: ")
    assert words in told


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_whatever_stands_in_place_of_the_sizing_is_told_in_one_line_or_taken(value: object) -> None:
    document = rich()
    document["report"]["sizing"] = value
    if value is None:
        assert told_advice(orjson.dumps(document), "a.json").advice.sizing is None
    else:
        assert problem(document).isprintable()


@pytest.mark.parametrize("name", ["peak_load_ratio", "busy_ratio", "load_ratio", "gpus", "memory_peak_bytes", "price_age_seconds"])
def test_evidence_below_nothing_is_damaged(name: str) -> None:
    document = rich()
    document["report"]["sizing"]["evidence"][name] = -1
    assert f"report.sizing.evidence.{name} must be" in problem(document)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("quantile_ratio", 1.0),
        ("quantile_ratio", 0.0),
        ("inferences", -1),
        ("longest_service_ratio", -1.0),
        ("slowdowns", [{"late_ratio": 5.0, "factor_ratio": 1.0}]),
        ("slowdowns", [{"late_ratio": 0.0, "factor_ratio": -1.0}]),
    ],
)
def test_evidence_of_a_model_that_cannot_be_is_damaged(name: str, value: object) -> None:
    document = rich()
    document["report"]["sizing"]["evidence"]["models"][0][name] = value
    assert f"report.sizing.evidence.models[0].{name} must be" in problem(document)


def test_more_than_all_of_the_time_and_costs_below_nothing_are_damaged() -> None:
    document = rich()
    document["report"]["sizing"]["evidence"]["busy_ratio"] = 5.0
    assert "busy_ratio must be from 0 to 1" in problem(document)
    document["report"]["sizing"]["evidence"] |= {"busy_ratio": 0.5, "cost_per_hour": {"instance": -1.0}}
    assert "cost_per_hour must be at least 0" in problem(document)


def test_prices_that_a_report_was_judged_by_come_back() -> None:
    full = sizing()
    prices = told_prices(full, as_of=date(2026, 7, 20))
    assert {price.device: price.per_hour for price in prices} == {"l4": 0.5, "a10": 0.5, "t4": 0.5}
    assert {price.provider for price in prices} == {"AWS"}


def test_without_a_currency_or_a_gpu_no_price_comes_back() -> None:
    full = sizing()
    for evidence in (replace(full.evidence, currency=None), replace(full.evidence, gpus=0.0)):
        assert told_prices(replace(full, evidence=evidence), as_of=date(2026, 7, 20)) == ()
