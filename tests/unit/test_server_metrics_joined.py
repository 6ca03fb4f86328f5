"""Spans and the server's own page, both recorded, through the meter to the families: one name, one source of each total."""

from __future__ import annotations

import re
from collections import Counter as Nothing
from dataclasses import replace
from pathlib import Path

from infermeter.config import Config, Gpu, Server
from infermeter.mapping import load_mappings, shipped_mappings
from infermeter.meter import Meter, Surroundings
from infermeter.metrics.families import families
from infermeter.model import ServerReading
from infermeter.network.exposition_text import series_of
from infermeter.otlp.protobuf import decode_protobuf
from infermeter.scrape.increases import Counts

CAPTURE = Path(__file__).parents[1] / "captures" / "vllm" / "grpc"
CONFIG = Config(server=Server(kind="vllm", metrics_url="http://127.0.0.1:8000/metrics"), gpu=Gpu(source="none"))
START_NS = 1_795_401_000_000_000_000
NOW_NS = 1_795_402_100_000_000_000
Values = dict[tuple[str, ...], float]


def readings() -> tuple[ServerReading, ServerReading]:
    """Of a page before the first inference, and of the recorded one."""
    rules = shipped_mappings()["vllm"].metrics
    assert rules is not None
    page = (CAPTURE / "metrics.txt").read_bytes()
    counts = Counts(rules)
    before = counts.add(series_of(re.sub(rb"(?m)^([^#].*) \S+$", rb"\1 0", page), rules.names), START_NS + 1)
    return before.since(None), counts.add(series_of(page, rules.names), NOW_NS).since(before)


def told(meter: Meter) -> dict[str, Values]:
    """Values by family and labels, those without the server."""
    nothing: Nothing[str] = Nothing()
    surroundings = Surroundings(server_scrape_up=True)
    snapshot = meter.snapshot(
        NOW_NS,
        spans_received=nothing,
        spans_dropped=nothing,
        exports_refused=nothing,
        connections_displaced=0,
        surroundings=surroundings,
    )
    return {
        family.name: {
            tuple(text for label, text in sorted(point.labels.items()) if label != "server"): point.value
            for point in points
            if isinstance(point.value, int | float)
        }
        for family, points in families(snapshot).items()
    }


def meter_of(server: Server) -> Meter:
    meter = Meter(replace(CONFIG, server=server), load_mappings("vllm", {}), start_ns=START_NS)
    meter.add_server_reading(readings()[0])
    for path in sorted(CAPTURE.glob("*.pb")):
        meter.consume(decode_protobuf(path.read_bytes(), meter.wanted), NOW_NS)
    meter.flush(NOW_NS)
    meter.add_server_reading(readings()[1])
    return meter


def test_spans_without_a_model_meet_the_counters_under_the_name_that_these_tell() -> None:
    values = told(meter_of(CONFIG.server))
    assert values["inferences_observed_total"] == {("tiny", "ok"): 218, ("tiny", "error"): 0}
    assert values["inferences_total"] == {("tiny", "ok"): 220, ("tiny", "error"): 0}
    assert values["tokens_total"] == {("input", "tiny"): 11857, ("output", "tiny"): 5253}
    assert values["inferences_source"] == {("server",): 1}
    gauges = {name: values[f"server_{name}"][()] for name in ("running_inferences", "waiting_inferences", "kv_cache_used_ratio")}
    assert gauges == {"running_inferences": 0, "waiting_inferences": 0, "kv_cache_used_ratio": 0}
    assert "server_batch_inferences" not in values


def test_a_configured_model_is_that_of_the_spans_whatever_the_server_says() -> None:
    values = told(meter_of(replace(CONFIG.server, model="mine")))
    assert values["inferences_observed_total"][("mine", "ok")] == 218
    assert values["inferences_total"] == {("tiny", "ok"): 220, ("tiny", "error"): 0}


def test_of_a_server_that_counts_no_inferences_those_that_were_seen_are_all_there_were() -> None:
    rules = shipped_mappings()["llamacpp"].metrics
    assert rules is not None
    page = (CAPTURE.parents[2] / "mapping" / "pages" / "llamacpp.txt").read_bytes()
    reading = Counts(rules).add(series_of(page, rules.names), START_NS + 1).since(None)
    assert not reading.counts_inferences
    meter = Meter(CONFIG, load_mappings("vllm", {}), start_ns=START_NS)
    assert "inferences_source" not in told(meter), "nothing says yet that it doesn't"
    meter.add_server_reading(reading)
    for path in sorted(CAPTURE.glob("*.pb")):
        meter.consume(decode_protobuf(path.read_bytes(), meter.wanted), NOW_NS)
    meter.flush(NOW_NS)
    values = told(meter)
    assert values["inferences_source"] == {("observed",): 1}
    assert sum(values["inferences_total"].values()) == sum(values["inferences_observed_total"].values()) == 218


def test_where_no_span_can_be_read_nothing_stands_in_for_counters_that_a_server_does_not_have() -> None:
    rules = shipped_mappings()["llamacpp"].metrics
    assert rules is not None
    page = (CAPTURE.parents[2] / "mapping" / "pages" / "llamacpp.txt").read_bytes()
    meter = Meter(CONFIG, load_mappings("llamacpp", {}), start_ns=START_NS)
    meter.add_server_reading(Counts(rules).add(series_of(page, rules.names), START_NS + 1).since(None))
    assert "inferences_total" not in told(meter)
