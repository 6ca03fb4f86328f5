"""OpenCost's price as a real Prometheus tells it: its parser takes the question, and its samples come with their own times."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from infermeter.config import OpenCost
from infermeter.errors import Unavailable
from infermeter.prices.in_force import Quote
from infermeter.prices.opencost import OpenCostPrices
from support.patience import SOON_SECONDS
from support.peer import Peer, answer

PAGE = """\
# TYPE node_gpu_hourly_cost gauge
node_gpu_hourly_cost{node="gpu-1",instance="gpu-1"} 2.5
node_gpu_hourly_cost{node="gpu-2",instance="gpu-2"} 3
node_gpu_hourly_cost{node="cpu-1",instance="cpu-1"} 0
"""
CONFIG = """\
global: {{scrape_interval: 1s}}
scrape_configs:
- {{job_name: opencost, honor_labels: true, static_configs: [{{targets: ["{address}"]}}]}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Prometheus that has scraped OpenCost's page."""
    binary = shutil.which("prometheus")
    assert binary, "prometheus is missing: install the Debian package `prometheus`"
    folder: Path = tmp_path_factory.mktemp("prometheus")
    url = f"127.0.0.1:{free_port()}"
    with Peer(answer(PAGE.encode(), "Content-Type: text/plain; version=0.0.4")) as opencost:
        (folder / "prometheus.yml").write_text(CONFIG.format(address=opencost.address))
        arguments = (f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", f"--web.listen-address={url}")
        with (folder / "log").open("wb") as log, subprocess.Popen([binary, *arguments], stdout=log, stderr=log) as process:
            try:
                wait_for(f"http://{url}", process)
                yield f"http://{url}"
            finally:
                process.terminate()


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Until it answers with what it has scraped."""
    ends = time.monotonic() + SOON_SECONDS
    while time.monotonic() < ends:
        assert process.poll() is None, "it ended"
        try:
            ask(url, 'node="gpu-1"')
        except Unavailable:
            time.sleep(0.1)
        else:
            return
    pytest.fail("Prometheus tells no price")


def ask(url: str, selector: str | None) -> Quote:
    return OpenCostPrices(OpenCost(selector=selector), url).quote(time.time_ns())


def test_it_tells_the_node_s_price_and_when_it_was_scraped(prometheus: str) -> None:
    quotes = [ask(prometheus, 'node="gpu-1", job=~"open.*",') for _ in range(20)]
    assert {quote.per_hour for quote in quotes} == {2.5}
    assert len({quote.as_of_ns for quote in quotes}) <= 3, "times of scrapes, one a second, and not of the questions"
    assert all(time.time_ns() - 60 * 10**9 < quote.as_of_ns <= time.time_ns() for quote in quotes)


@pytest.mark.parametrize(
    ("selector", "problem"),
    [
        (None, "3 different prices"),
        ('node=~"gpu-.*"', "2 different prices"),
        ('node="cpu-1"', "is 0"),
        ('node="gpu-9"', "no node_gpu_hourly_cost"),
        ('node=~"("', "HTTP 400"),
    ],
)
def test_it_is_told_what_is_wrong_with_the_selector(prometheus: str, selector: str | None, problem: str) -> None:
    with pytest.raises(Unavailable, match=problem):
        ask(prometheus, selector)
