"""Advice for a person at a terminal: 100 columns, plain text, made from the JSON advice alone. Pure.

What isn't known is said in words or as a dash, never as a zero.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from infermeter.metrics.quantities import UNKNOWN, joules, length, number, percent, seconds
from infermeter.parsing.durations import duration_text

WIDTH: Final = 100
SHOWN_MOST: Final = 10
HOURS_A_MONTH: Final = 720

Told: TypeAlias = dict[str, Any]

BOUNDS: Final = {
    "memory": "memory: the GPUs' memory bandwidth holds it up, rather than arithmetic",
    "compute": "compute: the GPUs' arithmetic holds it up, rather than memory bandwidth",
    "launch": "launch: the GPUs run all the time and use little of what they have: small batches, or a host that is slow to feed them",
    "queue": "queue: inferences wait while the GPUs have time to spare: batching or scheduling",
    "unknown": "not known: it takes profiling counters of the GPU (gpu.profiling), or a server that estimates its own work",
    None: "nothing: the GPUs were hardly busy, or nobody tells whether they were",
}
"""What each bound means."""

_NOTHING: Final = "Nothing can be said of other hardware yet"

MOVES: Final = {
    "fewer_replicas": "fewer replicas",
    "mig_slice": "a slice of the GPU (MIG)",
    "share": "share the GPU",
    "scale_to_zero": "none while nobody asks (scale to zero)",
}


def advice_text(told: Told, *, all_candidates: bool = False) -> str:
    """The advice as text, without a newline at its end; every device in it, or those alone that are worth a look."""
    shown = told["candidates"] if all_candidates else _worth_a_look(told["candidates"])
    sections = (_head(told), _bound(told), _findings(told), _supposed(told), _moves(told), _hardware(told, shown))
    return "\n\n".join("\n".join(line.rstrip() for line in lines) for section in sections if (lines := list(section)))


def _worth_a_look(candidates: Sequence[Told]) -> list[Told]:
    """Those that fit, and those that are unsure and priced; then, the smallest first, those that lack nothing but a price. At most ten."""
    tried = [one for one in candidates if one["verdict"] != "no"]
    priced = [one for one in tried if one["verdict"] == "fits" or one["cost_per_hour"] is not None]
    unpriced = [one for one in tried if one["cost_per_hour"] is None and one["blocked_by"] == ["price"]]
    return [*priced, *sorted(unpriced, key=lambda one: one["throughput_ratio_low"] or 0.0)][:SHOWN_MOST]


# --- what it is --------------------------------------------------------------------------------------------------------------------
def _head(told: Told) -> Iterator[str]:
    source, evidence = told["source"], told["evidence"]
    yield f"INFERMETER · ADVICE FOR {_cut(told['server'], 64)}"
    span = "As of" if source["range_seconds"] is None else f"Over the {duration_text(source['range_seconds'])} up to"
    yield from _wrapped("", f"{span} {_instant(source['end_unix_seconds'])} UTC, from {source['where']}.")
    if source["replicas"] is not None and source["replicas"] > 1:
        yield f"{source['replicas']} replicas run; every figure is of one of them, unless it says otherwise."
    yield ""
    if evidence is None:
        yield "  Nothing is known of what it runs on."
    else:
        yield from _wrapped("  ", f"It runs on {_devices(evidence)} and costs {_cost(told)}.")
        yield from _wrapped("  ", _usage(evidence))
    for sla in told["sla"]:
        workload = told["workloads"].get(sla["model"], UNKNOWN)
        yield from _wrapped("  ", f"The SLA of {_cut(sla['model'], 40)}: {_targets(sla)}. Workload: {workload}.")
    if not told["sla"]:
        yield "  It has no SLA."
    for note in told["notes"]:
        yield from _wrapped("  Note: ", f"{note}.")


def _devices(evidence: Told) -> str:
    counts: Counter[str] = Counter(evidence["products"])
    products = " and ".join(f"{count} x {_cut(product, 40)}" for product, count in counts.items())
    whole = sum(counts.values())
    return products if evidence["gpus"] == whole else f"{products} (a share of {number(evidence['gpus'], 2)} in all)"


def _cost(told: Told) -> str:
    evidence = told["evidence"]
    if not evidence["cost_per_hour"]:
        return "nobody knows what: no price is configured, or a part of it can't be told"
    hour = _now(told)
    source, as_of = told["price"]["source"], told["price"]["as_of"]
    basis = ", ".join(text for text in (None if source is None else _cut(source, 40), as_of) if text)
    return f"{_money(hour)} {told['currency']} an hour, {_month(hour)} a month{f' ({basis})' if basis else ''}"


def _usage(evidence: Told) -> str:
    told = list(_measurements(evidence))
    return f"Seen: {', '.join(told)}." if told else "Nothing was seen of it yet."


def _measurements(evidence: Told) -> Iterator[str]:
    if evidence["busy_ratio"] is not None:
        window = evidence["window_seconds"]
        yield f"computing {percent(evidence['busy_ratio'])} of the {'time' if window is None else f'last {duration_text(window)}'}"
    if evidence["peak_load_ratio"] is not None:
        yield f"peak load {percent(evidence['peak_load_ratio'])} of what it can do within the SLA"
    if evidence["memory_peak_bytes"] is not None:
        reserved = " (it reserves all it can get)" if evidence["memory_is_reserved"] else ""
        yield f"at most {evidence['memory_peak_bytes'] / 1e9:.1f} GB in use on a GPU{reserved}"
    if evidence["precision"] is not None:
        yield f"computes in {evidence['precision']}"
    if evidence["throttled_ratio"]:
        yield f"clocks held down {percent(evidence['throttled_ratio'])} of the time"


def _targets(sla: Told) -> str:
    asked = [
        f"{name} {seconds(sla[key])}"
        for key, name in (("duration_seconds", "in"), ("ttft_seconds", "first token in"), ("tpot_seconds", "each further token in"))
        if sla[key] is not None
    ]
    return f"{_percentage(sla)} % of inferences {', '.join(asked) or 'without error'}"


def _percentage(sla: Told) -> str:
    return f"{100 * sla['quantile_ratio']:.6g}"


def _bound(told: Told) -> Iterator[str]:
    yield "WHAT BINDS"
    yield from _wrapped("  ", f"{BOUNDS[told['bound']][0].upper()}{BOUNDS[told['bound']][1:]}.")


# --- findings ----------------------------------------------------------------------------------------------------------------------
def _findings(told: Told) -> Iterator[str]:
    findings = sorted(told["findings"], key=lambda one: (one["level"] == "info", -(one["saving_per_hour"] or 0.0)))
    yield _sides("FINDINGS", "the most pressing first; savings overlap" if len(findings) > 1 else "")
    if not findings:
        yield "  None."
    for finding in findings:
        about = f" ({_cut(finding['model'], 40)})" if finding["model"] is not None else ""
        yield f"  {finding['level']}: {finding['code']}{about}{_saving(finding, told['currency'])}"
        yield from _wrapped("    seen: ", _evidence(finding["evidence"]))
        yield from _wrapped("    do: ", finding["what_to_do"])
        yield from _wrapped("    wrong if: ", finding["falsified_by"])


def _moves(told: Told) -> Iterator[str]:
    if told["moves"]:
        yield _sides("CHEAPER, AND SOONER TRIED THAN OTHER HARDWARE", "savings overlap" if len(told["moves"]) > 1 else "")
    for move in told["moves"]:
        sure = {"fits": "", "unsure": " (try it: not sure)", "no": " (no)"}[move["verdict"]]
        yield f"  {MOVES[move['kind']]}{sure}{_saving(move, told['currency'])}"
        yield from _wrapped("    seen: ", _evidence(move["evidence"]))
        yield from _wrapped("    do: ", move["what_to_do"])
        yield from _wrapped("    wrong if: ", move["falsified_by"])


def _saving(entry: Told, currency: str | None) -> str:
    saving = entry["saving_per_hour"]
    return "" if saving is None else f": up to {_money(saving)} {currency or ''} an hour, {_month(saving)} a month"


def _evidence(evidence: Told) -> str:
    return ", ".join(_measured(name, value) for name, value in evidence.items()) or "nothing further"


def _measured(name: str, value: float | str) -> str:
    """A piece of evidence in words, its unit taken off its name."""
    if isinstance(value, str):
        return f"{name.replace('_', ' ')} {_cut(value, 64)}"
    words, _, unit = name.rpartition("_")
    told = _with_unit(unit, value) if words else None
    if told is not None:
        return f"{words.replace('_', ' ')} {told}"
    return f"{name.replace('_', ' ')} {f'{value:,}' if isinstance(value, int) else number(value, 3)}"


def _with_unit(unit: str, value: float) -> str | None:
    match unit:
        case "ratio":
            return percent(value) if abs(value) <= 1 else f"{number(value, 2)} times"
        case "seconds":
            return length(value) if value >= 10 else seconds(value)
        case "bytes":
            return f"{value / 1e9:.1f} GB"
        case "watts":
            return f"{number(value, 3)} W"
        case "joules":
            return joules(value)
        case "days":
            return f"{number(value, 3)} days"
    return None


# --- other hardware ----------------------------------------------------------------------------------------------------------------
def _supposed(told: Told) -> Iterator[str]:
    if told["what_if"]:
        yield "WHAT IF"
        for one in told["what_if"]:
            yield from _wrapped("  ", f"{one['asked']}: {_sentence(one, told)}")
        yield ""
        yield from _table(told["what_if"], told)


def _hardware(told: Told, shown: Sequence[Told]) -> Iterator[str]:
    yield "OTHER HARDWARE"
    if told["missing"]:
        yield f"  {_blocked(told)}:"
        for gap in told["missing"]:
            yield from _wrapped(f"    {gap['missing']}: ", gap["what_to_do"], hanging=6)
    if shown:
        yield from ([""] if told["missing"] else [])
        yield from _table(shown, told)
        yield ""
        for one in shown:
            if one["verdict"] == "fits":
                yield from _wrapped("  ", _sentence(one, told))
        yield from _reasons(shown)
    yield from _others(told["candidates"], shown)
    if told["prices"] is not None and told["candidates"]:
        yield from _wrapped("  ", f"Prices of other devices: {told['prices']}.")
    if shown or told["what_if"]:
        yield from _basis(told)


def _blocked(told: Told) -> str:
    """How far what is missing stands in the way."""
    devices = [*told["candidates"], *told["what_if"]]
    if any(one["verdict"] == "fits" for one in devices):
        return "More could be said"
    return "No device can be said to fit yet" if any(one["load_ratio"] is not None for one in devices) else _NOTHING


def _table(rows: Sequence[Told], told: Told) -> Iterator[str]:
    currency = told["currency"] or "cost"
    yield f"  {'':<22}{'':<8}{'':<18}{'throughput there, 1 = now':^25}{'peak':>7}{currency:>9}{'saved':>9}"
    yield f"  {'device':<22}{'verdict':<8}{'because of':<18}{'at least':>9}{'likely':>8}{'up to':>8}{'load':>7}{'an hour':>9}{'an hour':>9}"
    for one in rows:
        ratios = (one[f"throughput_ratio_{end}"] for end in ("low", "point", "high"))
        figures = [UNKNOWN if value is None else f"{value:.2f}" for value in (*ratios, one["load_ratio"])]
        blocked = _cut(", ".join(one["blocked_by"]) or UNKNOWN, 17)
        name = _cut(one["product"] + ("" if one["facts_verified"] or one["throughput_ratio_low"] is None else " ?"), 21)
        yield (
            f"  {name:<22}{one['verdict']:<8}{blocked:<18}{figures[0]:>9}{figures[1]:>8}{figures[2]:>8}{figures[3]:>7}"
            f"{_money(one['cost_per_hour']):>9}{_money(one['saving_per_hour']):>9}"
        )


def _sentence(one: Told, told: Told) -> str:
    """What one device would do, in words."""
    if one["verdict"] != "fits":
        lead = {"no": "it would not do", "unsure": "nothing sure can be said"}[one["verdict"]]
        return f"{lead}. {' '.join(f'{by.capitalize()}: {reason}.' for by, reason in one['reasons'].items())}"
    headroom = "" if told["headroom"] is None else f" (needed {number(told['headroom'], 2)})"
    does = f"{one['product']} would {_meets(told['sla'])}"
    spare = None if not one["load_ratio"] else 1 / one["load_ratio"]
    carried = "(there was no load)" if spare is None else f"at >= {number(spare, 2)} times your peak{headroom}"
    slower = "" if one["slowdown_ratio"] is None else f"; queue and compute may take {number(one['slowdown_ratio'], 2)} times as long"
    if slower and one["slowdown_allowed_ratio"] is not None:
        slower += f", {number(one['slowdown_allowed_ratio'], 2)} times are within the SLA"
    now = _now(told)
    share = f"it costs {percent(one['cost_per_hour'] / now)} of now ({one['provider']} {_money(one['cost_per_hour'])} vs {_money(now)}"
    return f"{does} {carried}{slower}; {share} {told['currency']} an hour), {_month(one['saving_per_hour'])} less a month."


def _meets(slas: Sequence[Told]) -> str:
    if len(slas) != 1:
        return "meet every SLA" if slas else "carry the load"
    (sla,) = slas
    alone = sla["duration_seconds"] is not None and sla["ttft_seconds"] is None and sla["tpot_seconds"] is None
    return f"meet {seconds(sla['duration_seconds'])} at p{_percentage(sla)}" if alone else "meet the SLA"


def _reasons(shown: Sequence[Told]) -> Iterator[str]:
    """Each reason once, with the devices that it speaks of."""
    devices: dict[tuple[str, str], list[str]] = {}
    for one in shown:
        for by, reason in one["reasons"].items():
            devices.setdefault((by, reason), []).append(one["product"])
    for (by, reason), names in devices.items():
        of = "all of them" if len(names) == len(shown) > 1 else ", ".join(names)
        yield from _wrapped(f"  {by}: ", f"{reason} ({of})", hanging=4)


def _others(candidates: Sequence[Told], shown: Sequence[Told]) -> Iterator[str]:
    """How many devices aren't shown, and why."""
    names = {one["product"] for one in shown}
    others = [one for one in candidates if one["product"] not in names]
    if not others:
        return
    parts = []
    for verdict, words in (("fits", "fit"), ("unsure", "are unsure"), ("no", "would not do")):
        chosen = [one for one in others if one["verdict"] == verdict]
        if chosen:
            counts = Counter(by for one in chosen for by in one["blocked_by"])
            why = ", ".join(f"{by} {count}" for by, count in counts.most_common())
            parts.append(f"{len(chosen)} {words}{f' ({why})' if why else ''}")
    noun = "other device isn't" if len(others) == 1 else "other devices aren't"
    yield from _wrapped("  ", f"{len(others)} {noun} shown: {'; '.join(parts)}. --all shows them; one may have several reasons.")


