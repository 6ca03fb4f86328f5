"""What is booked when inferences arrive, whatever their order: counts, SLA, tokens, histograms, parts. One step for a whole batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from infermeter.config import Config
from infermeter.ledger.columns import tally, widened
from infermeter.ledger.histogram import Histograms
from infermeter.ledger.instants import SECOND_NS
from infermeter.ledger.names import ModelNames
from infermeter.ledger.sla import Targets, is_within, sla_of
from infermeter.model import STAGES, Bools, Floats, InferenceBatch, Ints, PartColumn, PartKey, Quality, SlaTarget, Stage

OK, ERROR, WITHIN, LATE, TOKENS_INPUT, TOKENS_OUTPUT, TOLD_INPUT, TOLD_OUTPUT = range(8)
_TALLIES: Final = 8
_LAST_NS: Final = np.iinfo(np.int64).max
_QUEUE: Final = STAGES.index("queue")
_WORST: Final[tuple[Quality, ...]] = ("measured", "estimated", "fallback")


@dataclass(frozen=True, slots=True, eq=False)
class Booked:
    """A batch as columns that the rest of the ledger goes on with.

    `signals_ns` has shape (n, 3), -1 where unknown; `tokens` has shape (n, 2), `phases_ns` (n, 2), prefill and decode, and `stages_ns`
    (n, 5), the last being `other`: all 0 where unknown, and for an inference with an error. `limits_ns` are the targets as in
    `Targets.limits_ns`.
    """

    codes: Ints
    ok: Bools
    within: Bools
    signals_ns: Ints
    tokens: Ints
    phases_ns: Ints
    stages_ns: Ints
    limits_ns: Ints


class Arrivals:
    """The counters of every model that need no watermark."""

    def __init__(self, config: Config) -> None:
        configured = _configured(config)
        self.names = ModelNames(config.limits.models, configured=configured, unnamed=config.server.model)
        self.targets = Targets(config.sla)
        self._first_slas = config.sla
        self.edges: list[SlaTarget | None] = []
        self.histograms = Histograms([sla_of(model, config.sla) for model in ("", *configured)])
        self.tallies = np.zeros((0, _TALLIES), np.int64)
        self.quality: dict[Stage, Quality] = {}
        self._part_ns: dict[tuple[Stage, str], Floats] = {}
        for model in configured:
            self.code(model)

    def sla(self, code: int) -> SlaTarget | None:
        """The SLA of a model."""
        return self.targets.slas[code]

    def sla_since(self, code: int) -> int | None:
        """The first slot that it alone judges (0: always); None without one."""
        return None if self.targets.slas[code] is None else self.targets.since_slots[code]

    def reconfigure(self, config: Config, *, since_ns: int, first_slot: int, open_ns: int) -> list[int]:
        """Takes other SLAs over, as `Targets.change` does; models that they name are known from now on. The codes that are concerned."""
        configured = _configured(config)
        self.names.configure(configured)
        concerned = self.targets.change(config.sla, since_ns=since_ns, first_slot=first_slot, open_ns=open_ns)
        for model in configured:
            self.code(model)
        return concerned

    def code(self, model: str | None) -> int:
        """The code of a model, which is known from now on."""
        code = self.names.code(model)
        self._widen()
        return code

    def add(self, batch: InferenceBatch, last_ns: int = _LAST_NS) -> Booked:
        """Books inferences; what ends later than `last_ns` ends then.

        Those with an error are counted as such, and miss; they enter no histogram and no token count.
        """
        codes = self.names.codes(batch.model)
        self._widen()
        ok = ~batch.error
        durations_ns = batch.end_ns - batch.start_ns
        signals_ns = np.stack((durations_ns, _as_ns(batch.ttft_seconds), _as_ns(batch.tpot_seconds)), axis=1)
        limits_ns = self.targets.limits_ns(codes, np.minimum(batch.end_ns, last_ns))
        within = is_within(signals_ns, limits_ns, ok)
        told = np.stack((batch.tokens_input, batch.tokens_output), axis=1)
        tokens = np.where(ok[:, None], np.maximum(told, 0), 0)
        amounts = np.zeros((len(codes), _TALLIES), np.int64)
        amounts[:, OK], amounts[:, ERROR], amounts[:, WITHIN] = ok, batch.error, within
        amounts[:, TOKENS_INPUT : TOKENS_OUTPUT + 1] = tokens
        amounts[:, TOLD_INPUT : TOLD_OUTPUT + 1] = (told >= 0) & ok[:, None]
        tally(self.tallies, codes, amounts)
        stages_ns = np.empty((len(codes), len(STAGES) + 1), np.int64)
        stages_ns[:, :-1] = batch.stages_ns
        stages_ns[:, -1] = durations_ns - np.add.reduce(np.maximum(batch.stages_ns, 0).T)
        self._measure(batch, codes, signals_ns, stages_ns, ok)
        for stage, quality in batch.quality.items():
            self.rate(stage, quality)
        if batch.compute_estimated.any():
            self.rate("compute", "estimated")
        stages_ns = np.where(ok[:, None], np.maximum(stages_ns, 0), 0)
        return Booked(codes, ok, within, signals_ns, tokens, _phases(signals_ns, tokens, stages_ns[:, _QUEUE], ok), stages_ns, limits_ns)

    def add_around(self, around_ns: Mapping[PartKey, int]) -> None:
        """Books time in parts that lie outside of inferences: it is in these parts' sums, and nowhere else."""
        for (model, stage, part), ns in around_ns.items():
            code = self.code(model)
            sums = widened(self._part_ns.get((stage, part), np.zeros(0)), len(self.names))
            sums[code] += ns
            self._part_ns[stage, part] = sums

    def late(self, codes: Ints) -> None:
        """Counts inferences that came too late for their slot."""
        np.add.at(self.tallies[:, LATE], codes, 1)

    def rate(self, stage: Stage, quality: Quality) -> None:
        """The times of a stage are as good as the worst of them."""
        self.quality[stage] = max(self.quality.get(stage, quality), quality, key=_WORST.index)

    def part_seconds(self, code: int) -> dict[tuple[Stage, str], float]:
        """Seconds in each named part of a stage, of one model."""
        return {part: float(ns[code]) / SECOND_NS for part, ns in sorted(self._part_ns.items()) if code < len(ns) and ns[code]}

    def _measure(self, batch: InferenceBatch, codes: Ints, signals_ns: Ints, stages_ns: Ints, ok: Bools) -> None:
        if ok.all():
            self.histograms.add(codes, signals_ns, stages_ns, batch.end_ns, batch.trace_id.__getitem__)
        elif ok.any():
            rows = np.flatnonzero(ok)
            self.histograms.add(codes[rows], signals_ns[rows], stages_ns[rows], batch.end_ns[rows], lambda i: batch.trace_id[rows[i]])
        self._add_parts(batch.parts, codes, ok)

    def _add_parts(self, parts: Iterable[PartColumn], codes: Ints, ok: Bools) -> None:
        for part in parts:
            rows, ns = part.rows, part.ns
            if not ok.all():
                counted = ok[rows]
                rows, ns = rows[counted], ns[counted]
            sums = widened(self._part_ns.get((part.stage, part.part), np.zeros(0)), len(self.names))
            self._part_ns[part.stage, part.part] = sums + np.bincount(codes[rows], ns, len(sums))

    def _widen(self) -> None:
        models = len(self.names)
        if models > len(self.tallies):
            self.targets.know(self.names.names[len(self.tallies) :])
            self.edges += [sla_of(model, self._first_slas) for model in self.names.names[len(self.tallies) :]]
            self.tallies = widened(self.tallies, models)
            self.histograms.widen(models)


def _phases(signals_ns: Ints, tokens: Ints, queue_ns: Ints, ok: Bools) -> Ints:
    """Prefill, up to the first token without the queue, and decode, what the tokens after it took; 0 unless both are told.

    With a single token of output there is no time per token, and nothing to decode.
    """
    _, ttft_ns, tpot_ns = signals_ns.T
    tokens_after = np.maximum(tokens[:, 1] - 1, 0)
    told = ok & (ttft_ns >= 0) & np.where(tokens_after > 0, tpot_ns >= 0, tokens[:, 1] == 1)
    prefill_ns, decode_ns = np.maximum(ttft_ns - queue_ns, 0), tpot_ns * tokens_after
    return np.where(told[:, None], np.column_stack((prefill_ns, decode_ns)), 0)


def _configured(config: Config) -> tuple[str, ...]:
    """The models that are named."""
    models = () if config.sla is None else tuple(config.sla.models)
    return models if config.server.model is None else (*models, config.server.model)


def _as_ns(seconds: Floats) -> Ints:
    """Seconds as whole nanoseconds; -1 where not told."""
    ns: Floats = np.rint(np.where(np.isnan(seconds), -1 / SECOND_NS, seconds) * SECOND_NS)
    return ns.astype(np.int64)
