from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest

from infermeter.advice.advice_json import BASIS, Source, Supposed, Told, advice_json
from infermeter.advice.gaps import Gap
from infermeter.metrics.advice_text import WIDTH, advice_text
from infermeter.model import Advice, Candidate, Finding, RightSizing, SlaTarget
from support.golden import assert_golden
from support.snapshots import SLA, rich_snapshot, sizing

ROOT = Path(__file__).parents[3]
GOLDEN = Path(__file__).parent / "golden"
FULL = sizing()
FITS, UNSURE, NO, UNPRICED = FULL.candidates
IDLE = Finding(
    code="held_idle_gpu",
    level="warning",
    model=None,
    evidence={"gpus": 1, "idle_seconds": 7200.0, "power_watts": 61.5, "memory_peak_bytes": 8e9, "window": "1h", "wait_seconds": 0.25},
    what_to_do="Scale to zero, share the GPU, or unload the model.",
    falsified_by="An inference computes.",
    saving_per_hour=2.25,
)
HINT = Finding(
    code="memory_bound_try_lower_precision",
    level="info",
    model="llama-3-8b",
    evidence={"energy_joules": 5e6, "age_days": 3.5, "factor_ratio": 12.0},
    what_to_do="Test it.",
    falsified_by="It isn't faster.",
)


def told(**changed: Any) -> dict[str, Any]:
    full = Told(
        server="chat",
        source=Source("report", "saved.json", 1_784_556_000.0),
        price_as_of="2026-07-20",
        price_source="list price, on demand",
        slas={"llama-3-8b": SLA},
        advice=Advice(findings=(HINT, IDLE), workloads={"llama-3-8b": "latency"}, bound="memory", sizing=FULL),
        headroom=1.3,
        prices="prices.yaml",
    )
    document: dict[str, Any] = orjson.loads(orjson.dumps(advice_json(replace(full, **changed))))
    return document


def sized(*candidates: Candidate) -> Advice:
    return Advice(sizing=RightSizing(FULL.evidence, candidates, ()))


def words(document: dict[str, Any], **options: bool) -> str:
    return " ".join(advice_text(document, **options).split())


def bare() -> dict[str, Any]:
    return told(advice=Advice(), slas={}, headroom=None, prices=None, missing=(Gap("no GPU was seen", "let the GPUs be read"),))


EVERYTHING = {
    "source": Source("prometheus", "Prometheus at http://127.0.0.1:9090", 1_784_556_000.0, 604_800.0, 3),
    "supposed": (Supposed("gpu=l4,price=0.75", FITS), Supposed("gpu=t4", NO)),
    "missing": (Gap("no reading of GPU memory", "let the GPUs be read"),),
    "notes": ("the sidecar was scraped in 43 % of the range; of the rest nothing is known",),
}


@pytest.mark.parametrize(
    ("name", "document"),
    [("advice", told()), ("advice_everything", told(**EVERYTHING)), ("advice_nothing", bare())],
    ids=lambda it: str(it)[:20],
)
def test_the_text_is_as_committed_and_fits_a_hundred_columns(name: str, document: dict[str, Any]) -> None:
    text = advice_text(document)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert_golden(GOLDEN / f"{name}.txt", f"{text}\n")


