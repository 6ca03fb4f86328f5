from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.metrics import catalog
from infermeter.metrics.derived import DERIVED
from infermeter.metrics.exposition import Exposition
from infermeter.metrics.families import ROWS_A_STEP, rows
from infermeter.metrics.report import POINTS_A_PIECE, SLOTS_A_PIECE, findings_report, report, report_pieces
from infermeter.model import Snapshot
from support.golden import assert_golden
from support.snapshots import empty_snapshot, llm, opaque, rich_snapshot, sampled_snapshot

SCHEMA = Path(__file__).parents[3] / "docs" / "report.schema.json"
GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())


@pytest.mark.parametrize(
    "snapshot",
    [rich_snapshot(), empty_snapshot(), replace(sampled_snapshot(), kind="replay")],
    ids=["rich", "empty", "sampled"],
)
def test_a_report_is_as_its_schema_says(validator: jsonschema.Draft202012Validator, snapshot: Snapshot) -> None:
    validator.validate(report(snapshot))
    validator.validate(report(snapshot, slots=False))


def test_the_schema_knows_which_families_are_histograms() -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    histograms = {name for name, kind in schema["properties"].items() if kind == {"$ref": "#/$defs/histograms"}}
    assert histograms == {family.name for family in catalog.CATALOG if family.kind == "histogram"}


def test_a_report_is_as_committed() -> None:
    assert_golden(GOLDEN / "rich.json", orjson.dumps(report(rich_snapshot()), option=orjson.OPT_INDENT_2).decode() + "\n")


def test_every_family_and_every_derived_reading_has_its_key() -> None:
    exposed_only = {catalog.SERIES, catalog.SERIES_LIMIT, catalog.SERIES_OVERFLOWED}
    names = [family.name for family in catalog.CATALOG if family not in exposed_only]
    assert list(report(rich_snapshot())) == [*names, *DERIVED, "report"]


def test_an_absent_family_is_an_absent_key() -> None:
    assert "cost_total" not in report(empty_snapshot())
    assert "dominant_stage" not in report(empty_snapshot())


def test_slots_can_be_left_out() -> None:
    whole, brief = report(rich_snapshot()), report(rich_snapshot(), slots=False)
    assert whole["report"].pop("slots")[0]["joules"] == 3125.0
    assert whole == brief


def test_neither_trace_ids_nor_what_json_cannot_hold_are_in_it() -> None:
    text = json.dumps(report(rich_snapshot()), allow_nan=False)
    assert "0af7651916cd43dd8448eb211c80319c" not in text
    assert "trace_id" not in text


def test_histograms_tell_cumulative_buckets_up_to_all() -> None:
    (entry, _) = report(rich_snapshot())["inference_duration_seconds"]
    assert entry["count"] == 1000
    assert entry["sum"] == 2000.0
    assert entry["buckets"][-1] == [None, 1000]
    assert entry["buckets"][9] == [2.56, 1000]
    assert entry["buckets"][8] == [1.28, 100]


def test_losses_name_only_reasons_that_occurred() -> None:
    assert report(rich_snapshot())["report"]["losses"] == {
        "spans_dropped": {"late": 3, "malformed": 1},
        "spans_unmapped": {"no_rule": 12},
        "exports_refused": {"malformed": 2},
        "inferences_late": 2,
        "gpu_samples_rejected": {"gap": 1},
        "unknown_seconds": 3.0,
    }


def test_prices_say_where_they_come_from_and_of_when_they_are() -> None:
    assert report(rich_snapshot())["report"]["cost"] == {
        "currency": "USD",
        "as_of": "2026-07-20",
        "source": "list price, on demand",
        "per_hour": 2.25,
    }
    assert report(empty_snapshot())["report"]["cost"] == {"currency": None, "as_of": None, "source": None, "per_hour": None}


def derived(name: str, snapshot: Snapshot) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = report(snapshot).get(name, [])
    return entries


def test_ratios_are_ratios_of_the_windows_sums() -> None:
    snapshot = rich_snapshot()
    labels = {"server": "chat", "model": "llama-3-8b", "window": "1h"}
    assert derived("cost_per_million_tokens", snapshot) == [{"labels": {**labels, "currency": "USD"}, "value": 2.25 / 0.32}]
    assert derived("inferences_per_joule", snapshot) == [{"labels": labels, "value": 500 / 625_000}]
    assert derived("energy_per_inference_joules", snapshot) == [{"labels": labels, "value": 1250.0}]


