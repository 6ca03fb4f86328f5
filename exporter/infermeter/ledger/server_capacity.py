"""What the whole server can do at its SLAs, and how much of it is asked for: every model's capacity, demand, load and peak load."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Final, TypeAlias

import numpy as np

from infermeter.config import Config
from infermeter.ledger import slots as columns
from infermeter.ledger.booked import Booked
from infermeter.ledger.capacities import ClosedSlot, ModelCapacity
from infermeter.ledger.demand import Demand
from infermeter.ledger.instants import SECOND_NS, SLOT_NS
from infermeter.ledger.sketch import BUCKETS, SlotSketches, bucket_of
from infermeter.ledger.slots import Sums
from infermeter.ledger.steptime import ROWS
from infermeter.model import SIGNALS, STAGES, CapacityFacts, InferenceBatch, Ints, SlaTarget

Setup: TypeAlias = Mapping[str, float | None]
"""The GPUs by UUID, each with its power limit in watts (None: not told)."""

_VERSION: Final = 2
_COMPUTE: Final = STAGES.index("compute")
_ROW: Final = len(SIGNALS) * BUCKETS
_WIDE_ROW: Final = ROWS * BUCKETS
_MINUTE_SECONDS: Final = 60


class ServerCapacity:
    """Follows every model with an SLA, and the demand for all."""

    def __init__(self, config: Config, *, start_ns: int) -> None:
        self._config = config
        self._models: list[ModelCapacity | None] = []
        self._names: list[str] = []
        self._first_slots: dict[int, int] = {}
        self._demand = Demand(start_ns)
        self._services = SlotSketches()
        self._open_slot = start_ns // SLOT_NS
        self._setup: Setup = {}
        self._recalled: dict[str, Any] = {}

    def widen(self, names: Sequence[str], slas: Sequence[SlaTarget | None]) -> None:
        """Makes room for models that have come up."""
        for name, sla in zip(names[len(self._models) :], slas[len(self._models) :], strict=True):
            self._names.append(name)
            self._models.append(None if sla is None else self._model(name, sla))
        self._demand.widen(self._names)

    def reconfigure(self, config: Config, slas: Mapping[int, SlaTarget | None], *, first_slot: int) -> None:
        """These models have another SLA from this slot on; what was seen at the one before says nothing of it."""
        self._config = config
        for code, sla in slas.items():
            self._models[code] = None if sla is None else self._model(self._names[code], sla)
            self._first_slots[code] = first_slot

    def add(self, booked: Booked, inferences: InferenceBatch, *, per_observed: float) -> None:
        """Takes in inferences that arrived; each stands for `per_observed`."""
        self._demand.add(inferences.start_ns, booked.codes, per_observed=per_observed)
        compute_ns = booked.stages_ns[_COMPUTE]
        slots = (inferences.end_ns - 1) // SLOT_NS
        served = (compute_ns > 0) & (slots >= self._open_slot)
        if served.any():
            keys = booked.codes * BUCKETS + bucket_of(compute_ns)
            self._services.add(slots, keys[None], served[None])

    def close(
        self, slot: int, sums: Sums, served: Sequence[int], latencies: tuple[Ints, Ints], setup: Setup, *, biased: Collection[int] = ()
    ) -> None:
        """A slot has closed, whose latencies are counted by code x _ROW + signal x BUCKETS + bucket, ascending.

        Of the models whose spans are no fair sample, the codes `biased`, it says nothing.
        """
        if setup:
            if self._setup and _differs(self._setup, setup):
                self.restart()
            self._setup = {uuid: limit or self._setup.get(uuid) for uuid, limit in setup.items()}
        keys, counts = latencies[0].astype(np.int64), latencies[1]
        services, served_by_service = (column.astype(np.int64) for column in self._services.take(slot))
        self._services.drop(slot)
        self._open_slot = slot + 1
        keys = np.concatenate((keys // _ROW * _WIDE_ROW + keys % _ROW, services // BUCKETS * _WIDE_ROW + _ROW + services % BUCKETS))
        counts, by_model = np.concatenate((counts, served_by_service)), np.argsort(keys)
        keys, counts = keys[by_model], counts[by_model]
        edges = np.searchsorted(keys, np.arange(len(self._models) + 1) * _WIDE_ROW).tolist()
        for code, model in enumerate(self._models):
            if model is not None and slot >= self._first_slots.get(code, slot):
                first, stop = edges[code], edges[code + 1]
                closed = _closed(slot, sums, code, served[code], (keys[first:stop] - code * _WIDE_ROW, counts[first:stop]))
                model.close(replace(closed, known_seconds=0.0) if code in biased else closed)

    def restart(self) -> None:
        """The server isn't what it was: nothing that was seen of its capacity counts any more."""
        for model in self._models:
            if model is not None:
                model.restart()

    def complete(self, stop_ns: int) -> None:
        """Minutes that ended by then are complete."""
        self._demand.close(stop_ns)

    def facts(self, code: int) -> CapacityFacts | None:
        """Of one model; None without an SLA."""
        model = self._models[code]
        return None if model is None else model.facts

    def load(self, seconds: float) -> float | None:
        """Demand over capacity in the last complete minutes, all models together; None where it can't be told."""
        minutes = int(seconds // _MINUTE_SECONDS)
        loads = self._demand.loads(self._capacities(), minutes=minutes) if minutes else None
        return None if loads is None else float(loads.mean())

    @property
    def peak_load(self) -> float | None:
        """The 99th percentile over one-minute rates of the last week, of `advice.minimum_history` at least."""
        least = max(1, round(self._config.advice.minimum_history / _MINUTE_SECONDS))
        return self._demand.peak_load(self._capacities(), minutes=max(least, self._demand.minutes))

    def _capacities(self) -> dict[int, float]:
        facts = {code: model.facts.best_per_second for code, model in enumerate(self._models) if model is not None}
        return {code: per_second for code, per_second in facts.items() if per_second is not None}

    def _model(self, name: str, sla: SlaTarget) -> ModelCapacity:
        model = ModelCapacity(
            sla,
            confidence=self._config.ledger.confidence,
            horizon_seconds=self._config.ledger.capacity_horizon,
            max_batch=self._config.server.max_batch,
        )
        remembered = self._recalled.pop(name, None)
        if remembered is not None and remembered["sla"] == asdict(sla):
            model.recall(remembered["epochs"])
        return model

    def remember(self) -> dict[str, Any]:
        """What is worth keeping over a restart, ready for JSON."""
        known = {name: model for name, model in zip(self._names, self._models, strict=True) if model is not None}
        return {
            "version": _VERSION,
            "gpus": dict(self._setup),
            "models": {name: {"sla": asdict(model.sla), "epochs": model.remember()} for name, model in known.items()},
            "demand": self._demand.remember(),
        }

    def recall(self, remembered: Mapping[str, Any]) -> None:
        """Takes up what `remember` told, before anything has come. Raises: ValueError for anything else; then nothing is taken."""
        try:
            if remembered["version"] != _VERSION:
                raise ValueError(remembered["version"])
            setup = {str(uuid): None if limit is None else float(limit) for uuid, limit in remembered["gpus"].items()}
            models: dict[str, Any] = {str(name): dict(model) for name, model in remembered["models"].items()}
            for model in models.values():
                self._model("", SlaTarget(**model["sla"])).recall(model["epochs"])
            self._demand.recall(remembered["demand"])
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(error) from error
        self._setup, self._recalled = setup, models
        names, known = self._names, self._models
        self._names, self._models = [], []
        self.widen(names, [None if model is None else model.sla for model in known])


def _differs(before: Setup, now: Setup) -> bool:
    """Whether the GPUs are others, or one has another power limit."""
    return before.keys() != now.keys() or any(limit and before[uuid] and limit != before[uuid] for uuid, limit in now.items())


def _closed(slot: int, sums: Sums, code: int, served: int, latencies: tuple[Ints, Ints]) -> ClosedSlot:
    counts, amounts = sums.counts[code].tolist(), sums.amounts[code].tolist()
    accrued, active, idle, computing = sums.server.tolist()
    return ClosedSlot(
        slot=slot,
        accrued_seconds=accrued,
        known_seconds=active + idle,
        active_seconds=active,
        busy_seconds=amounts[columns.BUSY_SECONDS],
        served=served,
        observed=counts[columns.OBSERVED],
        ok=counts[columns.OK],
        within=counts[columns.WITHIN],
        tokens=counts[columns.TOKENS_INPUT] + counts[columns.TOKENS_OUTPUT],
        stage_compute_seconds=counts[columns.FIRST_STAGE + _COMPUTE] / SECOND_NS,
        compute_seconds=amounts[columns.COMPUTE_SECONDS],
        computing_seconds=computing,
        latencies=latencies,
    )
