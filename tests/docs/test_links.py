"""Every link of every page leads somewhere: to a file, and to a heading of it. Those that leave the repository are listed, not followed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.docs.pages import PAGES, headings, name, prose

LINK = re.compile(r"\]\(([^)\s]+)\)")
HOSTS = {"keepachangelog.com", "semver.org", "www.conventionalcommits.org", "github.com"}
"""Where pages may point to, outside of the repository: nothing is fetched, so each was looked at by a person."""


def links(path: Path) -> list[str]:
    return LINK.findall(re.sub(r"`[^`\n]*`(?!\])", "", prose(path)))


def broken(path: Path) -> list[str]:
    """The links of a page that lead to no file, or to no heading of it."""
    found = []
    for link in links(path):
        target, _, anchor = link.partition("#")
        if "//" in target:
            continue
        there = path.parent / target if target else path
        page = there / "README.md" if there.is_dir() and anchor else there
        if not there.exists() or (anchor and anchor not in headings(page)):
            found.append(link)
    return found


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_links_lead_to_what_is_there(path: Path) -> None:
    assert broken(path) == []


def test_a_link_to_nothing_is_found(tmp_path: Path) -> None:
    page, folder = tmp_path / "page.md", tmp_path / "folder"
    folder.mkdir()
    (folder / "README.md").write_text("# There\n")
    page.write_text(
        "# Here\n[a](#here) [b](#gone) [c](folder) [d](folder#there) [e](folder#gone) [f](gone.md) [g](https://example.com) `[h](gone)`\n"
    )
    assert broken(page) == ["#gone", "folder#gone", "gone.md"]


def test_links_that_leave_the_repository_are_few_and_known() -> None:
    leaving = {link for path in PAGES for link in links(path) if "//" in link}
    assert {link for link in leaving if not link.startswith("https://")} == set()
    assert {link.split("/")[2] for link in leaving} == HOSTS


def test_a_heading_has_the_anchor_that_github_gives_it(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `b.c`: d, *e* [f](g.md)\n\n## Same\n\n```sh\n# none\n```\n\n## Same\n\n## one_two - three\n")
    assert list(headings(page)) == ["a-bc-d-e-f", "same", "same-1", "one_two---three"]
