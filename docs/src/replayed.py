"""What `infermeter replay` says, asked as one would at a terminal."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

from infermeter import cli


def text(*arguments: str) -> str:
    """The report for a person. Raises: RuntimeError where the command fails."""
    said, told = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
        code = cli.main(["replay", *arguments])
    if code:
        raise RuntimeError(told.getvalue())
    return said.getvalue()


def report(*arguments: str) -> dict[str, Any]:
    """The same as JSON."""
    answer: dict[str, Any] = json.loads(text(*arguments, "--format", "json"))
    return answer


def section(said: str, title: str) -> str:
    """One section of a report, its heading first."""
    return next(part for part in said.split("\n\n") if part.startswith(title)).rstrip()
