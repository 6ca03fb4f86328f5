"""Two lives of simulated servers, as reports that `compare` takes; the truth of their difference is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import orjson

from infermeter.comparison.comparison import Comparison, comparison
from infermeter.comparison.saved import stretch_of
from infermeter.comparison.verdict import Compared
from infermeter.config import Config, Server, Sla
from infermeter.metrics.report import report
from infermeter.model import Snapshot
from support.ledgers import at, config, ledger
from support.simulated_lives import Spans, device, live
from support.simulated_servers import Served, continuous_batching
from support.snapshots import empty_snapshot

MODEL = "m"
IDLE_WATTS = 80.0
SLA = Sla(0.9, 8.0, None, None)


def told(snapshot: Snapshot) -> dict[str, Any]:
    """The report of a snapshot, through JSON and back."""
    read: dict[str, Any] = orjson.loads(orjson.dumps(report(snapshot)))
    return read


def batching(*, per_second: float, seconds: int, seed: int, most: int, tokens: int = 40) -> Served:
    """A server that makes a token in about 25 ms for each of at most `most` sequences at a time; what ended in these seconds."""
    rng = np.random.default_rng(seed)
    arrived = np.sort(rng.uniform(0, seconds, rng.poisson(per_second * seconds)))
    lengths = np.maximum(1.0, rng.geometric(1 / tokens, len(arrived)).astype(float))
    served = continuous_batching(arrived, lengths, step_seconds=0.02, per_sequence_seconds=0.001, most=most)
    ended = served.ended < seconds
    return Served(served.arrived[ended], served.began[ended], served.ended[ended], served.steps[ended], served.first[ended])


def life(served: Served, *, seconds: int, config_: Config | None = None, tokens: bool = False) -> dict[str, Any]:
    """The report of a sidecar beside that server."""
    settings = config_ or config(per_hour=3.6, sla=SLA, baseline_watts=IDLE_WATTS, server=Server(sampled=False))
    book = ledger(settings, offline=False)
    gpu = device(served, seconds=seconds, idle_watts=IDLE_WATTS, step_watts=220.0, per_sequence_watts=4.0)
    live(book, Spans(served, [MODEL] * len(served.arrived), tokens), served.ended, seconds=seconds, samples=gpu.samples())
    book.finish(at(seconds))
    return told(replace(empty_snapshot(), ledger=book.snapshot(at(seconds)), kind="replay"))


def compare(before: dict[str, Any], after: dict[str, Any]) -> Comparison:
    """What `compare` makes of two reports."""
    return comparison(stretch_of(orjson.dumps(before), "before.json"), stretch_of(orjson.dumps(after), "after.json"))


def row(found: Comparison, measure: str, model: str | None = MODEL) -> Compared:
    """The one row of a measure."""
    (only,) = [one for one in found.measures if (one.measure, one.model) == (measure, model)]
    return only
