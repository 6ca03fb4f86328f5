"""What the documentation tells to type works: it is typed here."""

from __future__ import annotations

import asyncio
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from infermeter import cli
from infermeter.structure import load_config
from support.running import Clock, running

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def typed(page: str) -> list[list[str]]:
    """The commands in shell blocks, as words, without comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return [words for block in blocks for line in block.replace("\\\n", " ").splitlines() if (words := shlex.split(line, comments=True))]


TYPED = typed(README)


def targets() -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/decisions/README.md", "docs/architecture.md"])
def test_make_has_every_target_that_is_named(page: str) -> None:
    assert set(re.findall(r"(?:`|^)make ([a-z0-9-]+)", (ROOT / page).read_text(), re.MULTILINE)) <= targets()


def test_make_lists_every_target() -> None:
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == targets()


RUN = [words[words.index("check-config") :] for words in TYPED if "check-config" in words] + [
    words[1:] for words in TYPED if words[0] == "infermeter"
]


@pytest.mark.parametrize("argv", RUN, ids=" ".join)
def test_a_command_of_the_readme_runs(argv: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    assert cli.main(argv) == 0
    assert capsys.readouterr().out != ""


def test_the_sidecar_answers_at_every_address_of_the_readme() -> None:
    paths = [re.sub(r"^http://127\.0\.0\.1:10470", "", words[-1]) for words in TYPED if words[0] == "curl"]
    assert paths

    async def scenario() -> list[str]:
        async with running("gpu: {source: none}", Clock(1_784_505_600_000_000_000)) as sidecar:
            return [await sidecar.text(path) for path in paths]

    assert all(asyncio.run(scenario()))


def test_the_ports_of_the_readme_are_the_defaults() -> None:
    listen = load_config("", "").listen
    assert {listen.otlp_grpc, listen.otlp_http} == set(re.findall(r"127\.0\.0\.1:43\d\d", README))
    assert listen.web is not None
    assert set(re.findall(r"127\.0\.0\.1:(10\d{3})", README)) == {listen.web.rpartition(":")[2]}


def test_inline_configuration_of_the_readme_is_taken() -> None:
    for text in re.findall(r"`(\w+: \{.*?\})`", README):
        load_config(text, text)


def test_the_script_that_is_installed_is_the_command_line() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"infermeter": f"{cli.main.__module__}:{cli.main.__name__}"}