def test_of_what_can_not_be_divided_by_its_inferences_no_ratio_is_told() -> None:
    (window,) = llm().windows
    thin = replace(window, divisible=False, cost_per_inference=None)
    snapshot = rich_snapshot(models=(replace(llm(), windows=(thin,)),))
    assert set(DERIVED) & set(report(snapshot)) == {"dominant_stage", "waterfall_cost"}


@pytest.mark.parametrize("cost", [None, 2.25], ids=["no price", "no price for a part of the time"])
@pytest.mark.parametrize("divisible", [True, False])
def test_joules_are_told_by_the_same_evidence_with_a_price_and_without(cost: float | None, *, divisible: bool) -> None:
    (window,) = llm().windows
    unpriced = replace(window, cost=cost, cost_per_inference=None, cost_per_inference_at_sla={}, divisible=divisible)
    found = report(rich_snapshot(models=(replace(llm(), windows=(unpriced,)),)))
    joules = {"inferences_per_joule", "energy_per_inference_joules"}
    assert set(DERIVED) & set(found) == {"dominant_stage", "waterfall_cost"} | (joules if divisible else set())


BY_DIRECTION = {"cost_per_million_input_tokens", "cost_per_million_output_tokens"}


@given(
    cost=st.floats(1e-6, 1e6),
    tokens=st.tuples(st.integers(1, 10**12), st.integers(1, 10**12)),
    seconds=st.tuples(st.floats(1e-3, 1e5), st.floats(1e-3, 1e5)),
)
def test_input_and_output_tokens_at_their_costs_are_the_cost_of_the_window_once(
    cost: float, tokens: tuple[int, int], seconds: tuple[float, float]
) -> None:
    (window,) = llm().windows
    known = {"tokens": sum(tokens), "tokens_input": tokens[0], "tokens_output": tokens[1]}
    window = replace(window, cost=cost, prefill_seconds=seconds[0], decode_seconds=seconds[1], **known)
    found = report(rich_snapshot(models=(replace(llm(), windows=(window,)),)))
    per_input, per_output = (found[f"cost_per_million_{direction}_tokens"][0]["value"] for direction in ("input", "output"))
    assert (per_input * tokens[0] + per_output * tokens[1]) / 1e6 == pytest.approx(cost, rel=1e-12)
    assert per_input * tokens[0] * seconds[1] == pytest.approx(per_output * tokens[1] * seconds[0], rel=1e-6)
    whole = found["cost_per_million_tokens"][0]["value"]
    assert min(per_input, per_output) <= whole * (1 + 1e-12)
    assert max(per_input, per_output) >= whole * (1 - 1e-12)


def test_a_slot_without_a_price_says_so_and_is_told_by_the_schema(validator: jsonschema.Draft202012Validator) -> None:
    full = rich_snapshot()
    unpriced = replace(full.ledger.slots[0], cost=None, unpriced_seconds=10.0)
    told = report(replace(full, ledger=replace(full.ledger, slots=(*full.ledger.slots, unpriced))))
    validator.validate(told)
    assert [slot.get("unpriced_seconds") for slot in told["report"]["slots"]] == [None, 10.0]


def test_the_inferences_behind_windows_quantiles_and_capacity_are_told() -> None:
    about = report(rich_snapshot())["report"]
    (window,) = about["windows"]
    (chat, opaque) = window["models"]
    assert (chat["inferences_ok"], chat["inferences_observed"]) == (500, 503)
    assert chat["signal_inferences"] == {"duration": 500, "ttft": 500, "tpot": 480}
    assert (opaque["model"], opaque["signal_inferences"], opaque["prefill_seconds"]) == ("resnet50", {}, None)
    (capacity,) = about["capacity"]
    assert (capacity["model"], capacity["inferences"], capacity["reached"]) == ("llama-3-8b", 18_000, True)


def test_without_prices_tokens_or_joules_their_ratios_are_absent() -> None:
    (window,) = llm().windows
    for changes, absent in (
        ({"cost": None}, {"cost_per_million_tokens", *BY_DIRECTION}),
        ({"tokens": 0, "tokens_input": 0, "tokens_output": 0}, {"cost_per_million_tokens", *BY_DIRECTION}),
        ({"tokens_input": None}, BY_DIRECTION),
        ({"tokens_output": 0}, BY_DIRECTION),
        ({"prefill_seconds": None, "decode_seconds": None}, BY_DIRECTION),
        ({"decode_seconds": 0.0}, BY_DIRECTION),
        ({"joules": None}, {"inferences_per_joule", "energy_per_inference_joules"}),
        ({"joules": 0.0}, {"inferences_per_joule", "energy_per_inference_joules"}),
    ):
        bare: Any = replace(window, **changes)
        found = report(rich_snapshot(models=(replace(llm(), windows=(bare,)),)))
        assert absent == set(DERIVED) - set(found)


