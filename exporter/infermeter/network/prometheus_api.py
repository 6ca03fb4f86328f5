"""Questions to a Prometheus, or to what answers as it does, within bounds. Blocks, so it belongs into a thread or a command.

An answer counts only if it is whole: one with warnings is partial, and what is missing would look like less work. What the answer means
(`series_of`, `selector`) is pure. Errors hold nothing that the peer sent.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final
from urllib.parse import quote as quoted
from urllib.parse import urlsplit

import numpy as np
import orjson

from infermeter.errors import ConfigError, Unavailable
from infermeter.model import Floats
from infermeter.network.fetching import ANONYMOUS, Caller, fetch, url_problem

TIMEOUT_SECONDS: Final = 30.0
BYTES_MOST: Final = 64 << 20
SERIES_MOST: Final = 10_000
POINTS_MOST: Final = 11_000
"""Of a series in one answer to `query_range`. Source: Prometheus, web/api/v1, which refuses more."""

_SECONDS_MOST: Final = 1 << 33
"""In the year 2242."""
_MATCHER: Final = re.compile(r'\s*[a-zA-Z_][a-zA-Z0-9_]*\s*(=|!=|=~|!~)\s*"(?:[^"\\\n]|\\.)*"\s*')


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Finite samples of one series, by ascending time; both arrays have shape (samples,), and there is at least one."""

    labels: Mapping[str, str]
    unix_seconds: Floats
    values: Floats


class Prometheus:
    """One Prometheus; each question is an HTTP request of its own."""

    def __init__(
        self, url: str, *, token_file: str | None = None, caller: Caller = ANONYMOUS, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        """`url` is the one below which /api/v1 is; `token_file` holds a bearer token. Raises: ConfigError."""
        check_prometheus_url(url, "--prometheus")
        self._api = f"{url.rstrip('/')}/api/v1"
        self._caller = caller if token_file is None else replace(caller, token_file=token_file)
        self._timeout_seconds = timeout_seconds

    def query(self, promql: str, *, at_unix_seconds: float | None = None) -> list[Series]:
        """What holds at an instant (None: the peer's now); of a range vector, its samples with their own times. Raises: Unavailable."""
        parameters = {"query": promql}
        if at_unix_seconds is not None:
            parameters["time"] = f"{at_unix_seconds:.3f}"
        return self._asked("query", parameters)

    def query_range(self, promql: str, *, start_unix_seconds: float, end_unix_seconds: float, step_seconds: float) -> list[Series]:
        """What holds every `step_seconds` from start to end, both included; where it doesn't hold a sample is missing.

        Raises: Unavailable; ValueError, if that is more than POINTS_MOST steps.
        """
        if not 0 <= (end_unix_seconds - start_unix_seconds) / step_seconds < POINTS_MOST:
            raise ValueError(f"more than {POINTS_MOST} steps, or an end before the start")
        parameters = {
            "query": promql,
            "start": f"{start_unix_seconds:.3f}",
            "end": f"{end_unix_seconds:.3f}",
            "step": f"{step_seconds:.3f}",
        }
        return self._asked("query_range", parameters)

    def _asked(self, endpoint: str, parameters: Mapping[str, str]) -> list[Series]:
        text = "&".join(f"{name}={quoted(value, safe='')}" for name, value in parameters.items())
        url = f"{self._api}/{endpoint}"
        body = fetch(f"{url}?{text}", timeout_seconds=self._timeout_seconds, caller=self._caller, most_bytes=BYTES_MOST)
        try:
            return series_of(body)
        except Unavailable as error:
            raise Unavailable(f"{url}: {error}") from None


def check_prometheus_url(url: str, where: str) -> None:
    """Tells a URL below which nobody can ask. Raises: ConfigError at `where`."""
    problem = url_problem(url)
    if problem is None and (urlsplit(url).query or urlsplit(url).fragment):
        problem = "holds a query or fragment; it is the URL below which /api/v1/query is"
    if problem is not None:
        raise ConfigError(where, problem)


def matcher_problem(text: str) -> str | None:
    """Why a text is no list of label matchers such as `job="a",instance=~"b.*"`; None: it is one. An empty one is."""
    rest = text
    while rest.strip():
        match = _MATCHER.match(rest)
        if match is None or (rest[match.end() :] and rest[match.end()] != ","):
            return 'is no list of label matchers such as job="a",instance=~"b.*"'
        rest = rest[match.end() + 1 :]
    return None


def selector(metric: str, labels: Mapping[str, str] | None = None, matchers: str = "") -> str:
    """A PromQL selector of a metric with these labels, whatever characters their values hold, and with these matchers as they are."""
    texts = [f'{name}="{_escaped(value)}"' for name, value in (labels or {}).items()]
    return f"{metric}{{{','.join([*texts, *([stripped] if (stripped := matchers.strip().rstrip(',').rstrip()) else [])])}}}"


def series_of(body: bytes) -> list[Series]:
    """The series of an answer, whether vector or matrix; samples that are no finite number are absent.

    Source: Prometheus HTTP API, expression queries. Raises: Unavailable, for what is no answer, an error, a partial one, or too much.
    """
    try:
        answer = orjson.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise Unavailable("the answer is none of Prometheus' HTTP API")
    if answer.get("status") != "success":
        raise Unavailable("Prometheus answers with an error")
    if answer.get("warnings"):
        raise Unavailable("Prometheus answers with warnings: the data may be partial, so nothing can be told from it")
    data = answer.get("data")
    kind, rows = (data.get("resultType"), data.get("result")) if isinstance(data, dict) else (None, None)
    if kind not in ("vector", "matrix") or not isinstance(rows, list):
        raise Unavailable("the answer is none of Prometheus' HTTP API")
    if len(rows) > SERIES_MOST:
        raise Unavailable(f"more than {SERIES_MOST} series; a selector can narrow them")
    try:
        read = [_series(row["metric"], [row["value"]] if kind == "vector" else row["values"]) for row in rows]
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError):
        raise Unavailable("a series in the answer of Prometheus can't be read") from None
    return [series for series in read if series is not None]


def _series(labels: dict[Any, Any], samples: list[Any]) -> Series | None:
    """None without a finite sample. Raises: ValueError, LookupError, TypeError, AttributeError, OverflowError, for what is no series."""
    if not all(isinstance(name, str) and isinstance(value, str) for name, value in labels.items()):
        raise TypeError
    pairs = [(float(seconds), float(text)) for seconds, text in samples]
    if not all(0 <= seconds < _SECONDS_MOST for seconds, _ in pairs) or any(later <= sooner for (sooner, _), (later, _) in pairwise(pairs)):
        raise ValueError
    finite = np.array([pair for pair in pairs if math.isfinite(pair[1])], np.float64)
    return Series(labels, finite[:, 0], finite[:, 1]) if len(finite) else None


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
