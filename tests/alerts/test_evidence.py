"""A ratio per inference is told by the rules where the exporter tells it itself, and nowhere else."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from tests.alerts.scenarios import RULES, TARGET, Key, groups_in_order, key_of, with_target

from infermeter.config import Server
from infermeter.ledger import Ledger
from infermeter.model import ServerReading
from support.ledgers import Inference, S, at, batch, config, ledger, of_model
from support.server_readings import readings

HOUR_MINUTES, STEP_SECONDS = 60, 10
RATIOS = (
    "server_model:infermeter_joules_per_inference:ratio_rate1h",
    "server_model:infermeter_inferences_per_joule:ratio_rate1h",
    "server_model:infermeter_cost_per_inference:ratio_rate1h",
)


@dataclass(frozen=True, eq=False)
class Life:
    """`served`, `seen`: inferences of each model in each minute; `silent`: minutes in which the server's own counter doesn't answer."""

    name: str
    minutes: int
    served: Mapping[str, Sequence[int]]
    seen: Mapping[str, Sequence[int]]
    silent: range = range(0)


def evenly(count: int, minutes: int = HOUR_MINUTES) -> list[int]:
    """So many in an hour, spread over it, for so many minutes."""
    return [(minute + 1) * count // HOUR_MINUTES - minute * count // HOUR_MINUTES for minute in range(minutes)]


def life(name: str, served: Mapping[str, int], seen: Mapping[str, int], *, minutes: int = 65, silent: range = range(0)) -> Life:
    return Life(
        name,
        minutes,
        {model: evenly(count, minutes) for model, count in served.items()},
        {model: evenly(count, minutes) for model, count in seen.items()},
        silent,
    )


TOLD = {
    life("enough inferences, all of them seen", {"chat": 40}, {"chat": 40}): {"chat"},
    life("too few inferences", {"chat": 25}, {"chat": 25}): set(),
    life("one model, of which no span came", {"chat": 40}, {"chat": 0}): {"chat"},
    life("two models, of one of which no span came", {"chat": 60, "embed": 60}, {"chat": 60, "embed": 0}): {"chat"},
    life("two models, one of them too seldom", {"chat": 60, "embed": 20}, {"chat": 60, "embed": 20}): {"chat"},
    life("a counter that hasn't answered for a sixth of the window", {"chat": 240}, {"chat": 240}, silent=range(55, 66)): set(),
    life("a counter that hasn't answered for a minute", {"chat": 240}, {"chat": 240}, silent=range(64, 66)): {"chat"},
    life("a counter that was silent within the window and answers again", {"chat": 240}, {"chat": 240}, silent=range(30, 40)): {"chat"},
    life("a counter that tells at once of hours", {"chat": 240}, {"chat": 240}, minutes=150, silent=range(40, 140)): set(),
}  # fmt: skip


def inferences(by_model: Mapping[str, Sequence[int]]) -> list[Inference]:
    return [
        Inference(60 * minute + 60 / count * i + 0.25, 60 * minute + 60 / count * i + 0.75, model=model)
        for model, counts in by_model.items()
        for minute, count in enumerate(counts)
        for i in range(count)
    ]


def told_by_the_exporter(of: Life) -> set[str]:
    book: Ledger = ledger(config(server=Server(model="chat", metrics_url="http://127.0.0.1:8000/metrics")), gpus=(), offline=False)
    until = 60 * of.minutes
    spans, told = inferences(of.seen), _answers(inferences(of.served), until, of.silent)
    for second in range(STEP_SECONDS, until + 1, STEP_SECONDS):
        since = second - STEP_SECONDS
        for one in told:
            if at(since) - (since == 0) < one.time_ns <= at(second):
                book.add_server_reading(one)
        book.add(batch([one for one in spans if since < one.end <= second]), at(second))
        book.advance(at(second), STEP_SECONDS * S)
    snapshot = book.snapshot(at(until))
    return {model for model in of.served if of_model(snapshot, model).windows[0].divisible}


def _answers(served: list[Inference], until: int, silent: range) -> list[ServerReading]:
    """What scrapes tell; one after a silence tells of all of it."""
    interval = float(STEP_SECONDS)
    if not silent:
        return readings(served, until=until, interval=interval)
    before, after = 60 * silent.start, min(60 * silent.stop, until)
    told = readings([one for one in served if one.end <= before], until=before, interval=interval)
    if after < until:
        at_once = readings(served, until=until, start=before, interval=after - before)[1:2]
        told += at_once + readings(served, until=until, start=after, interval=interval)[1:]
    return told


def told_by_the_rules(lives: Sequence[Life], folder: Path) -> None:
    """promtool, with what is to be there of each ratio."""
    tests = [
        {
            "name": of.name,
            "interval": "1m",
            "input_series": [{"series": str(key), "values": " ".join(values)} for key, values in series(of).items()],
            "promql_expr_test": [
                {
                    "expr": f"count by (model) ({ratio})",
                    "eval_time": f"{of.minutes}m",
                    "exp_samples": [{"labels": f'{{model="{model}"}}', "value": 1} for model in sorted(TOLD[of])],
                }
                for ratio in RATIOS
            ],
        }
        for of in lives
    ]
    file = folder / "tests.yaml"
    told = {"rule_files": list(map(str, RULES)), "evaluation_interval": "5m", "group_eval_order": groups_in_order(), "tests": tests}
    file.write_text(yaml.safe_dump(told, width=10_000))
    done = subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def series(of: Life) -> dict[Key, list[str]]:
    """Counters by minute, as the exporter would expose them: totals stand still while the server doesn't answer."""
    found: dict[str, list[float]] = {"infermeter_server_scrape_up": [float(m not in of.silent) for m in range(of.minutes + 1)]}
    for model in of.served:
        served, seen = _summed(of.served[model]), _summed(of.seen[model])
        found[f'infermeter_inferences_total{{model="{model}",outcome="ok"}}'] = _standing(served, of.silent)
        found[f'infermeter_inferences_observed_total{{model="{model}",outcome="ok"}}'] = seen
        found[f'infermeter_energy_joules_total{{model="{model}",use="active"}}'] = [1000.0 * m for m in range(of.minutes + 1)]
        found[f'infermeter_cost_by_use_total{{model="{model}",use="active",currency="USD"}}'] = [m / 8 for m in range(of.minutes + 1)]
    return {with_target(key_of(text), TARGET): [f"{value!r}" for value in values] for text, values in found.items()}


def _summed(counts: Sequence[int]) -> list[float]:
    return [float(sum(counts[:minute])) for minute in range(len(counts) + 1)]


def _standing(values: list[float], silent: range) -> list[float]:
    return [values[silent.start if minute in silent else minute] for minute in range(len(values))]


@pytest.mark.parametrize("of", TOLD, ids=lambda of: of.name)
def test_the_exporter_tells_ratios_of_the_models_of_which_there_is_evidence(of: Life) -> None:
    assert told_by_the_exporter(of) == TOLD[of]


def test_the_rules_tell_ratios_of_the_same_models(tmp_path: Path) -> None:
    told_by_the_rules(list(TOLD), tmp_path)
