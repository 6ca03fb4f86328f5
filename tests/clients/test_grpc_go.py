"""grpc-go at the shipped command (`make test-clients`): whatever it does, both sides tell the same of each export."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from clients.accounts import SECONDS, Counted, Told, counted, said
from faults.serving import CONFIG, Sidecar, serving

HERE = Path(__file__).resolve().parent
GO = {"GOPATH": "/usr/share/gocode", "GO111MODULE": "off", "GOFLAGS": ""}
"""Where Debian's packages lie."""

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program."""
    program = tmp_path_factory.mktemp("go") / "send"
    done = subprocess.run(
        ["go", "build", "-o", program, "."], cwd=HERE / "go", env={**os.environ, **GO}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return program


def command(client: Path, sidecar: Sidecar, *pattern: str) -> list[str | Path]:
    return [client, "-address", sidecar.addresses["otlp_grpc"], *pattern]


PATTERNS = {
    "one at a time": ["-calls=3000"],
    "100 at a time": ["-calls=5000", "-parallel=100"],
    "many connections": ["-calls=5000", "-parallel=100", "-connections=20"],
    "1 MB": ["-calls=100", "-parallel=30", "-spans=64", "-padding=16000"],
    "a span of 1 MB": ["-calls=20", "-parallel=2", "-padding=1000000"],
    "1 MB, packed": ["-calls=100", "-parallel=4", "-spans=64", "-padding=16000", "-gzip"],
    "long metadata": ["-calls=500", "-parallel=20", "-header=15000"],
}


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS.keys())
def test_every_export_is_taken_and_counted(pattern: Sequence[str], client: Path, tmp_path: Path) -> None:
    with serving(tmp_path) as sidecar:
        told = Told.of(said(command(client, sidecar, *pattern)))
        assert told.ended.keys() == {"OK"}
        assert counted(sidecar, "grpc") == Counted(told.spans, 0)


@pytest.mark.parametrize("pattern", [["-cancel"], ["-cancel", "-spans=64", "-padding=2000"], ["-seconds=0.002"]], ids=" ".join)
def test_of_calls_that_were_given_up_each_is_taken_or_refused_or_came_too_late_to_be_anything(
    pattern: Sequence[str], client: Path, tmp_path: Path
) -> None:
    with serving(tmp_path) as sidecar:
        told = Told.of(said(command(client, sidecar, "-calls=4000", "-parallel=50", *pattern)))
        given_up = told.ended.get("Canceled", 0) + told.ended.get("DeadlineExceeded", 0)
        assert given_up > 0
        assert told.ended.get("OK", 0) + given_up == 4000
        told_each = told.spans // told.ended["OK"]
        now = counted(sidecar, "grpc")
        assert 0 <= (now.spans - told.spans) // told_each + now.refused <= given_up
        assert Told.of(said(command(client, sidecar, "-calls=100"))).ended == {"OK": 100}


def test_who_sends_more_than_is_taken_is_told_to_come_back_and_the_accounts_agree(client: Path, tmp_path: Path) -> None:
    little = f"{CONFIG}limits: {{in_flight_bytes: 2097152, body_bytes: 1048576, decompressed_bytes: 1048576}}\n"
    with serving(tmp_path, little) as sidecar:
        pattern = ["-calls=600", "-parallel=100", "-connections=10", "-spans=8", "-padding=60000"]
        told = Told.of(said(command(client, sidecar, *pattern)))
        assert told.ended.keys() == {"OK", "Unavailable"}
        assert counted(sidecar, "grpc") == Counted(told.spans, told.ended["Unavailable"])


def test_calls_wait_for_a_sidecar_that_stands_still(client: Path, tmp_path: Path) -> None:
    with (
        serving(tmp_path) as sidecar,
        subprocess.Popen(command(client, sidecar, "-calls=20000", "-parallel=50"), stdout=subprocess.PIPE, text=True) as sending,
    ):
        sidecar.until(lambda: counted(sidecar, "grpc").spans > 0)
        sidecar.process.send_signal(signal.SIGSTOP)
        with pytest.raises(subprocess.TimeoutExpired):
            sending.wait(3)
        sidecar.process.send_signal(signal.SIGCONT)
        told = Told.of(sending.communicate(timeout=SECONDS)[0])
        refused = told.ended.pop("Unavailable", 0)  # what would have waited for over a second, on a busy machine
        assert refused < 100
        assert told.ended == {"OK": 20000 - refused}
        assert counted(sidecar, "grpc") == Counted(told.spans, refused)


def test_what_was_answered_before_a_sidecar_ends_is_what_it_says_that_it_received(client: Path, tmp_path: Path) -> None:
    with (
        serving(tmp_path) as sidecar,
        subprocess.Popen(
            command(client, sidecar, "-calls=40000", "-parallel=50", "-connections=5"), stdout=subprocess.PIPE, text=True
        ) as sending,
    ):
        sidecar.until(lambda: counted(sidecar, "grpc").spans > 0)
        assert sidecar.stopped()[0] == 0
        told = Told.of(sending.communicate(timeout=SECONDS)[0])
        assert told.ended.keys() == {"OK", "Unavailable"}
        (received,) = (int(line.partition("stopped: ")[2].split()[0]) for line in sidecar.lines if "stopped: " in line)
        assert received == told.spans
