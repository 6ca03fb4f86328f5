"""Advice for tests: what a configuration makes of a snapshot of the ledger."""

from __future__ import annotations

from collections.abc import Sequence

from infermeter.advice import advise, premises_of
from infermeter.catalogue import shipped_catalogue
from infermeter.config import Config, DevicePrice
from infermeter.model import Advice, Finding, LedgerSnapshot


def advice(config: Config, ledger: LedgerSnapshot, *, price_as_of_ns: int | None = None, prices: Sequence[DevicePrice] = ()) -> Advice:
    return advise(premises_of(config, ledger, shipped_catalogue(), price_as_of_ns=price_as_of_ns), prices=prices)


def findings(config: Config, ledger: LedgerSnapshot, *, price_as_of_ns: int | None = None) -> tuple[Finding, ...]:
    return advice(config, ledger, price_as_of_ns=price_as_of_ns).findings
