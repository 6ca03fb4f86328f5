"""What the proxy tells of a request, and how it is sent."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from multidict import CIMultiDict
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from infermeter.config import Assembly, Limits
from infermeter.mapping import Mapper, load_mappings
from infermeter.model import STAGES, InferenceBatch
from infermeter.otlp.protobuf import decode_protobuf
from infermeter.proxy import Spans
from infermeter.proxy.spans import trace_of
from infermeter.proxy.timing import Timing
from support.patience import SOON_SECONDS
from support.proxied import Proxied, listening, proxied

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def mapped(spans: Sequence[ReadableSpan]) -> InferenceBatch:
    """What the sidecar makes of them."""
    mapper = Mapper(load_mappings("infermeter", {}), assembly=Assembly(), limits=Limits(), bounded=False)
    mapper.add(decode_protobuf(encode_spans(spans).SerializeToString(), mapper.wanted).batches, 0)
    batch = mapper.finish()
    assert batch is not None
    return batch


class Collected(SpanExporter):
    """Takes spans, or refuses them while `refusing`."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []
        self.refusing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self.refusing:
            return SpanExportResult.FAILURE
        self.spans += spans
        return SpanExportResult.SUCCESS


def made(timing: Timing, *, limited: bool = False, model: str | None = None, **headers: str) -> list[ReadableSpan]:
    """The spans of one request."""
    exporter = Collected()
    spans = Spans(exporter, service="test", model=model, limited=limited)
    spans.add(trace_of(headers), timing)
    asyncio.run(spans.stop())
    assert spans.made == spans.delivered == len(exporter.spans)
    return exporter.spans


WHOLE = {
    "end_ns": 1100,
    "turn_ns": 1010,
    "asked": True,
    "upload": True,
    "sent_ns": 1030,
    "computed_ns": 1080,
    "first_byte_ns": 1085,
}


def test_a_known_split_arrives_to_the_nanosecond() -> None:
    batch = mapped(made(Timing(1000, **WHOLE), limited=True, model="m"))  # type: ignore[arg-type]
    assert list(batch.model) == ["m"]
    assert (batch.start_ns[0], batch.end_ns[0]) == (1000, 1100)
    assert dict(zip(STAGES, batch.stages_ns[0].tolist(), strict=True)) == {"queue": 10, "compute": 50, "transfer": -1, "serialisation": 40}
    assert {(part.stage, part.part): part.ns.tolist() for part in batch.parts} == {
        ("serialisation", "net_in"): [20],
        ("serialisation", "net_out"): [20],
    }
    assert batch.ttft_seconds.tolist() == pytest.approx([85e-9])
    assert batch.error.tolist() == [False]


def test_a_request_without_a_model_leaves_it_to_the_receiver() -> None:
    assert list(mapped(made(Timing(1000, **WHOLE))).model) == [None]  # type: ignore[arg-type]


def test_a_failed_request_is_a_failed_inference() -> None:
    spans = made(Timing(1000, end_ns=1010, failure="client_gone"), model="m")
    assert mapped(spans).error.tolist() == [True]
    assert spans[-1].attributes == {"infermeter.model": "m", "error.type": "client_gone"}


def test_spans_of_one_request_hang_together_and_no_others() -> None:
    first, second = (made(Timing(1000, **WHOLE), limited=True) for _ in range(2))  # type: ignore[arg-type]
    root = first[-1].context
    assert root is not None
    assert [(span.context.trace_id, span.parent) for span in first[:-1] if span.context] == [(root.trace_id, root)] * 4
    identities = [span.context.span_id for span in (*first, *second) if span.context]
    assert len(set(identities)) == 10
    assert second[-1].context is not None
    assert second[-1].context.trace_id != root.trace_id


# --- traces --------------------------------------------------------------------------------------------------------------------------
def handed_on(**headers: str) -> CIMultiDict[str]:
    told = CIMultiDict(headers)
    trace_of(told).hand_on(told)
    return told


@pytest.mark.parametrize("flags", ["00", "01", "03"])
def test_a_client_s_trace_goes_on_through_the_proxy_and_keeps_its_flags(flags: str) -> None:
    told = handed_on(traceparent=f"00-{TRACE}-{SPAN}-{flags}", tracestate="a=b")
    version, trace, span, after = told["traceparent"].split("-")
    assert (version, trace, after, told["tracestate"]) == ("00", TRACE, flags, "a=b")
    assert span != SPAN


def test_a_later_version_of_the_header_is_read_as_far_as_it_is_known() -> None:
    assert handed_on(traceparent=f"cc-{TRACE}-{SPAN}-01-more")["traceparent"].startswith(f"00-{TRACE}-")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
    ],
)
def test_a_header_that_can_t_be_read_begins_a_trace(text: str) -> None:
    told = handed_on(traceparent=text, tracestate="a=b")
    assert TRACE not in told["traceparent"]
    assert told["traceparent"].endswith("-01")
    assert "tracestate" not in told


def test_the_upstream_server_s_spans_belong_below_the_request_s() -> None:
    async def run() -> tuple[str, ReadableSpan]:
        heads = []

        async def answer(request: web.BaseRequest) -> web.Response:
            heads.append(request.headers["traceparent"])
            return web.Response()

        async with listening(answer) as port, proxied(port) as proxy:
            await proxy.http.post(proxy.url, headers={"traceparent": f"00-{TRACE}-{SPAN}-00"})
            (span,) = await proxy.inferences()
        return heads[0], span

    head, span = asyncio.run(run())
    assert span.context is not None
    assert span.parent is not None
    assert head == f"00-{TRACE}-{span.context.span_id:016x}-00"
    assert (f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, SPAN)


