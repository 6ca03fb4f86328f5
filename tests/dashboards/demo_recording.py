"""What the demo's sidecars really exposed: `python tests/dashboards/demo_recording.py FILE` records each scenario, tests read the file.

A recording is xz: a line `# scrape <scenario> <unix seconds>` before each page.
"""

from __future__ import annotations

import lzma
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

RECORDING = Path(__file__).parent / "demo.prom.xz"
LOAD_SECONDS = 45
SCENARIOS = ("healthy", "idle", "over-provisioned", "queue-bound")
_SAMPLE = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$")


def record(scenario: str) -> Iterator[str]:
    """Pages of one run of the demo, one a second, each after its line."""
    command = [sys.executable, "-u", "-m", "infermeter", "demo", "--scenario", scenario, "--duration", f"{LOAD_SECONDS}s"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        url = next(line.split()[1] for line in demo.stdout if line.startswith("metrics "))
        for _ in range(LOAD_SECONDS):
            began = time.time()
            with urllib.request.urlopen(url, timeout=5) as page:
                text = page.read().decode()
            yield f"# scrape {scenario} {began:.3f}\n{text}"
            time.sleep(max(0.0, 1 - (time.time() - began)))
        demo.stdout.read()


def lines(recording: Path = RECORDING) -> Iterator[str]:
    """Its samples as OpenMetrics with times, as a Prometheus without cluster labels would have scraped them."""
    instance, instant = "", ""
    with lzma.open(recording, "rt") as file:
        for line in file:
            if line.startswith("# scrape "):
                instance, instant = line.split()[2:]
                yield f"up{{{_target(instance)}}} 1 {instant}"
                yield f"scrape_duration_seconds{{{_target(instance)}}} 0.005 {instant}"
            elif (found := _SAMPLE.match(line.rstrip("\n"))) is not None and not found["name"].startswith("python_"):
                labels = ",".join(part for part in (_target(instance), found["labels"]) if part)
                yield f"{found['name']}{{{labels}}} {found['value']} {instant}"
    yield "# EOF"


def times(recording: Path = RECORDING) -> tuple[float, float]:
    """When the first and the last page were read."""
    with lzma.open(recording, "rt") as file:
        found = [float(line.split()[3]) for line in file if line.startswith("# scrape ")]
    return min(found), max(found)


def _target(instance: str) -> str:
    return f'namespace="demo",job="infermeter",instance="{instance}"'


if __name__ == "__main__":
    with lzma.open(sys.argv[1], "wt", preset=9) as output:
        for name in SCENARIOS:
            output.writelines(record(name))
