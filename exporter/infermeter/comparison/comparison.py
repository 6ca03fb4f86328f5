"""BEFORE and AFTER, held against each other at one SLA and one hourly cost. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from infermeter.comparison.load import Load, is_same_mix, load_of, load_of_server
from infermeter.comparison.measures import MEASURES
from infermeter.comparison.stretch import Slots, Stretch
from infermeter.comparison.verdict import Compared, Scope, compared, draws_of
from infermeter.errors import ConfigError
from infermeter.model import SIGNALS, SlaTarget
from infermeter.parsing.durations import duration_seconds

WHERE: Final = "BEFORE and AFTER"


@dataclass(frozen=True, slots=True)
class Side:
    """What there is of one side; `cost_per_hour` in its own prices."""

    server: str
    version: str | None
    start_unix_seconds: float
    end_unix_seconds: float
    seconds: float
    slots: int
    cost_per_hour: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that is told. `loads` and `slas` by model, None being the server; `cost_per_hour` is the one that both are priced at."""

    before: Side
    after: Side
    currency: str | None
    cost_per_hour: float | None
    slas: Sequence[tuple[str, SlaTarget]]
    loads: Sequence[tuple[str | None, Load]]
    measures: Sequence[Compared]
    notes: Sequence[str]

    @property
    def regressions(self) -> list[Compared]:
        """What is shown to be worse."""
        return [row for row in self.measures if row.verdict == "worse"]


def comparison(before: Stretch, after: Stretch) -> Comparison:
    """Holds AFTER against BEFORE. Raises: ConfigError, where they can't be compared at all."""
    after, trimmed = _without_before(before, after)
    models = [model for model in before.slots if model in after.slots]
    if not models:
        raise ConfigError(WHERE, "have no model in common")
    for model in models:
        if before.slas.get(model) != after.slas.get(model):
            raise ConfigError(
                WHERE, f"have different SLAs for {_named(model)} ({_told(before, model)}; {_told(after, model)}), so that no cost compares"
            )
    per_hour = before.cost_per_hour, after.cost_per_hour
    if None not in per_hour and before.currency != after.currency:
        raise ConfigError(WHERE, f"are priced in different currencies, {before.currency} and {after.currency}")
    priced = _priced(after, per_hour[0] / per_hour[1] if per_hour[0] and per_hour[1] else None)
    measures: list[Compared] = []
    loads: list[tuple[str | None, Load]] = []
    for scope in _scopes(models, before, priced):
        loads.append((scope.model, scope.load))
        measures += [row for measure in MEASURES if (row := compared(measure, scope)) is not None]
        measures += _latencies(scope.model, before, after)
    if not measures:
        raise ConfigError(WHERE, "tell nothing that compares")
    return Comparison(
        _side(before),
        _side(after),
        before.currency if per_hour[0] is not None else None,
        per_hour[0],
        [(model, before.slas[model]) for model in models if model in before.slas],
        loads,
        measures,
        [*trimmed, *_notes(models, before, after)],
    )


def _without_before(before: Stretch, after: Stretch) -> tuple[Stretch, list[str]]:
    """AFTER without what BEFORE holds too, as reports of one process do that were saved one after the other. Raises: ConfigError."""
    if before.process_start_unix_seconds is None or before.process_start_unix_seconds != after.process_start_unix_seconds:
        return after, []
    if before.server != after.server or after.starts_unix_seconds[0] >= before.end_unix_seconds:
        return after, []
    rest = after.since(before.end_unix_seconds)
    if rest is None:
        raise ConfigError(WHERE, "are of the same time of the same process; BEFORE must be saved first, AFTER later")
    return rest, ["AFTER is of the same process as BEFORE: what BEFORE holds of it too is left out of AFTER"]


def _scopes(models: Sequence[str], before: Stretch, after: Stretch) -> Iterator[Scope]:
    """Every model that both have, then the server if that is more than one model."""
    for model in (model for model in models if before.slots[model].has_traffic or after.slots[model].has_traffic):
        own = before.slots[model], after.slots[model]
        yield Scope(model, *own, load_of(model, before, after), draws_of(*own))
    if len(before.slots) > 1 or len(after.slots) > 1:
        own = before.whole, after.whole
        busy = [{model for model in side.slots if side.slots[model].has_traffic} for side in (before, after)]
        alike = busy[0] == busy[1] and is_same_mix(before, after)
        yield Scope(None, *own, load_of_server(before, after), draws_of(*own), alike)


def _priced(after: Stretch, factor: float | None) -> Stretch:
    """AFTER at BEFORE's hourly cost: each slot's money by one factor. Without one, AFTER has no money."""
    slots = {
        model: Slots(
            {
                name: values * factor if name == "cost" and factor is not None else values
                for name, values in own.columns.items()
                if factor or name != "cost"
            }
        )
        for model, own in after.slots.items()
    }
    return replace(after, slots=slots)


def _latencies(model: str | None, before: Stretch, after: Stretch) -> Iterator[Compared]:
    """The quantiles that both tell of the longest window that they share: points, since slots hold no durations."""
    shared = {(signal, window) for of, signal, window in before.latency_seconds if of == model} & {
        (signal, window) for of, signal, window in after.latency_seconds if of == model
    }
    if model is None:
        return
    for signal in SIGNALS:
        windows = sorted((duration_seconds(window), window) for of, window in shared if of == signal)
        if not windows:
            continue
        window = windows[-1][1]
        own = before.latency_seconds[model, signal, window], after.latency_seconds[model, signal, window]
        title = f"{signal} at the quantile, last {window}"
        yield Compared(model, f"{signal}_at_sla_quantile", title, "s", *own, None, None, "not shown", "a_point_without_its_slots")


def _notes(models: Sequence[str], before: Stretch, after: Stretch) -> Iterator[str]:
    yield from (f"BEFORE: {note}" for note in before.notes)
    yield from (f"AFTER: {note}" for note in after.notes)
    if before.server != after.server:
        yield f"the servers have different names, {_named(before.server)} and {_named(after.server)}"
    if before.version != after.version:
        yield f"they were measured by different versions, {_named(before.version or '-')} and {_named(after.version or '-')}"
    for name, side, other in (("BEFORE", before, after), ("AFTER", after, before)):
        for model in side.slots:
            if model not in other.slots and side.slots[model].has_traffic:
                yield f"only {name} has the model {_named(model)}; it is not compared"
        if side.cost_per_hour is None:
            yield f"{name} has no prices, so no cost compares; the `cost` section of the configuration sets them"
    if not any(model in before.slas for model in models):
        yield "no SLA is set, so nothing is told of inferences within it; the `sla` section of the configuration sets one"


def _side(stretch: Stretch) -> Side:
    return Side(
        stretch.server,
        stretch.version,
        float(stretch.starts_unix_seconds[0]),
        stretch.end_unix_seconds,
        stretch.seconds,
        len(next(iter(stretch.slots.values()))),
        stretch.cost_per_hour,
    )


def _told(stretch: Stretch, model: str) -> str:
    sla = stretch.slas.get(model)
    if sla is None:
        return "none"
    asked = (("duration", sla.duration_seconds), ("ttft", sla.ttft_seconds), ("tpot", sla.tpot_seconds))
    targets = " ".join(f"{signal} {seconds:g} s" for signal, seconds in asked if seconds is not None)
    return f"{100 * sla.quantile_ratio:g} % {targets}"


def _named(name: str) -> str:
    """A name of the report's, as it can be shown."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in name)
    return printable if len(printable) <= 64 else f"{printable[:63]}…"
