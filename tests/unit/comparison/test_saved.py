"""Saved reports: what is damaged, foreign or without slots is told in a sentence; what is missing is never made up."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import orjson
import pytest

from infermeter.comparison.saved import SLOTS_MOST, stretch_of
from infermeter.comparison.stretch import Stretch
from infermeter.errors import ConfigError
from infermeter.metrics.report import report
from infermeter.model import SlaTarget
from support.compared import batching, life, told
from support.snapshots import empty_snapshot, rich_snapshot

Report = dict[str, Any]


@cache
def _lived() -> Report:
    return life(batching(per_second=0.6, seconds=300, seed=1, most=4), seconds=300, tokens=True)


def lived() -> Report:
    return copy.deepcopy(_lived())


def read(document: object) -> Stretch:
    return stretch_of(orjson.dumps(document), "before.json")


def test_the_sums_of_a_report_s_slots_are_those_of_its_counters() -> None:
    document = lived()
    side = read(document)
    whole = side.whole
    assert whole.total("inferences") == sum(
        row["value"] for row in document["inferences_observed_total"] if row["labels"]["outcome"] == "ok"
    )
    assert whole.total("within") == sum(row["value"] for row in document["inferences_observed_within_sla_total"])
    assert whole.total("cost") == pytest.approx(sum(row["value"] for row in document["cost_total"]))
    assert whole.total("joules") == pytest.approx(sum(row["value"] for row in document["energy_joules_total"]))
    assert whole.total("tokens") == sum(row["value"] for row in document["tokens_total"])
    assert (side.seconds, len(whole)) == (300.0, 30)
    assert side.cost_per_hour == pytest.approx(document["report"]["cost"]["per_hour"])
    assert side.slas == {"m": SlaTarget(0.9, 8.0), "unknown": SlaTarget(0.9, 8.0)} | side.slas
    assert side.busy_ratio == pytest.approx(document["busy_seconds_total"][0]["value"] / 300, abs=0.02)
    assert 0 <= side.queue_share_ratio["m"] < 0.5


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "is not JSON"),
        (b'{"report": {"schema": 1, "slots": [NaN]}}', "is not JSON"),
        (b"[]", "is no report"),
        (b"{}", "is no report"),
        (b'{"report": {}}', "is no report"),
        (b'{"report": {"schema": 2}}', "another schema than 1"),
        (b'{"schema": 1, "findings": []}', "is no report"),
        (orjson.dumps(report(rich_snapshot(), slots=False)), "/api/v1/report/events"),
        (orjson.dumps(report(empty_snapshot())), "no closed slots"),
        (b'{"report": {"schema": 1, "slots": [{}]}}', "damaged"),
        (b'{"report": {"schema": 1, "slots": {}}}', "damaged"),
    ],
)
def test_what_is_no_report_to_compare_is_told(body: bytes, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        stretch_of(body, "before.json")
    assert str(caught.value).startswith("before.json: ")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("ok", "3"),
        ("ok", True),
        ("ok", -1),
        ("ok", 1e300),
        ("cost", -0.1),
        ("cost", [1]),
        ("seconds", None),
        ("model", 3),
        ("within_sla", "all"),
        ("start_unix_seconds", None),
        ("busy_seconds", None),
    ],
)
def test_a_damaged_slot_is_told_and_none_of_it_shown(place: str, value: object) -> None:
    document = lived()
    document["report"]["slots"][5][place] = value
    with pytest.raises(ConfigError, match="damaged report"):
        read(document)


@pytest.mark.parametrize("key", ["sla", "cost", "server", "version", "sampled", "kind", "start_unix_seconds"])
def test_a_part_that_is_missing_is_damage(key: str) -> None:
    document = lived()
    del document["report"][key]
    with pytest.raises(ConfigError, match="damaged report"):
        read(document)


@pytest.mark.parametrize(("key", "value"), [("sampled", 1), ("server", None), ("sla", [{}]), ("cost", []), ("slots", [3])])
def test_a_part_of_another_kind_is_damage(key: str, value: object) -> None:
    document = lived()
    document["report"][key] = value
    with pytest.raises(ConfigError, match="damaged report"):
        read(document)


def test_families_of_another_kind_are_damage() -> None:
    for family, value in (("stage_duration_seconds", 3), ("window_latency_at_sla_quantile_seconds", [{}])):
        with pytest.raises(ConfigError, match="damaged report"):
            read(lived() | {family: value})


def test_too_many_slots_are_refused() -> None:
    document = lived()
    document["report"]["slots"] = [{}] * (SLOTS_MOST + 1)
    with pytest.raises(ConfigError, match=f"more than {SLOTS_MOST}"):
        read(document)


def test_time_without_a_price_is_left_out_with_all_that_is_in_it() -> None:
    document = lived()
    missing = [slot for slot in document["report"]["slots"] if slot["start_unix_seconds"] % 100 == 0]
    for slot in missing:
        slot |= {"cost": None, "unpriced_seconds": 10.0}
    side = read(document)
    assert side.seconds == 300 - 10 * len({slot["start_unix_seconds"] for slot in missing})
    assert side.cost_per_hour == pytest.approx(3.6)
    assert any("a price was missing" in note for note in side.notes)


def test_without_any_priced_time_there_is_nothing_to_compare() -> None:
    document = lived()
    for slot in document["report"]["slots"]:
        slot |= {"cost": None, "unpriced_seconds": 10.0}
    with pytest.raises(ConfigError, match="damaged"):
        read(document)


def test_where_nothing_is_booked_while_nothing_happens_empty_time_counts_too() -> None:
    document = lived()
    for slot in document["report"]["slots"]:
        slot |= {"cost": None, "joules": None}
    slots = document["report"]["slots"]
    last = slots[-1]["start_unix_seconds"]
    document["report"]["slots"] = [slot for slot in slots if slot["start_unix_seconds"] in (slots[0]["start_unix_seconds"], last)]
    side = read(document)
    assert (side.seconds, side.cost_per_hour) == (300.0, None)
    assert side.whole.total("joules") is None
    document["report"]["slots"][-1]["start_unix_seconds"] = 1e12
    with pytest.raises(ConfigError, match="damaged"):
        read(document)


def test_where_money_is_booked_a_gap_is_no_time_at_all() -> None:
    document = lived()
    start = document["report"]["slots"][0]["start_unix_seconds"]
    document["report"]["slots"] = [
        slot for slot in document["report"]["slots"] if not start + 100 <= slot["start_unix_seconds"] < start + 200
    ]
    assert read(document).seconds == 200


def sampled(*, served: bool) -> Report:
    document = lived()
    document["report"]["sampled"] = True
    for slot in document["report"]["slots"]:
        slot["served_ok"] = 10 * slot["ok"] if served else None
    return document


def test_of_a_sample_only_the_server_tells_totals() -> None:
    side, thin = read(sampled(served=True)), read(sampled(served=False))
    assert side.whole.total("inferences") == 10 * (side.whole.total("seen_ok") or 0)
    assert thin.whole.total("inferences") is None
    assert (side.whole.total("tokens"), thin.whole.total("tokens")) == (None, None)
    assert any("sample" in note for note in thin.notes)


def test_slots_that_were_judged_by_another_sla_tell_no_share() -> None:
    document = lived()
    slots = [slot for slot in document["report"]["slots"] if slot["model"] == "m"]
    for slot in slots[:10]:
        slot["within_sla"] = None
    own = read(document).slots["m"]
    assert own.total("judged_ok") == sum(slot["ok"] for slot in slots[10:])
    assert own.total("seen_ok") == sum(slot["ok"] for slot in slots)


def test_a_report_that_is_longer_than_its_slots_says_so() -> None:
    document = lived()
    document["report"]["start_unix_seconds"] -= 36_000
    assert read(document).notes == ("a report keeps the slots of its last 24 hours: the 10 hours before them are not compared",)


def test_every_report_of_this_version_can_be_read() -> None:
    side = read(told(rich_snapshot()))
    assert side.latency_seconds
    assert side.server
    strange = told(rich_snapshot())
    strange["window_latency_at_sla_quantile_seconds"][0]["labels"]["signal"] = "e2e"
    assert len(read(strange).latency_seconds) == len(side.latency_seconds) - 1
