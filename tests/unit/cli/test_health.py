"""`infermeter health`: what a health check sees of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from infermeter import cli
from support.peer import Peer, answer

HEAVY = {"aiohttp", "grpc", "numpy", "yaml", "google.protobuf", "infermeter.config"}


@pytest.mark.parametrize(("options", "path"), [([], "/-/healthy"), (["--ready"], "/-/ready")])
@pytest.mark.parametrize("end", ["", "/"])
def test_a_sidecar_that_answers_is_well_and_nothing_is_printed(
    options: list[str], path: str, end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Peer(answer(b"well\n")) as sidecar:
        assert cli.main(["health", *options, "--url", f"http://{sidecar.address}{end}"]) == 0
        assert sidecar.requests[0].startswith(f"GET {path} ")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("options", "said"), [([], "not healthy: "), (["--ready"], "not ready: ")])
def test_one_that_refuses_is_not_and_says_why_in_a_line(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Peer(answer(b"", status="503 Service Unavailable")) as sidecar:
        assert cli.main(["health", *options, "--url", f"http://{sidecar.address}"]) == 1
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert told.err.startswith(said)
    assert "503" in told.err


def test_one_that_is_not_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["health", "--url", "http://127.0.0.1:1"]) == 1
    assert capsys.readouterr().err.startswith("not healthy: http://127.0.0.1:1")


@pytest.mark.parametrize("url", ["127.0.0.1:10470", "ftp://127.0.0.1", "http://127.0.0.1:10470/-/ready"])
def test_a_url_that_names_no_sidecar_is_wrong_use(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["health", "--url", url]) == 2
    assert capsys.readouterr().err.startswith("--url: ")


def test_it_imports_nothing_heavy() -> None:
    text = "import sys; from infermeter import cli; cli.main(['health', '--url', 'http://127.0.0.1:1']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & HEAVY == set()
