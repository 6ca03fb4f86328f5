"""Advice back from JSON: what a report says of findings and right-sizing, so that it can be asked again. Pure: bytes are read elsewhere.

Strict in what it needs, and deaf to what it doesn't know: a later version may say more. What is damaged is told by its dotted path, never
by what stands there.
"""

from __future__ import annotations

import collections.abc
import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import date
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from infermeter.advice.sizing import staying_per_hour
from infermeter.config import DevicePrice
from infermeter.errors import ConfigError
from infermeter.model import Advice, Finding, ModelEvidence, Resource, RightSizing, SizingEvidence, SlaTarget, Workload
from infermeter.report_json import report_parts

ENTRIES_MOST: Final = 10_000
"""Of a list or an object: more devices, models or findings than anybody has."""

_ONE: Final = 1 + 1e-6
_PARTS: Final = frozenset({"busy_ratio", "throttled_ratio"})

_Kind: TypeAlias = Any
"""A type as model/ annotates it, or one member of a union."""


@dataclass(frozen=True, slots=True)
class ToldAdvice:
    """What a report says: of which server, up to when, at which prices, and its advice. `price_as_of` None: no price was in force."""

    server: str
    end_unix_seconds: float
    price_as_of: date | None
    price_source: str | None
    slas: Mapping[str, SlaTarget]
    gpus_seen: bool
    advice: Advice


def told_advice(body: bytes, where: str) -> ToldAdvice:
    """What a report says. Raises: ConfigError at `where`, for what is no report, one of another schema, or a damaged one."""
    document, about = report_parts(body, where)
    try:
        return _told(document, about)
    except _Damaged as damaged:
        raise ConfigError(where, f"is a damaged report, or one of another version: {damaged}") from None


def told_prices(sizing: RightSizing, *, as_of: date) -> tuple[DevicePrice, ...]:
    """The prices that its candidates were judged by, as far as they were cheapest and fresh on that day."""
    evidence, stays = sizing.evidence, staying_per_hour(sizing.evidence)
    return tuple(
        DevicePrice(
            device=one.product,
            provider=one.provider or "unknown",
            per_hour=max(0.0, (one.cost_per_hour - stays) / evidence.gpus),
            currency=evidence.currency,
            as_of=as_of,
            source="the report",
        )
        for one in sizing.candidates
        if one.cost_per_hour is not None and evidence.currency is not None and evidence.gpus > 0
    )


class _Damaged(Exception):
    """A path, and what should be there."""


def _told(document: Mapping[str, Any], about: Mapping[str, Any]) -> ToldAdvice:
    """Raises: _Damaged."""
    cost = _member(about, "cost", dict, "report")
    sizing = _member(about, "sizing", RightSizing | None, "report")
    if sizing is not None:
        _possible(sizing.evidence, "report.sizing.evidence")
    return ToldAdvice(
        server=_member(about, "server", str, "report"),
        end_unix_seconds=_member(about, "end_unix_seconds", float, "report"),
        price_as_of=_date(_member(cost, "as_of", str | None, "report.cost"), "report.cost.as_of"),
        price_source=_member(cost, "source", str | None, "report.cost"),
        slas={
            _member(row, "model", str, where): _read(SlaTarget, row, where)
            for index, row in enumerate(_member(about, "sla", tuple[dict[str, Any], ...], "report"))
            if (where := f"report.sla[{index}]")
        },
        gpus_seen=bool(_member(about, "gpus", tuple[dict[str, Any], ...], "report")),
        advice=Advice(
            findings=_member(about, "findings", tuple[Finding, ...], "report"),
            workloads=_member(about, "workloads", Mapping[str, Workload], "report"),
            bound=_bound(document),
            sizing=sizing,
        ),
    )


def _possible(evidence: SizingEvidence, where: str) -> None:
    """Raises: _Damaged, where a number can't be: one below 0, or a part that is more than the whole."""
    told: list[tuple[SizingEvidence | ModelEvidence, str]] = [(evidence, where)]
    told += [(model, f"{where}.models[{index}]") for index, model in enumerate(evidence.models)]
    for about, path in told:
        for name, value in ((field.name, getattr(about, field.name)) for field in fields(about)):
            if isinstance(value, int | float) and (value < 0 or (name in _PARTS and value > _ONE)):
                raise _Damaged(f"{path}.{name} must be {'from 0 to 1' if name in _PARTS else 'at least 0'}")
    if any(cost < 0 for cost in evidence.cost_per_hour.values()):
        raise _Damaged(f"{where}.cost_per_hour must be at least 0")
    for index, model in enumerate(evidence.models):
        if not 0 < model.quantile_ratio < 1:
            raise _Damaged(f"{where}.models[{index}].quantile_ratio must be between 0 and 1")
        if any(not 0 <= one.late_ratio <= 1 or one.factor_ratio < 0 for one in model.slowdowns):
            raise _Damaged(f"{where}.models[{index}].slowdowns must be from 0 on, late_ratio up to 1")


