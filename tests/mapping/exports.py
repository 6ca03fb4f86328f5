"""OTLP exports of spans written by hand, as JSON bodies, and what all shipped mappings together make of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256

from infermeter.config import Assembly, Limits
from infermeter.mapping import Mapper, load_mappings
from infermeter.model import SPAN_KINDS, STATUS_CODES, AttributeValue, InferenceBatch
from infermeter.otlp.json import decode_json
from unit.mapping.hand_made import Span, ns


def body(spans: Sequence[Span]) -> bytes:
    """One export with a resource and a scope for each span."""
    return json.dumps({"resourceSpans": [_one(span) for span in spans]}).encode()


def _one(span: Span) -> dict[str, object]:
    written: dict[str, object] = {
        "traceId": sha256(span.trace.encode()).hexdigest()[:32],
        "spanId": sha256(span.id.encode()).hexdigest()[:16],
        "parentSpanId": sha256(span.parent.encode()).hexdigest()[:16] if span.parent else "",
        "name": span.name,
        "kind": SPAN_KINDS.index(span.kind),
        "startTimeUnixNano": str(ns(span.start)),
        "endTimeUnixNano": str(ns(span.end)),
        "attributes": _attributes(span.attributes),
        "events": [{"name": name, "timeUnixNano": str(ns(at))} for name, at in span.events],
        "status": {"code": STATUS_CODES.index(span.status)},
    }
    return {
        "resource": {"attributes": _attributes(span.resource)},
        "scopeSpans": [{"scope": {"name": span.scope}, "spans": [written]}],
    }


def _attributes(told: Mapping[str, AttributeValue]) -> list[dict[str, object]]:
    names = {bool: "boolValue", int: "intValue", float: "doubleValue", str: "stringValue"}
    return [{"key": key, "value": {names[type(value)]: value}} for key, value in told.items()]


def seen(*spans: Span, kind: str = "auto") -> tuple[Mapper, InferenceBatch]:
    """The mapper after they all arrived at once and the input ended, and the inferences in order of their start."""
    mapper = Mapper(load_mappings(kind, {}), assembly=Assembly(), limits=Limits(), bounded=False)
    mapper.add(decode_json(body(spans), mapper.wanted).batches, 0)
    batch = mapper.finish()
    assert batch is not None
    return mapper, batch
