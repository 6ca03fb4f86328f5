"""What the status page has to show of a report: each number, and its text as the report for a terminal would have it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from infermeter.metrics.quantities import count, gibibytes, joules, number, percent, seconds
from support.reports import values

Report: TypeAlias = dict[str, Any]
At: TypeAlias = tuple[str, str | None, str]
"""A number's place: its section, its row, and what it is."""

_Found: TypeAlias = tuple[At, float | None, Callable[[float], str] | None]
_SIGNALS = ("duration", "ttft", "tpot")


def expected(report: Report, label: str) -> dict[At, tuple[float, str | None]]:
    """Of a report and a window: every number that is known, with its text, None where that isn't compared."""
    sections = (_cost, _all_models, _money, _sla, _time, _gpus, _energy, _findings, _inputs, _ages)
    found = [entry for section in sections for entry in section(report, label)]
    return {at: (value, text(value) if text else None) for at, value, text in found if value is not None}


def verdicts(report: Report, label: str) -> dict[str, str]:
    """The state of each model's SLA in a window, where there is one."""
    rows = [row["labels"] for row in report.get("window_sla_state", []) if row["value"]]
    return {labels["model"]: labels["state"] for labels in rows if labels["window"] == label}


def _one(report: Report, family: str, **labels: str) -> float | None:
    found = values(report, family, **labels)
    return found[0] if found else None


def _models(report: Report) -> list[str]:
    return [row["labels"]["model"] for row in report.get("inferences_observed_total", []) if row["labels"]["outcome"] == "ok"]


def _window(report: Report, label: str) -> Any:
    return next(window for window in report["report"]["windows"] if window["window"] == label)


def _in_window(report: Report, label: str, model: str) -> Any:
    return next(of for of in _window(report, label)["models"] if of["model"] == model)


def _is_judged(report: Report) -> bool:
    return len(report["report"]["sla"]) == len(_models(report))


def _ratio(part: float, whole: float | None) -> float | None:
    return part / whole if whole else None


def _in_unit(*amounts: float | None) -> Callable[[float], str]:
    """Costs that are compared have one unit: an inference, a thousand or a million; the least is 0.01, or if they lie apart the largest."""
    known = [amount for amount in amounts if amount]
    if not known:
        return number
    of_least = [times for times in (1, 1e3, 1e6) if min(known) * times >= 0.01 and max(known) * times <= 1e6]
    of_largest = [times for times in (1, 1e3, 1e6) if max(known) * times >= 0.01]
    (times, *_) = (*of_least, *of_largest, 1e6)
    return lambda amount: number(amount * times)


def _cost(report: Report, label: str) -> Iterator[_Found]:
    names = _models(report)
    at_sla = {model: _one(report, "window_cost_per_inference_at_sla", model=model, window=label, basis="goodput") for model in names}
    each = {model: _one(report, "window_cost_per_inference", model=model, window=label) for model in names}
    text = _in_unit(*at_sla.values(), *each.values(), *(_together(report, label) if len(names) == 1 else ()))
    for model in names:
        row = model if len(names) > 1 else None
        yield ("h-cost", row, "at-sla"), at_sla[model], text
        yield ("h-cost", row, "each"), each[model], text
        yield ("h-cost", row, "tokens"), _one(report, "cost_per_million_tokens", model=model, window=label), number
        yield ("h-cost", row, "joules"), _one(report, "energy_per_inference_joules", model=model, window=label), joules
        if len(names) == 1:
            capacity = _one(report, "window_cost_per_inference_at_sla", model=model, window=label, basis="capacity")
            yield ("h-cost", None, "at-capacity"), capacity, number
    yield ("h-cost", None, "per-hour"), report["report"]["cost"]["per_hour"], number


def _steps(report: Report, label: str) -> dict[str, float]:
    return {row["labels"]["step"]: row["value"] for row in report.get("waterfall_cost", []) if row["labels"]["window"] == label}


