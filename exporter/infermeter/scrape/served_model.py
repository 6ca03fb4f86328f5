"""Which model a server serves, asked of its own API, where neither its metrics nor its spans say it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

import orjson

from infermeter.errors import Unavailable
from infermeter.network.fetching import fetch

PATHS: Final = ("/v1/models", "/info")
"""OpenAI's list of models, which most LLM servers have; what TGI and TEI tell of themselves."""

ANSWER_SECONDS: Final = 0.5
"""For each of them."""

ANSWER_BYTES: Final = 1 << 20


def served_model(metrics_url: str, *, token_file: str | None) -> str | None:
    """The one model that the server beside `metrics_url` (same scheme, host and port) lists; None: several, or none that it tells."""
    origin = urlsplit(metrics_url)
    for path in PATHS:
        try:
            body = fetch(
                f"{origin.scheme}://{origin.netloc}{path}", timeout_seconds=ANSWER_SECONDS, token_file=token_file, most_bytes=ANSWER_BYTES
            )
            models = set(_models(orjson.loads(body)))
        except (Unavailable, ValueError):
            continue
        if models:
            return models.pop() if len(models) == 1 else None
    return None


def _models(answer: object) -> Iterator[str]:
    """The names in an answer, whichever of the two it is."""
    if not isinstance(answer, dict):
        return
    listed = answer.get("data")
    entries = [entry.get("id") for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else [answer.get("model_id")]
    yield from (entry for entry in entries if isinstance(entry, str) and entry)
