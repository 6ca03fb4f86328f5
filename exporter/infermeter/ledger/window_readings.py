"""What every window says of each model and of the server: read once, and kept until something has changed that it goes by. Pure.

Windows are made of closed slots, which never change. What else goes into them is compared by value each time, so that whoever asks gets
what reading anew would give.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import NamedTuple

from infermeter.ledger.blocks import Blocks
from infermeter.ledger.hardware import Hardware
from infermeter.ledger.slots import Slots, Told
from infermeter.ledger.slowdown import Slowdowns
from infermeter.ledger.totals import Totals
from infermeter.ledger.windows import WindowQuantiles, WindowReader
from infermeter.model import Component, ModelWindow, ServerWindow, SlaTarget, Window


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


class WindowReadings:
    """Reads all windows. Blocks and sketches take in nothing but closed slots."""

    def __init__(self, slots: Slots, quantiles: WindowQuantiles, slowdowns: Slowdowns, hardware: Hardware, totals: Totals) -> None:
        self._slots = slots
        self._quantiles = quantiles
        self._slowdowns = slowdowns
        self._hardware = hardware
        self._totals = totals
        self._known: tuple[object, list[tuple[ModelWindow, ...]], list[tuple[WindowReader, ServerWindow]]] | None = None

    def models(self, basis: Basis) -> list[tuple[ModelWindow, ...]]:
        """The windows of each model, in the order of the basis."""
        return self._read(basis)[0]

    def server(self, basis: Basis, loads: Sequence[float | None]) -> tuple[ServerWindow, ...]:
        """The whole server in each window, of which these are the loads. What the GPUs did is read each time: readings may come late."""
        _, read = self._read(basis)
        return tuple(
            replace(window, load_ratio=load, hardware=reader.hardware()) for (reader, window), load in zip(read, loads, strict=True)
        )

    def _read(self, basis: Basis) -> tuple[list[tuple[ModelWindow, ...]], list[tuple[WindowReader, ServerWindow]]]:
        goes_by = self._slots.closed, self._totals.revision, basis
        if self._known is None or self._known[0] != goes_by:
            readers = [self._reader(window, basis) for window in basis.windows]
            models = [tuple(reader.model(*model) for reader in readers) for model in basis.models]
            told = {model.code: model.told for model in basis.models}
            capacities = {model.code: model.capacity for model in basis.models if model.capacity is not None}
            self._known = goes_by, models, [(reader, reader.server(told, capacities)) for reader in readers]
        return self._known[1:]

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
