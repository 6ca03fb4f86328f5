"""The findings on prices: without them there is no cost, without all of them it is too low, and with old ones it is out of date."""

from __future__ import annotations

from datetime import UTC, datetime

from infermeter.config import Config
from infermeter.model import Finding, LedgerSnapshot

PRICE_MISSING = "price_missing"
PRICE_STALE = "price_stale"

_SECOND_NS = 1_000_000_000
_DAY_SECONDS = 86_400


def price_missing(config: Config, ledger: LedgerSnapshot) -> tuple[Finding, ...]:
    """One finding where no price is configured, or where one can't be applied: GPUs or their power unknown, or nobody tells the price.

    Costs hold the components that are priced all the same, and the evidence says which: a sum of known parts, and a lower bound.
    """
    if ledger.unpriced:
        evidence: dict[str, float | str] = {"unpriced": ", ".join(ledger.unpriced), "gpus_seen": len(ledger.gpus)}
        if ledger.cost_per_hour:
            evidence["costs_hold_only"] = ", ".join(ledger.cost_per_hour)
        if products := _unpriced_products(ledger):
            evidence["products"] = products
        return (
            Finding(
                code=PRICE_MISSING,
                level="warning",
                model=None,
                evidence=evidence,
                what_to_do=_how_to_price(config, ledger),
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


def price_stale(config: Config, ledger: LedgerSnapshot, *, as_of_ns: int | None) -> tuple[Finding, ...]:
    """One finding where the oldest price in force is older than `cost.stale_after`, at the time that the ledger speaks of."""
    if config.cost is None or as_of_ns is None or not ledger.cost:
        return ()
    age_seconds = (ledger.time_ns - as_of_ns) / _SECOND_NS
    if age_seconds <= config.cost.stale_after:
        return ()
    return (
        Finding(
            code=PRICE_STALE,
            level="warning",
            model=None,
            evidence={
                "age_days": round(age_seconds / _DAY_SECONDS, 1),
                "stale_after_days": config.cost.stale_after / _DAY_SECONDS,
                "as_of": datetime.fromtimestamp(as_of_ns // _SECOND_NS, UTC).date().isoformat(),
            },
            what_to_do="Compare the prices with the last bill, and date them anew: cost.as_of, or as_of in cost.prices_file.",
            falsified_by="price_timestamp_seconds is younger than cost.stale_after.",
        ),
    )


def _unpriced_products(ledger: LedgerSnapshot) -> str:
    """The products that nobody tells a price of, each once; a GPU that doesn't say what it is, is `unknown`."""
    return ", ".join(sorted({gpu.identity.product or "unknown" for gpu in ledger.gpus if gpu.identity.uuid in ledger.unpriced_gpus}))


def _how_to_price(config: Config, ledger: LedgerSnapshot) -> str:
    if ledger.unpriced_gpus:
        return "Add an entry for each of the products to cost.prices_file, by the product or by its name in the catalogue."
    if "instance" in ledger.unpriced and config.cost is not None:
        if config.cost.opencost.prometheus_url is not None:
            return "Let cost.opencost tell a price (serve logs why it doesn't, replay doesn't ask), and the GPUs be read (server.gpus)."
        if config.cost.rent.instance_gpus is not None and ledger.gpus:
            return "Say how many GPUs the whole instance has (cost.rent.instance_gpus), and which the server uses (server.gpus)."
    return "Let the GPUs and their power be read (gpu.source, server.gpus), or say how many there are (server.gpu_count)."
