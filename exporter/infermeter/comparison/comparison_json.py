"""The comparison as one JSON object, whose schema is docs/comparison.schema.json. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from infermeter.comparison.bootstrap import CONFIDENCE
from infermeter.comparison.comparison import Comparison
from infermeter.comparison.verdict import Compared

SCHEMA: Final = 1


def comparison_json(told: Comparison) -> dict[str, Any]:
    """The comparison, ready for JSON, as docs/comparison.schema.json says: only finite numbers, texts, None, lists and objects."""
    return {
        "schema": SCHEMA,
        "confidence_ratio": CONFIDENCE,
        "currency": told.currency,
        "cost_per_hour": told.cost_per_hour,
        "before": asdict(told.before),
        "after": asdict(told.after),
        "sla": [{"model": model} | asdict(sla) for model, sla in told.slas],
        "load": [
            {
                "model": model,
                "before_inferences_per_second": load.before_per_second,
                "after_inferences_per_second": load.after_per_second,
                "ratio": load.ratio,
                "limit_before": load.limit_before,
                "limit_after": load.limit_after,
                "tokens_per_inference_ratio": load.tokens_ratio,
            }
            for model, load in told.loads
        ],
        "measures": [_measure(row) for row in told.measures],
        "notes": list(told.notes),
    }


def _measure(row: Compared) -> dict[str, Any]:
    entry: dict[str, Any] = {"model": row.model, "measure": row.measure, "unit": row.unit, "before": row.before, "after": row.after}
    for name, of in (("difference", row.difference), ("ratio", row.ratio)):
        entry[name] = None if of is None else {"point": of.point, "low": of.low, "high": of.high}
    return entry | {"verdict": row.verdict, "reason": row.reason}
