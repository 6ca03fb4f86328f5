"""`infermeter demo` as people run it: in a process of its own, without a terminal."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from infermeter.cli import main

PATIENCE_SECONDS = 60


@contextmanager
def demo(*options: str) -> Iterator[subprocess.Popen[str]]:
    """A demo that has come so far as to tell its addresses."""
    command = [sys.executable, "-m", "infermeter", "demo", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            while not process.stdout.readline().startswith("metrics "):
                assert process.poll() is None, process.communicate()[1]
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit status, standard output and standard error, once no child of it is left."""
    children = psutil.Process(process.pid).children(recursive=True)
    output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    gone, alive = psutil.wait_procs(children, timeout=PATIENCE_SECONDS)
    assert (len(gone), alive) == (2, [])
    return process.returncode, output, errors


def test_a_short_demo_shows_rows_of_numbers_and_a_closing_report(capsys: pytest.CaptureFixture[str]) -> None:
    before = psutil.Process().children()
    assert main(["demo", "--scenario", "healthy", "--duration", "6s"]) == 0
    output, errors = capsys.readouterr()
    assert errors == ""
    rows = output.partition("SLA 1m\n")[2]
    assert re.match(r" +\d+ +\d+\.\d +(queue|compute) ", rows), rows
    assert "demo-mlp" in output
    assert "example prices of the demo" in output
    assert psutil.Process().children() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_it_can_be_stopped_at_any_time_and_leaves_nothing_behind(number: signal.Signals) -> None:
    with demo() as process:
        process.send_signal(number)
        status, _, errors = ended(process)
    assert (status, errors) == (0, "")


@pytest.mark.parametrize(("command", "name"), [("serve", "sidecar"), ("infermeter.demo.server", "server")])
def test_a_process_of_it_that_dies_ends_it_with_one_line(command: str, name: str) -> None:
    with demo() as process:
        (child,) = [child for child in psutil.Process(process.pid).children() if command in child.cmdline()]
        child.kill()
        output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 1
    assert errors == f"infermeter: the {name} ended with status -9: it said nothing\n"
    assert "Traceback" not in output


@pytest.mark.parametrize("options", [("--scenario", "marvellous"), ("--duration", "soon"), ("--duration", "0s")])
def test_wrong_options_end_it_with_2_and_one_line(options: tuple[str, str]) -> None:
    done = subprocess.run([sys.executable, "-m", "infermeter", "demo", *options], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
