"""A fleet that a real Prometheus scrapes, with the shipped rules: how long rules and panels take, and what it costs.

usage: run.py --sidecars 1000 --minutes 20 [--scrape-seconds 30] [--victoria] [--output FILE.json]

Serves so many synthetic sidecars, starts Prometheus (Debian's, on the path) and with `--victoria` VictoriaMetrics, to which it writes
everything. Once so many minutes of samples are there (six will do), each panel's query of dashboards/ is asked three times, with
the variables at All and with one server chosen. Prints what each rule group took and what each panel takes, and writes all figures.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml
from questions import POINTS, Question, questions
from sidecar import Sidecar

HERE = Path(__file__).resolve().parent
RULES = HERE.parents[1] / "alerts" / "rules"
PROCESSES = 2
REPEATED = 3
SHOWN = 6
ENOUGH_SECONDS = 5.0
"""A query that has taken so long isn't asked again."""

GOAL_SECONDS = 2.0
VICTORIA = ("-search.maxUniqueTimeseries=2000000", "-retentionPeriod=1")
PAGES = (
    "infermeter-fleet",
    "infermeter-cost",
    "infermeter-idle",
    "infermeter-rightsizing",
    "infermeter-slo",
    "infermeter-exporter",
    "infermeter-stages",
    "infermeter-server",
)
"""From those that are read over all servers to those that are read of one."""

SINGLE = (
    "up",
    "targets",
    "up_over_time",
    "series_of_a_sidecar_at_most",
    "scrape_seconds_median",
    "scrape_seconds_most",
    "head_series",
    "recorded_series",
    "missed_iterations",
    "failed_evaluations",
    "cpu_seconds_a_second",
    "resets_seen",
    "alerts_firing",
)
AT_ALL = ", All"
SERIES_BUDGET = 600
RELOAD_SECONDS = 5.0
TIMEOUT_SECONDS = 60.0
JOB = "infermeter"
KEPT_OF_ITSELF = "prometheus_(rule_.*|tsdb_head_series|target_.*|remote_storage_(samples|shards).*)|process_.*|up"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextmanager
def running(*command: str, log: Path) -> Iterator[psutil.Process]:
    """A child process that ends with this one."""
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            yield psutil.Process(process.pid)
        finally:
            process.terminate()


def ask(base: str, path: str, **parameters: str | float) -> Any:  # noqa: ANN401 -- JSON
    """The `data` of an answer of Prometheus' HTTP API. Raises: OSError; ValueError for an answer that is none."""
    query = urllib.parse.urlencode(parameters)
    with urllib.request.urlopen(f"{base}/api/v1/{path}?{query}", timeout=TIMEOUT_SECONDS) as response:
        return json.load(response)["data"]


def number(base: str, promql: str, at: float) -> float | None:
    """The one value of an instant query."""
    found = ask(base, "query", query=promql, time=at)["result"]
    return float(found[0]["value"][1]) if found else None


def targets(path: Path, sidecars: int, ports: Sequence[int]) -> None:
    """Service discovery by file: where each sidecar is, and the labels that a Kubernetes scrape would give it."""
    each = -(-sidecars // len(ports))
    found = []
    for i in range(sidecars):
        place = Sidecar(i).place
        labels = {
            "__metrics_path__": f"/sidecars/{i}/metrics",
            "cluster": place.cluster,
            "namespace": place.namespace,
            "instance": place.instance,
        }
        found.append({"targets": [f"127.0.0.1:{ports[i // each]}"], "labels": labels})
    path.write_text(json.dumps(found))


def configuration(folder: Path, own: str, scrape_seconds: int, victoria: str | None) -> Path:
    told: dict[str, Any] = {
        "global": {"scrape_interval": f"{scrape_seconds}s", "evaluation_interval": "30s"},
        "rule_files": [f"{folder}/rules/*.yaml"],
        "scrape_configs": [
            {"job_name": JOB, "honor_labels": True, "file_sd_configs": [{"files": [f"{folder}/targets.json"]}]},
            {
                "job_name": "prometheus",
                "scrape_interval": "15s",
                "static_configs": [{"targets": [own]}],
                "metric_relabel_configs": [{"source_labels": ["__name__"], "regex": KEPT_OF_ITSELF, "action": "keep"}],
            },
        ],
    }
    if victoria is not None:
        told["remote_write"] = [{"url": f"{victoria}/api/v1/write"}]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(told, sort_keys=False))
    return path


