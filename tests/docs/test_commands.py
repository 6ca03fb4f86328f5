"""What the documentation tells to type works: it is typed here, or it is on a list that says why it can't be."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.docs.pages import READ, ROOT, blocks, commands, name, prose

from infermeter import cli
from infermeter.parsing.structure import load_config
from support.running import Clock, running

PAGES = [path for path in READ if any(commands(path))]

ELSEWHERE = {
    "tritonserver": "a server",
    "vllm": "a server",
    "text-generation-launcher": "a server",
    "text-embeddings-router": "a server",
    "trtllm-serve": "a server",
    "llama-server": "a server",
    "mlserver": "a server",
    "bentoml": "a server",
    "serve": "Ray Serve, a server",
    "ray": "a server",
    "kubectl": "asks a cluster",
    "helm": "asks a cluster",
    "docker": "starts containers",
    "systemctl": "asks this machine's systemd",
    "nvidia-smi": "asks a GPU",
    "pip": "installs from outside",
    "infermeter/bin/pip": "installs from outside",
}
"""What can't be run here, by its first word, and why. Paths of ours in it must be there all the same."""

NOT_RUN = {
    "serve": "runs until it is told to end: the configuration is checked here, tests/integration starts it",
    "demo": "takes minutes: tests/integration/demo runs it",
    "proxy": "runs until it is told to end: tests/integration/proxy starts it",
    "capture": "records a GPU: tests/integration/test_capture.py plays one",
    "advise": "asks a running sidecar: tests/integration/test_advise_sidecar.py",
    "compare": "reads what was saved by the reader: tests/integration/test_compare.py",
}
"""Commands of ours whose words are only parsed, and why."""

SET = re.compile(r"[A-Z_]+=")
OURS = re.compile(r"(?:alerts|bench|dashboards|deploy|docs|exporter|tests)/[\w./-]+")


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like the repository's root and may be written to."""
    for path in ROOT.iterdir():
        if not path.name.startswith("."):
            (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def parsed(command: str, arguments: list[str]) -> argparse.Namespace:
    """The arguments, as the command takes them. Raises: SystemExit for what it doesn't."""
    parser = argparse.ArgumentParser()
    importlib.import_module(f"infermeter.commands.{command.replace('-', '_')}").add_arguments(parser)
    return parser.parse_args(arguments)


def asked(words: list[str]) -> str:
    """The path that curl asks the sidecar for."""
    found = re.fullmatch(r"http://127\.0\.0\.1:10470(/\S*)", words[-1])
    assert found, words
    return found[1]


def ours(arguments: list[str], folder: Path) -> None:
    """Runs `infermeter`, or parses what can't be run."""
    command = next((word for word in arguments if not word.startswith("-")), "serve")
    assert command in cli.COMMANDS, arguments
    if command in NOT_RUN:
        told = parsed(command, arguments[1:])
        if getattr(told, "config", None):
            assert cli.main(["check-config", told.config]) == 0
        return
    assert cli.main([word.replace("/tmp/", f"{folder}/") for word in arguments]) == 0, arguments


def typed(words: list[str], folder: Path) -> str | None:
    """Does what the words say; a path that the sidecar is to be asked for is handed back."""
    while words and SET.match(words[0]):
        words = words[1:]
    if not words or words[0] == "export":
        return None
    match words[0].rpartition("/")[2] if words[0] not in ELSEWHERE else "elsewhere":
        case "infermeter":
            ours(words[1:], folder)
        case "curl":
            return asked(words)
        case "make":
            subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, check=True, capture_output=True)
        case "promtool":
            subprocess.run(words, check=True, capture_output=True)
        case "python" | "python3" if words[1].startswith("docs/"):
            subprocess.run([sys.executable, *(word.replace("/tmp/", f"{folder}/") for word in words[1:])], check=True)
        case "python" | "python3":
            assert words[1] in {"-m", "server.py", "digits.py"}, "a module of others, or a script that the page itself shows"
        case "git" | "cd" | "kill":
            pass
        case "elsewhere":
            assert all(Path(path).exists() for word in words for path in OURS.findall(word)), words
        case _:
            raise AssertionError(f"nobody has looked whether this can be run: {words}")
    return None


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_what_a_page_tells_to_type_works(path: Path, there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if configurations := [text for text in blocks(path, "yaml") if text.startswith("server:")]:
        (there / "infermeter.yaml").write_text(configurations[0])
    paths = [asking for words in commands(path) if (asking := typed(words, there)) is not None]
    assert capsys.readouterr().err.count("Traceback") == 0

    async def scenario() -> list[str]:
        async with running("gpu: {source: none}", Clock(1_784_505_600_000_000_000)) as sidecar:
            return [await sidecar.text(path) for path in paths]

    if paths:
        assert all(asyncio.run(scenario()))


@pytest.mark.parametrize(
    "words", [["infermeter", "serv"], ["infermeter", "proxy", "--upstrem", "x"], ["curl", "http://127.0.0.1:9/"], ["sl"], ["make", "cofee"]]
)
def test_what_does_not_work_is_caught(words: list[str], there: Path) -> None:
    with pytest.raises((AssertionError, SystemExit, subprocess.CalledProcessError)):
        typed(words, there)


def test_every_command_is_somewhere_in_the_documentation() -> None:
    said = "\n".join(path.read_text() for path in READ)
    assert {command for command in cli.COMMANDS if f"infermeter {command}" not in said} == set()


@pytest.mark.parametrize("path", READ, ids=name)
def test_commands_that_are_named_in_passing_are_there(path: Path) -> None:
    named = re.findall(r"`infermeter ([a-z][\w-]*)", prose(path))
    assert set(named) - set(cli.COMMANDS) == set()


def test_the_commands_that_answer_the_six_questions_are_taken() -> None:
    rows = re.findall(r"^\| command \| (.+) \|$", (ROOT / "docs" / "faq.md").read_text(), re.MULTILINE)
    given = [shlex.split(text) for row in rows for text in re.findall(r"`infermeter ([^`]+)`", row)]
    assert len(given) >= len(rows) - 1
    for command, *arguments in given:
        parsed(command, arguments)


def targets() -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("path", READ, ids=name)
def test_make_has_every_target_that_is_named(path: Path) -> None:
    assert set(re.findall(r"(?:`|^)make ([a-z0-9-]+)", path.read_text(), re.MULTILINE)) <= targets()


def test_make_lists_every_target() -> None:
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == targets()


@pytest.mark.parametrize("path", [path for path in READ if "127.0.0.1:43" in path.read_text()], ids=name)
def test_the_ports_that_are_named_are_the_defaults(path: Path) -> None:
    listen = load_config("", "").listen
    assert set(re.findall(r"127\.0\.0\.1:43\d\d", path.read_text())) <= {listen.otlp_grpc, listen.otlp_http}
    assert listen.web is not None
    assert set(re.findall(r"127\.0\.0\.1:(10\d{3})", path.read_text())) <= {listen.web.rpartition(":")[2]}


def test_the_script_that_is_installed_is_the_command_line() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"infermeter": f"{cli.main.__module__}:{cli.main.__name__}"}
