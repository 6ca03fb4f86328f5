import json

from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from infermeter.otlp.answers import failure, retry_metadata, success


def test_full_success_says_nothing() -> None:
    assert success("protobuf") == b""
    assert success("json") == b"{}"


def test_partial_success_counts_the_rejected_and_says_why() -> None:
    response = ExportTraceServiceResponse.FromString(success("protobuf", rejected=3, message="why"))
    assert (response.partial_success.rejected_spans, response.partial_success.error_message) == (3, "why")
    assert json.loads(success("json", rejected=3, message="why")) == {"partialSuccess": {"rejectedSpans": "3", "errorMessage": "why"}}


def test_a_warning_rejects_nothing() -> None:
    response = ExportTraceServiceResponse.FromString(success("protobuf", message="why"))
    assert (response.partial_success.rejected_spans, response.partial_success.error_message) == (0, "why")
    assert json.loads(success("json", message="why")) == {"partialSuccess": {"errorMessage": "why"}}


def test_a_failure_is_a_status() -> None:
    assert Status.FromString(failure("protobuf", 3, "why")) == Status(code=3, message="why")
    assert json.loads(failure("json", 3, "why")) == {"code": 3, "message": "why"}


def test_a_sender_is_told_when_to_retry_in_both_ways_that_senders_read() -> None:
    metadata = dict(retry_metadata(14, "why"))
    assert RetryInfo.FromString(metadata["google.rpc.retryinfo-bin"]).retry_delay.seconds == 1
    status = Status.FromString(metadata["grpc-status-details-bin"])
    detail = RetryInfo()
    assert status.details[0].Unpack(detail)
    assert (status.code, status.message, detail.retry_delay.seconds) == (14, "why", 1)