def _together(report: Report, label: str) -> tuple[float | None, float | None]:
    """What an inference costs over all models, within the SLA and without error."""
    window, steps = _window(report, label), _steps(report, label)
    at_sla = _ratio(sum(steps.values()), window["inferences_within_sla"]) if steps and _is_judged(report) else None
    return at_sla, _ratio(sum(steps.values()), window["inferences_ok"]) if steps else None


def _all_models(report: Report, label: str) -> Iterator[_Found]:
    if len(_models(report)) > 1:
        at_sla, each = _together(report, label)
        yield ("h-cost", None, "at-sla-all"), at_sla, _in_unit(at_sla, each)
        yield ("h-cost", None, "each-all"), each, _in_unit(at_sla, each)


def _money(report: Report, label: str) -> Iterator[_Found]:
    window, steps = _window(report, label), _steps(report, label)
    total, divisor = sum(steps.values()), window["inferences_within_sla" if _is_judged(report) else "inferences_ok"]
    alone = _models(report) if len(_models(report)) == 1 else []
    own = [
        cost
        for model in alone
        for cost in (
            _one(report, "window_cost_per_inference_at_sla", model=model, window=label, basis="goodput"),
            _one(report, "window_cost_per_inference", model=model, window=label),
        )
    ]
    text = _in_unit(*own, *_together(report, label))
    for step, amount in steps.items():
        yield ("h-money", step, "step"), amount, number
        yield ("h-money", step, "step-share"), amount / total, percent
        yield ("h-money", step, "step-each"), _ratio(amount, divisor), text
    if steps:
        yield ("h-money", "all", "step-all"), total, number
        yield ("h-money", "all", "step-each"), _ratio(total, divisor), text


def _sla(report: Report, label: str) -> Iterator[_Found]:
    for sla in report["report"]["sla"]:
        model = sla["model"]
        yield ("h-sla", model, "quantile"), sla["quantile_ratio"], lambda ratio: f"at {number(100 * ratio, 2)} %"
        for signal in (signal for signal in _SIGNALS if sla[f"{signal}_seconds"] is not None):
            reached = _one(report, "window_latency_at_sla_quantile_seconds", model=model, signal=signal, window=label)
            yield ("h-sla", model, f"target-{signal}"), sla[f"{signal}_seconds"], seconds
            yield ("h-sla", model, f"at-quantile-{signal}"), reached, seconds
        judged = _in_window(report, label, model)["judged"]
        if judged:
            yield ("h-sla", model, "observed"), judged["observed"], count
            yield ("h-sla", model, "within"), judged["within_sla"], count
            yield ("h-sla", model, "within-share"), _ratio(judged["within_sla"], judged["observed"]), percent
            yield ("h-sla", model, "miss-lower"), judged["miss_ratio_lower"], percent
            yield ("h-sla", model, "miss-upper"), judged["miss_ratio_upper"], percent
            if verdicts(report, label).get(model) == "insufficient":
                yield ("h-sla", model, "until-met"), judged["inferences_until_met"], count
        yield ("h-sla", model, "capacity"), _one(report, "capacity_at_sla_inferences_per_second", model=model, bound="observed"), number
        modelled = _one(report, "capacity_at_sla_inferences_per_second", model=model, bound="model")
        yield ("h-sla", model, "capacity-modelled"), modelled, number
    if report["report"]["sla"]:
        yield ("h-sla", None, "load"), _one(report, "window_load_ratio", window=label), percent
        yield ("h-sla", None, "peak-load"), _one(report, "peak_load_ratio"), percent


