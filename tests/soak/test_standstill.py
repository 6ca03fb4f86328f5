"""Faults that last: a process that stands still for a minute amid its senders, and a collector that is down for ten (MINUTES at most)."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from faults.flooding import Accounts, Flood, accounts, flooded
from faults.serving import CONFIG, Sidecar, serving
from faults.test_overload import agrees, recovers

pytestmark = pytest.mark.soak

MEBIBYTE = 1 << 20
MINUTES = float(os.environ.get("MINUTES", "60"))
STILL_SECONDS = 60.0
ACCRUED_SECONDS = 10.0
"""Of it, at most so much is paid for: nobody saw what became of the rest."""

DOWN_SECONDS = 60 * min(10.0, MINUTES)
AROUND_SECONDS = 5.0
"""In which senders work before and after."""

QUEUE_BYTES = 16 * MEBIBYTE
VLLM = CONFIG.replace("kind: infermeter", "kind: auto, sampled: false")
PRICED = VLLM.replace("gpu:", "cost: {currency: EUR, as_of: 2026-11-01, source: test, rent: {per_hour: 3600, per: instance}}\ngpu:")
"""A euro a second."""

SENDERS = tuple(Flood(transport, "", spans=64, connections=4, every_seconds=0.25) for transport in ("http", "grpc"))
"""About a thousand spans a second each."""


def sent_to(sidecar: Sidecar) -> list[Flood]:
    return [replace(each, address=sidecar.addresses[f"otlp_{each.transport}"]) for each in SENDERS]


def observed(sidecar: Sidecar) -> float:
    return sidecar.value("inferences_observed_total") or 0.0


def test_a_minute_in_which_it_stands_still_loses_nothing_that_it_has_answered_and_tells_what_was_not_booked(tmp_path: Path) -> None:
    began = time.monotonic()
    with serving(tmp_path, PRICED) as sidecar:
        with flooded(sent_to(sidecar)) as senders:
            sidecar.until(lambda: observed(sidecar) > 0)
            time.sleep(AROUND_SECONDS)
            sidecar.process.send_signal(signal.SIGSTOP)
            time.sleep(STILL_SECONDS)
            sidecar.process.send_signal(signal.SIGCONT)
            assert sidecar.text("/-/ready", seconds=AROUND_SECONDS).startswith("ready")
            counted = observed(sidecar)
            sidecar.until(lambda: observed(sidecar) > counted)
            time.sleep(AROUND_SECONDS)
            told = accounts(senders)
        for flood, one in zip(SENDERS, told, strict=True):
            sys.stdout.write(f"{flood.transport}: {one}\n")
            assert one.cut > 0, "nobody lost patience"
            assert one.unhinted == 0
            assert agrees(sidecar, flood.transport, one), one
        dropped = sidecar.value("spans_dropped_total") or 0.0
        sidecar.until(lambda: observed(sidecar) == (sidecar.value("spans_received_total") or 0.0) - dropped)
        told_of = json.loads(sidecar.text("/api/v1/report"))
        euros = sum(row["value"] for row in told_of["cost_total"])
        unbooked = told_of["report"]["losses"]["unknown_seconds"]
        lived = time.monotonic() - began
        sys.stdout.write(f"{lived:.1f} s: {euros:.1f} euros, {unbooked:.1f} s in which nothing was booked\n")
        assert euros + unbooked <= lived
        assert STILL_SECONDS - ACCRUED_SECONDS <= unbooked < STILL_SECONDS
        recovers(sidecar)
        assert sidecar.stopped()[0] == 0
    assert not [line for line in sidecar.lines if " ERROR " in line]


def forwarded(sidecar: Sidecar) -> dict[str, float]:
    """What became of spans that were to be passed on, and how many bytes of exports wait."""
    told = {name: sidecar.value(name) or 0.0 for name in ("spans_forwarded_total", "spans_forward_dropped_total", "forward_queue_bytes")}
    return {name.removeprefix("spans_"): value for name, value in told.items()}


def test_a_collector_that_is_down_for_ten_minutes_costs_what_is_too_old_and_no_more_memory_than_its_queue(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    config = f'{VLLM}forward: {{endpoint: "http://{address}", queue_bytes: {QUEUE_BYTES}, retry_for: 5m}}\n'
    behind = tmp_path / "behind"
    behind.mkdir()
    with serving(tmp_path, config) as sidecar, flooded(sent_to(sidecar)) as senders:
        process = psutil.Process(sidecar.process.pid)
        sidecar.until(lambda: observed(sidecar) > 0)
        resident, ends = process.memory_info().rss, time.monotonic() + DOWN_SECONDS
        most_resident = most_queued = longest = 0.0
        while time.monotonic() < ends:
            began = time.monotonic()
            most_queued = max(most_queued, forwarded(sidecar)["forward_queue_bytes"])
            longest = max(longest, (time.monotonic() - began) / 3)
            most_resident = max(most_resident, process.memory_info().rss)
            time.sleep(1.0)
        down = forwarded(sidecar)
        assert down["forwarded_total"] == 0
        with serving(behind, VLLM.replace('otlp_http: "127.0.0.1:0"', f'otlp_http: "{address}"')) as collector:
            sidecar.until(lambda: forwarded(sidecar)["forwarded_total"] > 0)
            told = accounts(senders)
            sidecar.until(lambda: forwarded(sidecar)["forward_queue_bytes"] == 0)
            end = forwarded(sidecar)
            received = collector.value("spans_received_total", protocol="http")
            collected = (received or 0) - (collector.value("spans_dropped_total") or 0)
        figures = {
            "resident MiB": (resident / MEBIBYTE, most_resident / MEBIBYTE),
            "queued MiB": most_queued / MEBIBYTE,
            "scrape s": longest,
        }
        sys.stdout.write(f"{json.dumps({**figures, 'while down': down, 'in the end': end})}\n{told}\n")
        for flood, one in zip(SENDERS, told, strict=True):
            assert (one.cut, one.refused) == (0, {}), "senders have noticed"
            assert agrees(sidecar, flood.transport, one), one
        assert sum(told, Accounts()).spans == end["forwarded_total"] + end["forward_dropped_total"]
        assert collected == end["forwarded_total"]
        assert most_queued <= QUEUE_BYTES
        assert most_resident - resident < 3 * QUEUE_BYTES  # beside the queue: windows that fill, and what the allocator keeps
        assert sidecar.stopped()[0] == 0
    lines = [line for line in sidecar.lines if " WARNING " in line]
    assert len(lines) <= 2 + DOWN_SECONDS / 60, lines
