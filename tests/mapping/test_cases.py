"""Every server's mapping against recorded spans: `cases/<server>/*.yaml` say what goes in and what must come out.

A case: `title`, `origin` (captured: a real server sent it; published: somebody else's recording; derived from source: written after
reading the server's code, never called measured), `kind`, `input` (files below tests/, or folders of them), `tolerance_seconds` of every
sum, and `expect`: `inferences`, `spans` (mapped, and unmapped by reason), `models`, `errors`, `tokens`, sums in `seconds` (duration,
stages, other, ttft), in `parts` and in those `around` inferences (by model), stages that are `absent`, `quality`, `estimated` (inferences
whose compute is), `other_share_below`, and `each`: for every inference, in order of its start, some of its values in milliseconds.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from infermeter.mapping import shipped_mappings
from infermeter.mapping.origins import ORIGINS
from infermeter.model import STAGES, InferenceBatch
from mapping.recordings import TESTS, mapped

NEEDED = {"inferences", "spans", "models", "seconds", "quality"}
"""Of `expect`; what else a case leaves out is none."""

CASES = sorted((TESTS / "mapping" / "cases").glob("*/*.yaml"))


def values_ns(batch: InferenceBatch) -> dict[str, np.ndarray[Any, np.dtype[np.int64]]]:
    """Duration, stages and other of each inference; a stage that an inference lacks is 0."""
    duration_ns = batch.end_ns - batch.start_ns
    stages_ns = np.maximum(batch.stages_ns, 0)
    return {"duration": duration_ns, "other": duration_ns - stages_ns.sum(axis=1)} | dict(zip(STAGES, stages_ns.T, strict=True))


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_recorded_spans_map_to_what_the_server_and_its_client_counted(path: Path) -> None:
    case = yaml.safe_load(path.read_text("utf-8"))
    expect = case["expect"]
    assert case["origin"] in ORIGINS
    assert expect.keys() >= NEEDED
    mapper, batch, spans = mapped(case["kind"], [TESTS / name for name in case["input"]])

    assert len(batch) == expect["inferences"]
    assert {"mapped": mapper.spans_mapped, **+mapper.spans_unmapped} == expect["spans"]
    assert mapper.spans_mapped + mapper.spans_unmapped.total() + mapper.spans_dropped.total() == spans
    assert Counter(batch.model) == expect["models"]
    assert int(batch.error.sum()) == expect.get("errors", 0)
    tokens = {"input": batch.tokens_input, "output": batch.tokens_output}
    assert {name: int(column[column >= 0].sum()) for name, column in tokens.items() if (column >= 0).any()} == expect.get("tokens", {})

    close = {"rel": 0, "abs": case["tolerance_seconds"]}
    sums = {name: int(column.sum()) / 1e9 for name, column in values_ns(batch).items()} | {"ttft": float(np.nansum(batch.ttft_seconds))}
    assert {name: sums[name] for name in expect["seconds"]} == pytest.approx(expect["seconds"], **close)
    assert [stage for stage, column in zip(STAGES, batch.stages_ns.T, strict=True) if (column < 0).all()] == expect.get("absent", [])
    parts = {f"{part.stage}.{part.part}": int(part.ns.sum()) / 1e9 for part in batch.parts}
    assert parts == pytest.approx(expect.get("parts", {}), **close)
    around: dict[str | None, dict[str, float]] = {}
    for (model, stage, part), ns in batch.around_ns.items():
        around.setdefault(model, {})[f"{stage}.{part}"] = ns / 1e9
    assert around == {model: pytest.approx(told, **close) for model, told in expect.get("around", {}).items()}
    assert dict(batch.quality) == expect["quality"]
    assert int(batch.compute_estimated.sum()) == expect.get("estimated", 0)
    assert sums["other"] < expect.get("other_share_below", 2) * sums["duration"]


@pytest.mark.parametrize("path", [path for path in CASES if "each:" in path.read_text("utf-8")], ids=lambda path: path.stem)
def test_each_inference_of_a_recording_has_the_stages_that_its_spans_tell(path: Path) -> None:
    case = yaml.safe_load(path.read_text("utf-8"))
    _, batch, _ = mapped(case["kind"], [TESTS / name for name in case["input"]])
    values = values_ns(batch)
    for row, each in zip(np.argsort(batch.start_ns), case["expect"]["each"], strict=True):
        assert batch.model[row] == each.pop("model")
        assert {name: values[name][row] / 1e6 for name in each} == pytest.approx(each, rel=0, abs=0.001)


def test_every_shipped_mapping_of_spans_has_a_case() -> None:
    assert {path.parent.name for path in CASES} >= {server for server, mapping in shipped_mappings().items() if mapping.rules}


@pytest.mark.parametrize("server", shipped_mappings())
def test_a_mapping_says_what_it_was_tried_with(server: str) -> None:
    found = {yaml.safe_load(path.read_text("utf-8"))["origin"] for path in CASES if path.parent.name == server}
    assert set(shipped_mappings()[server].origins) == found


def test_every_case_is_of_a_shipped_mapping() -> None:
    assert {path.parent.name for path in CASES} <= set(shipped_mappings())
