"""Cases of the alerts: a healthy server, what is changed of it, and exactly which alerts fire when.

One notation, two readers: promtool's unit tests, and a history in a real Prometheus.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
RULES = sorted((ROOT / "alerts" / "rules").glob("*.yaml"))
CASES = Path(__file__).parent / "cases"
TARGET = {"cluster": "eu", "namespace": "ml", "job": "infermeter", "instance": "10.0.0.1:10470", "server": "chat"}
_UNSERVED = ("up", "process_start_time_seconds", "process_resident_memory_bytes", "process_cpu_seconds_total")
"""What the scraper or the Python client publishes, without `server`."""

_SETTLED = (
    "infermeter_cost_by_use_total",
    "infermeter_energy_joules_total",
    "infermeter_gpu_state_seconds_total",
)
"""What trails by a minute or more, and so never rises in a life that is shorter."""

_KEY = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>.*)\})?$")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_SEGMENT = re.compile(r"^(?P<start>_|-?[\d.]+(?:e-?\d+)?)?(?P<step>[+-][\d.]+(?:e-?\d+)?)?(?:x(?P<times>\d+))?$")

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Key:
    """A series: name and labels, sorted by name of label."""

    name: str
    labels: Labels

    def __str__(self) -> str:
        return self.name + "{" + ",".join(f'{name}="{value}"' for name, value in self.labels) + "}"


@dataclass(frozen=True)
class Case:
    """`fires`: what fires, as `Alert severity`, once for each series, by minutes since the start."""

    name: str
    minutes: int
    step: str
    evaluate: str
    series: Mapping[Key, str]
    fires: Mapping[str, Sequence[str]]
    says: Mapping[str, str] = field(default_factory=dict)

    @property
    def step_seconds(self) -> int:
        """How far apart the values are."""
        return {"15s": 15, "1m": 60, "5m": 300}[self.step]

    @property
    def steps(self) -> int:
        """How many steps it lasts."""
        return self.minutes * 60 // self.step_seconds

    @property
    def subject(self) -> str:
        """The alert, or what kind of bad input, that the name begins with."""
        return self.name.split()[0]


def key_of(text: str) -> Key:
    """From `name{label="value"}`."""
    found = _KEY.match(text)
    assert found, f"no series: {text}"
    return Key(found["name"], tuple(sorted(_LABEL.findall(found["labels"] or ""))))


def with_target(key: Key, target: Mapping[str, str]) -> Key:
    """The series as it is stored: with the scraper's labels, and `server`; those that it has itself win."""
    added = {name: value for name, value in target.items() if name != "server" or key.name not in _UNSERVED}
    return Key(key.name, tuple(sorted((added | dict(key.labels)).items())))


def _matches(pattern: Key, key: Key) -> bool:
    return pattern.name == key.name and set(pattern.labels) <= set(key.labels)


def changed(raw: Mapping[str, Any], healthy: Mapping[str, str]) -> dict[Key, str]:
    """The healthy server as a case changes it."""
    target = {name: value for name, value in (TARGET | raw.get("target", {})).items() if name not in raw.get("unlabelled", ())}
    targets = [target | {"instance": f"10.0.0.{number + 1}:10470"} for number in range(raw.get("replicas", 1))]
    series = {with_target(key_of(text), one): values for one in targets for text, values in healthy.items()}
    for text, values in raw.get("change", {}).items():
        key = key_of(text)
        alone = dict(key.labels).keys() & {"instance", "namespace", "cluster", "server"}
        series |= {with_target(key, one): str(values) for one in ([target] if alone else targets)}
    for text in raw.get("without", ()):
        gone = [key for key in series if _matches(key_of(text), key)]
        assert gone, f"{raw['case']}: there is no {text} to leave out"
        for key in gone:
            del series[key]
    return _crashing(raw, _ended(raw, series))


def _ended(raw: Mapping[str, Any], series: dict[Key, str]) -> dict[Key, str]:
    """`ends: {minutes, instance, forgotten}`: from then on scrapes fail; `forgotten`: the target itself is gone.

    `only`: names of what there is at all.
    """
    kept = {key: notation for key, notation in series.items() if key.name in raw.get("only", [key.name])}
    if ends := raw.get("ends"):
        for key, notation in kept.items():
            at_it = dict(key.labels)["instance"] == ends.get("instance", TARGET["instance"])
            if at_it and (key.name != "up" or ends.get("forgotten")):
                kept[key] = _cut(notation, ends["minutes"]) + " _"
            elif at_it:
                kept[key] = f"1x{ends['minutes']} 0"
    return kept


