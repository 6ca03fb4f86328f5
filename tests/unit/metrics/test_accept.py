from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infermeter.metrics.accept import prefers_openmetrics

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    "accept",
    [
        PROMETHEUS_2,
        PROMETHEUS_3,
        "application/openmetrics-text",
        "Application/OpenMetrics-Text ; Version=1.0.0",
        "application/openmetrics-text, */*",
        "text/*;q=0.9, application/openmetrics-text",
        "application/openmetrics-text;q=0.5, text/plain;q=0.4",
    ],
)
def test_openmetrics_is_preferred(accept: str) -> None:
    assert prefers_openmetrics(accept)


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "text/plain",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "application/json",
        "application/openmetrics-text;q=0",
        "application/openmetrics-text;q=0.4, text/plain;q=0.5",
        "application/openmetrics-text, text/plain",
        "application/openmetrics-text;version=2.0.0",
        "application/openmetrics-text;version=0.0.1",
        "application/openmetrics-text;q=nan",
        "application/openmetrics-text;q=high",
        "application/openmetrics-text;q=-1",
        ",;,q=1;;=,",
    ],
)
def test_text_is_preferred(accept: str) -> None:
    assert not prefers_openmetrics(accept)


def test_a_weight_above_1_is_1() -> None:
    assert not prefers_openmetrics("application/openmetrics-text;q=9, text/plain;q=1")


@settings(max_examples=50)
@given(st.text(), st.text("0123456789.einf-", max_size=5))
def test_no_header_is_too_odd_for_an_answer(accept: str, weight: str) -> None:
    prefers_openmetrics(accept)
    prefers_openmetrics(f"application/openmetrics-text;q={weight}, */*;q={weight}")
