"""A tracer whose finished spans a test can look at, also as the sidecar sees them."""

from __future__ import annotations

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from infermeter.config import Assembly, Limits
from infermeter.instrument import SCOPE
from infermeter.mapping import Mapper, load_mappings
from infermeter.model import InferenceBatch
from infermeter.otlp.protobuf import decode_protobuf


class Spans:
    """A tracer, and what it has finished."""

    def __init__(self) -> None:
        self._finished = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._finished))
        self.tracer = provider.get_tracer(SCOPE)

    @property
    def finished(self) -> tuple[ReadableSpan, ...]:
        """In the order in which they ended."""
        return self._finished.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        """Those of this name."""
        return [span for span in self.finished if span.name == name]

    @property
    def inference(self) -> ReadableSpan:
        """The only one."""
        (span,) = self.named("inference")
        return span

    def mapped(self) -> InferenceBatch:
        """What the sidecar makes of them, from the bytes that the SDK's exporters send."""
        mapper = Mapper(load_mappings("infermeter", {}), assembly=Assembly(), limits=Limits(), bounded=False)
        export = decode_protobuf(encode_spans(self.finished).SerializeToString(), mapper.wanted)
        mapper.add(export.batches, 0)
        batch = mapper.finish()
        assert batch is not None
        return batch


def attributes(span: ReadableSpan) -> dict[str, object]:
    """As a plain dictionary."""
    return dict(span.attributes or {})
