"""What the answers of a Prometheus mean as evidence for advice. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, get_args

from infermeter.advice import pressing
from infermeter.advice.evidence import is_part
from infermeter.advice.evidence_json import ToldAdvice
from infermeter.advice.reference import FINDINGS
from infermeter.advice.telemetry import COVERAGE_BIASED
from infermeter.advice.workload import workload
from infermeter.catalogue import Catalogue
from infermeter.commands.recorded_slowdown import slowdown
from infermeter.config import Config
from infermeter.errors import ConfigError
from infermeter.metrics import catalog
from infermeter.model import (
    SIGNALS,
    Advice,
    Component,
    Finding,
    ModelEvidence,
    Resource,
    RightSizing,
    Signal,
    SizingEvidence,
    SlaTarget,
    Workload,
)
from infermeter.network.prometheus_api import Series

OPTION: Final = "--prometheus"
SERVER_PATTERN: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")
CURRENCY_PATTERN: Final = re.compile(r"[A-Z]{3}")

_NO_SLA: Final = 0.99
_MAJORITY: Final = 0.5
_COVERED_LEAST: Final = 0.95
_KNOWN_LEAST: Final = 0.9
_TEXT_MOST: Final = 256
_OF_A_GPU: Final = frozenset({"gpu_uuid", *(label.name for label in catalog.GPU_INFO.labels), "__name__"})


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers to `recorded_advice.questions`, by name: instant vectors."""

    series: Mapping[str, Sequence[Series]]

    def rows(self, name: str) -> list[tuple[Mapping[str, str], float]]:
        """Labels and value of each series."""
        return [(one.labels, float(one.values[-1])) for one in self.series[name]]

    def number(self, name: str) -> float | None:
        """The value of an answer that has at most one series; None: nothing was recorded."""
        rows = self.rows(name)
        return rows[0][1] if rows else None

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """The values by their labels; a label that is absent is an empty text."""
        return {tuple(own.get(label, "") for label in labels): value for own, value in self.rows(name)}


def recorded_told(
    answers: Answers, *, server: str, config: Config, catalogue: Catalogue, end_unix_seconds: float, range_seconds: float
) -> ToldAdvice:
    """What the answers say of a server; findings with the share of the range in which they held. Raises: ConfigError."""
    slas = _slas(answers)
    evidence = _evidence(answers, slas, config, catalogue, end_unix_seconds=end_unix_seconds, range_seconds=range_seconds)
    stamp = answers.number("price_timestamp")
    return ToldAdvice(
        server=server,
        end_unix_seconds=end_unix_seconds,
        price_as_of=None if stamp is None or not 0 <= stamp < 1 << 33 else datetime.fromtimestamp(stamp, UTC).date(),
        price_source=None,
        slas=slas,
        gpus_seen=evidence is not None,
        advice=Advice(
            findings=pressing(_findings(answers)),
            workloads=_workloads(answers, slas, config, catalogue, None if evidence is None else evidence.products),
            bound=_bound(answers),
            sizing=None if evidence is None else RightSizing(evidence, (), ()),
        ),
    )


def notes_of(answers: Answers, *, steps: float) -> tuple[str, ...]:
    """What one should know of a history that can be judged all the same; `steps`: how many a full one has."""
    return tuple(_notes(answers, steps))


def _notes(answers: Answers, steps: float) -> Iterator[str]:
    covered = min(1.0, (answers.number("covered") or 0.0) / max(steps, 1.0))
    if covered < _COVERED_LEAST:
        yield f"the sidecar was scraped in {100 * covered:.0f} % of the range; of the rest nothing is known"
    if _changed(answers):
        yield "an SLA changed within the range, so nothing can be said of how much slower its model may be; choose a shorter --range"
    most, now = answers.number("replicas"), answers.number("replicas_now")
    if now is None:
        yield "no replica is scraped any more"
    elif most is not None and most > now:
        yield f"up to {most:.0f} replicas ran at one time"
    yield "how much slower the hardware may be is read off histograms, and so a lower bound, often half of the truth"


