"""What is told of one model: its counters, histograms and windows as one value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from infermeter.ledger.arrivals import ERROR, LATE, OK, TOKENS_INPUT, TOKENS_OUTPUT, TOLD_INPUT, TOLD_OUTPUT, WITHIN, Arrivals
from infermeter.ledger.blocks import Blocks
from infermeter.ledger.energy import gap_limit_ns
from infermeter.ledger.fallback import together
from infermeter.ledger.histogram import STAGES_AND_OTHER
from infermeter.ledger.sla import SIGNALS
from infermeter.ledger.slots import Told
from infermeter.ledger.totals import Totals
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


def told(arrivals: Arrivals, code: int) -> Told:
    """Which facts there are of a model."""
    tallies = arrivals.tallies[code].tolist()
    return Told(arrivals.names.names[code], arrivals.sla_since(code), bool(tallies[TOLD_INPUT]), bool(tallies[TOLD_OUTPUT]))


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
    signals = {signal: arrivals.histograms.signal(code, signal, arrivals.edges[code]) for signal in SIGNALS}
    stages = {stage: arrivals.histograms.stage(code, stage) for stage in STAGES_AND_OTHER}
    return ModelFacts(
        model=about.model,
        observed_ok=tallies[OK],
        observed_error=tallies[ERROR],
        within_sla=None if blocks is None else tallies[WITHIN],
        late=tallies[LATE],
        duration=_either(arrivals, totals, code, "duration", signals["duration"]) or signals["duration"],
        ttft=_either(arrivals, totals, code, "ttft", signals["ttft"]),
        tpot=_either(arrivals, totals, code, "tpot", signals["tpot"]),
        stages={stage: either for stage, of_spans in stages.items() if (either := _either(arrivals, totals, code, stage, of_spans))},
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


def _either(arrivals: Arrivals, totals: Totals, code: int, of: Signal | Stage, spans: Histogram) -> Histogram | None:
    """What spans and, before they came, the server itself told of one time."""
    return together(spans if arrivals.histograms.has(code, of) else None, totals.fallback.histogram(code, of, spans.edges_seconds))


def server_gauges(reading: ServerReading | None, now_ns: int, *, interval_seconds: float) -> ServerGauges | None:
    """What the server said of itself last; None if that is none of the present any more."""
    if reading is None or now_ns - reading.time_ns > gap_limit_ns(interval_seconds):
        return None
    return ServerGauges(reading.running, reading.waiting, reading.batch_size, reading.kv_cache_used_ratio)
