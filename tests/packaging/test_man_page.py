"""`infermeter reference man`: made of the parser, so it tells of every command and option that there is."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from infermeter import cli


@pytest.fixture(scope="module")
def page() -> str:
    return subprocess.run([sys.executable, "-m", "infermeter", "reference", "man"], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_the_manual_page_has_every_option_that_help_tells(command: str, page: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    options = set(re.findall(r"^  (?:-\w, )?(--[\w-]+)", capsys.readouterr().out, re.MULTILINE)) - {"--help"}
    section = page.partition(f".SS infermeter {command}\n".replace("-", r"\-"))[2].partition("\n.SS ")[0]
    assert {option for option in options if rf"\fB{option}\fR".replace("-", r"\-") not in section} == set()
    assert section != ""


def test_the_manual_page_has_what_a_manual_page_has(page: str) -> None:
    sections = re.findall(r"^\.SH (.+)$", page, re.MULTILINE)
    assert sections == ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "COMMANDS", "ENVIRONMENT", "SIGNALS", "EXIT STATUS"]


def test_no_line_of_text_is_taken_for_a_request(page: str) -> None:
    requests = set(re.findall(r"^[.'](\S*)", page, re.MULTILINE))
    assert requests == {"TH", "SH", "SS", "TP", "PP", "B", "br", "nf", "fi", "RS", "RE"}


@pytest.mark.packaging
def test_mandoc_misses_nothing_but_the_date(page: str) -> None:
    """A date would make two builds of one commit differ."""
    done = subprocess.run(["mandoc", "-T", "lint"], input=page, stdout=subprocess.PIPE, text=True, check=False)
    assert [line for line in done.stdout.splitlines() if "missing date" not in line] == []


EXAMPLE = re.compile(r"^  infermeter (.+?)(?:  .*| > .*)?$", re.MULTILINE)


@pytest.mark.parametrize("command", ["", *sorted(cli.COMMANDS)])
def test_every_example_of_help_is_taken_by_the_parser(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit):
        cli.main([word for word in (command, "--help") if word])
    examples = EXAMPLE.findall(capsys.readouterr().out)
    assert examples
    for example in examples:
        name = example.split()[0]
        module = cli.importlib.import_module(f"infermeter.commands.{name.replace('-', '_')}")
        monkeypatch.setattr(module, "run", lambda _: 0)
        assert cli.main(example.split()) == 0
