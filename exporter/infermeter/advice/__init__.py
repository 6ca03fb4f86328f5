"""Findings: what to act on, with the evidence and what would falsify it. Pure functions of the configuration and a snapshot."""

from __future__ import annotations

from infermeter.advice.prices import price_missing, price_stale
from infermeter.advice.telemetry import coverage_biased, gpu_mapping_unknown, low_coverage, telemetry_inconsistent
from infermeter.config import Config
from infermeter.model import Finding, LedgerSnapshot

__all__ = ["findings"]


def findings(config: Config, ledger: LedgerSnapshot, *, price_as_of_ns: int | None = None) -> tuple[Finding, ...]:
    """Everything that holds now, the most pressing first; nothing where `advice.enabled` is false.

    `price_as_of_ns`: how old the oldest of the prices in force is, None where none tells.
    """
    if not config.advice.enabled:
        return ()
    return (
        *price_missing(config, ledger),
        *price_stale(config, ledger, as_of_ns=price_as_of_ns),
        *gpu_mapping_unknown(ledger),
        *low_coverage(config, ledger),
        *coverage_biased(ledger),
        *telemetry_inconsistent(ledger),
    )
