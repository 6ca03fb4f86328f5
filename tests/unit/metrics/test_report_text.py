from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infermeter.metrics.report import report
from infermeter.metrics.report_text import WIDTH, report_text
from infermeter.model import ModelFacts, Snapshot
from support.golden import assert_golden
from support.snapshots import END_NS, SLA, empty_snapshot, gpu, llm, opaque, rich_snapshot

GOLDEN = Path(__file__).parent / "golden"


def of(snapshot: Snapshot, **ledger: Any) -> str:
    return report_text(report(replace(snapshot, ledger=replace(snapshot.ledger, **ledger))))


def section(text: str, title: str) -> list[str]:
    (found,) = (part.split("\n") for part in text.split("\n\n") if part.startswith(title))
    return found[1:]


@pytest.mark.parametrize(("name", "snapshot"), [("rich", rich_snapshot()), ("empty", empty_snapshot())])
def test_the_text_is_as_committed(name: str, snapshot: Snapshot) -> None:
    assert_golden(GOLDEN / f"{name}.txt", of(snapshot) + "\n")


def long_names() -> ModelFacts:
    return llm("a-model-with-a-name-that-is-much-longer-than-a-column-of-any-table-should-ever-be")


@pytest.mark.parametrize(
    "snapshot", [rich_snapshot(), empty_snapshot(), rich_snapshot(gpus=8, models=(long_names(),))], ids=["rich", "empty", "long"]
)
def test_no_line_is_wider_than_the_terminal(snapshot: Snapshot) -> None:
    assert [line for line in of(snapshot).split("\n") if len(line) > WIDTH or line != line.rstrip()] == []


def test_a_name_cannot_move_the_cursor() -> None:
    text = of(rich_snapshot(models=(llm("\x1b[31mred\nline"),)))
    assert "\x1b" not in text
    assert "?[31mred?line" in text


def test_absent_things_are_said_in_words() -> None:
    text = of(empty_snapshot())
    assert "No prices configured: costs are unknown." in text
    assert "No window holds enough evidence yet." in text
    assert "No inference was seen." in text
    assert "Unknown: no GPU told its power." in text
    assert section(text, "GPUS") == ["  None was seen."]
    assert section(text, "NOT COUNTED") == ["  Nothing."]
    assert section(text, "FINDINGS") == ["  None."]


def test_prices_without_a_closed_window_are_too_early_to_tell() -> None:
    text = of(rich_snapshot(), windows=())
    assert section(text, "WHERE THE MONEY WENT") == ["  No window holds enough evidence yet."]


def test_a_window_without_a_verdict_leaves_the_sla_unknown() -> None:
    (window,) = llm().windows
    thin = replace(
        window, sla_state=None, cost_per_inference=None, cost_per_inference_at_sla={}, latency_at_sla_quantile_seconds={}, inferences_ok=3
    )
    text = of(rich_snapshot(models=(replace(llm(), windows=(thin,)),)))
    assert "   unknown\n" in text
    assert "duration - of 4.00 s" in text


def test_targets_that_are_not_set_are_not_shown() -> None:
    sla = replace(SLA, duration_seconds=None, ttft_seconds=None, tpot_seconds=None)
    assert "at 99 %" not in of(rich_snapshot(models=(replace(llm(), sla=sla),)))


def test_without_an_sla_each_step_is_divided_by_all_inferences() -> None:
    (window,) = rich_snapshot().ledger.windows
    lines = section(of(rich_snapshot(), windows=(replace(window, inferences_within_sla=None),)), "WHERE THE MONEY WENT")
    assert lines[0].split() == ["last", "1h", "cost", "share", "each"]
    assert "0.002500" in lines[1]


def test_a_waterfall_of_nothing_has_no_shares() -> None:
    (window,) = rich_snapshot().ledger.windows
    free = replace(window, cost=0.0, inferences_within_sla=0, waterfall_cost={"busy": 0.0})
    assert section(of(rich_snapshot(), windows=(free,)), "WHERE THE MONEY WENT")[1].split() == ["busy", "computing", "0", "-", "-"]


def test_a_sample_is_called_a_sample() -> None:
    assert "Spans are a sample" in of(replace(rich_snapshot(), sampled=True))


def test_all_settled_needs_no_word() -> None:
    assert "settled" not in of(rich_snapshot(), settled_ns=END_NS)


def test_energy_of_nothing_is_not_settled_yet() -> None:
    assert "  None is settled yet." in section(of(rich_snapshot(models=(opaque(),))), "WHERE THE ENERGY WENT")


def test_a_gpu_that_says_little_is_shown_by_its_uuid() -> None:
    silent = replace(
        gpu(), identity=replace(gpu().identity, index=None, product=None, memory_total_bytes=None), up=False, last=None, state_seconds={}
    )
    (_, line) = section(of(rich_snapshot(), gpus=(silent,)), "GPUS")
    assert line.split() == ["GPU-00000000-0000-4000-…", "nvml", "-", "-", "-", "of", "-", "-", "·", "-", "stale"]
