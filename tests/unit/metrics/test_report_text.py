from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from infermeter.metrics import catalog
from infermeter.metrics.report import report
from infermeter.metrics.report_text import WIDTH, report_text
from infermeter.model import Advice, CapacityFacts, Component, Snapshot
from support.golden import assert_golden
from support.snapshots import END_NS, SLA, empty_snapshot, gpu, llm, opaque, rich_snapshot, sampled_snapshot

GOLDEN = Path(__file__).parent / "golden"


def of(snapshot: Snapshot, **ledger: Any) -> str:
    return report_text(report(replace(snapshot, ledger=replace(snapshot.ledger, **ledger))))


def section(text: str, title: str) -> list[str]:
    (found,) = (part.split("\n") for part in text.split("\n\n") if part.startswith(title))
    return found[1:]


@pytest.mark.parametrize(("name", "snapshot"), [("rich", rich_snapshot()), ("empty", empty_snapshot())])
def test_the_text_is_as_committed(name: str, snapshot: Snapshot) -> None:
    assert_golden(GOLDEN / f"{name}.txt", of(snapshot) + "\n")


def long_snapshot() -> Snapshot:
    """Everything that can be long is."""
    snapshot = rich_snapshot(gpus=8, models=(llm("a-model-with-a-name-that-is-much-longer-than-a-column-of-any-table-should-ever-be"),))
    return replace(
        snapshot,
        ledger=replace(snapshot.ledger, cost=dict.fromkeys(get_args(Component), 123_456.789), unknown_seconds=1e6),
        price_source="a list of prices that somebody wrote down, with every condition that applies to them, " * 2,
        intake=replace(snapshot.intake, spans_dropped=dict.fromkeys(catalog.DROP_REASON.values, 123_456_789)),
        advice=Advice(
            tuple(
                replace(finding, model="m" * 256, saving_per_hour=1.5, what_to_do="Do this. " * 30) for finding in snapshot.advice.findings
            )
        ),
    )


@pytest.mark.parametrize("snapshot", [rich_snapshot(), empty_snapshot(), long_snapshot()], ids=["rich", "empty", "long"])
def test_no_line_is_wider_than_the_terminal(snapshot: Snapshot) -> None:
    assert [line for line in of(snapshot).split("\n") if len(line) > WIDTH or line != line.rstrip()] == []


def test_a_window_that_is_not_full_yet_says_how_much_it_holds() -> None:
    (window,) = rich_snapshot().ledger.windows
    lines = section(of(rich_snapshot(), windows=(replace(window, accrued_seconds=90.0),)), "WHERE THE MONEY WENT")
    assert lines[0].strip().startswith("last 1h (holds 1 min 30 s)")


def test_a_name_cannot_move_the_cursor() -> None:
    text = of(rich_snapshot(models=(llm("\x1b[31mred\nline"),)))
    assert "\x1b" not in text
    assert "?[31mred?line" in text


def test_absent_things_are_said_in_words() -> None:
    text = of(empty_snapshot())
    assert section(text, "WHERE THE MONEY WENT") == ["  Unknown: no price is configured, or none can be applied; see the findings."]
    assert "No windows are configured." in text
    assert "No inference was seen." in text
    assert "Unknown: no GPU told its power." in text
    assert section(text, "GPUS") == ["  None was seen."]
    assert section(text, "NOT COUNTED") == ["  Nothing."]
    assert section(text, "FINDINGS") == ["  None."]


def test_a_window_without_a_value_per_inference_holds_too_little_evidence() -> None:
    (of_model,) = llm().windows
    (of_server,) = rich_snapshot().ledger.windows
    thin = replace(
        of_model,
        sla_state="insufficient",
        cost_per_inference=None,
        cost_per_inference_at_sla={},
        latency_at_sla_quantile_seconds={},
        inferences_ok=3,
    )
    text = of(rich_snapshot(models=(replace(llm(), windows=(thin,)),)), windows=(replace(of_server, waterfall_cost={}),))
    assert section(text, "COST PER INFERENCE")[2].startswith("  Too little evidence yet")
    assert section(text, "WHERE THE MONEY WENT")[0].startswith("  Too little evidence yet")
    assert "insufficient" in text
    assert "duration - of 4.00 s" in text


def test_targets_that_are_not_set_are_not_shown() -> None:
    sla = replace(SLA, duration_seconds=None, ttft_seconds=None, tpot_seconds=None)
    assert "at 99 %" not in of(rich_snapshot(models=(replace(llm(), sla=sla),)))


def test_the_waterfalls_steps_add_up_to_the_cost_of_an_inference_within_the_sla() -> None:
    lines = section(of(rich_snapshot(models=(llm(),))), "WHERE THE MONEY WENT")
    assert lines[0].split("share")[1].strip() == "each at the SLA"
    assert sum(float(line.split("%")[1].split()[0]) for line in lines[1:]) == pytest.approx(2.25 / 495, rel=1e-3)


def test_where_a_model_has_no_sla_each_step_is_divided_by_all_inferences() -> None:
    lines = section(of(rich_snapshot()), "WHERE THE MONEY WENT")
    assert lines[0].split("share")[1].strip() == "each"
    assert "0.002500" in lines[1]


def test_a_waterfall_of_nothing_has_no_shares() -> None:
    (window,) = rich_snapshot().ledger.windows
    free = replace(window, cost=0.0, inferences_ok=0, waterfall_cost={"busy": 0.0})
    assert section(of(rich_snapshot(), windows=(free,)), "WHERE THE MONEY WENT")[1].split() == ["busy", "computing", "0", "-", "-"]


def test_what_the_server_could_do_is_told_with_its_evidence() -> None:
    (line, peak) = section(of(rich_snapshot()), "WHAT IT COULD DO")
    assert line == "  llama-3-8b              0.5000 observed (more was tried, and missed) · 0.6250 modelled"
    assert peak == "  At the peak 87.5 % of it is asked for: it could do 1.143 times as much."
    bare = replace(llm(), capacity=CapacityFacts(observed_per_second=0.5))
    (line,) = section(of(rich_snapshot(models=(bare,)), peak_load_ratio=None), "WHAT IT COULD DO")
    assert line == "  llama-3-8b              0.5000 observed (a lower bound)"
    queue = replace(llm(), capacity=CapacityFacts(modelled_per_second=0.625))
    assert section(of(rich_snapshot(models=(queue,))), "WHAT IT COULD DO")[0] == "  llama-3-8b              0.6250 modelled"
    assert section(of(rich_snapshot(), peak_load_ratio=1.25), "WHAT IT COULD DO")[1] == "  At the peak 125.0 % of it is asked for."
    assert "Unknown" in section(of(empty_snapshot()), "WHAT IT COULD DO")[0]


def test_a_sample_is_called_a_sample() -> None:
    assert "Spans are a sample, so nothing is divided by their number." in of(sampled_snapshot())
    assert "Spans are a sample, and the server counts the inferences." in of(rich_snapshot(), thin=True)


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
