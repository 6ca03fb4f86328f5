"""What is told of each model: its counters, histograms and windows as one value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from infermeter.ledger.arrivals import ERROR, LATE, OK, TOKENS_INPUT, TOKENS_OUTPUT, TOLD_INPUT, TOLD_OUTPUT, WITHIN, Arrivals
from infermeter.ledger.blocks import Blocks
from infermeter.ledger.energy import gap_limit_ns
from infermeter.ledger.fallback import Fallback, together
from infermeter.ledger.histogram import FAMILIES, STAGES_AND_OTHER, ModelHistograms
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

_DURATION: Final = FAMILIES.index("duration")


def capacities(arrivals: Arrivals, capacity: ServerCapacity) -> Capacities:
    """Of every model."""
    names = arrivals.names.names
    return {code: capacity.facts(code) for code in sorted(range(len(names)), key=names.__getitem__)}


def model_bases(arrivals: Arrivals, blocks: Sequence[Blocks | None], facts: Capacities) -> tuple[ModelBasis, ...]:
    """What the windows of the models of these codes go by, in their order; `blocks` by code."""
    names, slas, tallies = arrivals.names.names, arrivals.targets.slas, arrivals.tallies[:, [TOLD_INPUT, TOLD_OUTPUT]].tolist()
    return tuple(
        ModelBasis(
            code,
            Told(names[code], arrivals.sla_since(code), *map(bool, tallies[code])),
            slas[code],
            blocks[code],
            None if fact is None else fact.observed_per_second,
        )
        for code, fact in facts.items()
    )


def model_facts(
    arrivals: Arrivals,
    totals: Totals,
    bases: Sequence[ModelBasis],
    windows: Sequence[Sequence[ModelWindow]],
    facts: Capacities,
    *,
    joules: Sequence[Mapping[Use, float]] | None,
    cost: Sequence[Mapping[Use, float]] | None,
    biases: Mapping[int, CoverageBias],
) -> tuple[ModelFacts, ...]:
    """The models of these `bases`, and their `windows` in that order; all else by code.

    `joules` and `cost` by use, None where nothing measures or prices them.
    """
    all_tallies, all_parts = arrivals.tallies.tolist(), arrivals.part_seconds()
    told = []
    for (code, about, sla, blocks, _), of_model in zip(bases, windows, strict=True):
        tallies = all_tallies[code]
        tokens = tallies[TOKENS_INPUT] if about.tokens_input else None, tallies[TOKENS_OUTPUT] if about.tokens_output else None
        tokens_input, tokens_output = totals.tokens.total(code, tokens)
        seen, parts = arrivals.histograms.of(code), all_parts[code]
        times = {of: spans for of, inferences, spans in zip(FAMILIES, *seen, strict=True) if inferences}
        if totals.fallback.tells(code):
            times = _with_own(totals.fallback, code, seen)
            parts = dict(Counter(parts) + Counter(totals.fallback.part_seconds(code)))
        told.append(
            ModelFacts(
                model=about.model,
                observed_ok=tallies[OK],
                observed_error=tallies[ERROR],
                within_sla=None if blocks is None else tallies[WITHIN],
                late=tallies[LATE],
                duration=times.get("duration", seen.histograms[_DURATION]),
                ttft=times.get("ttft"),
                tpot=times.get("tpot"),
                stages={stage: times[stage] for stage in STAGES_AND_OTHER if stage in times},
                part_seconds=parts,
                tokens_input=tokens_input,
                tokens_output=tokens_output,
                sla=sla,
                in_sla_state={} if blocks is None else dict(blocks.inferences),
                cost_in_sla_state={} if blocks is None or cost is None else dict(blocks.cost),
                energy_joules={} if joules is None else joules[code],
                cost={} if cost is None else cost[code],
                windows=tuple(of_model),
                capacity=facts[code],
                coverage_bias=biases.get(code),
            )
        )
    return tuple(told)


def _with_own(fallback: Fallback, code: int, seen: ModelHistograms) -> dict[Signal | Stage, Histogram]:
    """What spans and, before they came, the server itself told of each time."""
    times = {}
    for of, inferences, spans in zip(FAMILIES, *seen, strict=True):
        both = together(spans if inferences else None, fallback.histogram(code, of, spans.edges_seconds))
        if both is not None:
            times[of] = both
    return times


def server_gauges(reading: ServerReading | None, now_ns: int, *, interval_seconds: float) -> ServerGauges | None:
    """What the server said of itself last; None if that is none of the present any more."""
    if reading is None or now_ns - reading.time_ns > gap_limit_ns(interval_seconds):
        return None
    return ServerGauges(reading.running, reading.waiting, reading.batch_size, reading.kv_cache_used_ratio)
