"""Figures that several pages show, and what panels say where there is nothing.

Shares of the period add up what the rules record of each five minutes: over days and a whole fleet the counters themselves are too many.
"""

from __future__ import annotations

from dashboards.src import rules
from dashboards.src.promql import ON_MODEL, ON_SERVER, of, on, quotient, slices, total

NO_PRICE = "no price is set (cost: in the configuration)"
NO_RULES = "no traffic, or the recording rules aren't loaded"
NO_SLA = "no SLA is configured, or no traffic"

_COST = total((*ON_MODEL, "currency"), slices(rules.MODEL_SLICE))
_PAID_IN = f"{on(ON_MODEL, 'currency')} ({_COST} >= bool 0)"
"""1 for each model and the currency that it is paid in: so each currency is divided by the inferences that it paid for."""

_OK = total(ON_MODEL, slices(rules.OK_RATE))
_JUDGED = total(ON_MODEL, slices(rules.OBSERVED_RATE, beside=rules.OBSERVED_WITHIN_RATE))
_WITHIN = total(ON_MODEL, slices(rules.OBSERVED_WITHIN_RATE))
_SHARE_WITHIN = quotient(_WITHIN, total(ON_MODEL, slices(rules.OBSERVED_OK_RATE, beside=rules.OBSERVED_WITHIN_RATE)))
_JOULES = total(ON_SERVER, slices(rules.MODEL_WATTS))


def _per_thousand(inferences: str) -> str:
    paid = total(("currency",), f"({inferences}) * {_PAID_IN}")
    return quotient(f"1000 * {total(('currency',), _COST)}", paid)


COST_PER_THOUSAND = _per_thousand(_OK)
"""All cost over the inferences that ended without error."""

COST_WITHIN_SLA = _per_thousand(f"{_OK} * {_SHARE_WITHIN}")
"""All cost over an estimate, for all traffic, of the inferences within the SLA."""

PER_JOULE = quotient(f"sum({total(ON_SERVER, slices(rules.OK_RATE))} and {_JOULES})", f"sum({_JOULES})")
WITHIN_SLA = quotient(f"sum({_WITHIN})", f"sum({_JUDGED})")
WITHIN_SLA_OF_MODEL = quotient(_WITHIN, _JUDGED)
ERRORS = f"1 - {quotient(f'sum({slices(rules.OK_RATE)})', f'sum({slices(rules.INFERENCES_RATE)})')}"
IDLE_OF_SPEND = quotient(
    total(("currency",), slices(rules.USE_SLICE, use="idle")),
    total(("currency",), slices(rules.USE_SLICE)),
)
MODELS_BURNING = f"sum({of(rules.BURN['1h'])} > bool 1)"
"""Models that missed more in the last hour than their SLA allows."""
