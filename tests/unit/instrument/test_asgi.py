"""The ASGI middleware: which requests are inferences, and where their bytes' time goes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from infermeter.instrument import InferenceMiddleware, current, first_token, stage
from support.instrumented import Spans, attributes

TRACEPARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

BODY = {"type": "http.request", "body": b"x", "more_body": False}
START = {"type": "http.response.start", "status": 200, "headers": []}
END = {"type": "http.response.body", "body": b"done"}


async def echo(_: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    with stage("compute"):
        pass
    await send(START)
    await send(END)


def served(
    application: Callable[..., Awaitable[None]],
    *messages: dict[str, Any],
    method: str = "POST",
    path: str = "/",
    headers: tuple[tuple[bytes, bytes], ...] = (),
    kind: str = "http",
    sending: Callable[[dict[str, Any]], Awaitable[None]] | None = None,
    **options: Any,
) -> tuple[Spans, list[Any]]:
    """The spans of one request, and what was sent."""
    spans = Spans()
    queue = list(messages or (BODY,))
    sent: list[Any] = []

    async def receive() -> Any:
        return queue.pop(0)

    async def send(message: dict[str, Any]) -> None:
        if sending is not None:
            await sending(message)
        sent.append(message)

    middleware = InferenceMiddleware(application, tracer=spans.tracer, **options)
    asyncio.run(middleware({"type": kind, "method": method, "path": path, "headers": list(headers)}, receive, send))
    return spans, sent


def parts(spans: Spans) -> list[str]:
    return [str(attributes(span).get("infermeter.part", span.name)) for span in spans.finished if span.name != "inference"]


def test_a_request_is_an_inference_with_its_bytes_around_what_the_application_tells() -> None:
    spans, sent = served(echo, model="m")
    assert sent == [START, END]
    assert parts(spans) == ["net_in", "compute", "net_out"]
    assert attributes(spans.inference) == {"infermeter.model": "m"}
    assert spans.mapped().quality == {"compute": "measured", "serialisation": "measured"}


def test_a_body_in_pieces_is_one_net_in() -> None:
    spans, _ = served(echo, {**BODY, "more_body": True}, {**BODY, "more_body": True}, BODY)
    assert parts(spans).count("net_in") == 1


@pytest.mark.parametrize(
    ("method", "path", "paths", "counts"),
    [
        ("POST", "/predict", (), True),
        ("GET", "/health", (), False),
        ("OPTIONS", "/predict", (), False),
        ("GET", "/predict", ("/predict",), True),
        ("POST", "/login", ("/predict", "/generate"), False),
    ],
)
def test_paths_or_else_methods_say_what_is_an_inference(method: str, path: str, paths: tuple[str, ...], *, counts: bool) -> None:
    spans, sent = served(echo, method=method, path=path, paths=paths)
    assert len(spans.named("inference")) == counts
    assert sent == [START, END]


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
def test_what_is_no_http_is_left_alone(kind: str) -> None:
    spans = Spans()
    scope = {"type": kind}
    passed = []

    async def application(*connection: Any) -> None:
        assert current() is None
        passed.append(connection)

    async def receive() -> Any:
        raise AssertionError

    async def send(_: Any) -> None:
        raise AssertionError

    asyncio.run(InferenceMiddleware(application, tracer=spans.tracer)(scope, receive, send))
    assert passed == [(scope, receive, send)]
    assert spans.finished == ()


@pytest.mark.parametrize("status", [200, 302, 404, 500])
def test_an_answer_is_a_failure_from_400_on(status: int) -> None:
    async def answer(_: Any, receive: Any, send: Any) -> None:
        del receive
        await send({**START, "status": status})
        await send(END)

    spans, _ = served(answer)
    assert attributes(spans.inference).get("error.type") == (str(status) if status >= 400 else None)


def test_an_application_that_doesn_t_answer_has_failed() -> None:
    async def silent(*_: Any) -> None:
        pass

    assert attributes(served(silent)[0].inference) == {"error.type": "unanswered"}


def test_an_application_that_breaks_has_failed_and_breaks() -> None:
    async def broken(*_: Any) -> None:
        raise LookupError("what was asked")

    with pytest.raises(LookupError):
        served(broken)


def test_a_client_that_leaves_before_the_answer_is_a_failure_and_one_that_leaves_after_it_isn_t() -> None:
    async def patient(_: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send(END)
        await receive()

    async def left(_: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(START)
        await send(END)

    gone = {"type": "http.disconnect"}
    assert "error.type" not in attributes(served(patient, gone)[0].inference)
    assert attributes(served(left, gone)[0].inference) == {"error.type": "client_gone"}


def test_a_streamed_answer_begins_with_the_first_token() -> None:
    async def stream(_: Any, receive: Any, send: Any) -> None:
        del receive
        await send(START)
        for piece in (b"", b"one", b"two"):
            await send({**END, "body": piece, "more_body": True})
        await send({**END, "body": b""})

    spans, _ = served(stream)
    assert [event.name for event in spans.inference.events] == ["first_token"]
    assert served(echo)[0].inference.events == ()


def test_the_application_may_say_itself_when_the_first_token_was_there() -> None:
    async def stream(_: Any, receive: Any, send: Any) -> None:
        del receive
        first_token()
        await send(START)
        await send({**END, "more_body": True})
        await send(END)

    spans, _ = served(stream)
    (event,) = spans.inference.events
    assert spans.inference.start_time is not None
    assert event.timestamp >= spans.inference.start_time


def test_a_client_that_takes_its_time_is_net_out() -> None:
    async def stream(_: Any, receive: Any, send: Any) -> None:
        del receive
        await send(START)
        for _ in range(40):
            await send({**END, "more_body": True})
        await send(END)

    async def slow(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            await asyncio.sleep(0.002)

    spans, _ = served(stream, sending=slow)
    assert parts(spans) == ["net_out"] * 17


def test_an_inference_belongs_into_the_client_s_trace() -> None:
    spans, _ = served(echo, headers=((b"host", b"h"), (b"traceparent", TRACEPARENT), (b"tracestate", b"a=b")))
    assert spans.inference.parent is not None
    assert f"{spans.inference.parent.span_id:016x}" == "b7ad6b7169203331"
    assert served(echo)[0].inference.parent is None


def test_an_inference_belongs_below_the_span_that_is_there() -> None:
    spans = Spans()

    async def nested() -> None:
        async def receive() -> Any:
            return BODY

        async def send(_: Any) -> None:
            pass

        middleware = InferenceMiddleware(echo, tracer=spans.tracer)
        with spans.tracer.start_as_current_span("server"):
            headers = [(b"traceparent", TRACEPARENT)]
            await middleware({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive, send)

    asyncio.run(nested())
    (server,) = spans.named("server")
    assert spans.inference.parent == server.context
