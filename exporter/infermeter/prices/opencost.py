"""OpenCost's price of a GPU, asked of the Prometheus that scrapes it. Blocks, so it belongs into a thread."""

from __future__ import annotations

import math
from typing import Any, Final
from urllib.parse import quote as quoted
from urllib.parse import urlsplit

import orjson

from infermeter.config import OpenCost
from infermeter.errors import ConfigError, Unavailable
from infermeter.network.fetching import fetch, url_problem
from infermeter.prices.in_force import Quote

METRIC: Final = "node_gpu_hourly_cost"
"""The price of an hour of each GPU of a node. Source: OpenCost, metrics reference."""

LOOKBACK: Final = "5m"
"""Of samples that still speak of now. Source: Prometheus, staleness: an instant query looks back as far."""

RETRY_SECONDS: Final = 30.0
"""At most so long after it told no price, a Prometheus is asked again."""

TIMEOUT_SECONDS: Final = 10.0
BYTES_MOST: Final = 1 << 20

_SOURCE: Final = f"OpenCost {METRIC}"
_SECOND_NS: Final = 1_000_000_000
_SECONDS_MOST: Final = 1 << 33
"""In the year 2242."""


def check_prometheus_url(url: str) -> None:
    """Tells a URL that nobody can ask. Raises: ConfigError."""
    problem = url_problem(url)
    if problem is None and (urlsplit(url).query or urlsplit(url).fragment):
        problem = "holds a query or fragment; it is the URL below which /api/v1/query is"
    if problem is not None:
        raise ConfigError("cost.opencost.prometheus_url", problem)


class OpenCostPrices:
    """One node's price, asked anew when the last answer is as old as the interval."""

    def __init__(self, opencost: OpenCost, url: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        """`url` is that of Prometheus; the rest is as configured."""
        promql = f"{METRIC}{{{opencost.selector or ''}}}[{LOOKBACK}]"
        self._url = f"{url.rstrip('/')}/api/v1/query?query={quoted(promql, safe='')}"
        self._interval_ns = round(opencost.interval * _SECOND_NS)
        self._token_file = opencost.token_file
        self.retry_seconds = min(RETRY_SECONDS, opencost.interval)
        self._timeout_seconds = timeout_seconds
        self._told: tuple[Quote, int] | None = None

    @classmethod
    def configured(cls, opencost: OpenCost) -> OpenCostPrices | None:
        """None where nobody is to be asked."""
        return None if opencost.prometheus_url is None else cls(opencost, opencost.prometheus_url)

    def quote(self, now_ns: int) -> Quote:
        """The latest price. Raises: Unavailable, if Prometheus doesn't answer or doesn't tell exactly one price above 0."""
        if self._told is None or abs(now_ns - self._told[1]) >= self._interval_ns:
            body = fetch(self._url, timeout_seconds=self._timeout_seconds, token_file=self._token_file, most_bytes=BYTES_MOST)
            self._told = quote_of(body), now_ns
        return self._told[0]


def quote_of(body: bytes) -> Quote:
    """The price that an answer to a query over a range of samples tells: of each series the latest.

    Source: Prometheus HTTP API, instant queries, and range vectors, whose samples carry their own times. Raises: Unavailable.
    """
    latest = [_latest(series) for series in _matrix(body)]
    prices = {per_hour for _, per_hour in latest}
    if not latest:
        raise Unavailable(f"Prometheus has no {METRIC} of the last {LOOKBACK} that cost.opencost.selector fits")
    if len(prices) > 1:
        raise Unavailable(f"Prometheus tells {len(prices)} different prices ({METRIC}); cost.opencost.selector must fit one node")
    per_hour = prices.pop()
    if per_hour == 0:
        raise Unavailable(f"{METRIC} is 0, which is what OpenCost tells of a node without a GPU, or without a price of one")
    return Quote(per_hour, max(time_ns for time_ns, _ in latest), _SOURCE)


def _matrix(body: bytes) -> list[Any]:
    """The series of an answer. Raises: Unavailable, for what is no answer of Prometheus."""
    try:
        data = orjson.loads(body)["data"]
        series = data["result"] if data["resultType"] == "matrix" else None
    except (ValueError, LookupError, TypeError):
        series = None
    if not isinstance(series, list):
        raise Unavailable("the answer is none of Prometheus' HTTP API")
    return series


def _latest(series: Any) -> tuple[int, float]:  # noqa: ANN401 - whatever stood in the JSON
    """Time (unix nanoseconds) and value of the last sample. Raises: Unavailable."""
    try:
        seconds, text = series["values"][-1]
        unix_seconds, per_hour = float(seconds), float(text)
    except (ValueError, LookupError, TypeError):
        raise Unavailable("a series in the answer of Prometheus has no sample that can be read") from None
    if not math.isfinite(per_hour) or per_hour < 0:
        raise Unavailable(f"{METRIC} is negative or no finite number")
    if not 0 <= unix_seconds < _SECONDS_MOST:
        raise Unavailable(f"the time of {METRIC} is none")
    return round(unix_seconds * _SECOND_NS), per_hour
