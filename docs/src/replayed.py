"""What `infermeter replay` says, asked as one would at a terminal."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

from infermeter import cli
from infermeter.metrics.report_text import report_text


def report(*arguments: str) -> dict[str, Any]:
    """The report. Raises: RuntimeError where the command fails."""
    said, told = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
        code = cli.main(["replay", *arguments, "--format", "json"])
    if code:
        raise RuntimeError(told.getvalue())
    answer: dict[str, Any] = json.loads(said.getvalue())
    return answer


def section(answer: dict[str, Any], title: str) -> str:
    """One section of a report as a person gets it, its heading first."""
    return next(part for part in report_text(answer).split("\n\n") if part.startswith(title)).rstrip()
