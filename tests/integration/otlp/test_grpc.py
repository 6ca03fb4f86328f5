import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Self

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from infermeter.config import Limits
from infermeter.otlp.grpc import GrpcReceiver
from infermeter.otlp.refusals import Reason
from integration.otlp.listening import Listening, listening, on_a_loop, settled
from unit.otlp.exports import body, span

COLLECTOR = "/opentelemetry.proto.collector."
TRACES = f"{COLLECTOR}trace.v1.TraceService/Export"


def call(port: int, method: str, sent: bytes, compression: grpc.Compression = grpc.Compression.NoCompression) -> bytes:
    """One call from a channel of its own.

    Raises:
        grpc.RpcError: the call's status, if it isn't OK.
    """
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=(("grpc.use_local_subchannel_pool", 1),)) as channel:
        answer: bytes = channel.unary_unary(method)(sent, timeout=10, compression=compression)
        return answer


async def export(
    now: Listening, sent: bytes, method: str = TRACES, compression: grpc.Compression = grpc.Compression.NoCompression
) -> bytes:
    return await asyncio.to_thread(call, now.grpc_port, method, sent, compression)


async def refusal(
    now: Listening, sent: bytes, method: str = TRACES, compression: grpc.Compression = grpc.Compression.NoCompression
) -> grpc.Call:
    """The status of a call that is refused."""
    with pytest.raises(grpc.RpcError) as refused:
        await export(now, sent, method, compression)
    assert isinstance(refused.value, grpc.Call)
    return refused.value


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
@on_a_loop
async def test_spans_of_the_real_sdk_arrive(compression: grpc.Compression) -> None:
    def send(endpoint: str) -> None:
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint, insecure=True, compression=compression)))
        for number in range(100):
            with provider.get_tracer("test").start_as_current_span("llm_request") as told:
                told.set_attribute("key", number)
        provider.shutdown()

    async with listening() as now:
        await asyncio.to_thread(send, f"http://127.0.0.1:{now.grpc_port}")
        assert now.intake.attributes() == list(range(100))
        assert now.receiver.spans_received == {"grpc": 100, "http": 0}
        assert now.receiver.exports_refused.total() == 0


@on_a_loop
async def test_an_empty_request_is_taken() -> None:
    async with listening() as now:
        assert await export(now, b"") == b""


@on_a_loop
async def test_unfit_spans_are_told_as_a_partial_success() -> None:
    async with listening() as now:
        answer = ExportTraceServiceResponse.FromString(await export(now, body(span(1), span(2, span_id=b""))))
        assert answer.partial_success.rejected_spans == 1
        assert answer.partial_success.error_message


@on_a_loop
async def test_what_is_no_export_is_an_invalid_argument_and_counted() -> None:
    async with listening() as now:
        refused = await refusal(now, body(span())[:-1])
        assert refused.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert now.receiver.exports_refused == {("grpc", "malformed"): 1}
        assert now.intake.exports == []


@pytest.mark.parametrize(
    ("sent", "compression", "code", "reason"),
    [
        (body(span()) * 9, grpc.Compression.Deflate, grpc.StatusCode.UNIMPLEMENTED, "malformed"),
        (bytes(40_001), grpc.Compression.Gzip, grpc.StatusCode.RESOURCE_EXHAUSTED, "too_large"),
        (b"\x1f\x8b", grpc.Compression.NoCompression, grpc.StatusCode.INVALID_ARGUMENT, "malformed"),
    ],
    ids=["deflate", "bomb", "cut"],
)
@on_a_loop
async def test_what_is_packed_otherwise_or_unpacks_to_too_much_is_refused_and_counted(
    sent: bytes, compression: grpc.Compression, code: grpc.StatusCode, reason: Reason
) -> None:
    async with listening(Limits(body_bytes=20_000, decompressed_bytes=40_000)) as now:
        assert (await refusal(now, sent, compression=compression)).code() is code
        assert now.receiver.exports_refused == {("grpc", reason): 1}


@on_a_loop
async def test_what_unpacks_to_more_than_may_be_sent_is_taken() -> None:
    async with listening(Limits(body_bytes=20_000, decompressed_bytes=40_000)) as now:
        await export(now, body(*(span(number) for number in range(500))), compression=grpc.Compression.Gzip)
        assert now.receiver.spans_received["grpc"] == 500


@on_a_loop
async def test_a_large_export_is_refused_and_counted() -> None:
    async with listening(Limits(body_bytes=1000)) as now:
        assert (await refusal(now, bytes(2000))).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert now.receiver.exports_refused == {("grpc", "too_large"): 1}


@on_a_loop
async def test_a_huge_export_is_not_even_received() -> None:
    async with listening(Limits(body_bytes=1000)) as now:
        assert (await refusal(now, bytes(2001))).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert now.receiver.exports_refused == {("grpc", "too_large"): 1}


