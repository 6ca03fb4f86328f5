"""Every page of the documentation, and what stands in it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "alerts", "dashboards", "deploy", "exporter", "bench", "tests")
PAGES = sorted({*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))})
"""All Markdown of the repository."""

READ = [path for path in PAGES if path.relative_to(ROOT).parts[0] not in {"tests", "bench"}]
"""Those that people follow: what stands beside recordings tells what was done once."""


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


def prose(path: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def commands(path: Path) -> Iterator[list[str]]:
    """The commands in shell blocks, as words, without comments."""
    for block in blocks(path, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield words


def headings(path: Path) -> Iterator[str]:
    """The anchors of a page, as GitHub makes them: letters, digits, hyphens and underscores; repeated ones are numbered."""
    seen: dict[str, int] = {}
    for title in re.findall(r"^#{1,6} (.+?)\s*$", prose(path), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        seen[slug] = seen.get(slug, -1) + 1
        yield f"{slug}-{seen[slug]}" if seen[slug] else slug
