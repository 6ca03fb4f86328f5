"""Every panel asks a real Prometheus of what the demo's sidecars exposed, without cluster labels: recorded, and live."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.dashboards.demo_recording import SCENARIOS
from tests.dashboards.history import RULES, binary, free_port, wait_ready
from tests.dashboards.lint_pages import UIDS
from tests.dashboards.plausible import DEMO_LACKS, assert_says_something
from tests.dashboards.queries import History

LIVE_SECONDS = 345
"""Rules about days are evaluated every five minutes."""


@pytest.mark.parametrize("uid", UIDS)
def test_every_panel_says_something_plausible_of_the_recorded_demo(uid: str, pages: list[dict[str, Any]], demo_history: History) -> None:
    assert_says_something(demo_history, next(page for page in pages if page["uid"] == uid), DEMO_LACKS)


@pytest.mark.live
def test_every_panel_says_something_plausible_of_the_demo_while_it_is_scraped(tmp_path: Path, pages: list[dict[str, Any]]) -> None:
    port = free_port()
    groups: list[dict[str, Any]] = []
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "5s"},
        "rule_files": [str(path) for path in RULES],
        "scrape_configs": [
            {
                "job_name": "infermeter",
                "honor_labels": True,
                "file_sd_configs": [{"files": [str(tmp_path / "targets.json")], "refresh_interval": "1s"}],
            }
        ],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))
    command = [binary("prometheus"), f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((tmp_path / "log").open("wb"))
        prometheus = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
        stack.callback(stack.enter_context(prometheus).terminate)
        wait_ready(f"http://127.0.0.1:{port}", prometheus)
        start = time.time()
        for scenario in SCENARIOS:
            options = ["demo", "--scenario", scenario, "--duration", "60s", "--keep"]
            demo = subprocess.Popen([sys.executable, "-u", "-m", "infermeter", *options], stdout=subprocess.PIPE, text=True)
            stack.callback(stack.enter_context(demo).terminate)
            assert demo.stdout is not None
            address = next(line for line in demo.stdout if line.startswith("metrics ")).split("/")[2]
            groups.append({"targets": [address], "labels": {"namespace": "demo", "instance": scenario}})
            (tmp_path / "targets.json").write_text(json.dumps(groups))
        time.sleep(LIVE_SECONDS)
        history = History(f"http://127.0.0.1:{port}", start, time.time(), 1.0)
        for page in pages:
            assert_says_something(history, page, DEMO_LACKS)
