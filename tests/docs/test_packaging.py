"""What pyproject.toml declares is what the program imports, and what the lock pins."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=\[; ]", requirement)[0].lower().replace("_", "-") for requirement in requirements}


def imported() -> Iterator[str]:
    """The top-level modules that the program imports, its own and Python's left out."""
    for path in (ROOT / "exporter" / "infermeter").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            yield from (module.partition(".")[0] for module in modules)


def test_every_import_is_a_declared_dependency() -> None:
    distributions = packages_distributions()
    foreign = set(imported()) - set(sys.stdlib_module_names) - {"infermeter"}
    declared = names(PROJECT["dependencies"])
    assert {module for module in foreign if not declared & names(distributions[module])} == set()


def test_every_dependency_is_pinned_in_the_lock() -> None:
    locked = names([line for line in (ROOT / "requirements-dev.lock").read_text().splitlines() if not line.startswith("#")])
    wanted = names([*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]])
    assert wanted - locked == set()
