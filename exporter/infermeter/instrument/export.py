"""Where spans go, for those who haven't set up OpenTelemetry themselves."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

QUEUE_SPANS = 16_384
EXPORT_EVERY_MILLISECONDS = 1_000


def export_spans(endpoint: str = "http://127.0.0.1:4318", *, service: str) -> TracerProvider:
    """Sends this process's spans over OTLP/HTTP to `endpoint`, a URL without the path, from a thread; becomes the global provider.

    What can't be sent is dropped. The last ones go when the process ends, or with `shutdown()` of what is returned. A process that forks
    its workers calls this in each of them.
    """
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=QUEUE_SPANS, schedule_delay_millis=EXPORT_EVERY_MILLISECONDS))
    trace.set_tracer_provider(provider)
    return provider
