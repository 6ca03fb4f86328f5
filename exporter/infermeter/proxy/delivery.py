"""Spans' way to an OTLP end point, in the batch processor's thread: retried for a bounded time, counted, and its failures told once."""

from __future__ import annotations

import http.client
import logging
import os
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.util.re import parse_env_headers

from infermeter.forward.outcomes import RETRIED_STATUSES
from infermeter.proxy.packing import packed_export

log = logging.getLogger(__name__)

EXPORT_TIMEOUT_SECONDS = 5.0
"""How long one export may take, with all that is tried again."""

RETRY_SECONDS = 0.5, 1.0, 2.0
"""The waits before it is tried again."""


class Delivery(SpanExporter):
    """Another exporter, counted; that it fails, and that it works again, is told once."""

    def __init__(self, exporter: SpanExporter) -> None:
        self.delivered = 0
        self._exporter = exporter
        self._working = True
        self._ended = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Sends spans, or drops them."""
        if self._ended:
            return SpanExportResult.FAILURE
        result = self._exporter.export(spans)
        working = result is SpanExportResult.SUCCESS
        if working:
            self.delivered += len(spans)
        if working and not self._working:
            log.info("spans are taken again")
        if not working and self._working and not self._ended:
            log.warning("spans aren't taken by the end point; requests are served, their spans are dropped")
        self._working = working
        return result

    def shutdown(self) -> None:
        """Ends at once what is under way."""
        if not self._ended:
            self._ended = True
            self._exporter.shutdown()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An end point is where it is said to be: followed, a POST would become a GET that succeeds."""

    def redirect_request(self, *_: object) -> None:
        """None."""


class OtlpHttp(SpanExporter):
    """Sends requests' spans as OTLP over HTTP. The environment's OTEL_EXPORTER_OTLP_HEADERS, _CERTIFICATE and proxies hold."""

    def __init__(
        self, url: str, *, timeout_seconds: float = EXPORT_TIMEOUT_SECONDS, retry_seconds: Sequence[float] = RETRY_SECONDS
    ) -> None:
        """`url` with its path."""
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._retry_seconds = retry_seconds
        self._headers = {**parse_env_headers(_environment("HEADERS") or "", liberal=True), "content-type": "application/x-protobuf"}
        tls = ssl.create_default_context(cafile=_environment("CERTIFICATE"))
        if certificate := _environment("CLIENT_CERTIFICATE"):
            tls.load_cert_chain(certificate, _environment("CLIENT_KEY"))
        self._opener = urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=tls))
        self._ended = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Sends them; what isn't taken in time is given up."""
        body = packed_export(spans)
        deadline = time.monotonic() + self._timeout_seconds
        waits = iter(self._retry_seconds)
        while (taken := self._sent(body, deadline - time.monotonic())) is None:
            wait_seconds = next(waits, None)
            if wait_seconds is None or time.monotonic() + wait_seconds > deadline or self._ended.wait(wait_seconds):
                break
        return SpanExportResult.SUCCESS if taken else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Nothing is tried again."""
        self._ended.set()

    def _sent(self, body: bytes, timeout_seconds: float) -> bool | None:
        """Whether it was taken; None: it may be tried again."""
        request = urllib.request.Request(self._url, body, self._headers)  # noqa: S310 - the configuration says http or https
        try:
            with self._opener.open(request, timeout=timeout_seconds):
                return True
        except urllib.error.HTTPError as refusal:
            refusal.close()
            return None if refusal.code in RETRIED_STATUSES else False
        except (OSError, http.client.HTTPException):
            return None


def otlp_exporter(endpoint: str) -> SpanExporter:
    """Over HTTP to `endpoint`, a URL without the path. What the SDK has to say about failures is told by Delivery, once."""
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    return OtlpHttp(f"{endpoint.rstrip('/')}/v1/traces")


def _environment(name: str) -> str | None:
    """Of traces, or else of all signals. Source: OpenTelemetry specification, OTLP exporter configuration."""
    return os.environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or os.environ.get(f"OTEL_EXPORTER_OTLP_{name}")
