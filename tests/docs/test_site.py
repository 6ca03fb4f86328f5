"""The documentation as a site: every page is in its navigation, it is built without a warning, and nothing is loaded from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from docs.src.site import OUTSIDE
from tests.docs.pages import ROOT, name

DOCS = ROOT / "docs"
LOADING = {
    "script": "src",
    "img": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "object": "data",
}


def navigation(entries: list[Any]) -> list[str]:
    """The pages of a navigation, folders unfolded."""
    pages: list[str] = []
    for entry in entries:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            if isinstance(value, list):
                pages += navigation(value)
            elif value.endswith("/*"):
                pages += [str(path.relative_to(DOCS)) for path in DOCS.glob(f"{value}.md")]
            else:
                pages.append(value)
    return pages


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Where the site was built, and what was said meanwhile."""
    made = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(made)]
    built = subprocess.run(command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return made, built.stdout + built.stderr


def test_every_page_is_in_the_navigation_once() -> None:
    listed = navigation(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    pages = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    assert len(set(listed)) == len(listed)
    assert pages - set(listed) == set()


def test_an_entry_of_the_navigation_leads_to_a_page() -> None:
    listed = navigation(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    sources = {page: path for path, page in OUTSIDE.items()}
    assert {page for page in listed if not (ROOT / sources.get(page, f"docs/{page}")).exists()} == set()


def test_the_site_is_built_without_a_word_of_warning(site: tuple[Path, str]) -> None:
    _, said = site
    assert [line for line in said.splitlines() if not line.startswith("INFO")] == []
    assert "contains a link" not in said


def test_what_lies_outside_of_docs_and_is_for_readers_is_on_the_site(site: tuple[Path, str]) -> None:
    made, _ = site
    for page in ("index", "contributing/index", "changelog/index", "alerts/index", "mapping/index"):
        assert (made / f"{page}.html").exists()


class Loaded(HTMLParser):
    """What a page loads by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in LOADING and given.get("rel") not in {"canonical", "next", "prev"}:
            self.found.append(given.get(LOADING[tag]) or "")


def test_nothing_is_loaded_from_elsewhere(site: tuple[Path, str]) -> None:
    made, _ = site
    for page in made.rglob("*.html"):
        text = page.read_text()
        loaded = Loaded()
        loaded.feed(text)
        assert [address for address in loaded.found if "//" in address] == [], page
        assert 'class="mermaid"' not in text, page
    for sheet in made.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//", sheet.read_text()) == [], name(ROOT / "mkdocs.yml")


def test_links_within_the_site_lead_to_its_pages(site: tuple[Path, str]) -> None:
    made, _ = site
    broken = []
    for page in made.rglob("*.html"):
        for link in re.findall(r'<a [^>]*?href="([^"#:]+)(?:#[^"]*)?"', page.read_text()):
            there = (page.parent / link) if page.name != "404.html" else made / link.lstrip("/")
            if not (there.exists() and (there.is_file() or (there / "index.html").exists())):
                broken.append((str(page.relative_to(made)), link))
    assert broken == []


def test_a_page_that_loads_something_from_elsewhere_is_found() -> None:
    loaded = Loaded()
    loaded.feed(
        '<a href="https://a"></a><script src="//b"></script><link rel="canonical" href="https://c"><link rel="stylesheet" href="https://d">'
    )
    assert loaded.found == ["//b", "https://d"]
