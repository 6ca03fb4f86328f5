"""The adviser: considers every ten seconds, tells what has held, and takes over what a reload says."""

from __future__ import annotations

from dataclasses import replace

from infermeter.advice.adviser import Adviser
from infermeter.catalogue import shipped_catalogue
from infermeter.config import Advice, Config, Thresholds
from infermeter.model import Finding, LedgerSnapshot
from unit.advice.premised import S, gpu, ledger

CATALOGUE = shipped_catalogue()
CONFIG = Config(advice=Advice(hold=60.0))
FOUND = ledger(peak_load_ratio=0.4)
NOT_FOUND = ledger(peak_load_ratio=0.9)


def considered(adviser: Adviser, snapshot: LedgerSnapshot, seconds: range) -> int:
    """Lets it look every second; how often it did."""
    looks = []
    for second in seconds:
        adviser.consider(second * S, lambda: looks.append(second) or snapshot, price_as_of_ns=None)  # type: ignore[func-returns-value] # noqa: B023
    return len(looks)


def told(adviser: Adviser, snapshot: LedgerSnapshot = FOUND) -> list[str]:
    return [finding.code for finding in findings(adviser, snapshot)]


def findings(adviser: Adviser, snapshot: LedgerSnapshot) -> tuple[Finding, ...]:
    return adviser.advice(snapshot, price_as_of_ns=None).findings


def test_it_looks_every_ten_seconds_and_when_the_clock_was_set_back() -> None:
    adviser = Adviser(CONFIG, CATALOGUE, ())
    assert considered(adviser, FOUND, range(60)) == 6
    assert considered(adviser, FOUND, range(20, 25)) == 1


def test_what_is_measured_is_told_once_it_has_held() -> None:
    adviser = Adviser(CONFIG, CATALOGUE, ())
    considered(adviser, FOUND, range(60))
    assert told(adviser) == []
    considered(adviser, FOUND, range(60, 61))
    assert told(adviser) == ["over_provisioned"]
    assert told(adviser, NOT_FOUND) == ["over_provisioned"], "until it is gone for as long"
    considered(adviser, NOT_FOUND, range(61, 140))
    assert told(adviser) == []


def test_what_the_configuration_lacks_is_told_at_once_and_warnings_come_first() -> None:
    adviser = Adviser(CONFIG, CATALOGUE, ())
    unpriced = replace(FOUND, unpriced=("host",), gpus=(gpu(identity=replace(gpu().identity, assumed=True)),))
    assert told(adviser, unpriced) == ["price_missing", "gpu_mapping_unknown"]
    considered(adviser, unpriced, range(61))
    assert told(adviser, unpriced) == ["price_missing", "gpu_mapping_unknown", "over_provisioned"]


def test_other_thresholds_are_in_force_from_the_next_look_on() -> None:
    adviser = Adviser(CONFIG, CATALOGUE, ())
    considered(adviser, FOUND, range(61))
    assert told(adviser) == ["over_provisioned"]
    strict = replace(CONFIG, advice=replace(CONFIG.advice, thresholds=Thresholds(peak_load_low_ratio=0.3)))
    adviser.reconfigure(strict, CATALOGUE, ())
    assert told(adviser) == ["over_provisioned"], "it hasn't been gone for a minute"
    considered(adviser, FOUND, range(61, 140))
    assert told(adviser) == []


def test_another_time_to_hold_withdraws_nothing() -> None:
    adviser = Adviser(CONFIG, CATALOGUE, ())
    considered(adviser, FOUND, range(61))
    adviser.reconfigure(replace(CONFIG, advice=Advice(hold=600.0)), CATALOGUE, ())
    considered(adviser, FOUND, range(61, 90))
    assert told(adviser) == ["over_provisioned"]


def test_switched_off_it_says_nothing_looks_at_nothing_and_forgets() -> None:
    adviser = Adviser(CONFIG, CATALOGUE, ())
    considered(adviser, FOUND, range(61))
    adviser.reconfigure(replace(CONFIG, advice=Advice(enabled=False)), CATALOGUE, ())
    assert considered(adviser, FOUND, range(61, 90)) == 0
    assert adviser.advice(FOUND, price_as_of_ns=None).sizing is None
    assert told(adviser) == []
    adviser.reconfigure(CONFIG, CATALOGUE, ())
    assert told(adviser) == [], "nothing has held since"
