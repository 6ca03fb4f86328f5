"""All that is published: the ledger, what arrived, what became of it, and the advice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from infermeter.model.advice import Advice
from infermeter.model.facts import LedgerSnapshot
from infermeter.model.kinds import NotForwarded


@dataclass(frozen=True, slots=True)
class IntakeFacts:
    """What arrived and what became of it: spans received = mapped + unmapped + dropped + pending."""

    spans_received: Mapping[str, int]
    spans_dropped: Mapping[str, int]
    spans_unmapped: Mapping[str, int]
    exports_refused: Mapping[tuple[str, str], int]
    connections_displaced: int
    last_span_ns: int | None
    traces_pending: int
    traces_pending_limit: int


@dataclass(frozen=True, slots=True)
class ForwardFacts:
    """What became of the spans to pass on: forwarded, dropped (by reason), or still in the queue. `spans_reencoded`: of those forwarded."""

    spans_forwarded: int
    spans_reencoded: int
    spans_dropped: Mapping[NotForwarded, int]
    queue_bytes: int
    queue_limit_bytes: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that `/metrics` and the report are made from. `sampled`: spans are known to be a sample.

    `totals_from`: what tells how many inferences were served, for the life of the process; None: nothing does. `server_scrape_up` and
    `state_files_rejected` are None where no metrics_url or state_file is set. `config_reload_ns`: when the configuration in force was
    loaded, None where that is nobody's business (a replay). `forward` is None where nothing is passed on.
    `server_kind` is None where it is left open.
    """

    server: str
    version: str
    revision: str
    kind: Literal["serve", "replay"]
    ledger: LedgerSnapshot
    intake: IntakeFacts
    advice: Advice
    gpu_source: str | None
    gpu_source_up: bool | None
    price_as_of_ns: int | None
    price_source: str | None
    series_limit: int
    config_reload_ns: int | None
    config_reload_successful: bool = True
    sampled: bool = False
    totals_from: Literal["server", "observed"] | None = "observed"
    gpu_hardware: bool = False
    server_scrape_up: bool | None = None
    state_files_rejected: int | None = None
    forward: ForwardFacts | None = None
    server_kind: str | None = None
