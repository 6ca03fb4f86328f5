"""A history in a real Prometheus, in seconds: samples become blocks, recording rules are evaluated over them level by level."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from infermeter.parsing.durations import duration_seconds
from support.patience import SOON_SECONDS

ROOT = Path(__file__).resolve().parents[2]
RULES = sorted((ROOT / "alerts" / "rules").glob("*.yaml"))


def binary(name: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is missing: install the Debian package `prometheus`"
    return found


def recording_rules() -> list[dict[str, Any]]:
    return [rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"] if "record" in rule]


def alerting_rules() -> list[dict[str, Any]]:
    return [rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"] if "alert" in rule]


def levels(rules: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Rules in an order in which each reads only what an earlier level has recorded."""
    names = {rule["record"] for rule in rules}
    needs = {name: set[str]() for name in names}
    for rule in rules:
        needs[rule["record"]] |= set(re.findall(r"[a-z_]+(?::[a-z0-9_]+)+", rule["expr"])) & names - {rule["record"]}
    done: set[str] = set()
    found = []
    while done < names:
        ready = {name for name in names - done if needs[name] <= done}
        assert ready, f"rules in a circle: {names - done}"
        found.append([rule for rule in rules if rule["record"] in ready])
        done |= ready
    return found


def build(folder: Path, lines: Iterable[str], start: float, end: float, step: float) -> Path:
    """The data directory of a Prometheus that has scraped these lines and evaluated all recording rules from start to end.

    promtool backfills rules one block a rule, which takes minutes; here a level is asked for as a whole and becomes blocks at once.
    """
    data = folder / "data"
    store(folder, data, lines)
    for rules in levels(recording_rules()):
        with serving(folder, data) as url:
            store(folder, data, [*evaluated(url, rules, start, end, step), "# EOF"])
    with serving(folder, data) as url:
        store(folder, data, [*fired(url, start, end, step), "# EOF"])
    return data


def store(folder: Path, data: Path, lines: Iterable[str]) -> None:
    """More blocks, from OpenMetrics."""
    text = folder / "samples.txt"
    with text.open("w") as file:
        file.writelines(f"{line}\n" for line in lines)
    run([binary("promtool"), "tsdb", "create-blocks-from", "openmetrics", "--quiet", str(text), str(data)])
    text.unlink()


def evaluated(url: str, rules: Iterable[dict[str, Any]], start: float, end: float, step: float) -> Iterator[str]:
    """What Prometheus would have recorded: rules without their names, so that two series of an answer may be one, each for a while."""
    samples: dict[str, dict[float, str]] = {}
    for rule in rules:
        for series in ask(url, "query_range", query=rule["expr"], start=start, end=end, step=step)["result"]:
            labels = {name: value for name, value in series["metric"].items() if name != "__name__"} | rule.get("labels", {})
            text = ",".join(f"{name}={json.dumps(value)}" for name, value in sorted(labels.items()))
            samples.setdefault(f"{rule['record']}{{{text}}}", {}).update((instant, value) for instant, value in series["values"])
    for name, values in samples.items():
        yield from (f"{name} {value} {instant}" for instant, value in sorted(values.items()))


@contextlib.contextmanager
def serving(folder: Path, data: Path) -> Iterator[str]:
    """The URL of a Prometheus over a data directory, without targets and rules."""
    port = free_port()
    (folder / "prometheus.yml").write_text("{}\n")
    command = [
        binary("prometheus"),
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            wait_ready(f"http://127.0.0.1:{port}", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def wait_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + SOON_SECONDS
    while time.monotonic() < ends:
        assert process.poll() is None, "Prometheus ended"
        with contextlib.suppress(OSError, urllib.error.HTTPError), urllib.request.urlopen(f"{url}/-/ready", timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.05)
    raise AssertionError("Prometheus isn't ready")


def ask(url: str, path: str, **arguments: object) -> Any:
    """The data of an answer of the HTTP API. Fails with Prometheus' own words."""
    body = urllib.parse.urlencode({name: str(value) for name, value in arguments.items()}, doseq=True).encode()
    request = urllib.request.Request(f"{url}/api/v1/{path}", data=body)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            document = json.load(answer)
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{error.read().decode()}: {arguments}") from error
    return document["data"]


def fired(url: str, start: float, end: float, step: float) -> Iterator[str]:
    """The `ALERTS` that Prometheus would have written: firing once the expression has held for `for`."""
    for rule in alerting_rules():
        held = duration_seconds(str(rule.get("for", "0s"))) or 0.0
        for series in ask(url, "query_range", query=rule["expr"], start=start, end=end, step=step)["result"]:
            labels = {name: value for name, value in series["metric"].items() if name != "__name__"} | rule["labels"]
            labels |= {"alertname": rule["alert"], "alertstate": "firing"}
            text = ",".join(f"{name}={json.dumps(value)}" for name, value in labels.items())
            since = last = None
            for instant, _ in series["values"]:
                since = instant if last is None or instant - last > step else since
                last = instant
                if instant - since >= held:
                    yield f"ALERTS{{{text}}} 1 {instant}"


def run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port
