"""The live table: every number is the report's, and what the report can't tell is `-`."""

from __future__ import annotations

from typing import Any

from infermeter.demo.table import COLUMNS, Report, drawn, heading, row


def series(value: float, **labels: str) -> dict[str, Any]:
    return {"labels": labels, "value": value}


def stage(name: str, seconds: float) -> dict[str, Any]:
    return {"labels": {"stage": name}, "count": 1, "sum": seconds, "buckets": []}


def reading(end_unix_seconds: float, **families: Any) -> Report:
    return {"report": {"end_unix_seconds": end_unix_seconds}, **families}


EARLIER = reading(
    100,
    inferences_total=[series(10, outcome="ok"), series(1, outcome="error")],
    stage_duration_seconds=[stage("queue", 1), stage("compute", 5)],
    settled_timestamp_seconds=[series(90)],
    busy_seconds_total=[series(4)],
    cost_total=[series(0.001, component="power"), series(0.002, component="amortisation")],
)
LATER = reading(
    110,
    inferences_total=[series(210, outcome="ok"), series(9, outcome="error")],
    stage_duration_seconds=[stage("queue", 7), stage("compute", 8)],
    settled_timestamp_seconds=[series(100)],
    busy_seconds_total=[series(9)],
    gpu_power_watts=[series(200), series(10.4)],
    cost_total=[series(0.002, component="power"), series(0.004, component="amortisation")],
    window_latency_at_sla_quantile_seconds=[series(0.1234, signal="duration"), series(9, signal="ttft")],
    window_cost_per_inference_at_sla=[series(2e-5, basis="goodput"), series(3e-5, basis="compliant")],
    window_sla_state=[series(0, state="met"), series(1, state="insufficient"), series(0, state="missed")],
)


def test_a_row_is_what_happened_between_two_readings_and_the_windows_of_the_later() -> None:
    cells = row(EARLIER, LATER, offered_per_second=21.4).split()
    assert cells == ["21", "20.0", "queue", "50%", "210", "15.00", "0.123", "s", "20.00", "insufficient"]


def test_without_evidence_there_is_no_number() -> None:
    cells = row(reading(100), reading(110), offered_per_second=0).split()
    assert cells == ["0", *["-"] * (len(COLUMNS) - 1)]


def test_without_a_new_inference_there_is_no_cost_per_inference_and_no_stage() -> None:
    cells = row(LATER, LATER | {"report": {"end_unix_seconds": 120}}, offered_per_second=0).split()
    assert cells[1:3] == ["0.0", "-"]
    assert cells[5] == "-"


def test_two_readings_at_one_instant_divide_by_nothing() -> None:
    assert row(LATER, LATER, offered_per_second=0).split()[1] == "-"


def test_columns_stand_below_their_headings() -> None:
    assert len(heading().splitlines()[-1]) == len(row(EARLIER, LATER, offered_per_second=21.4)) < 80


def test_on_a_terminal_a_row_is_drawn_over_the_one_before() -> None:
    assert drawn("row", stays=False, terminal=True) == "\r\x1b[2Krow"
    assert drawn("row", stays=True, terminal=True) == "\r\x1b[2Krow\n"


def test_without_a_terminal_only_rows_that_stay_are_written() -> None:
    assert drawn("row", stays=False, terminal=False) == ""
    assert drawn("row", stays=True, terminal=False) == "row\n"
