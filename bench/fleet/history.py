"""What rules over long ranges cost once the history is there: days of the counters that they read, as blocks of a real Prometheus.

usage: history.py --sidecars 40 [--days 3] [--scrape-seconds 30] [--output FILE.json]

Twenty minutes of a live fleet say nothing of `rate(...[3d])`. Here few sidecars have their whole history, at the live resolution; time
grows with their number, so the figures are told for 1,000 of them, too.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

from questions import Question
from run import JOB, ask, free_port, rules, running, timed
from sidecar import GPUS, MODELS, REPLICAS, Load, Sidecar

DAY_SECONDS = 86_400
BLOCK_SECONDS = 7200
"""Of a block of Prometheus; a file with more than one is read once for each."""

TOLD_FOR = 1000
HOURS_SECONDS, STATES_SECONDS = 300, 60
"""How often the live rules record what others sum up."""

LONG_RANGE = re.compile(r"\[(\d+d|[2-9]h|\d\dh)(:\w+)?\]")
READY_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Told:
    """A series: its value at an instant, and how often it is told. `kind` is OpenMetrics' word."""

    name: str
    kind: str
    labels: str
    step: int
    value: Callable[[int], float]


def labels(sidecar: Sidecar, **more: str) -> str:
    place = sidecar.place
    told = {"cluster": place.cluster, "namespace": place.namespace, "job": JOB, "server": sidecar.server, **more}
    return "{" + ",".join(f'{name}="{value}"' for name, value in told.items()) + "}"


def history(sidecars: int, step: int, start: int) -> Iterator[Told]:
    """What rules over long ranges read: counters of inferences and of GPUs' states, and recorded sums of an hour."""
    for sidecar in (Sidecar(i) for i in range(sidecars)):
        instance = sidecar.place.instance
        yield Told("infermeter_build_info", "gauge", labels(sidecar, instance=instance), step, lambda _: 1)
        for i, model in enumerate(MODELS):
            served = partial(Load(6.0, 0.6, 700.0, i).between, start)
            of = partial(labels, sidecar, model=model)
            one = partial(of, instance=instance)
            yield Told("infermeter_sla_quantile_ratio", "gauge", one(), step, lambda _: 0.99)
            for outcome, share in (("ok", 0.998), ("error", 0.002)):
                seen = partial(counted, served, share)
                yield Told("infermeter_inferences_observed_total", "counter", one(outcome=outcome), step, seen)
            yield Told("infermeter_inferences_observed_within_sla_total", "counter", one(), step, partial(counted, served, 0.99))
            if sidecar.number % REPLICAS == 0:
                for what in ("missed", "judged"):
                    name = f"server_model:infermeter_inferences_{what}:increase1h"
                    yield Told(name, "gauge", of(), HOURS_SECONDS, lambda at: at % 7919 / 100)
        if sidecar.number % REPLICAS == 0:
            for state, share in (("active", 0.7), ("held_idle", 0.3), ("idle", 0.0), ("unknown", 0.0)):
                name = "server_state:infermeter_gpu_state_seconds:rate1h"
                yield Told(name, "gauge", labels(sidecar, state=state), STATES_SECONDS, partial(steady, GPUS * REPLICAS * share))
        for gpu in range(GPUS):
            for state, share in (("active", 0.7), ("held_idle", 0.3), ("idle", 0.0), ("unknown", 0.0)):
                told = labels(sidecar, instance=instance, gpu_uuid=f"GPU-{sidecar.number:08x}-{gpu}", state=state)
                yield Told("infermeter_gpu_state_seconds_total", "counter", told, step, partial(settled, share, start))


def counted(served: Callable[[float], float], share: float, at: int) -> float:
    return int(share * served(at))


def steady(value: float, _: int) -> float:
    return value


def settled(share: float, start: int, at: int) -> float:
    return share * ((at - start) // 60 * 60)


def openmetrics(every: Sequence[Told], start: int, end: int) -> Iterator[str]:
    """The samples of one block."""
    for name, some in groupby(sorted(every, key=lambda told: told.name), key=lambda told: told.name):
        of = list(some)
        yield f"# TYPE {name.removesuffix('_total')} {of[0].kind}\n"
        for told in of:
            yield from (f"{name}{told.labels} {told.value(at)} {at}\n" for at in range(start, end, told.step))
    yield "# EOF\n"


def blocks(every: Sequence[Told], folder: Path, start: int, end: int) -> None:
    """Writes the samples as Prometheus' blocks."""
    text = folder / "history.om"
    for at in range(start, end, BLOCK_SECONDS):
        with text.open("w") as written:
            written.writelines(openmetrics(every, at, at + BLOCK_SECONDS))
        create = ("promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet", str(text), str(folder / "data"))
        subprocess.run(create, check=True, stdout=subprocess.DEVNULL)
    text.unlink()


def long_rules() -> list[Question]:
    """Of alerts/rules those with a range of two hours or more."""
    return [rule for rule in rules() if LONG_RANGE.search(rule.promql)]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sidecars", type=int, default=40)
    parser.add_argument("--days", type=int, default=3)
    parser.add_argument("--scrape-seconds", type=int, default=30)
    parser.add_argument("--output", type=Path, help="where the figures go, as JSON")
    options = parser.parse_args()
    end = int(time.time()) // BLOCK_SECONDS * BLOCK_SECONDS
    start = end - options.days * DAY_SECONDS
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="history-")))
        blocks(list(history(options.sidecars, options.scrape_seconds, start)), folder, start, end)
        (folder / "prometheus.yml").write_text("global: {}\n")
        address = f"127.0.0.1:{free_port()}"
        command = (
            "prometheus",
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address={address}",
        )
        process = stack.enter_context(running(*command, log=folder / "log"))
        base = f"http://{address}"
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until:
            try:
                if ask(base, "query", query="count(infermeter_build_info)", time=end - 60)["result"]:
                    break
            except (OSError, ValueError):
                time.sleep(0.5)
        rows = [timed(base, process, rule, end - 30, 0) for rule in long_rules()]
    factor = TOLD_FOR / options.sidecars
    for row in rows:
        used = statistics.median(row["cpu_seconds"])
        told = f"{used:7.3f} s of CPU, {used * factor:6.2f} s for {TOLD_FOR}, {row['series']:5d} series"
        print(f"{told}  {row['page']}: {row['panel']} {row['problem']}")
    if options.output is not None:
        options.output.write_text(json.dumps(rows, indent=1))
    return int(any(row["problem"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
