"""The finding on prices: without them there is no cost, and without all of them the cost is too low."""

from __future__ import annotations

from infermeter.model import Finding, LedgerSnapshot

PRICE_MISSING = "price_missing"


def price_missing(ledger: LedgerSnapshot) -> tuple[Finding, ...]:
    """One finding where no price is configured, or where a configured one can't be applied: GPUs or their power unknown."""
    if ledger.unpriced:
        return (
            Finding(
                code=PRICE_MISSING,
                level="warning",
                model=None,
                evidence={"unpriced": ", ".join(ledger.unpriced), "gpus_seen": len(ledger.gpus)},
                what_to_do="Let the GPUs and their power be read (gpu.source, server.gpus), or say how many there are (server.gpu_count).",
                falsified_by="cost_per_hour shows every configured component.",
            ),
        )
    if not ledger.cost:
        return (
            Finding(
                code=PRICE_MISSING,
                level="warning",
                model=None,
                evidence={"prices": 0, "gpus_seen": len(ledger.gpus)},
                what_to_do="Set cost.rent.per_hour or cost.purchase.price, with cost.currency, cost.as_of and cost.source.",
                falsified_by="cost_per_hour shows what this server costs.",
            ),
        )
    return ()
