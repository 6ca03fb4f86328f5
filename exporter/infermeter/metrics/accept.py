"""Which of the two formats an `Accept` header prefers. Source: RFC 9110, sections 12.4.2 (weights) and 12.5.1 (Accept)."""

from __future__ import annotations

from math import isfinite

OPENMETRICS_VERSIONS = (None, "1.0.0")
"""What is answered as OpenMetrics 1.0.0; any other version is a format that isn't spoken here."""


def prefers_openmetrics(accept: str) -> bool:
    """Whether OpenMetrics 1.0.0 is wanted more than text 0.0.4; at equal weight what is named beats a wildcard, and text wins a tie."""
    best = {"openmetrics": (0.0, 0), "text": (0.0, 0)}
    for entry in accept.lower().split(","):
        media_type, *rest = (part.strip() for part in entry.split(";"))
        parameters = {name: value for name, _, value in (part.partition("=") for part in rest)}
        weight = _weight(parameters.get("q", "1"))
        if media_type == "application/openmetrics-text" and parameters.get("version") in OPENMETRICS_VERSIONS:
            best["openmetrics"] = max(best["openmetrics"], (weight, 2))
        elif media_type in _TEXT:
            best["text"] = max(best["text"], (weight, _TEXT[media_type]))
    return best["openmetrics"][0] > 0 and best["openmetrics"] > best["text"]


_TEXT = {"text/plain": 2, "text/*": 1, "*/*": 0}


def _weight(text: str) -> float:
    """A weight from 0 to 1; 0 for what is none, so that a broken entry wants nothing."""
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return min(max(weight, 0.0), 1.0) if isfinite(weight) else 0.0
