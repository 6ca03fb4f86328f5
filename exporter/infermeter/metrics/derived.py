"""Readings that the report carries beside the families: ratios of sums, the dominant stage, the waterfall. Pure.

They aren't exposed: Prometheus makes them from the families by recording rules, over any window that is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping

from infermeter.metrics.families import Point
from infermeter.model import LedgerSnapshot, ModelWindow, Snapshot

COST_PER_MILLION_TOKENS = "cost_per_million_tokens"
COST_PER_MILLION_INPUT_TOKENS = "cost_per_million_input_tokens"
COST_PER_MILLION_OUTPUT_TOKENS = "cost_per_million_output_tokens"
INFERENCES_PER_JOULE = "inferences_per_joule"
ENERGY_PER_INFERENCE = "energy_per_inference_joules"
DOMINANT_STAGE = "dominant_stage"
WATERFALL_COST = "waterfall_cost"

DERIVED: Mapping[str, str] = {
    COST_PER_MILLION_TOKENS: "`model, window, currency`: cost over a million tokens, input and output together.",
    COST_PER_MILLION_INPUT_TOKENS: "`model, window, currency`: prefill's part of the cost over a million input tokens. Prefill (up to the"
    " first token, without the queue) and decode part the cost by their measured time, so that input and output tokens, each at its"
    " cost, are the whole cost, once. Absent where spans don't tell both.",
    COST_PER_MILLION_OUTPUT_TOKENS: "`model, window, currency`: decode's part of the cost over a million output tokens.",
    INFERENCES_PER_JOULE: "`model, window`: inferences that ended without error over the GPUs' joules, which is performance per watt.",
    ENERGY_PER_INFERENCE: "`model, window`: the GPUs' joules over inferences that ended without error; an attributed estimate.",
    DOMINANT_STAGE: "`model, window, stage`: what took the most of the inferences' time, and its share of it.",
    WATERFALL_COST: "`window, step, currency`: where the window's cost went; the steps add up to it.",
}
"""Labels (after `server`) and meaning of each."""

_MONEY = frozenset((COST_PER_MILLION_TOKENS, COST_PER_MILLION_INPUT_TOKENS, COST_PER_MILLION_OUTPUT_TOKENS))


def derived(snapshot: Snapshot) -> dict[str, list[Point]]:
    """The derived readings in the order of DERIVED, none without a point.

    Where spans are a sample and nothing else counts the inferences, sums tell no ratio.
    """
    ledger = snapshot.ledger
    points: dict[str, list[Point]] = {name: [] for name in DERIVED}
    for model in ledger.models:
        labels = {"server": snapshot.server, "model": model.model}
        for window in model.windows if ledger.totals is not None or not snapshot.sampled else ():
            for name, value in _ratios(window).items():
                money = {"currency": str(ledger.currency)} if name in _MONEY else {}
                points[name].append(Point({**labels, "window": window.window.label, **money}, value))
        for window in model.windows:
            points[DOMINANT_STAGE].extend(_dominant(window, labels))
    points[WATERFALL_COST].extend(_waterfall(ledger, snapshot.server))
    return {name: found for name, found in points.items() if found}


def _ratios(window: ModelWindow) -> dict[str, float]:
    """Ratios of the window's sums; none without enough evidence, and none whose parts aren't known or are nothing."""
    ratios: dict[str, float] = {}
    if window.cost_per_inference is not None and window.cost is not None and window.tokens:
        ratios[COST_PER_MILLION_TOKENS] = window.cost / window.tokens * 1e6
        ratios |= _by_direction(window, window.cost)
    if window.divisible and window.joules:
        ratios[INFERENCES_PER_JOULE] = window.inferences_ok / window.joules
        ratios[ENERGY_PER_INFERENCE] = window.joules / window.inferences_ok
    return ratios


def _by_direction(window: ModelWindow, cost: float) -> dict[str, float]:
    """Input tokens pay for prefill and output tokens for decode: cost x tokens of both directions add up to the window's cost.

    Dividing the whole cost by the tokens of each direction would count it twice. Within a model active money is shared among inferences by
    their compute time, so that the time of prefill and decode is what parts it further.
    """
    if not (window.tokens_input and window.tokens_output and window.prefill_seconds and window.decode_seconds):
        return {}
    prefill_cost = cost * (window.prefill_seconds / (window.prefill_seconds + window.decode_seconds))
    return {
        COST_PER_MILLION_INPUT_TOKENS: prefill_cost / window.tokens_input * 1e6,
        COST_PER_MILLION_OUTPUT_TOKENS: (cost - prefill_cost) / window.tokens_output * 1e6,
    }


def _dominant(window: ModelWindow, labels: Mapping[str, str]) -> list[Point]:
    total = sum(window.stage_seconds.values())
    if total <= 0:
        return []
    stage = max(window.stage_seconds, key=window.stage_seconds.__getitem__)
    return [Point({**labels, "window": window.window.label, "stage": stage}, window.stage_seconds[stage] / total)]


def _waterfall(ledger: LedgerSnapshot, server: str) -> list[Point]:
    return [
        Point({"server": server, "window": window.window.label, "step": step, "currency": str(ledger.currency)}, cost)
        for window in ledger.windows
        for step, cost in window.waterfall_cost.items()
    ]