@pytest.mark.parametrize("document", [told(), told(**EVERYTHING), bare()], ids=["full", "everything", "bare"])
def test_the_json_is_as_its_schema_says(document: dict[str, Any]) -> None:
    schema = json.loads((ROOT / "docs" / "advice.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(document)


def test_the_basis_is_what_the_published_pairs_say() -> None:
    with (ROOT / "tests" / "advice" / "transfer_pairs.csv").open(encoding="utf-8") as file:
        over = [
            float(row["actual_throughput_ratio"]) / min(float(row["bandwidth_ratio"]), float(row["flops_ratio"]))
            for row in csv.DictReader(file)
        ]
    assert len(over) == BASIS["pairs"]
    assert sum(ratio >= BASIS["bound_ratio"] for ratio in over) == BASIS["pairs_held"]
    assert round(min(over), 2) == BASIS["worst_ratio"]


def test_the_sentence_tells_headroom_price_and_share() -> None:
    text = words(told(slas={"m": SlaTarget(0.99, 0.1)}))
    assert (
        "l4 would meet 100 ms at p99 at >= 1.3 times your peak (needed 1.3); queue and compute may take 12 times as long, 20 times are"
        in text
    )
    assert "it costs 33.3 % of now (AWS 0.750 vs 2.25 USD an hour), 1,080 less a month." in text


def test_without_load_or_sla_the_sentence_claims_neither() -> None:
    idle = replace(FITS, load_ratio=0.0, slowdown_ratio=None)
    assert "l4 would carry the load (there was no load); it costs" in words(told(advice=sized(idle), slas={}))


def test_of_several_slas_every_one_is_meant() -> None:
    assert "l4 would meet every SLA at" in words(told(slas={"a": SLA, "b": SLA}))


def test_how_much_slower_it_may_be_is_left_out_where_nothing_tells() -> None:
    assert "times as long; it costs" in words(told(advice=sized(replace(FITS, slowdown_allowed_ratio=None))))


def test_devices_that_would_not_do_are_counted_and_shown_on_request() -> None:
    assert "2 other devices aren't shown: 2 would not do (precision 2)" in words(told())
    everything = words(told(), all_candidates=True)
    assert "v100-pcie-16gb no precision" in everything
    assert "shown:" not in everything


def test_one_device_that_is_not_shown_is_one() -> None:
    assert "1 other device isn't shown: 1 would not do" in words(told(advice=sized(FITS, NO)))


def test_at_most_ten_devices_are_shown() -> None:
    many = [replace(FITS, product=f"gpu-{number}") for number in range(12)]
    assert "2 other devices aren't shown: 2 fit." in words(told(advice=sized(*many)))


def test_a_device_that_lacks_a_price_alone_is_worth_a_look_and_one_that_lacks_more_is_not() -> None:
    unpriced = replace(UNSURE, cost_per_hour=None, saving_per_hour=None, blocked_by=("price",), reasons={"price": "no price"})
    unknown = replace(unpriced, product="a30", blocked_by=("price", "evidence"))
    text = words(told(advice=sized(unpriced, unknown)))
    assert "a10 unsure price" in text
    assert "a30" not in text


def test_of_devices_without_a_price_the_smallest_comes_first() -> None:
    lacking = replace(UNSURE, cost_per_hour=None, saving_per_hour=None, blocked_by=("price",), reasons={"price": "no price"})
    text = words(told(advice=sized(lacking, replace(lacking, product="t4", throughput_ratio_low=0.01), FITS)))
    assert text.index("l4 fits") < text.index("t4 unsure") < text.index("a10 unsure")


def test_a_reason_that_all_have_is_told_once() -> None:
    text = words(told(advice=sized(UNSURE, replace(UNSURE, product="a30"))))
    assert text.count("nothing tells") == 1
    assert "nothing tells (all of them)" in text


def test_facts_that_nobody_verified_are_marked() -> None:
    assert "l4 ? fits" in words(told(advice=sized(replace(FITS, facts_verified=False))))


def test_without_any_figure_no_basis_is_told() -> None:
    text = words(bare())
    assert "Nothing can be said of other hardware yet: no GPU was seen: let the GPUs be read" in text
    assert "Basis" not in text
    assert "Nothing is known of what it runs on." in text


def test_what_is_missing_is_told_beside_what_can_be_said() -> None:
    gap = (Gap("no price", "set one"),)
    assert "More could be said: no price: set one" in words(told(missing=gap))
    assert "No device can be said to fit yet: no price: set one" in words(told(missing=gap, advice=sized(UNSURE)))


def test_an_unpriced_server_of_a_shared_gpu_says_so() -> None:
    evidence = replace(
        FULL.evidence, cost_per_hour={}, gpus=0.5, memory_is_reserved=True, throttled_ratio=0.2, window_seconds=None, products=("ACME",)
    )
    text = words(told(advice=Advice(sizing=RightSizing(evidence, (), ()))))
    assert "1 x ACME (a share of 0.50 in all) and costs nobody knows what" in text
    assert "it reserves all it can get" in text
    assert "clocks held down 20.0 % of the time" in text
    assert "computing 75.0 % of the time" in text


def test_a_server_of_which_nothing_was_seen_says_so() -> None:
    evidence = replace(FULL.evidence, busy_ratio=None, peak_load_ratio=None, memory_peak_bytes=None, precision=None, throttled_ratio=None)
    assert "Nothing was seen of it yet." in words(
        told(advice=Advice(sizing=RightSizing(evidence, (), ())), price_as_of=None, price_source=None)
    )


def test_an_sla_without_targets_is_one_on_errors() -> None:
    assert "99.9 % of inferences without error" in words(told(slas={"m": SlaTarget(0.999)}))


def test_control_characters_of_a_name_never_reach_the_terminal() -> None:
    text = advice_text(told(server="a\x1b[31mb", notes=("c\x07d",)))
    assert "\x1b" not in text
    assert "\x07" not in text


def test_large_sums_are_told_whole() -> None:
    evidence = replace(FULL.evidence, cost_per_hour={"instance": 12_345.6})
    assert "12,346 USD an hour, 8,888,832 a month" in words(told(advice=Advice(sizing=RightSizing(evidence, (), ()))))


def test_every_finding_of_a_report_is_told() -> None:
    text = words(told(advice=rich_snapshot().advice))
    assert "warning: price_missing" in text
    assert "info: price_missing (llama-3-8b): up to 0.125 USD an hour, 90.0 a month" in text
