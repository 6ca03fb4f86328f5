"""What a snapshot tells, row by row: values beside the names that they have for as long as the row's shape is the same. Pure.

From one snapshot to the next nearly all names, families and labels, are what they were, and of many models naming each value costs
more than the value. So a row gives its values at once, and its names when it is asked: who keeps them asks when the shape is another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

from infermeter.metrics import catalog
from infermeter.metrics.catalog import Family
from infermeter.model import CapacityFacts, Histogram, ModelFacts, ModelWindow

Name: TypeAlias = tuple[Family, tuple[str | None, ...]]
"""A family and the values of its labels, in its order and without `server`; None: there is no such label."""


Named = TypeVar("Named")


class Row(NamedTuple, Generic[Named]):
    """What one thing of a snapshot tells: numbers, then histograms, and their names in this order.

    `key` is the thing's from snapshot to snapshot; while `shape` is equal, so are the names, and the edges of its histograms. Numbers, and
    sums of histograms, that are None or not finite are absent.
    """

    key: object
    shape: Sequence[object]
    numbers: Sequence[float | None]
    histograms: Sequence[Histogram]
    names: Callable[[], Sequence[Named]]


class Told:
    """A row whose values are named one by one, in any number."""

    def __init__(self, key: object) -> None:
        self._key = key
        self._names: list[Name] = []
        self._numbers: list[float] = []

    def add(self, family: Family, value: float | None, *labels: str | None) -> None:
        """Label values in the order of the family's labels; a value that isn't known adds nothing."""
        if value is not None:
            self._names.append((family, labels))
            self._numbers.append(value)

    def row(self) -> Row[Name]:
        """All of it."""
        return Row(self._key, self._names, self._numbers, (), lambda: self._names)


class _One(NamedTuple):
    """A number that a thing has, or None; and its labels apart from those of the thing."""

    family: Family
    of: Callable[[Any], float | None]
    labels: Mapping[str, str] = MappingProxyType({})


class _Each(NamedTuple):
    """Numbers that a thing has by the values of these labels."""

    family: Family
    of: Callable[[Any], Mapping[Any, float]]
    by: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """What things of one class tell."""

    ones: tuple[_One, ...]
    each: tuple[_Each, ...] = ()


def _reached(capacity: CapacityFacts) -> int | None:
    return None if capacity.observed_per_second is None else int(capacity.reached)


def _parts(model: ModelFacts) -> Mapping[Any, float]:
    return dict(sorted(model.part_seconds.items())) if model.part_seconds else {}


_STATES: Final[Mapping[str | None, Mapping[str, int]]] = {None: {}} | {
    told: {state: int(state == told) for state in catalog.SLA_STATE.values} for told in catalog.SLA_STATE.values
}


def _states(window: ModelWindow) -> Mapping[str, int]:
    return _STATES[window.sla_state]


_MODEL: Final = _Table(
    (
        _One(catalog.INFERENCES_OBSERVED, attrgetter("observed_ok"), {"outcome": "ok"}),
        _One(catalog.INFERENCES_OBSERVED, attrgetter("observed_error"), {"outcome": "error"}),
        _One(catalog.INFERENCES_OBSERVED_WITHIN_SLA, attrgetter("within_sla")),
        _One(catalog.TOKENS, attrgetter("tokens_input"), {"direction": "input"}),
        _One(catalog.TOKENS, attrgetter("tokens_output"), {"direction": "output"}),
    ),
    (
        _Each(catalog.STAGE_PART_SECONDS, _parts, ("stage", "part")),
        _Each(catalog.INFERENCES_IN_SLA_STATE, attrgetter("in_sla_state"), ("state",)),
        _Each(catalog.COST_IN_SLA_STATE, attrgetter("cost_in_sla_state"), ("state",)),
        _Each(catalog.ENERGY, attrgetter("energy_joules"), ("use",)),
        _Each(catalog.COST_BY_USE, attrgetter("cost"), ("use",)),
    ),
)
_SLA: Final = _Table(
    (
        _One(catalog.SLA_TARGET, attrgetter("duration_seconds"), {"signal": "duration"}),
        _One(catalog.SLA_TARGET, attrgetter("ttft_seconds"), {"signal": "ttft"}),
        _One(catalog.SLA_TARGET, attrgetter("tpot_seconds"), {"signal": "tpot"}),
        _One(catalog.SLA_QUANTILE, attrgetter("quantile_ratio")),
    )
)
_CAPACITY: Final = _Table(
    (
        _One(catalog.CAPACITY_AT_SLA, attrgetter("observed_per_second"), {"bound": "observed"}),
        _One(catalog.CAPACITY_AT_SLA, attrgetter("modelled_per_second"), {"bound": "model"}),
        _One(catalog.CAPACITY_REACHED, _reached),
    )
)
_WINDOW: Final = _Table(
    (_One(catalog.WINDOW_COST_PER_INFERENCE, attrgetter("cost_per_inference")),),
    (
        _Each(catalog.WINDOW_COST_PER_INFERENCE_AT_SLA, attrgetter("cost_per_inference_at_sla"), ("basis",)),
        _Each(catalog.WINDOW_LATENCY_AT_SLA_QUANTILE, attrgetter("latency_at_sla_quantile_seconds"), ("signal",)),
        _Each(catalog.WINDOW_SLA_STATE, _states, ("state",)),
    ),
)
_SIGNALS: Final = (catalog.INFERENCE_DURATION, catalog.TIME_TO_FIRST_TOKEN, catalog.TIME_PER_OUTPUT_TOKEN)


def model_row(model: ModelFacts, currency: str | None) -> Row[Name]:
    """What one model tells, in all of its windows."""
    things = _things(model)
    numbers: list[float | None] = []
    shape: list[object] = [currency]
    for table, thing, window in things:
        numbers += [one.of(thing) for one in table.ones]
        shape += table, window
        for each in table.each:
            told = each.of(thing)
            numbers += told.values()
            shape.append(tuple(told))
    histograms = (model.duration, model.ttft, model.tpot, *model.stages.values())
    shape += [None if one is None else one.edges_seconds for one in histograms]
    shape.append(tuple(model.stages))

    def names() -> list[Name]:
        labels = {catalog.MODEL.name: model.model, catalog.CURRENCY.name: currency}
        found = [name for table, thing, window in things for name in _names(table, thing, labels | {catalog.WINDOW.name: window})]
        found += [(family, (model.model,)) for family, one in zip(_SIGNALS, histograms, strict=False) if one is not None]
        return found + [(catalog.STAGE_DURATION, (model.model, stage)) for stage in model.stages]

    return Row((_MODEL, model.model), shape, numbers, [one for one in histograms if one is not None], names)


def _things(model: ModelFacts) -> list[tuple[_Table, object, str | None]]:
    """What tells of a model, by which table, and the label of the window that it is of."""
    things: list[tuple[_Table, object, str | None]] = [(_MODEL, model, None)]
    if model.sla is not None:
        things.append((_SLA, model.sla, None))
    if model.capacity is not None:
        things.append((_CAPACITY, model.capacity, None))
    things += [(_WINDOW, window, window.window.label) for window in model.windows]
    return things


def _names(table: _Table, thing: object, labels: Mapping[str, str | None]) -> list[Name]:
    """Of what it tells, in the order of its values; `labels` are those of the thing."""
    found = [_name(one.family, {**labels, **one.labels}) for one in table.ones]
    for each in table.each:
        for key in each.of(thing):
            texts = key if isinstance(key, tuple) else (key,)
            found.append(_name(each.family, {**labels, **dict(zip(each.by, texts, strict=True))}))
    return found


def _name(family: Family, labels: Mapping[str, str | None]) -> Name:
    return family, tuple(labels[label.name] for label in family.labels)