# --- the SLA, and how much slower --------------------------------------------------------------------------------------------------
def _slas(answers: Answers) -> dict[str, SlaTarget]:
    """The SLA of each model that has a target; the strictest, where it changed."""
    quantiles = answers.by("quantiles_most", "model")
    targets: dict[str, dict[str, float]] = {}
    for (model, signal), seconds in answers.by("targets_least", "model", "signal").items():
        if signal in SIGNALS and (model,) in quantiles:
            targets.setdefault(model, {})[f"{signal}_seconds"] = seconds
    return {model[:_TEXT_MOST]: SlaTarget(quantiles[model,], **told) for model, told in targets.items() if 0 < quantiles[model,] < 1}


def _changed(answers: Answers) -> set[str]:
    """The models whose SLA was another one at some time in the range."""
    most, least = (answers.by(f"targets_{end}", "model", "signal") for end in ("most", "least"))
    changed = {key[0] for key, seconds in most.items() if seconds != least.get(key)}
    most, least = (answers.by(f"quantiles_{end}", "model") for end in ("most", "least"))
    return changed | {key[0] for key, quantile in most.items() if quantile != least.get(key)}


def _buckets(answers: Answers, model: str) -> dict[Signal, list[tuple[float, float]]]:
    told: dict[Signal, list[tuple[float, float]]] = {}
    for signal in SIGNALS:
        own = {_edge(labels.get("le", "")): count for labels, count in answers.rows(f"{signal}_buckets") if labels.get("model") == model}
        if own:
            told[signal] = sorted((edge, count) for edge, count in own.items() if edge is not None)
    return told


