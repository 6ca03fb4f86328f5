"""MkDocs' hook: the pages that lie outside docs/, the lists of runbooks and decisions, and links that lead to neither.

What is in the repository and not on the site (a folder, a file of another kind) is named there without a link.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "alerts/README.md": "alerts.md",
    "deploy/helm/infermeter/README.md": "helm.md",
    "exporter/infermeter/mapping/servers/README.md": "mapping.md",
}
"""Pages by path in the repository, and where they are on the site; one that isn't there yet is left out."""

_SOURCES = {page: path for path, page in OUTSIDE.items()}
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?://|mailto:|#)([^)\s#]+)(#[^)\s]*)?\)")
_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """`folder/*` in the navigation stands for its pages, the one called README first; an entry whose page isn't there is left out."""
    config.nav = list(_unfolded(config.nav or []))
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds what lies outside docs/."""
    for path, page in OUTSIDE.items():
        if (ROOT / path).exists():
            files.append(File.generated(config, page, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - MkDocs names its arguments
    """Links as they are on the site."""
    uri = page.file.src_uri
    here = posixpath.dirname(_SOURCES.get(uri, f"docs/{uri}"))

    def moved(found: re.Match[str]) -> str:
        picture, text, target, anchor = found[1], found[2], found[3], found[4] or ""
        path = posixpath.normpath(posixpath.join(here, target))
        there = _on_site(path, files)
        if there is None:
            return text if text.startswith("`") or "!" in text else f"`{text}`" if text in path else text
        return f"{picture}[{text}]({posixpath.relpath(there, posixpath.dirname(uri) or '.')}{anchor})"

    return "".join(part if part.startswith("```") else _LINK.sub(moved, part) for part in _FENCE.split(markdown))


def _on_site(path: str, files: Files) -> str | None:
    """Where something of the repository is on the site; of a folder its index."""
    for name in (path, f"{path}/README.md"):
        uri = OUTSIDE.get(name) or name.removeprefix("docs/")
        if (name in OUTSIDE or name.startswith("docs/")) and files.get_file_from_path(uri) is not None:
            return uri
    return None


def _unfolded(nav: list[Any]) -> Iterator[Any]:
    for entry in nav:
        title, value = next(iter(entry.items())) if isinstance(entry, dict) else (None, entry)
        if isinstance(value, list):
            yield {title: list(_unfolded(value))}
        elif value.endswith("/*"):
            folder = value.removesuffix("/*")
            names = sorted((path.name for path in (ROOT / "docs" / folder).glob("*.md")), key=lambda name: (name != "README.md", name))
            yield {title: [f"{folder}/{name}" for name in names]}
        elif (ROOT / _SOURCES.get(value, f"docs/{value}")).exists():
            yield entry
