from __future__ import annotations

from dataclasses import replace

from infermeter.config import Config, LedgerConfig
from support.advising import findings
from support.snapshots import rich_snapshot

LEDGER = rich_snapshot().ledger


def test_gpus_that_were_only_seen_are_a_finding() -> None:
    first, second = LEDGER.gpus
    seen = replace(LEDGER, gpus=(replace(first, identity=replace(first.identity, assumed=True)), second))
    (finding,) = findings(Config(), seen)
    assert (finding.code, finding.level, finding.model) == ("gpu_mapping_unknown", "warning", None)
    assert finding.evidence == {"gpus_assumed": 1}
    assert "server.gpus" in finding.what_to_do


def test_spans_that_are_missing_are_a_finding_below_the_configured_share() -> None:
    config = Config(ledger=LedgerConfig(coverage_below_ratio=0.8))
    (finding,) = findings(config, replace(LEDGER, coverage_ratio=0.79))
    assert finding.code == "low_coverage"
    assert finding.evidence == {"span_coverage_ratio": 0.79, "least_ratio": 0.8}
    assert "every inference" in finding.what_to_do
    (none,) = findings(config, replace(LEDGER, coverage_ratio=0.0))
    assert "infermeter proxy" in none.what_to_do
    assert findings(config, replace(LEDGER, coverage_ratio=0.8)) == ()
    assert findings(config, replace(LEDGER, coverage_ratio=None)) == ()


def test_coverage_that_was_thin_must_rise_as_far_as_the_ledger_asks() -> None:
    config = Config(ledger=LedgerConfig(coverage_below_ratio=0.8))
    assert findings(config, replace(LEDGER, coverage_ratio=0.84, thin=True))
    assert findings(config, replace(LEDGER, coverage_ratio=0.84)) == ()
    assert findings(config, replace(LEDGER, coverage_ratio=0.86, thin=True)) == ()