# --- which requests ------------------------------------------------------------------------------------------------------------------
async def headed(request: web.BaseRequest) -> web.Response:
    return web.Response(text=request.headers.get("traceparent", "none"))


def inferences_of(requests: Sequence[tuple[str, str]], **options: Any) -> tuple[int, list[str]]:
    """How many of the requests were inferences, and which traceparent the upstream server saw."""

    async def run() -> tuple[int, list[str]]:
        async with listening(headed) as port, proxied(port, **options) as proxy:
            seen = []
            for method, path in requests:
                async with proxy.http.request(method, proxy.url + path) as response:
                    seen.append(await response.text())
            return len(await proxy.inferences()), seen

    return asyncio.run(run())


def test_what_asks_for_nothing_to_be_done_is_no_inference() -> None:
    count, seen = inferences_of([("GET", "/health"), ("OPTIONS", "/predict"), ("HEAD", "/"), ("POST", "/predict"), ("PUT", "/")])
    assert count == 2
    assert seen[:3] == ["none", "none", ""]


def test_paths_say_which_requests_are_inferences() -> None:
    requests = [("GET", "/v1/predict?x"), ("POST", "/v1/predict"), ("POST", "/v1/login"), ("POST", "/generate/stream")]
    assert inferences_of(requests, paths=("/v1/predict", "/generate"))[0] == 3


def test_what_is_asked_and_answered_never_reaches_a_span_or_a_log(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> bytes:
        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            if "dies" in request.query_string:
                response = web.StreamResponse(headers={"SECRET": "SECRET", "Content-Length": "9"})
                await response.prepare(request)
                await response.write(b"SECRET")
                assert request.transport is not None
                request.transport.abort()
                return response
            return web.Response(text=await request.text(), headers={"X-Secret": "SECRET"}, reason="SECRET", status=400)

        async with listening(answer) as port, proxied(port) as proxy:
            for headers in ({"X": "SECRET"}, {"traceparent": "SECRET", "Upgrade": "SECRET", "Connection": "SECRET"}):
                async with proxy.http.post(f"{proxy.url}/SECRET?q=SECRET", data="SECRET", headers=headers) as response:
                    assert "SECRET" in await response.text()
            for head in (b"SECRET\r\n", b"Host: SECRET\r\nTransfer-Encoding: SECRET, chunked\r\n", b"Host: h\r\nSECRET: " + b"S" * 20_000):
                assert b"HTTP/1" in await proxy.wire(b"POST /SECRET?SECRET HTTP/1.1\r\n" + head + b"\r\n\r\n")
            with pytest.raises(aiohttp.ClientError):
                await (await proxy.http.post(f"{proxy.url}/SECRET?dies=SECRET", data="SECRET")).read()
            return encode_spans(await proxy.spans()).SerializeToString()

    with caplog.at_level("DEBUG"):
        body = asyncio.run(run())
    assert b"inference" in body
    assert b"SECRET" not in body
    assert [record for record in caplog.records if "SECRET" in record.getMessage() and record.name != "aiohttp.access"] == []


def test_the_first_token_is_the_first_byte_of_the_body() -> None:
    async def run() -> tuple[int, ReadableSpan]:
        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            await asyncio.sleep(0.02)
            await response.write(b"token")
            await asyncio.sleep(0.02)
            return response

        async with listening(answer) as port, proxied(port) as proxy:
            async with proxy.http.post(proxy.url) as response:
                await response.read()
            (span,) = await proxy.inferences()
        (event,) = span.events
        assert event.name == "first_token"
        return event.timestamp, span

    first_ns, span = asyncio.run(run())
    assert span.start_time is not None
    assert span.end_time is not None
    assert first_ns - span.start_time >= 0.02e9
    assert span.end_time - first_ns >= 0.02e9


def test_an_answer_without_a_body_has_no_first_token() -> None:
    async def run(proxy: Proxied) -> Sequence[Any]:
        await proxy.http.post(proxy.url)
        (span,) = await proxy.inferences()
        return span.events

    async def scenario() -> Sequence[Any]:
        async with listening(headless) as port, proxied(port) as proxy:
            return await run(proxy)

    async def headless(_: web.BaseRequest) -> web.Response:
        return web.Response(status=204)

    assert asyncio.run(scenario()) == ()


# --- delivery ------------------------------------------------------------------------------------------------------------------------
def test_an_end_point_that_hangs_doesn_t_keep_the_proxy_longer_than_it_may() -> None:
    let_go, answered = threading.Event(), threading.Event()

    class Hanging(SpanExporter):
        """Its end point takes a request, and says nothing, whatever becomes of the exporter."""

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            del spans
            let_go.wait(SOON_SECONDS)
            answered.set()
            return SpanExportResult.FAILURE

    async def run() -> None:
        spans = Spans(Hanging(), service="test", model=None, limited=False)
        for _ in range(1000):
            spans.add(trace_of({}), Timing(0, end_ns=1))
        await spans.stop(seconds=0.05)

    asyncio.run(run())
    assert not answered.is_set()
    let_go.set()