def _basis(told: Told) -> Iterator[str]:
    basis = told["basis"]
    yield from _wrapped(
        "  ",
        f"Basis: `at least` is {basis['bound_ratio']:.2f} x the lesser ratio of memory bandwidth and arithmetic. Of {basis['pairs']} "
        f"published pairs of devices {basis['pairs_held']} did at least that, the worst {basis['worst_ratio']:.2f} x. The bound was chosen "
        "on these pairs, so this is in-sample; they are of saturated throughput, not of latency. `likely` and `up to` are no promise. "
        "Peak load is that of your peak there, by `at least`, without headroom.",
    )


# --- laying out --------------------------------------------------------------------------------------------------------------------
def _now(told: Told) -> float:
    return float(sum(told["evidence"]["cost_per_hour"].values()))


def _money(value: float | None) -> str:
    return UNKNOWN if value is None else number(value, 3) if abs(value) < 1000 else f"{value:,.0f}"


def _month(per_hour: float) -> str:
    value = per_hour * HOURS_A_MONTH
    return f"{value:,.0f}" if abs(value) >= 100 else number(value, 3)


def _sides(left: str, right: str) -> str:
    return f"{left}{right:>{max(WIDTH - len(left), len(right) + 1)}}"


def _wrapped(indent: str, text: str, *, hanging: int | None = None) -> list[str]:
    later = " " * (len(indent) if hanging is None else hanging)
    printable = "".join(letter if letter.isprintable() else "?" for letter in text)
    return textwrap.wrap(printable, WIDTH, initial_indent=indent, subsequent_indent=later, break_on_hyphens=False)


def _instant(unix_seconds: float) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _cut(text: str, width: int) -> str:
    """Printable text of at most `width` characters."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in text)
    return printable if len(printable) <= width else f"{printable[: width - 1]}…"
