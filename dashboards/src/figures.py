"""Figures that several pages show, and what panels say where there is nothing. All but the last do without the recording rules."""

from __future__ import annotations

from dashboards.src import rules
from dashboards.src.promql import ON_MODEL, ON_SERVER, increase, largest, of, on, quotient, total

from infermeter.metrics import catalog

NO_PRICE = "no price is set (cost: in the configuration)"
NO_RULES = "no traffic, or the recording rules aren't loaded"
NO_SLA = "no SLA is configured, or no traffic"

_COST = total((*ON_MODEL, "currency"), increase(catalog.COST_BY_USE))
_PAID_IN = f"{on(ON_MODEL, 'currency')} ({_COST} >= bool 0)"
"""1 for each model and the currency that it is paid in: so each currency is divided by the inferences that it paid for."""

_OK = total(ON_MODEL, increase(catalog.INFERENCES, outcome="ok"))
_OBSERVED = total(ON_MODEL, increase(catalog.INFERENCES_OBSERVED))
_WITHIN = total(ON_MODEL, increase(catalog.INFERENCES_OBSERVED_WITHIN_SLA))
_SHARE_WITHIN = quotient(_WITHIN, total(ON_MODEL, increase(catalog.INFERENCES_OBSERVED, outcome="ok")))
_HAVE_SLA = largest(ON_MODEL, of(catalog.INFERENCES_OBSERVED_WITHIN_SLA))
_JOULES = total(ON_SERVER, increase(catalog.ENERGY))


def _per_thousand(inferences: str) -> str:
    paid = total(("currency",), f"({inferences}) * {_PAID_IN}")
    return quotient(f"1000 * {total(('currency',), _COST)}", paid)


COST_PER_THOUSAND = _per_thousand(_OK)
"""All cost over the inferences that ended without error."""

COST_WITHIN_SLA = _per_thousand(f"{_OK} * {_SHARE_WITHIN}")
"""All cost over an estimate, for all traffic, of the inferences within the SLA."""

PER_JOULE = quotient(f"sum({total(ON_SERVER, increase(catalog.INFERENCES, outcome='ok'))} and {_JOULES})", f"sum({_JOULES})")
WITHIN_SLA = quotient(f"sum({_WITHIN})", f"sum({_OBSERVED} and {_HAVE_SLA})")
MODELS_BURNING = f"sum({of(rules.BURN['1h'])} > bool 1)"
"""Models that missed more in the last hour than their SLA allows."""