def timed(base: str, process: psutil.Process, question: Question, end: float, period_seconds: float) -> dict[str, Any]:
    """How long the answer took, in turn, with the transfer, and how much CPU the process used meanwhile; and how many series it holds."""
    seconds: list[float] = []
    cpu: list[float] = []
    series, problem = 0, ""
    while len(seconds) < REPEATED and sum(seconds) < ENOUGH_SECONDS:
        begin, used = time.monotonic(), cpu_seconds(process)
        try:
            if question.instant:
                found = ask(base, "query", query=question.promql, time=end)
            else:
                found = ask(base, "query_range", query=question.promql, start=end - period_seconds, end=end, step=period_seconds / POINTS)
            series = len(found["result"])
        except (OSError, ValueError) as error:
            problem = f"{type(error).__name__}: {error}"
        seconds.append(time.monotonic() - begin)
        cpu.append(cpu_seconds(process) - used)
    return {
        "page": question.page,
        "panel": question.panel,
        "promql": question.promql,
        "series": series,
        "problem": problem,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "load": psutil.getloadavg()[0],
    }


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def all_up(base: str, sidecars: int, minutes: float) -> float:
    """The last instant at which every sidecar answered. Raises: ValueError if there is none."""
    now = time.time()
    found = ask(base, "query_range", query=f'sum(up{{job="{JOB}"}})', start=now - 60 * minutes, end=now, step=15)["result"]
    return max(at for at, value in found[0]["values"] if float(value) == sidecars)


def watch(base: str, minutes: float, processes: Mapping[str, psutil.Process]) -> dict[str, float]:
    """Waits, and says every minute how far it is. Returns the most resident memory of each process, in GiB."""
    most = dict.fromkeys(processes, 0.0)
    ends = time.monotonic() + 60 * minutes
    while time.monotonic() < ends:
        time.sleep(min(60.0, max(0.1, ends - time.monotonic())))
        for name, process in processes.items():
            most[name] = max(most[name], process.memory_info().rss / 2**30)
        up, series = number(base, f'sum(up{{job="{JOB}"}})', time.time()), number(base, "prometheus_tsdb_head_series", time.time())
        print(f"{(ends - time.monotonic()) / 60:.1f} min left: up {up:.0f}, series {series or 0:.0f}, GiB {most}", flush=True)
    return most


def facts(base: str, end: float, minutes: float) -> dict[str, Any]:
    """What Prometheus tells of itself, of so many minutes up to `end`."""
    window = f"{60 * minutes:.0f}s"
    groups = {
        row["metric"]["rule_group"].rpartition(";")[2]: float(row["value"][1])
        for row in ask(base, "query", query=f"max_over_time(prometheus_rule_group_last_duration_seconds[{window}])", time=end)["result"]
    }
    last = {
        row["metric"]["rule_group"].rpartition(";")[2]: float(row["value"][1])
        for row in ask(base, "query", query="prometheus_rule_group_last_duration_seconds", time=end)["result"]
    }
    evaluated = [
        {
            "group": group["name"],
            "rule": rule["name"],
            "seconds": rule["evaluationTime"],
            "health": rule["health"],
            "error": rule.get("lastError"),
        }
        for group in ask(base, "rules")["groups"]
        for rule in group["rules"]
    ]
    single = {
        "up": f'sum(up{{job="{JOB}"}})',
        "targets": f'count(up{{job="{JOB}"}})',
        "up_over_time": f'avg(avg_over_time(up{{job="{JOB}"}}[{window}]))',
        "series_of_a_sidecar_at_most": f'max(max_over_time(scrape_samples_post_metric_relabeling{{job="{JOB}"}}[{window}]))',
        "scrape_seconds_median": f'quantile(0.5, avg_over_time(scrape_duration_seconds{{job="{JOB}"}}[{window}]))',
        "scrape_seconds_most": f'max(max_over_time(scrape_duration_seconds{{job="{JOB}"}}[{window}]))',
        "head_series": "prometheus_tsdb_head_series",
        "recorded_series": 'count({__name__=~".+:.+"})',
        "missed_iterations": f"sum(increase(prometheus_rule_group_iterations_missed_total[{window}]))",
        "failed_evaluations": f"sum(increase(prometheus_rule_evaluation_failures_total[{window}]))",
        "cpu_seconds_a_second": f'rate(process_cpu_seconds_total{{job="prometheus"}}[{window}])',
        "resets_seen": f"sum(resets(infermeter_inferences_observed_total{{outcome='ok'}}[{window}]))",
        "alerts_firing": 'count(ALERTS{alertstate="firing"})',
    }
    return {
        "groups_most": groups,
        "groups_last": last,
        "rules": evaluated,
        **{name: number(base, promql, end) for name, promql in single.items()},
    }


