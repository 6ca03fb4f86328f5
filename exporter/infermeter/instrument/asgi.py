"""An ASGI middleware (FastAPI, Starlette, LitServe's front ...): each request is an inference, and the network's bytes are timed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, TypeAlias

from opentelemetry.context import Context
from opentelemetry.trace import Tracer, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from infermeter.instrument.inference import _TRACER, Inference, inference

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Scope: TypeAlias = MutableMapping[str, Any]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""They ask for nothing to be done: no inferences. Source: RFC 9110 section 9.2.1."""

LONG_SEND_NS = 1_000_000
"""A piece of a streamed answer that takes this long to send had to wait for the client."""

SENDS_LIMIT = 16
"""Such waits that are told apart within one answer."""

_PROPAGATOR = TraceContextTextMapPropagator()


class InferenceMiddleware:
    """Wraps an application. What goes on inside is its own to tell, with `stage`."""

    def __init__(self, app: Application, *, model: str | None = None, paths: Sequence[str] = (), tracer: Tracer = _TRACER) -> None:
        """`paths` are those of inferences, by their beginning (none: all but safe methods are inferences)."""
        self._app = app
        self._model = model
        self._paths = tuple(paths)
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection, as ASGI says."""
        if scope["type"] != "http" or not self._is_inference(scope):
            await self._app(scope, receive, send)
            return
        with inference(self._model, tracer=self._tracer, context=_context(scope)) as one:
            network = _Network(one, receive, send)
            await self._app(scope, network.receive, network.send)
            if not network.answered:
                one.fail("unanswered")

    def _is_inference(self, scope: Scope) -> bool:
        return scope["path"].startswith(self._paths) if self._paths else scope["method"] not in SAFE_METHODS


class _Network:
    """The bytes of one request and its answer."""

    def __init__(self, one: Inference, receive: Receive, send: Send) -> None:
        self.answered = False
        self._inference = one
        self._receive = receive
        self._send = send
        self._receiving_ns: int | None = None
        self._sends = 0

    async def receive(self) -> Message:
        """A piece of the request's body: from the first to the last, they are one `net_in`."""
        begin_ns = self._inference.now()
        message = await self._receive()
        if message["type"] == "http.request":
            self._receiving_ns = self._receiving_ns or begin_ns
            if not message.get("more_body", False):
                self._inference.add("serialisation", self._receiving_ns, self._inference.now(), part="net_in")
        elif not self.answered:
            self._inference.fail("client_gone")
        return message

    async def send(self, message: Message) -> None:
        """A piece of the answer. The first of several is the first token, unless the application has told when that was."""
        begin_ns = self._inference.now()
        body = message["type"] == "http.response.body"
        last = body and not message.get("more_body", False)
        if message["type"] == "http.response.start" and message["status"] >= 400:
            self._inference.fail(str(message["status"]))
        if body and not last and message.get("body"):
            self._inference.first_token()
        await self._send(message)
        end_ns = self._inference.now()
        self.answered = self.answered or last
        waited = body and end_ns - begin_ns >= LONG_SEND_NS and self._sends < SENDS_LIMIT
        if last or waited:
            self._sends += 1
            self._inference.add("serialisation", begin_ns, end_ns, part="net_out")


def _context(scope: Scope) -> Context | None:
    """Of the span that is current, or else of the client's trace; None for neither."""
    if get_current_span().get_span_context().is_valid:
        return None
    told: Mapping[str, str] = {
        name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"] if name in (b"traceparent", b"tracestate")
    }
    return _PROPAGATOR.extract(told) if told else None
