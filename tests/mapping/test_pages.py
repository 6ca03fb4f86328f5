"""Every server's `metrics` against a page of its own /metrics: `pages/*.yaml` say what goes in and what must come out.

A case: `origin` (as in test_cases.py), `kind`, `page` (a file below tests/), and `expect`: `inferences` by model and outcome (`unknown`:
the server doesn't tell it) and `tokens` by direction and model ("": it names none) since all counters of the page were 0, and the gauges.
`times` by model: seconds, and of how many inferences (null: it doesn't tell), of the duration, each stage and, as `stage.part`, its parts.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from infermeter.mapping import load_mappings, shipped_mappings
from infermeter.mapping.metrics import MetricRules
from infermeter.model import ServerReading
from infermeter.network.exposition_text import series_of
from infermeter.scrape.increases import Counts
from infermeter.scrape.recognition import recognised

TESTS = Path(__file__).parents[1]
CASES = sorted((TESTS / "mapping" / "pages").glob("*.yaml"))
GAUGES = ("running", "waiting", "batch_size", "kv_cache_used_ratio", "flops_per_gpu", "memory_bytes_per_gpu")


def case_of(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text("utf-8")))


def read(rules: MetricRules, page: bytes) -> ServerReading:
    """What a page says to somebody who saw it when all of its counters were 0."""
    counts = Counts(rules)
    before = counts.add(series_of(re.sub(rb"(?m)^([^#].*) \S+$", rb"\1 0", page), rules.names), 0)
    reading = counts.add(series_of(page, rules.names), 5_000_000_000).since(before)
    assert counts.ignored == 0
    return reading


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_page_says_what_its_server_counted(path: Path) -> None:
    case = case_of(path)
    rules = shipped_mappings()[case["kind"]].metrics
    assert rules is not None
    reading = read(rules, (TESTS / case["page"]).read_bytes())
    inferences: dict[str, dict[str, float]] = {}
    for (model, outcome), count in reading.inferences.items():
        inferences.setdefault(model or "", {})[outcome or "unknown"] = count
    tokens = {direction: {model or "": count for model, count in counts.items()} for direction, counts in reading.tokens.items()}
    told = {gauge: getattr(reading, gauge) for gauge in GAUGES if getattr(reading, gauge) is not None}
    times = {
        model or "": {of if isinstance(of, str) else ".".join(of): [time.seconds, time.at_most.get(math.inf)] for of, time in told.items()}
        for model, told in reading.times.items()
    }
    expect = case["expect"]
    assert inferences == expect["inferences"]
    assert tokens == expect.get("tokens", {})
    assert told == {gauge: expect[gauge] for gauge in GAUGES if gauge in expect}
    assert times.keys() == expect.get("times", {}).keys()
    for model, of_model in expect.get("times", {}).items():
        seconds = {of: one for of, (one, _) in times[model].items()}
        assert seconds == pytest.approx({of: one for of, (one, _) in of_model.items()}, rel=1e-5)
        assert {of: count for of, (_, count) in times[model].items()} == {of: count for of, (_, count) in of_model.items()}


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_page_is_recognised_as_its_servers(path: Path) -> None:
    case = case_of(path)
    mappings = load_mappings("auto", {})
    wanted = [name for mapping in mappings if mapping.metrics for name in mapping.metrics.names]
    found = recognised(mappings, series_of((TESTS / case["page"]).read_bytes(), wanted))
    assert found is not None
    assert found[0].server == case["kind"]


def test_every_server_with_metrics_was_tried_with_a_page_of_the_origin_that_it_names() -> None:
    tried = {case["kind"]: case["origin"] for case in map(case_of, CASES)}
    assert tried == {server: mapping.metrics.origin for server, mapping in shipped_mappings().items() if mapping.metrics}
