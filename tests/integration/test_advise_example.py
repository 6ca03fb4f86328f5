"""The example: an A100 that is asked seldom, p99 under 100 ms. A T4 is named if, and only if, what was measured allows it.

The whole chain: spans and GPU samples of simulated servers through the ledger, a report, and `infermeter advise --report`.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from infermeter import cli
from infermeter.advice import advise, premises_of
from infermeter.advice.advice_json import advice_json
from infermeter.catalogue import shipped_catalogue
from infermeter.commands.advise import add_arguments, advised
from infermeter.config import Advice, Config, Cost, Rent, Server, Sla
from infermeter.ledger import Ledger
from infermeter.metrics.advice_text import advice_text
from infermeter.metrics.report import report
from infermeter.model import GpuIdentity, LedgerSnapshot
from support.ledgers import GPU, START_NS, at, config
from support.simulated_lives import Spans, device, live
from support.simulated_servers import one_at_a_time
from support.snapshots import empty_snapshot

TARGET_SECONDS = 0.1
TEN_A_MINUTE = 1 / 6
TODAY = date(2025, 6, 15)  # that of the ledger's start
PRICE = ("--what-if", "gpu=t4,price=0.526")


def asked(per_second: float, seconds: int, *, compute_seconds: float) -> tuple[Config, LedgerSnapshot]:
    """What the ledger says of an A100 that computes one inference at a time, each for the same time."""
    settings = config(
        sla=Sla(0.99, TARGET_SECONDS),
        windows=(("24h", 86_400.0),),
        server=Server(name="example", precision="fp16", max_batch=1, sampled=False),
        cost=Cost(currency="USD", as_of=TODAY, source="list price", rent=Rent(per_hour=3.673)),
        advice=Advice(minimum_history=600.0),
    )
    rng = np.random.default_rng(7)
    arrived = np.cumsum(rng.exponential(1 / per_second, round(per_second * seconds)))
    arrived = arrived[arrived < seconds - 1]
    served = one_at_a_time(arrived, np.full(len(arrived), compute_seconds))
    samples = device(served, seconds=seconds, idle_watts=60.0, step_watts=200.0, per_sequence_watts=0.0).samples()
    gpu = GpuIdentity(GPU, product="NVIDIA A100-SXM4-40GB")
    book = Ledger(settings, start_ns=START_NS, sampled=False, gpus=[gpu], offline=False)
    return settings, live(book, Spans(served, ["m"] * len(arrived), tokens=False), served.ended, seconds=seconds, samples=samples)


def saved(folder: Path, per_second: float, seconds: int, *, compute_seconds: float) -> Path:
    settings, told = asked(per_second, seconds, compute_seconds=compute_seconds)
    as_of_ns = START_NS
    advice = advise(premises_of(settings, told, shipped_catalogue(), price_as_of_ns=as_of_ns))
    snapshot = replace(empty_snapshot(), server="example", ledger=told, advice=advice, price_as_of_ns=as_of_ns, price_source="list price")
    path = folder / "report.json"
    path.write_bytes(orjson.dumps(report(snapshot)))
    return path


def answered(path: Path, *options: str, now_ns: int = at(86_400.0)) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    told: dict[str, Any] = advice_json(advised(parser.parse_args(["--report", str(path), *options]), now_ns=now_ns))
    return told


def t4(path: Path) -> dict[str, Any]:
    (told,) = answered(path, *PRICE)["what_if"]
    return dict(told)


def test_ten_a_minute_fit_onto_a_t4_where_compute_leaves_room_for_it(tmp_path: Path) -> None:
    told = t4(saved(tmp_path, TEN_A_MINUTE, 4000, compute_seconds=0.006))
    assert told["verdict"] == "fits"
    assert told["blocked_by"] == []
    assert told["throughput_ratio_low"] == pytest.approx(0.8 * 320 / 1555)
    assert told["cost_per_hour"] / 3.673 == pytest.approx(0.143, abs=0.001)


def test_ten_a_minute_do_not_fit_where_compute_at_the_quantile_is_too_long_for_a_slower_device(tmp_path: Path) -> None:
    told = t4(saved(tmp_path, TEN_A_MINUTE, 4000, compute_seconds=0.017))
    assert told["verdict"] == "no"
    assert told["blocked_by"] == ["latency"]


def test_the_largest_busy_share_that_a_t4_carries_fits(tmp_path: Path) -> None:
    told = t4(saved(tmp_path, 170.0, 2000, compute_seconds=0.0005))
    assert told["verdict"] == "fits"
    assert 0.6 < told["load_ratio"] < 1 / 1.3


def test_a_larger_busy_share_than_a_t4_carries_does_not_fit(tmp_path: Path) -> None:
    path = saved(tmp_path, 220.0, 2000, compute_seconds=0.0005)
    told = t4(path)
    assert told["verdict"] == "no"
    assert "load" in told["blocked_by"]
    assert told["load_ratio"] > 1 / 1.3


def test_the_text_says_what_the_t4_would_do_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path, TEN_A_MINUTE, 4000, compute_seconds=0.006)
    document = answered(path, *PRICE, "--headroom", "1.3")
    words = " ".join(advice_text(document).split())
    (told,) = document["what_if"]
    assert f"t4 would meet 100 ms at p99 at >= {1 / told['load_ratio']:.0f} times your peak (needed 1.3)" in words
    assert "it costs 14.3 % of now (what-if 0.526 vs 3.67 USD an hour)" in words
    assert "Of 166 published pairs of devices 165 did at least that, the worst 0.78 x" in words
    assert cli.main(["advise", "--report", str(path)]) == 0
    assert "no price of another device in USD" in capsys.readouterr().out


def test_the_name_that_money_is_booked_under_before_anything_was_asked_blocks_nothing(tmp_path: Path) -> None:
    document = answered(saved(tmp_path, TEN_A_MINUTE, 4000, compute_seconds=0.006))
    assert [model["model"] for model in document["evidence"]["models"]] == ["m"]
    assert [sla["model"] for sla in document["sla"]] == ["m"]
