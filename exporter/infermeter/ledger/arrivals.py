"""What is booked when inferences arrive, whatever their order: counts, SLA, tokens, histograms, parts. One step for a whole batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from infermeter.config import Config
from infermeter.ledger import booked
from infermeter.ledger import slots as columns
from infermeter.ledger.booked import Booked, amounts_of, slot_sums, values_of
from infermeter.ledger.columns import widened
from infermeter.ledger.histogram import Histograms
from infermeter.ledger.instants import SECOND_NS
from infermeter.ledger.names import ModelNames
from infermeter.ledger.sla import Targets, is_within, sla_of
from infermeter.model import SIGNALS, STAGES, Bools, Floats, InferenceBatch, Ints, PartColumn, PartKey, Quality, SlaTarget, Stage

OK, ERROR, WITHIN, TOKENS_INPUT, TOKENS_OUTPUT, TOLD_INPUT, TOLD_OUTPUT, LATE = range(8)
_TALLIES: Final = 8
_TALLIED: Final = [
    columns.OK,
    booked.ERROR,
    columns.WITHIN,
    columns.TOKENS_INPUT,
    columns.TOKENS_OUTPUT,
    booked.TOLD_INPUT,
    booked.TOLD_OUTPUT,
]
"""The rows of amounts that are tallied, in the order of the tallies."""

_VALUES: Final = [booked.FIRST_SIGNAL + i for i in range(len(SIGNALS))] + [columns.FIRST_STAGE + i for i in range(len(STAGES) + 1)]
"""Those that histograms have sums of, in the order of their families."""

_WORST: Final[tuple[Quality, ...]] = ("measured", "estimated", "fallback")


class Arrivals:
    """The counters of every model that need no watermark."""

    def __init__(self, config: Config) -> None:
        configured = _configured(config)
        self.names = ModelNames(config.limits.models, configured=configured, unnamed=config.server.model)
        self.targets = Targets(config.sla)
        self._first_slas = config.sla
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

    def add(self, batch: InferenceBatch, ends_ns: Ints, slots: Ints) -> Booked:
        """Books inferences that ended at `ends_ns`, for all that they say, in `slots` (`booked.LATE`: too late for one).

        Those with an error are counted as such, and miss; they enter no histogram and no token count.
        """
        codes = self.names.codes(batch.model)
        self._widen()
        ok = ~batch.error
        values_ns = values_of(batch)
        signals_ns = values_ns[: len(SIGNALS)]
        limits_ns = self.targets.limits_ns(codes, ends_ns)
        within = is_within(signals_ns, limits_ns, ok)
        amounts = amounts_of(batch, values_ns, ok, within)
        sums = slot_sums(slots, codes, amounts, models=len(self.names))
        for one in sums:
            self.tallies[one.codes, : len(_TALLIED)] += one.sums[:, _TALLIED]
            if one.slot == booked.LATE:
                self.tallies[one.codes, LATE] += one.sums[:, columns.OBSERVED]
            self.histograms.add_sums(one.codes, one.sums[:, _VALUES])
        self.histograms.add(codes, values_ns, ends_ns, slots, batch.trace_id.__getitem__)
        self._add_parts(batch.parts, codes, ok)
        for stage, quality in batch.quality.items():
            self.rate(stage, quality)
        if batch.compute_estimated.any():
            self.rate("compute", "estimated")
        return Booked(codes, slots, ok, within, signals_ns, limits_ns, amounts, sums)

    def add_around(self, around_ns: Mapping[PartKey, int]) -> None:
        """Books time in parts that lie outside of inferences: it is in these parts' sums, and nowhere else."""
        for (model, stage, part), ns in around_ns.items():
            code = self.code(model)
            sums = widened(self._part_ns.get((stage, part), np.zeros(0)), len(self.names))
            sums[code] += ns
            self._part_ns[stage, part] = sums

    def rate(self, stage: Stage, quality: Quality) -> None:
        """The times of a stage are as good as the worst of them."""
        self.quality[stage] = max(self.quality.get(stage, quality), quality, key=_WORST.index)

    def part_seconds(self) -> list[dict[tuple[Stage, str], float]]:
        """Seconds in each named part of a stage, by code of the model."""
        by_code: list[dict[tuple[Stage, str], float]] = [{} for _ in self.names.names]
        for part, ns in sorted(self._part_ns.items()):
            for code, one_ns in enumerate(ns.tolist()):
                if one_ns:
                    by_code[code][part] = one_ns / SECOND_NS
        return by_code

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
            new = self.names.names[len(self.tallies) :]
            self.targets.know(new)
            self.histograms.know([sla_of(model, self._first_slas) for model in new])
            self.tallies = widened(self.tallies, models)


def _configured(config: Config) -> tuple[str, ...]:
    """The models that are named."""
    models = () if config.sla is None else tuple(config.sla.models)
    return models if config.server.model is None else (*models, config.server.model)
