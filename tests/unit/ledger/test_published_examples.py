"""Figures from published tables, each through the program's own ledger and derived readings: a server that did just that is replayed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from infermeter.config import Cost, Gpu, Rent, Server
from infermeter.ledger.attribution import Lane, tick_use
from infermeter.ledger.verdict import least_observed, verdict
from infermeter.metrics.derived import COST_PER_MILLION_TOKENS, ENERGY_PER_INFERENCE, INFERENCES_PER_JOULE, derived
from infermeter.model import ModelWindow, SlaTarget
from support.ledgers import Inference, config, of_model, replayed, samples
from support.snapshots import empty_snapshot

PUBLISHED = yaml.safe_load(Path(__file__).with_name("published_examples.yaml").read_text())
EXAMPLES: dict[str, dict[str, Any]] = {example["id"]: example for example in PUBLISHED["examples"]}
SERIES: list[dict[str, Any]] = PUBLISHED["mlenergy_series"]


@dataclass(frozen=True)
class Served:
    """What a replay says of a server: its only window, and the readings that the report derives from it."""

    window: ModelWindow
    readings: dict[str, float]

    @property
    def joules_per_token(self) -> float:
        assert self.window.joules is not None
        assert self.window.tokens
        return self.window.joules / self.window.tokens


@cache
def served(
    *,
    seconds: float,
    inferences: int,
    tokens: int = 0,
    watts: float | None = None,
    gpus: int = 1,
    usd_per_hour: float = 1.0,
    utilisation: float = 1.0,
) -> Served:
    """A server that worked through its inferences one after the other, `utilisation` of the time, each with as many output tokens."""
    each = seconds / inferences
    rows = [
        Inference(i * each, (i + 1) * each, compute=((i * each, (i + utilisation) * each),), tokens=(0, _part(tokens, i, inferences)))
        for i in range(inferences)
    ]
    cost = Cost(currency="USD", rent=Rent(usd_per_hour / gpus))
    uuids = [f"GPU-{i}" for i in range(gpus)]
    drawn = [
        sample
        for uuid in uuids
        for sample in samples(
            seconds, uuid=uuid, watts=(watts or 0.0) / gpus, utilisation=utilisation, interval=seconds / math.ceil(seconds)
        )
    ]
    settings = config(cost=cost, server=Server(gpu_count=gpus))
    ledger = replayed(rows, drawn if watts is not None else (), end=seconds, config_=settings, gpus=uuids)
    points = derived(replace(empty_snapshot(), kind="replay", ledger=ledger))
    (window,) = of_model(ledger).windows
    return Served(window, {name: found[0].value for name, found in points.items() if isinstance(found[0].value, float)})


def _part(whole: int, i: int, parts: int) -> int:
    """The i-th of as many whole numbers that add up to `whole`."""
    return whole * (i + 1) // parts - whole * i // parts


def cost_per_million_tokens(usd_per_hour: float, tokens_per_second: float, utilisation: float = 1.0) -> float:
    an_hour = served(
        seconds=3600,
        inferences=100,
        tokens=round(3600 * tokens_per_second * utilisation),
        usd_per_hour=usd_per_hour,
        utilisation=utilisation,
    )
    return an_hour.readings[COST_PER_MILLION_TOKENS]


@pytest.mark.parametrize("name", ["W1", "W2", "W3"])
def test_cost_per_million_tokens_is_as_published(name: str) -> None:
    example = EXAMPLES[name]
    cost = cost_per_million_tokens(example["inputs"]["usd_per_hour"], example["inputs"]["tokens_per_s"])
    assert cost == pytest.approx(example["expected"], abs=5e-5)
    assert round(cost, 2) == example["published"]


def test_a_server_that_is_busy_70_percent_pays_for_all_of_its_hour() -> None:
    inputs = EXAMPLES["W4"]["inputs"]
    cost = cost_per_million_tokens(inputs["usd_per_hour"], inputs["tokens_per_s"], inputs["utilisation"])
    assert cost == pytest.approx(EXAMPLES["W4"]["expected"], abs=5e-6)
    assert round(cost, 2) == EXAMPLES["W4"]["published"]


def test_five_devices_rank_by_cost_per_token_and_not_by_price() -> None:
    inputs = EXAMPLES["W5"]["inputs"]
    costs = [cost_per_million_tokens(*row) for row in zip(inputs["usd_per_hour"], inputs["tokens_per_s"], strict=True)]
    assert costs == pytest.approx(EXAMPLES["W5"]["expected"], abs=5e-6)
    assert [round(cost, 2) for cost in costs] == EXAMPLES["W5"]["published"]
    ranked = sorted(zip(costs, ("H100", "A100", "A10G", "L4", "T4"), strict=True))
    assert [device for _, device in ranked] == ["A100", "L4", "H100", "T4", "A10G"]


def test_joules_per_token_follow_from_tokens_per_megawatt() -> None:
    inputs, expected = EXAMPLES["W7"]["inputs"], EXAMPLES["W7"]["expected"]

    def of(tokens_per_s_per_mw: float) -> float:
        """A server of as many GPUs as a megawatt feeds would be 377 of them; this is one, for 100 s."""
        watts = inputs["kw_per_gpu"] * 1000
        return served(seconds=100, inferences=100, tokens=round(100 * tokens_per_s_per_mw * watts / 1e6), watts=watts).joules_per_token

    assert of(inputs["tokens_per_s_per_mw"]) == pytest.approx(expected["joules_per_token"], abs=5e-6)
    assert of(750_000) / of(inputs["tokens_per_s_per_mw"]) == pytest.approx(expected["ratio_to_mi300x"], rel=1e-5)


def test_joules_per_image_are_those_of_a_benchmark_with_eight_gpus() -> None:
    inputs = EXAMPLES["W11"]["inputs"]
    images = served(seconds=2500, inferences=round(2500 * inputs["samples_per_s"]), watts=inputs["watts"], gpus=8)
    assert images.readings[ENERGY_PER_INFERENCE] == pytest.approx(EXAMPLES["W11"]["expected"], abs=5e-3)
    assert images.readings[INFERENCES_PER_JOULE] == pytest.approx(1 / EXAMPLES["W11"]["expected"], rel=2e-5)


def measured(row: dict[str, Any]) -> Served:
    """A run of the leaderboard: a minute or more of requests of its mean length, at its throughput and power."""
    requests = max(300, math.ceil(60 * row["output_throughput_tokens_per_sec"] / row["avg_output_len"]))
    tokens = round(requests * row["avg_output_len"])
    return served(
        seconds=tokens / row["output_throughput_tokens_per_sec"],
        inferences=requests,
        tokens=tokens,
        watts=row["avg_power_watts"],
        gpus=row["num_gpus"],
        usd_per_hour=6.0 * row["num_gpus"],
    )


def named(row: dict[str, Any]) -> str:
    return f"{row['model_id'].split('/')[1]}-{row['num_gpus']}x{row['gpu_model']}-{row['max_num_seqs']}"


@pytest.mark.parametrize("row", SERIES, ids=named)
def test_energy_of_a_measured_series_is_as_published(row: dict[str, Any]) -> None:
    run = measured(row)
    assert run.joules_per_token == pytest.approx(row["energy_per_token_joules"], rel=1e-5)
    assert run.readings[ENERGY_PER_INFERENCE] == pytest.approx(row["energy_per_request_joules"], rel=1e-5)


def test_the_same_gpu_and_model_cost_six_times_as_much_in_small_batches() -> None:
    expected = EXAMPLES["W12"]["expected"]
    small, large = (
        measured(row)
        for row in SERIES
        if (row["model_id"], row["gpu_model"]) == ("meta-llama/Llama-3.1-8B-Instruct", "B200") and row["max_num_seqs"] in (8, 512)
    )
    assert [run.joules_per_token for run in (small, large)] == pytest.approx(expected["joules_per_token"], abs=5e-5)
    assert [run.readings[ENERGY_PER_INFERENCE] for run in (small, large)] == pytest.approx(expected["joules_per_request"], abs=5e-3)
    costs = [run.readings[COST_PER_MILLION_TOKENS] for run in (small, large)]
    assert costs[0] / costs[1] == pytest.approx(expected["cost_per_token_ratio"], abs=5e-3)
    assert small.joules_per_token / large.joules_per_token == pytest.approx(expected["joule_ratio"], abs=5e-3)


def test_power_above_idle_is_split_by_the_time_on_the_device() -> None:
    """Kepler's example of a processor: a third of its power is active, and a process gets what its time is of all processes' time."""
    inputs, expected = EXAMPLES["W15"]["inputs"], EXAMPLES["W15"]["expected"]
    rest_ms = inputs["node_cpu_ms"] - sum(inputs["cpu_ms"])
    begin, rows = 0.0, []
    for i, milliseconds in enumerate((*inputs["cpu_ms"], rest_ms)):
        end = begin + inputs["usage_ratio"] * milliseconds / inputs["node_cpu_ms"]
        rows.append(Inference(begin, end, model=f"process-{i}"))
        begin = end
    ledger = replayed(
        rows,
        samples(1, watts=inputs["total_w"], utilisation=inputs["usage_ratio"]),
        end=1,
        config_=config(gpu=Gpu(baseline_watts=inputs["total_w"])),
    )
    watts = [of_model(ledger, f"process-{i}").energy_joules["active"] for i in range(len(inputs["cpu_ms"]))]
    assert watts == pytest.approx(expected["process_w"], rel=1e-6)
    assert sum(model.energy_joules["active"] for model in ledger.models) == pytest.approx(expected["active_w"], rel=1e-6)
    assert sum(model.energy_joules["idle"] for model in ledger.models) == pytest.approx(expected["idle_w"], rel=1e-6)


def test_where_a_published_split_loses_watts_this_one_does_not() -> None:
    """Kepler's example of a GPU gives 40.8 of 48 active watts to the only process and 17 to nobody: 7.2 W are missing."""
    inputs, expected = EXAMPLES["W14"]["inputs"], EXAMPLES["W14"]["expected"]
    assert (inputs["total_w"] - inputs["idle_w"], expected["active_w"] * inputs["process_sm_util"]) == (48, pytest.approx(40.8))
    lane = Lane(
        weight=1.0,
        joules=inputs["total_w"],
        stray_joules=0.0,
        known_seconds=1.0,
        seen_ratio=1.0,
        utilisation_ratio=inputs["process_sm_util"],
        baseline_watts=inputs["idle_w"],
    )
    joules = tick_use(inputs["process_sm_util"], [lane], sampled=False).joules
    assert joules.idle == pytest.approx(inputs["idle_w"] * (1 - inputs["process_sm_util"]))
    assert joules.active + joules.idle + joules.unattributed == pytest.approx(inputs["total_w"])


PROOF = EXAMPLES["W18"]


@pytest.mark.parametrize(
    ("confidence", "expected"), [*zip(PROOF["inputs"]["confidence"], PROOF["expected"]["min_requests_zero_violations"], strict=True)]
)
def test_so_many_requests_without_a_miss_prove_a_quantile(confidence: float, expected: int) -> None:
    sla = SlaTarget(PROOF["inputs"]["quantile"], duration_seconds=1.0)
    assert least_observed(sla, confidence=confidence) == expected
    assert verdict(sla, observed=expected, within=expected, confidence=confidence) == "met"
    assert verdict(sla, observed=expected - 1, within=expected - 1, confidence=confidence) == "insufficient"