def _time(report: Report, label: str) -> Iterator[_Found]:
    for model in _models(report):
        of = _in_window(report, label, model)
        held, inferences = of["stage_seconds"], of["signal_inferences"].get("duration")
        since = {row["labels"]["stage"]: row for row in report["stage_duration_seconds"] if row["labels"]["model"] == model}
        if not held:
            held = {stage: row["sum"] for stage, row in since.items() if row["count"]}
            inferences = max((row["count"] for row in since.values()), default=0)
        for stage in sorted({*since, "other"}) if held else ():
            took = held.get(stage, 0.0)
            yield ("h-time", model, f"stage-{stage}"), took / sum(held.values()), percent
            yield ("h-time", model, f"mean-{stage}"), took / inferences, seconds if took else None
        yield ("h-time", model, "ok"), _one(report, "inferences_observed_total", model=model, outcome="ok"), count
        yield ("h-time", model, "errors"), _one(report, "inferences_observed_total", model=model, outcome="error"), None


def _gpus(report: Report, _: str) -> Iterator[_Found]:
    for uuid in (gpu["gpu_uuid"] for gpu in report["report"]["gpus"]):
        yield ("h-gpus", uuid, "power"), _one(report, "gpu_power_watts", gpu_uuid=uuid), lambda watts: f"{count(watts)} W"
        yield ("h-gpus", uuid, "utilisation"), _one(report, "gpu_utilisation_ratio", gpu_uuid=uuid), percent
        yield ("h-gpus", uuid, "memory"), _one(report, "gpu_memory_used_bytes", gpu_uuid=uuid), gibibytes
        yield ("h-gpus", uuid, "gpu-age"), _age(report, "gpu_last_sample_timestamp_seconds", gpu_uuid=uuid), None
        rows = [row for row in report["gpu_state_seconds_total"] if row["labels"]["gpu_uuid"] == uuid]
        for row in (row for row in rows if row["value"]):
            share = row["value"] / sum(row["value"] for row in rows)
            yield ("h-gpus", uuid, f"gpu-{row['labels']['state']}"), share, percent


def _energy(report: Report, _: str) -> Iterator[_Found]:
    used: dict[str, float] = {}
    for row in report.get("energy_joules_total", []):
        used[row["labels"]["use"]] = used.get(row["labels"]["use"], 0.0) + row["value"]
    if any(used.values()):
        yield ("h-gpus", "energy", "energy"), sum(used.values()), joules
        yield from ((("h-gpus", "energy", f"energy-{use}"), spent, joules) for use, spent in used.items())


def _findings(report: Report, _: str) -> Iterator[_Found]:
    for finding in report["report"]["findings"]:
        yield ("h-findings", f"{finding['code']} {finding['model'] or ''}", "saving"), finding["saving_per_hour"], number


def _inputs(report: Report, _: str) -> Iterator[_Found]:
    for of in ("spans_received", "spans_dropped", "spans_unmapped", "exports_refused"):
        name = "spans" if of == "spans_received" else of.rpartition("_")[2]
        yield ("h-inputs", None, name), sum(values(report, f"{of}_total")), count if name == "spans" else None
    yield ("h-inputs", None, "pending"), _one(report, "traces_pending"), count
    yield ("h-inputs", None, "coverage"), _one(report, "span_coverage_ratio"), percent
    yield ("h-inputs", None, "scrape"), _one(report, "server_scrape_up"), None
    yield ("h-inputs", None, "forwarded"), _one(report, "spans_forwarded_total"), count
    yield ("h-inputs", None, "series"), report["report"]["series"]["told"], count
    yield ("h-inputs", None, "config"), _one(report, "config_last_reload_success_timestamp_seconds"), None
    yield ("h-inputs", None, "settled"), report["report"]["settled_unix_seconds"], None


def _ages(report: Report, _: str) -> Iterator[_Found]:
    yield ("h-inputs", None, "span-age"), _age(report, "last_span_timestamp_seconds"), None
    yield ("h-inputs", None, "price-age"), _age(report, "price_timestamp_seconds"), None
    yield ("h-inputs", None, "gpu-oldest"), _age(report, "gpu_last_sample_timestamp_seconds"), None


def _age(report: Report, family: str, **labels: str) -> float | None:
    """Since the oldest of the instants that a family tells."""
    instants = values(report, family, **labels)
    return report["report"]["end_unix_seconds"] - min(instants) if instants else None
