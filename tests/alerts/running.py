"""A real Prometheus over a history, a real Alertmanager behind it, and what takes the notifications."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import yaml
from tests.alerts.scenarios import ROOT, RULES, Case, Key, rules, values
from tests.dashboards.history import evaluated, levels, serving, store

from support.patience import SOON_SECONDS

HOUR_SECONDS, HOURS_STEP_SECONDS = 3600, 300
AHEAD_SECONDS = 20.0
"""So long it may take to record the hours of a history."""


class Receiver:
    """Takes webhooks; `taken`: alerts by the last part of the path."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, dict[str, Any]]] = []
        taken = self.taken

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                taken.extend((self.path.removeprefix("/"), alert) for alert in body["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


def get(url: str, **query: str) -> Any:
    with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
        return json.load(answer)


def post(url: str, body: object) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10):
        pass


def until(holds: Callable[[], bool], *, seconds: float = SOON_SECONDS) -> bool:
    """Whether it comes to hold in time."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        try:
            if holds():
                return True
        except OSError:
            pass
        time.sleep(0.2)
    return False


@contextmanager
def process(name: str, *arguments: str, log: Path) -> Iterator[None]:
    binary = shutil.which(name)
    assert binary, f"{name} is missing: make installs it"
    with log.open("wb") as output, subprocess.Popen([binary, *arguments], stdout=output, stderr=output) as running:
        try:
            yield
        finally:
            running.terminate()


def as_server(key: Key, name: str) -> Key:
    """The same series of another server, so that many stand in one history."""
    renamed = dict(key.labels)
    renamed["instance"] = f"{name}/{renamed['instance']}"
    if "server" in renamed:
        renamed["server"] = name
    return Key(key.name, tuple(sorted(renamed.items())))


def history(cases: Mapping[str, tuple[Case, int]], ends: float) -> str:
    """OpenMetrics: of each case, by name of server, the minutes until one that is `ends`, in seconds since 1970."""
    by_metric: dict[str, list[str]] = {}
    for name, (case, minutes) in cases.items():
        seconds = case.step_seconds
        steps = minutes * 60 // seconds
        for key, notation in case.series.items():
            series = as_server(key, name)
            lines = by_metric.setdefault(key.name, [])
            for step, value in enumerate(values(notation, steps + 1)):
                if value is not None:
                    at = ends - (steps - step) * seconds
                    is_time = "timestamp" in key.name or "start_time" in key.name
                    shown = ends - minutes * 60 + value if is_time else value
                    lines.append(f"{series} {shown!r} {at:.3f}")
    return "".join(f"# TYPE {metric} unknown\n" + "\n".join(lines) + "\n" for metric, lines in by_metric.items()) + "# EOF\n"


def fast_rules(folder: Path, *, held_seconds: int) -> None:
    """The shipped rules, evaluated every two seconds; what must hold for minutes or hours must hold for `held_seconds`."""
    folder.mkdir()
    for path in RULES:
        loaded = yaml.safe_load(path.read_text())
        for group in loaded["groups"]:
            group["interval"] = "2s"
            for rule in group["rules"]:
                rule.pop("keep_firing_for", None)
                if "alert" in rule:
                    rule["for"] = f"{held_seconds}s"
        (folder / path.name).write_text(yaml.safe_dump(loaded, sort_keys=False))


def fast_routes(path: Path, receiver: str) -> None:
    """The shipped configuration, which groups for a second, works at night too, and notifies `receiver`."""
    text = (ROOT / "alerts" / "alertmanager.yml").read_text().replace("127.0.0.1:9095", receiver)
    loaded = yaml.safe_load(text)

    def hasten(route: dict[str, Any]) -> None:
        route.pop("active_time_intervals", None)
        route |= {"group_wait": "3s", "group_interval": "1s"}
        for child in route.get("routes", ()):
            hasten(child)

    hasten(loaded["route"])
    path.write_text(yaml.safe_dump(loaded))


@contextmanager
def alertmanager(folder: Path, receiver: str) -> Iterator[str]:
    """Its address."""
    address = f"127.0.0.1:{free_port()}"
    fast_routes(folder / "alertmanager.yml", receiver)
    arguments = [f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/alertmanager", f"--web.listen-address={address}"]
    with process("prometheus-alertmanager", *arguments, "--cluster.listen-address=", log=folder / "alertmanager.log"):
        assert until(lambda: get(f"http://{address}/api/v2/status") is not None), (folder / "alertmanager.log").read_text()
        yield address


def of_hours() -> list[dict[str, Any]]:
    """What is added up over days, `x[1d:1h]`, and what that is recorded from."""
    recorded = [rule for rule in rules() if "record" in rule]
    names = set(re.findall(r"([a-z_]+(?::[a-z0-9_]+)+)(?:{[^}]*})?\[\d+d:1h\]", " ".join(rule["expr"] for rule in recorded)))
    while read := {name for rule in recorded if rule["record"] in names for name in named(rule["expr"])} - names:
        names |= read
    return [rule for rule in recorded if rule["record"] in names]


def named(expr: str) -> set[str]:
    return set(re.findall(r"[a-z_]+(?::[a-z0-9_]+)+", expr))


def record_hours(folder: Path, ends: float, minutes: int) -> None:
    """What a Prometheus would have recorded of the hours of a history, had it run by then."""
    last = ends // HOURS_STEP_SECONDS * HOURS_STEP_SECONDS
    start = last // HOUR_SECONDS * HOUR_SECONDS - (minutes // 60 + 1) * HOUR_SECONDS
    for level in levels(of_hours()):
        with serving(folder, folder / "data") as url:
            store(folder, folder / "data", [*evaluated(url, level, start, last, HOURS_STEP_SECONDS), "# EOF"])


@contextmanager
def prometheus(folder: Path, cases: Mapping[str, tuple[Case, int]], managers: Sequence[str], *, held_seconds: int = 12) -> Iterator[str]:
    """Its URL; its history ends when it starts."""
    address = f"127.0.0.1:{free_port()}"
    fast_rules(folder / "rules", held_seconds=held_seconds)
    config = {
        "rule_files": [f"{folder}/rules/*.yaml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": list(managers)}]}]},
    }
    now = time.time() + AHEAD_SECONDS
    (folder / "history.om").write_text(history(cases, now))
    made = subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", "-q", f"{folder}/history.om", f"{folder}/data"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    record_hours(folder, now, max(minutes for _, minutes in cases.values()))
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    assert until(lambda: time.time() >= now)
    arguments = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", f"--web.listen-address={address}"]
    with process("prometheus", *arguments, log=folder / "prometheus.log"):
        assert until(lambda: get(f"http://{address}/api/v1/rules")["status"] == "success"), (folder / "prometheus.log").read_text()
        yield f"http://{address}"


def firing(url: str) -> list[tuple[str, str, str]]:
    """Alert, severity and server (nothing where it has none) of each that fires."""
    return sorted(
        (alert["labels"]["alertname"], alert["labels"]["severity"], alert["labels"].get("server", ""))
        for alert in get(f"{url}/api/v1/alerts")["data"]["alerts"]
        if alert["state"] == "firing"
    )