def table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    slow = [row for row in rows if statistics.median(row["seconds"]) > GOAL_SECONDS]
    wrong = [row for row in rows if row["problem"]]
    print(f"\n{title}: {len(rows)} queries, {len(slow)} over {GOAL_SECONDS:.0f} s, {len(wrong)} failed; the slowest:")
    for row in sorted(rows, key=lambda row: -statistics.median(row["seconds"]))[:SHOWN]:
        middle = statistics.median(row["seconds"]), statistics.median(row["cpu_seconds"])
        print(f"  {middle[0]:6.2f} s {middle[1]:6.2f} s of CPU {row['series']:6d} series  {row['page']}: {row['panel']} {row['problem']}")


def marked(seconds: float) -> str:
    """Bold where it misses the goal."""
    return f"**{seconds:.2f}**" if seconds > GOAL_SECONDS else f"{seconds:.2f}"


def panels(answers: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Every panel at All: its slowest query, in each store. Elapsed seconds, and CPU seconds of the store's process."""
    stores = [name.removesuffix(AT_ALL) for name in answers if name.endswith(AT_ALL)]
    heads = " | ".join(f"{store}: elapsed | CPU" for store in stores)
    print(f"\npanels at All, the slowest of each one's queries (goal {GOAL_SECONDS:.0f} s):\n\n| page | panel | queries | {heads} |")
    print("| --- | --- | --- |" + " --- | --- |" * len(stores))
    slowest: dict[tuple[str, str], dict[str, list[tuple[float, float]]]] = {}
    for store in stores:
        for row in answers[store + AT_ALL]:
            took = statistics.median(row["seconds"]), statistics.median(row["cpu_seconds"])
            slowest.setdefault((row["page"], row["panel"]), {}).setdefault(store, []).append(took)
    for (page, panel), by_store in sorted(slowest.items(), key=lambda item: -max(max(took)[0] for took in item[1].values())):
        figures = " | ".join(" | ".join(marked(seconds) for seconds in max(by_store[store])) for store in stores)
        print(f"| {page} | {panel} | {len(by_store[stores[0]])} | {figures} |")


def rules() -> list[Question]:
    """What each rule asks, group by group."""
    return [
        Question(group["name"], rule.get("record") or rule["alert"], rule["expr"], instant=True)
        for path in sorted(RULES.glob("*.yaml"))
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


def report(found: Mapping[str, Any]) -> None:
    for name in SINGLE:
        print(f"{name}: {found[name]}")
    print(f"\nrule groups, elapsed seconds (goal {GOAL_SECONDS:.0f}):\n\n| group | last | most |\n| --- | --- | --- |")
    for name, seconds in sorted(found["groups_most"].items(), key=lambda row: -row[1]):
        print(f"| {name} | {found['groups_last'].get(name, math.nan):.2f} | {marked(seconds)} |")
    slowest = sorted(found["rules"], key=lambda rule: -rule["seconds"])[:10]
    print("slowest rules:", *(f"{rule['seconds']:.3f} {rule['rule']}" for rule in slowest), sep="\n  ")


def questioned(options: argparse.Namespace, bases: Mapping[str, str], processes: Mapping[str, psutil.Process]) -> dict[str, Any]:
    """All figures, from a Prometheus that neither scrapes nor evaluates any longer, so that its CPU time is the question's.

    The period ends when all sidecars answered for the last time.
    """
    period = 60 * options.minutes
    end = all_up(bases["prometheus"], options.sidecars, options.minutes)
    found: dict[str, Any] = {"sidecars": options.sidecars, "scrape_seconds": options.scrape_seconds, "end": end}
    found |= facts(bases["prometheus"], end, options.minutes)
    report(found)
    found["rules_asked"] = rows = [timed(bases["prometheus"], processes["prometheus"], question, end, period) for question in rules()]
    table("rules", rows)
    print("\n| group | rules | CPU, s | longest rule, s |\n| --- | --- | --- | --- |")
    for group in dict.fromkeys(row["page"] for row in rows):
        used = [statistics.median(row["cpu_seconds"]) for row in rows if row["page"] == group]
        print(f"| {group} | {len(used)} | {marked(sum(used))} | {max(used):.2f} |")
    for page in PAGES:
        for name, base in bases.items():
            for which, chosen in {AT_ALL: {}, ", one server": {"server": Sidecar(0).server}}.items():
                every = questions(scrape_seconds=options.scrape_seconds, period_seconds=period, chosen=chosen)
                rows = [timed(base, processes[name], question, end, period) for question in every if question.page == page]
                found.setdefault("answers", {}).setdefault(name + which, []).extend(rows)
                table(f"{page}, {name}{which}", rows)
        if options.output is not None:
            options.output.write_text(json.dumps(found, indent=1))
    panels(found["answers"])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sidecars", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--scrape-seconds", type=int, default=30)
    parser.add_argument("--victoria", action="store_true", help="with VictoriaMetrics, over remote write")
    parser.add_argument("--output", type=Path, help="where the figures go, as JSON")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fleet-")))
        shutil.copytree(RULES, folder / "rules")
        processes, bases = {}, {}
        if options.victoria:
            address = f"127.0.0.1:{free_port()}"
            command = ("victoria-metrics", f"-storageDataPath={folder}/victoria", f"-httpListenAddr={address}", *VICTORIA)
            processes["victoria-metrics"] = stack.enter_context(running(*command, log=folder / "victoria.log"))
            bases["victoria-metrics"] = f"http://{address}"
        with ExitStack() as fleet:
            ports = [free_port() for _ in range(PROCESSES)]
            targets(folder / "targets.json", options.sidecars, ports)
            each = -(-options.sidecars // PROCESSES)
            for i, port in enumerate(ports):
                count = str(min(each, options.sidecars - i * each))
                serve = (sys.executable, str(HERE / "serve.py"), "--port", str(port), "--first", str(i * each), "--count", count)
                fleet.enter_context(running(*serve, log=folder / f"serve-{i}.log"))
            own = f"127.0.0.1:{free_port()}"
            config = configuration(folder, own, options.scrape_seconds, bases.get("victoria-metrics"))
            command = ("prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/data", f"--web.listen-address={own}")
            processes["prometheus"] = stack.enter_context(running(*command, log=folder / "prometheus.log"))
            bases = {"prometheus": f"http://{own}", **bases}
            time.sleep(2 * options.scrape_seconds)
            most = watch(bases["prometheus"], options.minutes, processes)
        config.write_text("global: {}\n")
        processes["prometheus"].send_signal(signal.SIGHUP)
        time.sleep(RELOAD_SECONDS)
        found = questioned(options, bases, processes)
        print(f"resident memory at most, GiB: {most}")
    return int((found["series_of_a_sidecar_at_most"] or 0) > SERIES_BUDGET or found["up"] != options.sidecars)


if __name__ == "__main__":
    sys.exit(main())
