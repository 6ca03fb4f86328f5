from __future__ import annotations

from dataclasses import replace

from infermeter.advice import findings
from infermeter.config import Advice, Config
from support.snapshots import empty_snapshot, rich_snapshot


def test_a_server_without_prices_is_told_which_keys_to_set() -> None:
    (finding,) = findings(Config(), empty_snapshot().ledger)
    assert (finding.code, finding.level, finding.model) == ("price_missing", "warning", None)
    assert finding.evidence == {"prices": 0, "gpus_seen": 0}
    assert "cost.rent.per_hour" in finding.what_to_do


def test_a_price_that_cannot_be_applied_is_named() -> None:
    ledger = replace(rich_snapshot().ledger, unpriced=("instance", "power"))
    (finding,) = findings(Config(), ledger)
    assert finding.code == "price_missing"
    assert finding.evidence == {"unpriced": "instance, power", "gpus_seen": 2}
    assert "server.gpu_count" in finding.what_to_do


def test_a_server_that_is_priced_has_no_finding() -> None:
    assert findings(Config(), rich_snapshot().ledger) == ()


def test_advice_that_is_switched_off_finds_nothing() -> None:
    assert findings(Config(advice=Advice(enabled=False)), empty_snapshot().ledger) == ()
