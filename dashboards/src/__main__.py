"""`python -m dashboards.src FOLDER` writes every page into the folder."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from dashboards.src import cost, exporter, fleet, idle, rightsizing, server, slo, stages
from dashboards.src.bundle import Page

PAGES = (fleet, server, stages, cost, idle, rightsizing, slo, exporter)
"""From general to specific."""


def pages() -> tuple[Page, ...]:
    """All of them, in the order in which they are read."""
    return tuple(module.page() for module in PAGES)


def text(page: Page) -> str:
    """The same bytes each time."""
    return json.dumps(page.json(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main(folder: Path) -> None:
    """Writes `<uid>.json` for each page."""
    for page in pages():
        (folder / f"{page.uid}.json").write_text(text(page), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
