"""What every window says of each model and of the server: read once, and kept until something has changed that it goes by. Pure.

Windows are made of closed slots, which never change. What else goes into them is compared by value each time, so that whoever asks gets
what reading anew would give. It may be read ahead in steps, by whoever has other things to do in between.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from infermeter.ledger.blocks import Blocks
from infermeter.ledger.hardware import Hardware
from infermeter.ledger.slots import Slots, Told
from infermeter.ledger.slowdown import Slowdowns
from infermeter.ledger.totals import Totals
from infermeter.ledger.windows import WindowQuantiles, WindowReader
from infermeter.model import Component, ModelWindow, ServerWindow, SlaTarget, Window

MODELS_A_STEP: Final = 16
"""Of which all windows are read in one go: one window of them takes some two milliseconds."""


class ModelBasis(NamedTuple):
    """What a model's windows go by besides closed slots; `capacity` is the observed one, in inferences per second."""

    code: int
    told: Told
    sla: SlaTarget | None
    blocks: Blocks | None
    capacity: float | None


class Basis(NamedTuple):
    """What windows go by besides closed slots.

    `priced`: the components that have ever been; `biased`: the codes of models whose spans are no fair sample.
    """

    windows: Sequence[Window]
    models: Sequence[ModelBasis]
    sampled: bool
    confidence: float
    priced: frozenset[Component]
    metered: bool
    biased: Collection[int]


@dataclass(slots=True, eq=False)
class _Reading:
    """What has been read so far: the readers of the windows, then the models in the order of the basis, then the server."""

    closed: int
    revision: object
    basis: Basis
    readers: list[WindowReader] = field(default_factory=list)
    models: list[tuple[ModelWindow, ...]] = field(default_factory=list)
    server: list[ServerWindow] = field(default_factory=list)


class WindowReadings:
    """Reads all windows. Blocks and sketches take in nothing but closed slots."""

    def __init__(self, slots: Slots, quantiles: WindowQuantiles, slowdowns: Slowdowns, hardware: Hardware, totals: Totals) -> None:
        self._slots = slots
        self._quantiles = quantiles
        self._slowdowns = slowdowns
        self._hardware = hardware
        self._totals = totals
        self._known: _Reading | None = None

    def models(self, basis: Basis) -> list[tuple[ModelWindow, ...]]:
        """The windows of each model, in the order of the basis."""
        return self._read(basis).models

    def server(self, basis: Basis, loads: Sequence[float | None]) -> tuple[ServerWindow, ...]:
        """The whole server in each window, of which these are the loads. What the GPUs did is read each time: readings may come late."""
        read = self._read(basis)
        return tuple(
            replace(window, load_ratio=load, hardware=reader.hardware())
            for reader, window, load in zip(read.readers, read.server, loads, strict=True)
        )

    def ahead(self, basis: Basis) -> Iterator[None]:
        """Reads what isn't known yet of this basis, and stops after each step of some two milliseconds; anything may happen meanwhile.

        It ends early once slots have closed or the basis asked for is another one, since then nobody wants the rest.
        """
        reading = self._begun(basis)
        for _ in self._steps(reading):
            yield
            if self._known is not reading or not self._holds(reading):
                return

    def _read(self, basis: Basis) -> _Reading:
        reading = self._begun(basis)
        for _ in self._steps(reading):
            pass
        return reading

    def _begun(self, basis: Basis) -> _Reading:
        """What is known by this basis: nothing yet, if it is another one or what it says no longer holds."""
        known = self._known
        if known is None or not self._holds(known) or known.basis != basis:
            known = self._known = _Reading(self._slots.closed, self._totals.revision, basis)
        return known

    def _holds(self, reading: _Reading) -> bool:
        return reading.closed == self._slots.closed and reading.revision == self._totals.revision

    def _steps(self, reading: _Reading) -> Iterator[None]:
        """Reads on from where it is, whoever has read until there."""
        basis, readers, models = reading.basis, reading.readers, reading.models
        while len(readers) < len(basis.windows):
            readers.append(self._reader(basis.windows[len(readers)], basis))
            yield
        while len(models) < len(basis.models):
            for model in basis.models[len(models) : len(models) + MODELS_A_STEP]:
                models.append(tuple(reader.model(*model) for reader in readers))
            yield
        if not reading.server:
            told = {model.code: model.told for model in basis.models}
            capacities = {model.code: model.capacity for model in basis.models if model.capacity is not None}
            reading.server.extend(reader.server(told, capacities) for reader in readers)

    def _reader(self, window: Window, basis: Basis) -> WindowReader:
        return WindowReader(
            window,
            self._slots,
            self._quantiles,
            self._slowdowns,
            self._hardware,
            self._totals,
            sampled=basis.sampled,
            confidence=basis.confidence,
            priced=basis.priced,
            metered=basis.metered,
            biased=basis.biased,
        )
