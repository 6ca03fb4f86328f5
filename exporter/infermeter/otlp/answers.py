"""What a sender is answered, in the encoding that it speaks. Pure.

Source: OTLP specification 1.x, "OTLP/HTTP Response", "Partial Success", "Failures"; google/rpc/status.proto.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import orjson

from infermeter.otlp.messages import EXPORT_RESPONSE, RETRY_INFO, STATUS
from infermeter.otlp.refusals import RETRY_AFTER_SECONDS

Encoding: TypeAlias = Literal["protobuf", "json"]

CONTENT_TYPES: dict[Encoding, str] = {"protobuf": "application/x-protobuf", "json": "application/json"}
"""The content type of each encoding, in requests and in answers."""

UNFIT_SPANS = "spans with an invalid id, or without a valid start and end, were not taken"


def success(encoding: Encoding, *, rejected: int = 0, message: str = "") -> bytes:
    """An ExportTraceServiceResponse: partial if spans were rejected, a warning if there is a message alone."""
    if encoding == "protobuf":
        response = EXPORT_RESPONSE()
        if rejected or message:
            response.partial_success.rejected_spans = rejected
            response.partial_success.error_message = message
        serialised: bytes = response.SerializeToString()
        return serialised
    partial = {"rejectedSpans": str(rejected)} if rejected else {}
    return orjson.dumps({"partialSuccess": partial | {"errorMessage": message}} if rejected or message else {})


def failure(encoding: Encoding, code: int, message: str) -> bytes:
    """A google.rpc.Status."""
    if encoding == "protobuf":
        serialised: bytes = STATUS(code=code, message=message).SerializeToString()
        return serialised
    return orjson.dumps({"code": code, "message": message})


def retry_metadata(code: int, message: str) -> tuple[tuple[str, bytes], ...]:
    """Trailing metadata of gRPC that asks to wait RETRY_AFTER_SECONDS: as the specification has it, and as Python's SDK reads it."""
    retry = RETRY_INFO(retry_delay={"seconds": RETRY_AFTER_SECONDS}).SerializeToString()
    detail = {"type_url": "type.googleapis.com/google.rpc.RetryInfo", "value": retry}
    status = STATUS(code=code, message=message, details=[detail]).SerializeToString()
    return ("grpc-status-details-bin", status), ("google.rpc.retryinfo-bin", retry)
