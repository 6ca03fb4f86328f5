"""The report for a person at a terminal: 96 columns, plain text, made from the JSON report alone. Pure.

What isn't known is said in words or as a dash, never as a zero.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, TypeAlias

from infermeter.metrics import catalog, derived
from infermeter.metrics.catalog import Family
from infermeter.metrics.quantities import bar, count, gibibytes, joules, length, number, percent, seconds

WIDTH = 96

Report: TypeAlias = dict[str, Any]

STEPS = {
    "capacity": "served at full load",
    "low_load": "busy below capacity",
    "busy": "computing",
    "idle": "nothing to do",
    "sla_missed": "spent on misses",
}
"""What each step of the waterfall means."""

_UNPRICED = "Unknown: no price is configured, or none can be applied; see the findings."
_THIN = "Too little evidence yet: a window needs 30 seconds, 30 inferences, and to be long against them."


def report_text(report: Report) -> str:
    """The report as text, without a newline at its end."""
    sections = (_head, _cost, _waterfall, _capacity, _time, _energy, _gpus, _losses, _findings)
    return "\n\n".join("\n".join(line.rstrip() for line in section(report)) for section in sections)


def _head(report: Report) -> Iterator[str]:
    about = report["report"]
    start, end, settled = (about[f"{instant}_unix_seconds"] for instant in ("start", "end", "settled"))
    yield _sides(f"INFERMETER {about['version']} · {_cut(about['server'], 60)}", about["kind"])
    yield f"{_instant(start)} to {_instant(end)} UTC, {length(end - start)}"
    if settled is None:
        yield "Nothing is settled yet: energy, and money by use, wait for late spans."
    elif settled < end:
        yield f"Energy, and money by use, are settled up to {_instant(settled)}."


def _cost(report: Report) -> Iterator[str]:
    about = report["report"]
    cost, windows = about["cost"], [window["window"] for window in about["windows"]]
    yield _sides("COST PER INFERENCE", cost["currency"] or "")
    if cost["per_hour"] is None:
        yield f"  {_UNPRICED}"
    else:
        spent = [f"{number(entry['value'])} {entry['labels']['component']}" for entry in _entries(report, catalog.COST)]
        yield f"  This server costs {number(cost['per_hour'])} {cost['currency']} an hour ({_cut(cost['source'], 40)}, {cost['as_of']})."
        yield from _wrapped("  Since the start: ", ", ".join(spent))
    if about["sampled"]:
        counted = _value(report, catalog.INFERENCES_SOURCE, source="server") is not None
        yield f"  Spans are a sample, {'and the server counts the inferences' if counted else 'so nothing is divided by their number'}."
    elif not windows:
        yield "  No windows are configured."
    elif not _entries(report, catalog.WINDOW_COST_PER_INFERENCE) and cost["per_hour"] is not None:
        yield f"  {_THIN}"
    if windows and _models(report):
        yield ""
        yield f"  {'model':<24}{'window':<8}{'at the SLA':>11}{'each':>11}{'1M tokens':>11}{'joules':>11}   SLA"
    for model in _models(report):
        for window in windows:
            yield _cost_line(report, model, window)
            yield from _signals(report, model, window)


def _cost_line(report: Report, model: str, window: str) -> str:
    at_sla = _value(report, catalog.WINDOW_COST_PER_INFERENCE_AT_SLA, model=model, window=window, basis="goodput")
    each = _value(report, catalog.WINDOW_COST_PER_INFERENCE, model=model, window=window)
    tokens = _value(report, derived.COST_PER_MILLION_TOKENS, model=model, window=window)
    energy = _value(report, derived.ENERGY_PER_INFERENCE, model=model, window=window)
    states = [
        entry["labels"]["state"] for entry in _entries(report, catalog.WINDOW_SLA_STATE, model=model, window=window) if entry["value"]
    ]
    figures = "".join(f"{number(value):>11}" for value in (at_sla, each, tokens, energy))
    return f"  {_cut(model, 22):<24}{window:<8}{figures}   {states[0] if states else 'none set'}"


def _signals(report: Report, model: str, window: str) -> Iterator[str]:
    """What the SLA asks of each signal, and what was measured at its quantile."""
    for sla in report["report"]["sla"]:
        asked = [
            f"{signal} {seconds(_value(report, catalog.WINDOW_LATENCY_AT_SLA_QUANTILE, model=model, window=window, signal=signal))}"
            f" of {seconds(sla[f'{signal}_seconds'])}"
            for signal in catalog.SIGNAL.values
            if sla["model"] == model and sla[f"{signal}_seconds"] is not None
        ]
        if asked:
            yield f"    at {number(100 * sla['quantile_ratio'], 2)} %: {' · '.join(asked)}"


def _waterfall(report: Report) -> Iterator[str]:
    about = report["report"]
    yield _sides("WHERE THE MONEY WENT", about["cost"]["currency"] or "")
    entries = _entries(report, derived.WATERFALL_COST)
    if not entries:
        yield f"  {_UNPRICED if about['cost']['per_hour'] is None else _THIN}"
    judged = len(about["sla"]) == len(_models(report))
    for window in about["windows"] if entries else ():
        steps = {entry["labels"]["step"]: entry["value"] for entry in _entries(report, derived.WATERFALL_COST, window=window["window"])}
        total = sum(steps.values())
        yield f"  {_stretch(window):<34}{'cost':>12}{'share':>10}{'each at the SLA' if judged else 'each':>17}"
        for step in (step for step in catalog.STEP.values if step in steps):
            share = _ratio(steps[step], total)
            each = _ratio(steps[step], window["inferences_within_sla" if judged else "inferences_ok"])
            yield f"    {step:<12}{STEPS[step]:<20}{number(steps[step]):>10}{percent(share):>10}{number(each):>17}  {bar(share or 0, 20)}"


def _stretch(window: dict[str, Any]) -> str:
    told = f"last {window['window']}"
    return told if window["accrued_seconds"] >= window["seconds"] else f"{told} (holds {length(window['accrued_seconds'])})"


def _capacity(report: Report) -> Iterator[str]:
    yield _sides("WHAT IT COULD DO", "inferences per second at the SLA")
    told = {entry["labels"]["model"] for entry in _entries(report, catalog.CAPACITY_AT_SLA)}
    if not told:
        yield "  Unknown: it takes an SLA, and half an hour of load that holds it."
    for model in (model for model in _models(report) if model in told):
        observed, modelled = (_value(report, catalog.CAPACITY_AT_SLA, model=model, bound=bound) for bound in catalog.BOUND.values)
        reached = "more was tried, and missed" if _value(report, catalog.CAPACITY_REACHED, model=model) else "a lower bound"
        parts = [] if observed is None else [f"{number(observed)} observed ({reached})"]
        yield f"  {_cut(model, 22):<24}{' · '.join(parts if modelled is None else [*parts, f'{number(modelled)} modelled'])}"
    peak = _value(report, catalog.PEAK_LOAD)
    if peak is not None:
        spare = f": it could do {number(1 / peak)} times as much" if 0 < peak < 1 else ""
        yield f"  At the peak {percent(peak)} of it is asked for{spare}."


def _time(report: Report) -> Iterator[str]:
    yield _sides("WHERE THE TIME WENT", "per inference, since the start")
    if not _models(report):
        yield "  No inference was seen."
    for model in _models(report):
        ok, errors = (_value(report, catalog.INFERENCES_OBSERVED, model=model, outcome=outcome) for outcome in catalog.OUTCOME.values)
        within = _value(report, catalog.INFERENCES_OBSERVED_WITHIN_SLA, model=model)
        told = "" if within is None else f", {count(within)} within the SLA"
        yield f"  {_cut(model, 40)}: {count(ok)} inferences{told}, {count(errors)} errors"
        stages = {entry["labels"]["stage"]: entry for entry in _entries(report, catalog.STAGE_DURATION, model=model) if entry["count"]}
        total = sum(entry["sum"] for entry in stages.values())
        for stage in (stage for stage in catalog.STAGE.values if stage in stages):
            mean = _ratio(stages[stage]["sum"], ok or 0)
            share = _ratio(stages[stage]["sum"], total)
            yield f"    {stage:<16}{seconds(mean):>10}{percent(share):>10}  {bar(share or 0, 40)}"


def _energy(report: Report) -> Iterator[str]:
    yield _sides("WHERE THE ENERGY WENT", "the GPUs', since the start; by model an attributed estimate")
    entries = _entries(report, catalog.ENERGY)
    total = sum(entry["value"] for entry in entries)
    if not entries:
        yield "  Unknown: no GPU told its power."
    elif not total:
        yield "  None is settled yet."
    for entry in (entry for entry in entries if entry["value"]):
        share = _ratio(entry["value"], total)
        model, use = _cut(entry["labels"]["model"], 22), entry["labels"]["use"]
        yield f"  {model:<24}{use:<14}{joules(entry['value']):>10}{percent(share):>10}  {bar(share or 0, 32)}"
    for entry in _entries(report, catalog.EMISSIONS):
        yield f"  Emissions: {number(entry['value'])} g of CO2e."


def _gpus(report: Report) -> Iterator[str]:
    yield "GPUS"
    if not report["report"]["gpus"]:
        yield "  None was seen."
        return
    yield f"  {'':<4}{'product':<26}{'source':<11}{'watts':>7}{'busy':>9}{'memory GiB':>14}   active · held idle"
    for gpu in report["report"]["gpus"]:
        uuid = gpu["gpu_uuid"]
        used = _value(report, catalog.GPU_MEMORY_USED, gpu_uuid=uuid)
        total = _value(report, catalog.GPU_MEMORY_TOTAL, gpu_uuid=uuid)
        states = {entry["labels"]["state"]: entry["value"] for entry in _entries(report, catalog.GPU_STATE_SECONDS, gpu_uuid=uuid)}
        spent = sum(states.values())
        shares = [percent(_ratio(states[state], spent) if state in states else None) for state in ("active", "held_idle")]
        yield (
            f"  {'' if gpu['index'] is None else gpu['index']:<4}{_cut(gpu['product'] or uuid, 24):<26}{gpu['source']:<11}"
            f"{count(_value(report, catalog.GPU_POWER, gpu_uuid=uuid)):>7}"
            f"{percent(_value(report, catalog.GPU_UTILISATION, gpu_uuid=uuid)):>9}"
            f"{f'{gibibytes(used)} of {gibibytes(total)}':>14}   {' · '.join(shares)}"
            f"{'' if gpu['up'] else '   stale'}"
        )


def _losses(report: Report) -> Iterator[str]:
    yield "NOT COUNTED, OR NOT IN TIME"
    losses = report["report"]["losses"]
    kinds = {
        "spans_dropped": "spans dropped",
        "spans_unmapped": "spans that became no inference",
        "exports_refused": "exports refused",
        "gpu_samples_rejected": "GPU readings rejected",
    }
    lines = [
        line
        for kind, name in kinds.items()
        if losses[kind]
        for line in _wrapped(f"  {name}: ", ", ".join(f"{count(n)} {reason}" for reason, n in losses[kind].items()))
    ]
    if losses["inferences_late"]:
        lines.append(f"  inferences too late for their window: {count(losses['inferences_late'])}")
    if losses["unknown_seconds"]:
        lines.append(f"  time for which no cost was booked: {length(losses['unknown_seconds'])}")
    yield from lines or ["  Nothing."]


def _findings(report: Report) -> Iterator[str]:
    yield "FINDINGS"
    if not report["report"]["findings"]:
        yield "  None."
    for finding in report["report"]["findings"]:
        about = f" ({_cut(finding['model'], 32)})" if finding["model"] is not None else ""
        saving = finding["saving_per_hour"]
        worth = "" if saving is None else f", would save {number(saving)} {report['report']['cost']['currency']} an hour"
        yield f"  {finding['level']}: {finding['code']}{about}{worth}"
        yield from _wrapped("    seen: ", ", ".join(f"{name} {_evidence(value)}" for name, value in finding["evidence"].items()))
        yield from _wrapped("    do: ", finding["what_to_do"])
        yield from _wrapped("    gone when: ", finding["falsified_by"])


def _evidence(value: float | str) -> str:
    """A text as it is, a whole number whole, any other to four digits."""
    return value if isinstance(value, str) else f"{value:.4g}" if value % 1 else f"{value:.0f}"


# --- reading a report --------------------------------------------------------------------------------------------------------------
def _entries(report: Report, family: Family | str, **labels: str) -> list[dict[str, Any]]:
    """A family's entries that carry these labels, in their order."""
    entries = report.get(family.name if isinstance(family, Family) else family, [])
    return [entry for entry in entries if labels.items() <= entry["labels"].items()]


def _value(report: Report, family: Family | str, **labels: str) -> float | None:
    """The value of the one entry that carries these labels; None if there is none."""
    return next((entry["value"] for entry in _entries(report, family, **labels)), None)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _models(report: Report) -> list[str]:
    return [entry["labels"]["model"] for entry in _entries(report, catalog.INFERENCES_OBSERVED, outcome="ok")]


# --- laying out --------------------------------------------------------------------------------------------------------------------
def _sides(left: str, right: str) -> str:
    return f"{left}{right:>{max(WIDTH - len(left), len(right) + 1)}}"


def _wrapped(indent: str, text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=" " * len(indent))


def _instant(unix_seconds: float) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _cut(text: str, width: int) -> str:
    """Printable text of at most `width` characters."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in text)
    return printable if len(printable) <= width else f"{printable[: width - 1]}…"
