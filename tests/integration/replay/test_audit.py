"""An audit: what a replay's report says of money and energy, recomputed from the prices, sums and counts that the same report carries."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infermeter import cli

START = 1_784_548_800
CROWDED_SECONDS, SECONDS = 3600, 4800
S = 1_000_000_000

CONFIG = """
server: {kind: infermeter, name: audited, model: chat}
sla: {models: {chat: {quantile: 0.9, duration_seconds: 2.5}}}
cost:
  currency: EUR
  as_of: 2026-07-01
  source: invoice
  purchase: {price: 30000, residual: 3000, lifetime_years: 4, per: gpu, finance_rate_per_year: 0.05}
  power: {price_per_kwh: 0.25, pue: 1.3}
  licence: {per_hour: 0.5, per: gpu}
emissions: {grams_per_kwh: 400}
windows: [2h]
"""
FIXED_PER_HOUR = ((30_000 - 3_000) / 4 + 30_000 * 0.05) / 8760 + 0.5
PER_JOULE = 0.25 * 1.3 / 3_600_000
GRAMS_PER_JOULE = 400 * 1.3 / 3_600_000
KEYS = {"input": "infermeter.tokens.input", "output": "infermeter.tokens.output"}


class Life:
    """What happened, as spans and power: chat crowded for an hour and then quiet, with `embed` beside it if there are two models."""

    def __init__(self, *, models: int) -> None:
        draw = random.Random(7)
        self.spans: list[dict[str, Any]] = []
        self.busy = set[int]()
        self.joules = 0.0
        self.tokens = {"input": 0, "output": 0}
        self.ended_well = self.in_time = 0
        for i, start in enumerate([*range(1, CROWDED_SECONDS), *range(CROWDED_SECONDS, SECONDS - 10, 4)]):
            seconds = 3.0 if i % 50 == 0 else 1.6 + draw.random() / 10
            tokens = {"input": draw.randrange(50, 500), "output": draw.randrange(2, 100)}
            self._infer("chat", start, seconds, failed=i % 200 == 7, tokens=tokens)
            if i % 200 != 7:
                self.ended_well += 1
                self.in_time += seconds < 2.5
                self.tokens = {direction: self.tokens[direction] + n for direction, n in tokens.items()}
        for start in range(CROWDED_SECONDS, SECONDS - 10, 3) if models == 2 else ():
            self._infer("embed", start, 0.1)

    def _infer(self, model: str, start: float, seconds: float, *, failed: bool = False, tokens: dict[str, int] | None = None) -> None:
        trace = f"{len(self.spans) + 1:032x}"
        start_ns, end_ns, queue_ns = START * S + round(start * S), START * S + round((start + seconds) * S), S // 50
        counts = [{"key": KEYS[direction], "value": {"intValue": str(n)}} for direction, n in (tokens or {}).items()]
        root = self._span(trace, "inference", 2, start_ns, end_ns)
        root["attributes"] = [{"key": "infermeter.model", "value": {"stringValue": model}}, *counts]
        root["status"] = {"code": 2} if failed else {}
        if tokens:
            root["events"] = [{"name": "first_token", "timeUnixNano": str(start_ns + queue_ns + S // 4)}]
        children = (("queue", start_ns, start_ns + queue_ns), ("compute", start_ns + queue_ns, end_ns))
        self.spans += [root, *(self._span(trace, name, 1, a, b) | {"parentSpanId": root["spanId"]} for name, a, b in children)]
        self.busy |= set(range(int(start), int(start + seconds) + 1))

    def _span(self, trace: str, name: str, kind: int, start_ns: int, end_ns: int) -> dict[str, Any]:
        span_id = f"{int(trace, 16) * 3 + ('inference', 'queue', 'compute').index(name):016x}"
        times = {"startTimeUnixNano": str(start_ns), "endTimeUnixNano": str(end_ns)}
        return {"traceId": trace, "spanId": span_id, "name": name, "kind": kind, **times}

    def power(self) -> Iterator[str]:
        """The rows of a capture: a reading a second."""
        draw = random.Random(8)
        yield "time_unix_seconds,gpu,power_watts,energy_joules,utilisation_ratio,memory_used_bytes"
        for second in range(SECONDS + 1):
            busy = second in self.busy
            watts = 300 + draw.random() * 50 if busy else 90.0
            yield f"{START + second},GPU-a,{watts},{self.joules},{0.9 if busy else 0},{2**34}"
            self.joules += watts if second < SECONDS else 0.0


class Audit:
    """A report by its names, as a reader of the JSON has it."""

    def __init__(self, life: Life, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        scope = {"scope": {"name": "infermeter"}, "spans": life.spans}
        (folder / "spans.json").write_text(json.dumps({"resourceSpans": [{"resource": {}, "scopeSpans": [scope]}]}))
        (folder / "power.csv").write_text("\n".join(life.power()) + "\n")
        (folder / "infermeter.yaml").write_text(CONFIG)
        paths = [f"--{name}={folder / file}" for name, file in (("power", "power.csv"), ("config", "infermeter.yaml"))]
        assert cli.main(["replay", "--spans", str(folder / "spans.json"), *paths, "--format=json"]) == 0
        self.life = life
        self.told = json.loads(capsys.readouterr().out)
        self.about = self.told["report"]
        (self.window,) = self.about["windows"]
        self.models = {model["model"]: model for model in self.window["models"]}

    def value(self, name: str, **labels: str) -> float:
        (entry,) = [entry for entry in self.told[name] if labels.items() <= entry["labels"].items()]
        return float(entry["value"])

    def total(self, name: str, **labels: str) -> float:
        return sum(float(entry["value"]) for entry in self.told[name] if labels.items() <= entry["labels"].items())


@pytest.fixture(params=[1, 2], scope="module", ids=["one model", "two models"])
def life(request: pytest.FixtureRequest) -> Life:
    return Life(models=request.param)


@pytest.fixture
def audit(life: Life, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Audit:
    return Audit(life, tmp_path, capsys)


def same(value: float) -> Any:
    return pytest.approx(value, rel=1e-9)


def test_every_figure_follows_from_the_prices_sums_and_counts_of_the_report(audit: Audit) -> None:
    _the_inputs_are_those_of_the_recording(audit)
    _money_is_time_and_joules_at_their_prices(audit)
    for name in audit.models:
        _ratios_are_ratios_of_sums(audit, name)
    _the_cost_at_the_sla(audit)
    _the_waterfall(audit)
    _slots_add_up_to_the_window(audit)


def _the_inputs_are_those_of_the_recording(audit: Audit) -> None:
    chat, life = audit.models["chat"], audit.life
    assert (chat["inferences_ok"], chat["inferences_within_sla"]) == (life.ended_well, life.in_time)
    assert (chat["tokens_input"], chat["tokens_output"]) == (life.tokens["input"], life.tokens["output"])
    assert chat["prefill_seconds"] == same(life.ended_well / 4)
    assert chat["signal_inferences"] == dict.fromkeys(("duration", "ttft", "tpot"), life.ended_well)
    assert audit.window["accrued_seconds"] == same(SECONDS)
    assert audit.window["joules"] == same(life.joules) == same(audit.total("gpu_energy_joules_total"))
    assert audit.about["cost"] | {"per_hour": None} == {"currency": "EUR", "as_of": "2026-07-01", "source": "invoice", "per_hour": None}


def _money_is_time_and_joules_at_their_prices(audit: Audit) -> None:
    window = audit.window
    fixed = audit.value("cost_per_hour", component="amortisation") + audit.value("cost_per_hour", component="licence")
    assert fixed == same(FIXED_PER_HOUR)
    cost = fixed / 3600 * window["accrued_seconds"] + window["joules"] * PER_JOULE
    assert (window["cost"], window["unpriced_seconds"]) == (same(cost), 0.0)
    assert audit.total("cost_total") == same(cost) == same(audit.total("cost_by_use_total"))
    assert sum(model["cost"] for model in audit.models.values()) == same(cost)
    assert sum(model["joules"] for model in audit.models.values()) == same(window["joules"])
    assert audit.value("emissions_co2e_grams_total") == same(window["joules"] * GRAMS_PER_JOULE)


def _ratios_are_ratios_of_sums(audit: Audit, name: str) -> None:
    model, ok = audit.models[name], audit.models[name]["inferences_ok"]
    assert audit.value("window_cost_per_inference", model=name) == same(model["cost"] / ok)
    assert audit.value("energy_per_inference_joules", model=name) == same(model["joules"] / ok)
    assert audit.value("inferences_per_joule", model=name) == same(ok / model["joules"])
    if model["tokens_input"] is None:
        assert {entry["labels"]["model"] for entry in audit.told["cost_per_million_tokens"]} == {"chat"}
        return
    assert audit.value("cost_per_million_tokens", model=name) == same(
        model["cost"] * 1e6 / (model["tokens_input"] + model["tokens_output"])
    )
    prefill = model["prefill_seconds"] / (model["prefill_seconds"] + model["decode_seconds"])
    per_input = audit.value("cost_per_million_input_tokens", model=name)
    per_output = audit.value("cost_per_million_output_tokens", model=name)
    assert per_input == same(model["cost"] * prefill * 1e6 / model["tokens_input"])
    assert (per_input * model["tokens_input"] + per_output * model["tokens_output"]) / 1e6 == same(model["cost"])


def _the_cost_at_the_sla(audit: Audit) -> None:
    chat, window = audit.models["chat"], audit.window
    assert audit.value("window_cost_per_inference_at_sla", basis="goodput", model="chat") == same(chat["cost"] / audit.life.in_time)
    (capacity,) = audit.about["capacity"]
    assert capacity["inferences"] >= 299
    per_second = capacity["observed_per_second"]
    assert audit.value("window_cost_per_inference_at_sla", basis="capacity") == same(
        window["cost"] / window["accrued_seconds"] / per_second
    )


def _the_waterfall(audit: Audit) -> None:
    window, models = audit.window, audit.models.values()
    cost, time, idle = window["cost"], window["accrued_seconds"], window["idle_seconds"]
    ok = sum(model["inferences_ok"] for model in models)
    within = sum(model["inferences_ok"] if model["inferences_within_sla"] is None else model["inferences_within_sla"] for model in models)
    per_second = {one["model"]: one["observed_per_second"] for one in audit.about["capacity"]}
    busy = time - idle
    steps = {"idle": cost * idle / time, "sla_missed": cost * busy / time * (1 - within / ok)}
    if per_second.keys() == audit.models.keys():
        full = min(busy, sum(model["inferences_ok"] / per_second[model["model"]] for model in models))
        steps |= {"capacity": cost * full / time * within / ok, "low_load": cost * (busy - full) / time * within / ok}
    else:
        steps["busy"] = cost * busy / time * within / ok
    told = {entry["labels"]["step"]: entry["value"] for entry in audit.told["waterfall_cost"]}
    assert told == {step: same(money) for step, money in steps.items()}
    assert min(told.values()) > 0
    assert sum(told.values()) / within == same(cost / within)


def _slots_add_up_to_the_window(audit: Audit) -> None:
    for name, model in audit.models.items():
        slots = [slot for slot in audit.about["slots"] if slot["model"] == name]
        assert sum(slot["ok"] for slot in slots) == model["inferences_ok"]
        assert sum(slot["cost"] for slot in slots) == same(model["cost"])
        assert sum(slot["joules"] for slot in slots) == same(model["joules"])
