"""The documentation says what is there: links lead somewhere, names exist, generated pages are up to date."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.docs.pages import READ, ROOT, name

import infermeter.advice
from infermeter.advice.reference import FINDINGS, findings_markdown
from infermeter.cli import COMMANDS
from infermeter.mapping.reference import servers_markdown
from infermeter.mapping.shipped import shipped_mappings
from infermeter.metrics.catalog import CATALOG, PREFIX
from infermeter.parsing.reference import config_markdown

PARTS = {True: ("_bucket", "_sum", "_count"), False: ()}
"""What a histogram's series end in."""

PATH = re.compile(r"`((?:exporter|tests|docs|deploy|bench|\.ci)/[\w./-]*|\w+\.(?:md|toml|py))`")


@pytest.mark.parametrize("path", [ROOT / "CONTRIBUTING.md", ROOT / "README.md"], ids=name)
def test_paths_that_are_named_are_there(path: Path) -> None:
    package = ROOT / "exporter" / "infermeter"
    named = PATH.findall(path.read_text())
    assert [name for name in named if not ((ROOT / name).exists() or (package / name).exists() or list(package.rglob(name)))] == []


@pytest.mark.parametrize("path", READ, ids=name)
def test_metrics_that_are_named_are_published(path: Path) -> None:
    families = {PREFIX + family.name + suffix for family in CATALOG for suffix in ("", *PARTS[family.kind == "histogram"])}
    assert set(re.findall(rf"(?<!:)\b{PREFIX}[a-z_]+[a-z]\b", path.read_text())) <= families


@pytest.mark.parametrize(
    ("title", "made"), [("configuration", config_markdown), ("servers", servers_markdown), ("findings", findings_markdown)]
)
def test_generated_pages_are_up_to_date(title: str, made: Callable[[], str]) -> None:
    assert (ROOT / "docs" / f"{title}.md").read_text() == made(), "make docs"


def test_the_servers_page_has_every_shipped_mapping_with_how_to_switch_it_on() -> None:
    text = servers_markdown()
    for server, mapping in shipped_mappings().items():
        assert f"## {server}\n\n{mapping.title}\n" in text
        assert f"- enable: {mapping.tracing['enable']}" in text


def test_the_findings_page_has_every_finding_that_there_is() -> None:
    modules = [importlib.import_module(f"infermeter.advice.{module.name}") for module in pkgutil.iter_modules(infermeter.advice.__path__)]
    codes = {value for module in modules for name, value in vars(module).items() if isinstance(value, str) and name == value.upper()}
    assert {entry.code for entry in FINDINGS} == codes
    text = findings_markdown()
    for entry in FINDINGS:
        assert f"## {entry.code}\n\n{entry.rule}\n" in text


def test_readme_lists_every_command() -> None:
    assert re.findall(r"^\| `infermeter ([\w-]+)", (ROOT / "README.md").read_text(), re.MULTILINE) == list(COMMANDS)


def test_the_index_lists_every_decision() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = re.findall(r"\]\(([\w-]+\.md)\) \| (.+) \|", (folder / "README.md").read_text())
    assert [file for file, _ in listed] == sorted(path.name for path in folder.glob("0*.md"))
    for file, title in listed:
        assert (folder / file).read_text().startswith(f"# {int(file[:4])}. {title}\n")


def test_the_changelog_has_a_place_for_what_comes() -> None:
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_lock_pins_every_package_and_names_no_index() -> None:
    lines = [line for line in (ROOT / "requirements-dev.lock").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.+!-]+", line)] == []
