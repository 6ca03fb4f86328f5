"""The evidence for advice out of a Prometheus that scraped the sidecars: what is asked. What the answers mean is recorded_evidence's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from infermeter.advice.advice_json import Source
from infermeter.advice.evidence_json import ToldAdvice
from infermeter.catalogue import Catalogue
from infermeter.commands.recorded_evidence import SERVER_PATTERN, Answers, notes_of, recorded_told
from infermeter.config import Config
from infermeter.errors import ConfigError, Unavailable
from infermeter.metrics import catalog
from infermeter.metrics.catalog import Family
from infermeter.network.prometheus_api import Prometheus, Series, selector

OPTION: Final = "--prometheus"
PREFIX: Final = "infermeter_"
NAMED_MOST: Final = 5

_STEPS: Final = 240
_STEP_SECONDS_LEAST, _STEP_SECONDS_MOST = 5.0, 300.0
"""Of subqueries: up to as far as an instant query looks back, so that no sample lies between two steps."""


@dataclass(frozen=True, slots=True)
class AskedRange:
    """Which history of which server. `server` None: the only one there is."""

    url: str
    seconds: float
    server: str | None
    matchers: str


@dataclass(frozen=True, slots=True)
class History:
    """What a history tells. `peak_sum_ratio`: the largest sum of the peak loads of all replicas at one time; None: they don't all tell."""

    told: ToldAdvice
    source: Source
    replicas: int
    peak_sum_ratio: float | None
    notes: tuple[str, ...]


def recorded_advice(prometheus: Prometheus, asked: AskedRange, *, config: Config, catalogue: Catalogue, now_ns: int) -> History:
    """What was recorded up to now. Raises: ConfigError, where Prometheus doesn't answer in full, or not of one server."""
    end = now_ns / 1e9
    server = _server(prometheus, asked, end)
    answers: dict[str, list[Series]] = {}
    for name, promql in questions(server, asked.matchers, asked.seconds).items():
        answers[name] = _asked(prometheus, promql, end)
    read = Answers(answers)
    told = recorded_told(read, server=server, config=config, catalogue=catalogue, end_unix_seconds=end, range_seconds=asked.seconds)
    replicas = max(1, round(read.number("replicas_now") or read.number("replicas") or 1))
    source = Source("prometheus", f"Prometheus at {asked.url}", end, asked.seconds, replicas)
    notes = notes_of(read, steps=asked.seconds / _step_seconds(asked.seconds))
    return History(told, source, replicas, read.number("peak_sum"), notes)


def _asked(prometheus: Prometheus, promql: str, end: float) -> list[Series]:
    try:
        return prometheus.query(promql, at_unix_seconds=end)
    except Unavailable as error:
        raise ConfigError(OPTION, str(error)) from error


def _server(prometheus: Prometheus, asked: AskedRange, end: float) -> str:
    """The one server that is meant. Raises: ConfigError."""
    labels = {} if asked.server is None else {"server": asked.server}
    build = selector(f"{PREFIX}{catalog.BUILD_INFO.name}", labels, asked.matchers)
    listed = _asked(prometheus, f"count by (server) (last_over_time({build}[{asked.seconds:.0f}s]))", end)
    names = {one.labels.get("server", "") for one in listed}
    shown = sorted(name for name in names if SERVER_PATTERN.fullmatch(name))
    if not shown or len(shown) < len(names):
        raise ConfigError(OPTION, f"has no series of a sidecar{'' if asked.server is None else ' of that server'} in the range")
    if len(shown) > 1:
        more = f" and {len(shown) - NAMED_MOST} more" if len(shown) > NAMED_MOST else ""
        raise ConfigError(OPTION, f"knows {len(shown)} servers ({', '.join(shown[:NAMED_MOST])}{more}); --server chooses one")
    return shown[0]


def _step_seconds(range_seconds: float) -> float:
    return min(_STEP_SECONDS_MOST, max(_STEP_SECONDS_LEAST, range_seconds / _STEPS))


