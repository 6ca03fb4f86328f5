"""What is told of one model: its counters, histograms and windows as one value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from infermeter.ledger.arrivals import ERROR, LATE, OK, TOKENS_INPUT, TOKENS_OUTPUT, TOLD_INPUT, TOLD_OUTPUT, WITHIN, Arrivals
from infermeter.ledger.blocks import Blocks
from infermeter.ledger.energy import gap_limit_ns
from infermeter.ledger.fallback import together
from infermeter.ledger.histogram import STAGES_AND_OTHER
from infermeter.ledger.server_capacity import ServerCapacity
from infermeter.ledger.slots import Told
from infermeter.ledger.totals import Totals
from infermeter.ledger.window_readings import ModelBasis
from infermeter.model import (
    CapacityFacts,
    CoverageBias,
    Histogram,
    ModelFacts,
    ModelWindow,
    ServerGauges,
    ServerReading,
    Signal,
    Stage,
    Use,
)

Capacities: TypeAlias = Mapping[int, CapacityFacts | None]
"""By code, in the order of the models' names."""

_OF_LLMS: Final[tuple[Signal, ...]] = ("ttft", "tpot")


def told(arrivals: Arrivals, code: int) -> Told:
    """Which facts there are of a model."""
    tallies = arrivals.tallies[code].tolist()
    return Told(arrivals.names.names[code], arrivals.sla_since(code), bool(tallies[TOLD_INPUT]), bool(tallies[TOLD_OUTPUT]))


def capacities(arrivals: Arrivals, capacity: ServerCapacity) -> Capacities:
    """Of every model."""
    names = arrivals.names.names
    return {code: capacity.facts(code) for code in sorted(range(len(names)), key=names.__getitem__)}


def model_bases(arrivals: Arrivals, blocks: Sequence[Blocks | None], facts: Capacities) -> tuple[ModelBasis, ...]:
    """What the windows of the models of these codes go by, in their order; `blocks` by code."""
    return tuple(
        ModelBasis(code, told(arrivals, code), arrivals.sla(code), blocks[code], None if fact is None else fact.observed_per_second)
        for code, fact in facts.items()
    )


def model_facts(  # noqa: PLR0913 - one value is made of all that the ledger has of a model
    arrivals: Arrivals,
    code: int,
    blocks: Blocks | None,
    *,
    joules: Mapping[Use, float] | None,
    cost: Mapping[Use, float] | None,
    windows: Sequence[ModelWindow],
    capacity: CapacityFacts | None,
    totals: Totals,
    coverage_bias: CoverageBias | None,
) -> ModelFacts:
    """One model; `blocks` None: it never had an SLA. `joules` and `cost` by use, None where nothing measures or prices them."""
    about = told(arrivals, code)
    tallies = arrivals.tallies[code].tolist()
    tokens = tallies[TOKENS_INPUT] if about.tokens_input else None, tallies[TOKENS_OUTPUT] if about.tokens_output else None
    tokens_input, tokens_output = totals.tokens.total(code, tokens)
    histograms, is_told = arrivals.histograms, totals.fallback.tells(code)
    edges = arrivals.edges[code]
    duration = histograms.signal(code, "duration", edges)
    ttft, tpot = (histograms.signal(code, one, edges) if is_told or histograms.has(code, one) else None for one in _OF_LLMS)
    stages = {stage: histograms.stage(code, stage) for stage in STAGES_AND_OTHER if is_told or histograms.has(code, stage)}
    return ModelFacts(
        model=about.model,
        observed_ok=tallies[OK],
        observed_error=tallies[ERROR],
        within_sla=None if blocks is None else tallies[WITHIN],
        late=tallies[LATE],
        duration=_either(totals, code, "duration", duration) or duration,
        ttft=_either(totals, code, "ttft", ttft),
        tpot=_either(totals, code, "tpot", tpot),
        stages={stage: either for stage, spans in stages.items() if (either := _either(totals, code, stage, spans))},
        part_seconds=dict(Counter(arrivals.part_seconds(code)) + Counter(totals.fallback.part_seconds(code))),
        tokens_input=tokens_input,
        tokens_output=tokens_output,
        sla=arrivals.sla(code),
        in_sla_state={} if blocks is None else dict(blocks.inferences),
        cost_in_sla_state={} if blocks is None or cost is None else dict(blocks.cost),
        energy_joules=joules or {},
        cost=cost or {},
        windows=tuple(windows),
        capacity=capacity,
        coverage_bias=coverage_bias,
    )


def _either(totals: Totals, code: int, of: Signal | Stage, spans: Histogram | None) -> Histogram | None:
    """What spans and, before they came, the server itself told of one time; `spans` has its edges, and may be empty."""
    if spans is None:
        return None
    own = totals.fallback.histogram(code, of, spans.edges_seconds) if totals.fallback.tells(code) else None
    return together(spans if any(spans.counts) else None, own)


def server_gauges(reading: ServerReading | None, now_ns: int, *, interval_seconds: float) -> ServerGauges | None:
    """What the server said of itself last; None if that is none of the present any more."""
    if reading is None or now_ns - reading.time_ns > gap_limit_ns(interval_seconds):
        return None
    return ServerGauges(reading.running, reading.waiting, reading.batch_size, reading.kv_cache_used_ratio)