def _edge(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


# --- the evidence ------------------------------------------------------------------------------------------------------------------
def _evidence(
    answers: Answers, slas: Mapping[str, SlaTarget], config: Config, catalogue: Catalogue, *, end_unix_seconds: float, range_seconds: float
) -> SizingEvidence | None:
    """Of one replica, the worst of each reading; None where no GPU was seen. Raises: ConfigError."""
    products, gpus, uuids = _gpus(answers)
    if not products:
        return None
    currency, cost = _cost(answers)
    stamp = answers.number("price_timestamp")
    memory = answers.number("memory")
    workloads = _workloads(answers, slas, config, catalogue, products)
    return SizingEvidence(
        products=products,
        gpus=gpus,
        is_partitioned=any(is_part(uuid, None) for uuid in uuids) or any(is_part("", product) for product in products),
        cost_per_hour={} if answers.number("price_missing") else cost,
        currency=currency,
        price_age_seconds=None if stamp is None else max(0.0, end_unix_seconds - stamp),
        peak_load_ratio=answers.number("peak"),
        busy_ratio=_busy_ratio(answers, len(products)),
        memory_peak_bytes=None if memory is None else int(memory),
        memory_is_reserved=bool(answers.number("reserved")),
        precision=config.server.precision,
        throttled_ratio=answers.number("throttled"),
        window_seconds=range_seconds,
        models=tuple(_models(answers, slas, workloads)),
    )


def _busy_ratio(answers: Answers, gpus: int) -> float | None:
    """Of the time in which the state of its GPUs is known; None where that is too little of it."""
    busy, told, unknown = (answers.number(f"{name}_seconds") for name in ("busy", "state", "unknown"))
    known = (told or 0.0) - (unknown or 0.0)
    return None if busy is None or not told or known < _KNOWN_LEAST * told else min(1.0, busy / (known / gpus))


def _models(answers: Answers, slas: Mapping[str, SlaTarget], workloads: Mapping[str, Workload]) -> Iterator[ModelEvidence]:
    observed = answers.by("observed", "model", "outcome")
    biased = {labels.get("model", "") for labels, _ in answers.rows("findings") if labels.get("code") == COVERAGE_BIASED}
    changed = _changed(answers)
    for model, kind in workloads.items():
        errors, sla = math.ceil(observed.get((model, "error"), 0.0)), slas.get(model)
        count = math.floor(observed.get((model, "ok"), 0.0)) + errors
        known = sla is not None and model not in biased | changed
        factor = slowdown(sla, _buckets(answers, model), inferences=count, errors=errors) if sla is not None and known else None
        yield ModelEvidence(model, kind, sla is not None, factor, count, _NO_SLA if sla is None else sla.quantile_ratio)


def _workloads(
    answers: Answers, slas: Mapping[str, SlaTarget], config: Config, catalogue: Catalogue, products: tuple[str, ...] | None
) -> dict[str, Workload]:
    devices = {catalogue.device_of(product) for product in products or ()}
    device = devices.pop() if len(devices) == 1 else None
    models = sorted({model[:_TEXT_MOST] for model, _ in answers.by("observed", "model", "outcome") if model} | set(slas))
    busy, compute = answers.number("busy_seconds"), answers.number("compute_seconds")
    batch_mean = compute / busy if compute and busy else None
    return {model: workload(config, slas.get(model), device, batch_mean=batch_mean) for model in models}


def _gpus(answers: Answers) -> tuple[tuple[str, ...], float, set[str]]:
    """The products of one replica, the sum of its shares, and the UUIDs of all. Raises: ConfigError, where replicas aren't alike.

    Of those that run, or ran last; whatever ran in the range must have been of the same kind, as all that was measured is taken together.
    """
    shares = answers.by("shares", "gpu_uuid")
    devices = _devices(answers.rows("gpus_now") or answers.rows("gpus"))
    kinds = {tuple(sorted(own.values())) for own in devices.values()}
    ever = {product for own in _devices(answers.rows("gpus")).values() for product in own.values()}
    if len(kinds) > 1 or not all(ever <= set(kind) for kind in kinds):
        raise ConfigError(OPTION, "its replicas had other GPUs than each other, or before; narrow it by --matchers or a shorter --range")
    if not kinds:
        return (), 0.0, set()
    sums = [sum(shares.get((uuid,), 1.0) for uuid in own) for own in devices.values()]
    return kinds.pop(), max(sums), {uuid for own in devices.values() for uuid in own}


def _devices(rows: Sequence[tuple[Mapping[str, str], float]]) -> dict[frozenset[tuple[str, str]], dict[str, str]]:
    """The product of each GPU by its UUID, of each replica."""
    devices: dict[frozenset[tuple[str, str]], dict[str, str]] = {}
    for labels, _ in rows:
        replica = frozenset((name, value) for name, value in labels.items() if name not in _OF_A_GPU)
        devices.setdefault(replica, {})[labels.get("gpu_uuid", "")] = labels.get("product", "")[:_TEXT_MOST] or "unknown"
    return devices


def _cost(answers: Answers) -> tuple[str | None, dict[Component, float]]:
    """The currency, and the least that each component costs a replica. Raises: ConfigError."""
    told = answers.by("cost_now", "component", "currency") or answers.by("cost", "component", "currency")
    currencies = {currency for _, currency in told}
    if len(currencies) > 1:
        raise ConfigError(OPTION, "its costs are in several currencies; narrow it by --matchers or a shorter --range")
    components = get_args(Component)
    cost = {component: told[key] for component in components for key in told if key[0] == component and told[key] >= 0}
    currency = next(iter(currencies), None)
    return (currency, cost) if currency is not None and CURRENCY_PATTERN.fullmatch(currency) else (None, {})


# --- findings and the bound --------------------------------------------------------------------------------------------------------
def _findings(answers: Answers) -> Iterator[Finding]:
    """Those that held at some time, the longest first."""
    scrapes = answers.number("scrapes") or 0.0
    savings = answers.by("savings", "code", "model")
    held = answers.by("findings", "code", "level", "model")
    for (code, level, model), count in sorted(held.items(), key=lambda item: (-item[1], item[0])):
        entry = next((entry for entry in FINDINGS if entry.code == code), None)
        if entry is None or level not in ("info", "warning") or not scrapes:
            continue
        yield Finding(
            code=entry.code,
            level="info" if level == "info" else "warning",
            model=model[:_TEXT_MOST] or None,
            evidence={"held_ratio": min(1.0, count / scrapes)},
            what_to_do=f"{entry.what_to_do[0].upper()}{entry.what_to_do[1:]}.",
            falsified_by=entry.fails,
            saving_per_hour=savings.get((code, model)),
        )


def _bound(answers: Answers) -> Resource | None:
    """What bound for over half of the time in which something was told; `unknown`, where nothing did."""
    told = {resource: count for (resource,), count in answers.by("bound", "resource").items() if count > 0}
    most = max(told, key=told.__getitem__, default=None)
    if most is None:
        return None
    known: Resource = next((resource for resource in get_args(Resource) if resource == most), "unknown")
    return known if told[most] > _MAJORITY * sum(told.values()) else "unknown"
