"""Pages that real servers exposed: what was served as the server and its client counted it. The first page has all counters at 0."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from infermeter.mapping import shipped_mappings
from infermeter.model import ServerReading
from infermeter.network.exposition_text import series_of
from infermeter.scrape.increases import Counts, Row

CAPTURES = Path(__file__).parents[2] / "captures"


def read(server: str, capture: str) -> ServerReading:
    """What a recorded page says to somebody who saw it before the first inference."""
    rules = shipped_mappings()[server].metrics
    assert rules is not None
    page = (CAPTURES / capture / "metrics.txt").read_bytes()
    counts = Counts(rules)
    before = counts.add(series_of(re.sub(rb"(?m)^([^#].*) \S+$", rb"\1 0", page), rules.names), 0)
    reading = counts.add(series_of(page, rules.names), 5_000_000_000).since(before)
    assert counts.ignored == 0
    return reading


@pytest.mark.parametrize(
    ("capture", "inferences"),
    [
        ("triton", {("mlp", "ok"): 330, ("mlp", "error"): 0}),
        ("pytriton", {("mlp", "ok"): 330, ("mlp", "error"): 0, ("manual", "ok"): 24, ("manual", "error"): 0}),
    ],
)
def test_triton_counts_what_it_served(capture: str, inferences: dict[Row, float]) -> None:
    reading = read("triton", capture)
    assert reading.inferences == inferences
    assert (reading.running, reading.resets) == (None, 0)


def test_a_model_of_triton_counts_the_calls_by_other_models_too_and_failures_of_a_backend_as_ok() -> None:
    reading = read("triton", "triton/variants")
    assert reading.inner_calls
    ok = {model: count for (model, outcome), count in reading.inferences.items() if outcome == "ok"}
    assert ok == {"mlp": 7, "ens": 2, "bls": 2, "boom": 2, "gen": 1}  # 3 of mlp's own, 2 by the ensemble, 2 by BLS; both of boom's failed
    assert sum(reading.inferences.values()) == sum(ok.values())


@pytest.mark.parametrize(("capture", "count"), [("vllm/grpc", 220), ("vllm/http", 97), ("vllm/pooling", 6)])
def test_vllm_counts_sequences_with_those_that_were_not_sampled_and_without_those_that_were_aborted(capture: str, count: int) -> None:
    reading = read("vllm", capture)
    assert reading.inferences == {("tiny", "ok"): count, ("tiny", "error"): 0}
    assert (reading.running, reading.inner_calls) == (0.0, False)