def _bound(document: Mapping[str, Any]) -> Resource | None:
    """Of a state set the one that is 1; None without the family."""
    for index, row in enumerate(_read(tuple[dict[str, Any], ...], document.get("resource_bound", []), "resource_bound")):
        where = f"resource_bound[{index}]"
        if _member(row, "value", float, where) == 1:
            bound: Resource = _member(_member(row, "labels", dict, where), "resource", Resource, f"{where}.labels")
            return bound
    return None


def _date(text: str | None, where: str) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise _Damaged(f"{where} must be a date") from None


# --- values by their types ---------------------------------------------------------------------------------------------------------
def _member(owner: Mapping[str, Any], name: str, kind: _Kind, where: str) -> Any:  # noqa: ANN401 - as `kind` says
    if name not in owner:
        raise _Damaged(f"{where}.{name} is missing")
    return _read(kind, owner[name], f"{where}.{name}")


def _read(kind: _Kind, value: Any, where: str) -> Any:  # noqa: ANN401 - whatever stood in the JSON, as `kind` says
    """`value` as a `kind`. Raises: _Damaged."""
    origin: object = get_origin(kind)
    members = get_args(kind)
    if origin in (Union, UnionType):
        return _read_member(members, value, where)
    if origin is Literal:
        if not isinstance(value, str) or value not in members:
            raise _Damaged(f"{where} must be one of {', '.join(members)}")
        return value
    if origin is tuple:
        return tuple(_read(members[0], inner, f"{where}[{index}]") for index, inner in enumerate(_sized(list, value, where)))
    if origin is collections.abc.Mapping:
        return {_read(members[0], name, f"a key of {where}"): _read(members[1], inner, where) for name, inner in _object(value, where)}
    if isinstance(kind, type) and is_dataclass(kind):
        return _dataclass(kind, value, where)
    return _plain(dict if origin is dict else kind, value, where)


def _read_member(members: tuple[_Kind, ...], value: Any, where: str) -> Any:  # noqa: ANN401 - likewise
    """A member of a union: None, or a text or a number where both may stand."""
    if value is None and NoneType in members:
        return None
    some = [member for member in members if member is not NoneType]
    if len(some) > 1:
        some = [str] if isinstance(value, str) else [float]
    return _read(some[0], value, where)


def _plain(kind: type, value: Any, where: str) -> Any:  # noqa: ANN401 - likewise
    if kind is dict:
        return dict(_object(value, where))
    if kind in (float, int) and not isinstance(value, bool) and isinstance(value, int | kind) and math.isfinite(value):
        return value
    if kind in (str, bool) and isinstance(value, kind):
        return value
    words = {float: "a number", int: "a whole number", str: "a text", bool: "true or false"}
    raise _Damaged(f"{where} must be {words[kind]}")


def _dataclass(kind: type, value: Any, where: str) -> Any:  # noqa: ANN401 - likewise
    told, kinds = dict(_object(value, where)), _hints(kind)
    given = {}
    for field in fields(kind):
        if field.name in told:
            given[field.name] = _read(kinds[field.name], told[field.name], f"{where}.{field.name}")
        elif field.default is MISSING:
            raise _Damaged(f"{where}.{field.name} is missing")
    return kind(**given)


@cache
def _hints(kind: type) -> Mapping[str, _Kind]:
    return get_type_hints(kind, include_extras=True)


def _object(value: Any, where: str) -> list[tuple[str, Any]]:  # noqa: ANN401 - likewise
    return list(_sized(dict, value, where).items())


def _sized(kind: type[Any], value: Any, where: str) -> Any:  # noqa: ANN401 - likewise
    if not isinstance(value, kind) or len(value) > ENTRIES_MOST:
        raise _Damaged(f"{where} must be {'a list' if kind is list else 'an object'} of at most {ENTRIES_MOST}")
    return value
