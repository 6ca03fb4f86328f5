"""`python -m docs.src` writes what is generated under docs/; `--check` only tells what differs, and fails if anything does."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from docs.src import example, quickstarts

DOCS = Path(__file__).resolve().parents[1]


def generated() -> Mapping[str, str]:
    """What there should be, by path under docs/."""
    return {**quickstarts.pages(), **example.pages()}


def committed() -> Mapping[str, str]:
    """What there is; of quickstarts also those that nothing makes any longer."""
    paths = {*(DOCS / "quickstart").glob("*.md"), *(path for name in example.NAMES if (path := DOCS / name).exists())}
    return {str(path.relative_to(DOCS)): path.read_text(encoding="utf-8") for path in sorted(paths)}


def write() -> None:
    """Writes every page anew, and removes those that nothing makes any longer."""
    wanted = generated()
    for path in committed().keys() - wanted.keys():
        (DOCS / path).unlink()
    for path, text in wanted.items():
        (DOCS / path).parent.mkdir(parents=True, exist_ok=True)
        (DOCS / path).write_text(text, encoding="utf-8")


def differences(wanted: Mapping[str, str], found: Mapping[str, str]) -> Iterator[str]:
    """The lines of a unified diff."""
    for path in sorted({*wanted, *found}):
        old, new = found.get(path, "").splitlines(), wanted.get(path, "").splitlines()
        yield from difflib.unified_diff(old, new, f"docs/{path}", "generated", n=0, lineterm="")


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        told = list(differences(generated(), committed()))
        sys.stdout.writelines(f"{line}\n" for line in told)
        sys.exit("docs/ is out of date: make docs" if told else 0)
    write()
