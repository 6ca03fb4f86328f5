"""docs/reliability.md names, for each fault, the test that proves its promise."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text()
NAMED = re.compile(r"`(tests/[a-z_/]+\.py)::(test_[a-z0-9_]+)`")


def test_each_row_of_faults_names_a_test_and_each_test_is_there() -> None:
    rows = re.findall(r"^\| .+ \|$", PAGE.partition("## Faults")[2].partition("\n## ")[0], re.MULTILINE)[2:]
    assert len(rows) > 30
    assert [row for row in rows if not NAMED.search(row)] == []
    for path, name in NAMED.findall(PAGE):
        tests = {
            node.name
            for node in ast.walk(ast.parse((ROOT / path).read_text()))
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        }
        assert name in tests, path


def test_every_test_of_faults_is_named() -> None:
    named = set(NAMED.findall(PAGE))
    unnamed = [
        (str(path.relative_to(ROOT)), node.name)
        for path in sorted((ROOT / "tests" / "faults").glob("test_*.py"))
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert unnamed
    assert [test for test in unnamed if test not in named] == []