class SlowSenders:
    """Senders that begin a call and send nothing."""

    def __init__(self, port: int, count: int) -> None:
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self._released = threading.Event()
        method = self._channel.stream_unary(TRACES)
        self._calls = [method.future(self._nothing()) for _ in range(count)]

    def _nothing(self) -> Iterator[bytes]:
        self._released.wait()
        yield from ()

    def codes(self) -> set[grpc.StatusCode]:
        """How the calls ended."""
        return {call.code() for call in self._calls}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._channel.close()


@on_a_loop
async def test_senders_that_send_nothing_are_hung_up_on_and_counted() -> None:
    async with listening(Limits(request_time=0.2)) as now:
        with SlowSenders(now.grpc_port, 3) as slow:
            assert await asyncio.to_thread(slow.codes) == {grpc.StatusCode.DEADLINE_EXCEEDED}
        assert now.receiver.exports_refused == {("grpc", "malformed"): 3}


@on_a_loop
async def test_slow_senders_do_not_hold_up_others() -> None:
    async with listening() as now:
        with SlowSenders(now.grpc_port, 8):
            assert await export(now, body(span())) == b""
        await settled(lambda: now.receiver.exports_refused == {("grpc", "malformed"): 8})


@on_a_loop
async def test_an_export_of_too_many_parts_is_refused_and_counted() -> None:
    async with listening() as now:
        assert (await refusal(now, b"\x12\0" * 1_100_000)).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert now.receiver.exports_refused == {("grpc", "too_large"): 1}


def retry_seconds(metadata: Sequence[tuple[str, str | bytes]]) -> int:
    raw = dict(metadata)["google.rpc.retryinfo-bin"]
    assert isinstance(raw, bytes)
    return RetryInfo.FromString(raw).retry_delay.seconds


@on_a_loop
async def test_overload_asks_to_try_again() -> None:
    async with listening() as now:
        now.intake.overloaded = True
        refused = await refusal(now, body(span()))
        assert refused.code() is grpc.StatusCode.UNAVAILABLE
        assert retry_seconds(refused.trailing_metadata()) == 1
        now.intake.overloaded = False
        await export(now, body(span()))
        assert now.receiver.exports_refused == {("grpc", "overload"): 1}
        assert len(now.intake.exports) == 1


@on_a_loop
async def test_bytes_in_flight_are_bounded() -> None:
    async with listening(Limits(in_flight_bytes=10)) as now:
        assert (await refusal(now, body(span()))).code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("method", [f"{COLLECTOR}metrics.v1.MetricsService/Export", f"{COLLECTOR}logs.v1.LogsService/Export"])
@on_a_loop
async def test_other_signals_are_unimplemented_and_counted(method: str) -> None:
    async with listening() as now:
        assert (await refusal(now, b"", method)).code() is grpc.StatusCode.UNIMPLEMENTED
        assert now.receiver.exports_refused == {("grpc", "signal"): 1}


@on_a_loop
async def test_other_methods_are_unimplemented() -> None:
    async with listening() as now:
        assert (await refusal(now, b"", "/grpc.health.v1.Health/Check")).code() is grpc.StatusCode.UNIMPLEMENTED
        assert now.receiver.exports_refused.total() == 0


@on_a_loop
async def test_a_retried_export_is_answered_as_success_and_taken_once_also_over_another_transport() -> None:
    async with listening() as now:
        for _ in range(2):
            assert await export(now, body(span())) == b""
        assert len(now.intake.exports) == 1
        assert now.receiver.spans_dropped["duplicate"] == 1


@on_a_loop
async def test_nothing_is_taken_after_the_end() -> None:
    async with listening() as now:
        await now.grpc.stop()
        assert (await refusal(now, body(span()))).code() is grpc.StatusCode.UNAVAILABLE


@on_a_loop
async def test_stopping_what_never_listened_is_nothing() -> None:
    async with listening() as now:
        await GrpcReceiver(now.receiver).stop()


@on_a_loop
async def test_a_port_that_is_taken_is_an_os_error() -> None:
    async with listening() as now:
        with pytest.raises(OSError, match="address already in use"):
            await GrpcReceiver(now.receiver).start(f"127.0.0.1:{now.grpc_port}")


@on_a_loop
async def test_our_own_mistakes_are_told_to_the_loop() -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    async with listening() as now:
        now.intake.mistake = KeyError()
        assert (await refusal(now, body(span()))).code() is grpc.StatusCode.INTERNAL
        assert told == [now.intake.mistake]


def test_grpcio_is_left_to_those_who_need_it() -> None:
    script = "import sys, infermeter.app; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "infermeter.otlp.grpc" in modules
    assert "grpc" not in modules