def questions(server: str, matchers: str, range_seconds: float) -> Mapping[str, str]:
    """Every question in PromQL, by the name of its answer."""
    span = f"[{range_seconds:.0f}s]"
    steps = f"[{range_seconds:.0f}s:{_step_seconds(range_seconds):.0f}s]"

    def of(family: Family, suffix: str = "", **labels: str) -> str:
        return selector(f"{PREFIX}{family.name}{suffix}", {"server": server, **labels}, matchers)

    def throttled() -> str:
        held = ",".join(part for part in ('reason=~"power|thermal"', matchers.strip().rstrip(",")) if part)
        return selector(f"{PREFIX}{catalog.GPU_THROTTLED.name}", {"server": server}, held)

    build, peak, states = of(catalog.BUILD_INFO), of(catalog.PEAK_LOAD), of(catalog.GPU_STATE_SECONDS)
    asked = {
        "scrapes": f"sum(count_over_time({build}{span}))",
        "covered": f"count_over_time(count({build}){steps})",
        "replicas": f"max_over_time(count({build}){steps})",
        "replicas_now": f"count({build})",
        "peak": f"max(max_over_time({peak}{span}))",
        "peak_sum": f"max_over_time((sum({peak}) and (count({peak}) == count({build}))){steps})",
        "gpus": f"last_over_time({of(catalog.GPU_INFO)}{span})",
        "gpus_now": of(catalog.GPU_INFO),
        "shares": f"last_over_time({of(catalog.GPU_SHARE)}{span})",
        "memory": f"max(max_over_time({of(catalog.GPU_MEMORY_USED)}{span}))",
        "reserved": f"count(last_over_time({of(catalog.SERVER_KV_CACHE_USED)}{span}))",
        "cost_now": f"min by (component, currency) ({of(catalog.COST_PER_HOUR)})",
        "cost": f"min by (component, currency) (last_over_time({of(catalog.COST_PER_HOUR)}{span}))",
        "price_missing": f"count({of(catalog.FINDING, code='price_missing')})",
        "price_timestamp": f"min(last_over_time({of(catalog.PRICE_TIMESTAMP)}{span}))",
        "busy_seconds": f"sum(increase({of(catalog.BUSY_SECONDS)}{span}))",
        "compute_seconds": f"sum(increase({of(catalog.STAGE_DURATION, '_sum', stage='compute')}{span}))",
        "state_seconds": f"sum(increase({states}{span}))",
        "unknown_seconds": f"sum(increase({of(catalog.GPU_STATE_SECONDS, state='unknown')}{span}))",
        "throttled": f"max(sum by (gpu_uuid) (increase({throttled()}{span})) / sum by (gpu_uuid) (increase({states}{span})))",
        "targets_most": f"max by (model, signal) (max_over_time({of(catalog.SLA_TARGET)}{span}))",
        "targets_least": f"min by (model, signal) (min_over_time({of(catalog.SLA_TARGET)}{span}))",
        "quantiles_most": f"max by (model) (max_over_time({of(catalog.SLA_QUANTILE)}{span}))",
        "quantiles_least": f"min by (model) (min_over_time({of(catalog.SLA_QUANTILE)}{span}))",
        "observed": f"sum by (model, outcome) (increase({of(catalog.INFERENCES_OBSERVED)}{span}))",
        "findings": f"sum by (code, level, model) (count_over_time({of(catalog.FINDING)}{span}))",
        "savings": f"avg by (code, model, currency) (avg_over_time({of(catalog.FINDING_SAVING_PER_HOUR)}{span}))",
        "bound": f"sum by (resource) (sum_over_time({of(catalog.RESOURCE_BOUND)}{span}))",
    }
    for signal, family in (
        ("duration", catalog.INFERENCE_DURATION),
        ("ttft", catalog.TIME_TO_FIRST_TOKEN),
        ("tpot", catalog.TIME_PER_OUTPUT_TOKEN),
    ):
        asked[f"{signal}_buckets"] = f"sum by (model, le) (increase({of(family, '_bucket')}{span}))"
    return asked