def test_a_sample_of_spans_tells_no_ratios_but_its_stages() -> None:
    assert set(DERIVED) & set(report(sampled_snapshot())) == {"dominant_stage", "waterfall_cost"}
    thin = replace(rich_snapshot(), sampled=True, ledger=replace(rich_snapshot().ledger, thin=True))
    assert set(DERIVED) <= set(report(thin)), "the server counts"


def test_the_dominant_stage_is_the_one_that_took_most_of_the_time() -> None:
    assert derived("dominant_stage", rich_snapshot(models=(llm(), opaque()))) == [
        {"labels": {"server": "chat", "model": "llama-3-8b", "window": "1h", "stage": "compute"}, "value": 0.75}
    ]


def test_the_waterfalls_steps_add_up_to_the_windows_cost() -> None:
    steps = derived("waterfall_cost", rich_snapshot())
    assert [entry["labels"]["step"] for entry in steps] == ["capacity", "low_load", "idle", "sla_missed"]
    assert sum(entry["value"] for entry in steps) == pytest.approx(2.25)


def test_findings_carry_their_evidence_and_what_would_falsify_them() -> None:
    answer = findings_report(rich_snapshot().advice.findings)
    assert answer["schema"] == 1
    assert answer["findings"][0] == {
        "code": "price_missing",
        "level": "warning",
        "model": None,
        "evidence": {"unpriced": "host", "gpus_seen": 2},
        "what_to_do": "Say what the host costs.",
        "falsified_by": "cost_per_hour shows every configured component.",
        "saving_per_hour": None,
    }
    assert report(rich_snapshot())["report"]["findings"] == answer["findings"]


def test_what_a_verdict_goes_by_is_told_with_its_bounds() -> None:
    ((window,), *_) = (report(rich_snapshot())["report"]["windows"],)
    told, untold = window["models"]
    assert (told["judged"]["observed"], told["judged"]["within_sla"]) == (503, 499)
    assert told["judged"]["miss_ratio_lower"] < 4 / 503 < told["judged"]["miss_ratio_upper"]
    assert told["judged"]["inferences_until_met"] == 913 - 503
    assert untold["judged"] is None


def test_the_stages_of_a_window_have_the_share_that_the_dominant_one_tells() -> None:
    whole = report(rich_snapshot())
    stages = whole["report"]["windows"][0]["models"][0]["stage_seconds"]
    (dominant,) = whole["dominant_stage"]
    assert stages[dominant["labels"]["stage"]] / sum(stages.values()) == dominant["value"]


def test_as_many_series_are_told_as_an_exposition_holds_besides_its_own() -> None:
    snapshot = rich_snapshot()
    lines = Exposition().render(snapshot, "")[0].decode().splitlines()
    own = sum(line.startswith("infermeter_series") for line in lines)
    assert report(snapshot)["report"]["series"] == {"told": sum(not line.startswith("#") for line in lines) - own, "limit": 5000}


@pytest.mark.parametrize("slots", [0, 1, SLOTS_A_PIECE, SLOTS_A_PIECE + 1, 2 * SLOTS_A_PIECE])
def test_a_report_in_pieces_is_the_report_with_so_many_slots_a_piece(slots: int) -> None:
    rich = rich_snapshot()
    snapshot = replace(rich, ledger=replace(rich.ledger, slots=rich.ledger.slots * slots))
    pieces, without = list(report_pieces(snapshot)), list(report_pieces(snapshot, slots=False))
    assert b"".join(pieces) == orjson.dumps(report(snapshot))
    assert b"".join(without) == orjson.dumps(report(snapshot, slots=False))
    assert len(pieces) == len(without) + 1 + -(-slots // SLOTS_A_PIECE)


@pytest.mark.parametrize("models", [0, 1, 2 * ROWS_A_STEP, POINTS_A_PIECE + 1])
def test_a_report_of_many_models_comes_in_steps_and_pieces(models: int) -> None:
    snapshot = rich_snapshot(models=tuple(llm(f"m{i}") for i in range(models)))
    pieces = list(report_pieces(snapshot))
    assert b"".join(pieces) == orjson.dumps(report(snapshot))
    assert pieces.count(b"") == len(rows(snapshot)) // ROWS_A_STEP
    assert all(piece.count(b'"labels":') < 2 * POINTS_A_PIECE for piece in pieces)