def _cut(notation: str, steps: int) -> str:
    return " ".join(f"_x{length}" if start is None else f"{start!r}{step:+}x{length}" for start, step, length in segments(notation, steps))


def _crashing(raw: Mapping[str, Any], series: dict[Key, str]) -> dict[Key, str]:
    """`crashes: {every, until}`, in steps: every so often all counters begin anew, and settled ones never come to anything."""
    if (crashes := raw.get("crashes")) is None:
        return series
    every, until, seconds = crashes["every"], crashes["until"], crashes["seconds"]
    lives = until // every
    crashing = dict(series)
    for key, notation in series.items():
        if key.name == "process_start_time_seconds":
            crashing[key] = " ".join(f"{number * every * seconds}x{every}" for number in range(lives)) + f" {until * seconds}"
        elif notation.startswith("0+"):
            life = "0" if key.name in _SETTLED else notation
            crashing[key] = " ".join([f"{life}x{every}"] * lives) + f" {notation}"
    return crashing


def rules() -> list[dict[str, Any]]:
    """Every rule of every file, in their order."""
    return [rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def alerting_rules() -> list[dict[str, Any]]:
    """The alerts; one name may have two rules."""
    return [rule for rule in rules() if "alert" in rule]


def healthy_series() -> dict[str, str]:
    """The healthy server, by series without the scraper's labels."""
    loaded: dict[str, str] = yaml.safe_load((CASES / "healthy.yaml").read_text())
    return loaded


def cases() -> list[Case]:
    """All of them, in the order of files and of what is in them."""
    healthy = healthy_series()
    return [
        Case(
            name=raw["case"],
            minutes=raw["minutes"],
            step=raw.get("step", "1m"),
            evaluate=raw.get("evaluate", "5m"),
            series=changed(raw, healthy),
            fires=raw["fires"],
            says=raw.get("says", {}),
        )
        for path in sorted(CASES.glob("*.yaml"))
        if path.name != "healthy.yaml"
        for raw in yaml.safe_load(path.read_text())
    ]


def segments(notation: str, steps: int) -> Iterator[tuple[float | None, float, int]]:
    """Start, step and length of each stretch of a series, `steps` values in all; a start of None is a gap."""
    at, left = 0.0, steps
    for part in notation.split():
        found = _SEGMENT.match(part)
        assert found, f"no values: {notation}"
        step = float(found["step"] or 0)
        length = min(int(found["times"] or left), left)
        if not length:
            return
        left -= length
        if found["start"] == "_":
            yield None, 0.0, length
            continue
        start = float(found["start"]) if found["start"] else at + step
        at = start + step * (length - 1)
        yield start, step, length


def values(notation: str, steps: int) -> list[float | None]:
    """Every value; None is a gap."""
    return [
        None if start is None else start + step * number for start, step, length in segments(notation, steps) for number in range(length)
    ]


def promtool_values(notation: str, steps: int) -> str:
    """The same in promtool's notation."""
    return " ".join(
        f"_x{length}" if start is None else f"{start!r}{step:+}x{length - 1}" for start, step, length in segments(notation, steps)
    )


def groups_in_order() -> list[str]:
    """As promtool is to evaluate them: thresholds, what is recorded, alerts."""
    groups = [group["name"] for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return sorted(groups, key=lambda name: (name.endswith("-alerts"), name != "infermeter-thresholds"))


def promtool_tests(chosen: Sequence[Case], *, evaluate: str) -> str:
    """A file for `promtool test rules`; its rule files have absolute paths."""
    tests = [
        {
            "name": case.name,
            "interval": case.step,
            "input_series": [
                {"series": str(key), "values": promtool_values(notation, case.steps + 1)} for key, notation in case.series.items()
            ],
            "promql_expr_test": [
                {
                    "expr": 'count by (alertname, severity) (ALERTS{alertstate="firing"})',
                    "eval_time": when,
                    "exp_samples": [
                        {
                            "labels": '{alertname="%s", severity="%s"}' % tuple(alert.split()),  # noqa: UP031 - braces
                            "value": list(alerts).count(alert),
                        }
                        for alert in sorted(set(alerts))
                    ],
                }
                for when, alerts in case.fires.items()
            ],
        }
        for case in chosen
    ]
    return yaml.safe_dump(
        {
            "rule_files": [str(path) for path in RULES],
            "evaluation_interval": evaluate,
            "group_eval_order": groups_in_order(),
            "tests": tests,
        },
        width=1000,
    )
