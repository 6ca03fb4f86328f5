"""Requests as spans in the native layout, and their way to an OTLP end point: batched, in a thread, bounded, never waited for."""

from __future__ import annotations

import asyncio
import random
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from multidict import CIMultiDict
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from infermeter.instrument import layout
from infermeter.polling import HandOver
from infermeter.proxy.delivery import Delivery
from infermeter.proxy.packing import PackedSpan
from infermeter.proxy.timing import Timing

QUEUE_SPANS = 16_384
EXPORT_SPANS = 2_048
EXPORT_EVERY_MILLISECONDS = 1_000

STOP_SECONDS = 3.0
"""How long the last spans may take when the proxy ends."""

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
"""Source: W3C Trace Context, section 3.2."""

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_PART: Mapping[str | None, Mapping[str, str]] = {None: {}} | {part: {layout.PART: part} for part in ("net_in", "net_out")}
_UNSET, _ERROR = Status(), Status(StatusCode.ERROR)


class Trace(NamedTuple):
    """Where a request's span belongs: in the client's trace below `parent` if it has one, else in a trace of its own."""

    context: SpanContext
    parent: SpanContext | None
    flags: int

    def hand_on(self, headers: CIMultiDict[str]) -> None:
        """Tells the upstream server; whether it traces is still the client's to say."""
        headers["traceparent"] = f"00-{self.context.trace_id:032x}-{self.context.span_id:016x}-{self.flags:02x}"
        if self.parent is None:
            headers.popall("tracestate", None)  # of no trace that could be read


def trace_of(headers: Mapping[str, str]) -> Trace:
    """A place for one more span. It is recorded even if the client doesn't sample: it is there to be counted."""
    text = headers.get("traceparent")
    parent = None if text is None else _parent(text)
    trace_id, flags = (_identity(128), 1) if parent is None else (parent.trace_id, parent.trace_flags)
    return Trace(SpanContext(trace_id, _identity(64), is_remote=False, trace_flags=_SAMPLED), parent, flags)


def _parent(text: str) -> SpanContext | None:
    found = _TRACEPARENT.fullmatch(text.strip())
    if found is None or found[1] == "ff" or (found[1] == "00" and found[5]):
        return None
    context = SpanContext(int(found[2], 16), int(found[3], 16), is_remote=True, trace_flags=TraceFlags(int(found[4], 16)))
    return context if context.is_valid else None


def _identity(bits: int) -> int:
    """Random, and not 0, which is no identity."""
    return random.getrandbits(bits) or 1


class Spans:
    """Makes a request's spans, and sends them."""

    def __init__(self, exporter: SpanExporter, *, service: str, model: str | None, limited: bool) -> None:
        """`model` is every request's; None: the receiver knows. `limited`: requests wait for their turn."""
        self._delivery = Delivery(exporter)
        self._processor = BatchSpanProcessor(
            self._delivery,
            max_queue_size=QUEUE_SPANS,
            schedule_delay_millis=EXPORT_EVERY_MILLISECONDS,
            max_export_batch_size=EXPORT_SPANS,
        )
        self._resource = Resource.create({"service.name": service})
        self._scope = InstrumentationScope(layout.SCOPE)
        self._attributes: dict[str, str] = {} if model is None else {layout.MODEL: model}
        self._limited = limited
        self.made = 0

    def add(self, trace: Trace, timing: Timing) -> None:
        """One request that has ended."""
        context = trace.context
        for interval in timing.intervals(limited=self._limited):
            own = SpanContext(context.trace_id, _identity(64), is_remote=False, trace_flags=_SAMPLED)
            self._end(interval.stage, own, context, SpanKind.INTERNAL, _PART[interval.part], interval.start_ns, interval.end_ns)
        failure, first_ns = timing.failure, timing.first_byte_ns
        self._end(
            layout.INFERENCE,
            context,
            trace.parent,
            SpanKind.SERVER,
            self._attributes if failure is None else {**self._attributes, layout.ERROR_TYPE: failure},
            timing.start_ns,
            timing.end_ns,
            status=_UNSET if failure is None else _ERROR,
            events=() if first_ns is None else (Event(layout.FIRST_TOKEN, timestamp=first_ns),),
        )

    async def stop(self, *, seconds: float = STOP_SECONDS) -> None:
        """Sends the last ones, for so long at most: what hasn't gone by then is given up, also where an end point holds its thread."""
        sent = asyncio.Event()
        on_loop = HandOver(asyncio.get_running_loop())

        def send() -> None:
            self._processor.shutdown()  # type: ignore[no-untyped-call]  # as opentelemetry-sdk has it
            on_loop(sent.set)

        threading.Thread(target=send, name="last-spans", daemon=True).start()  # one of the loop's own would be waited for at the end
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await sent.wait()
        on_loop.stopped.set()
        self._delivery.shutdown()

    @property
    def delivered(self) -> int:
        """Spans that the end point has taken."""
        return self._delivery.delivered

    def _end(  # noqa: PLR0913 - what a span is
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: Mapping[str, str] | None,
        start_ns: int,
        end_ns: int,
        *,
        status: Status = _UNSET,
        events: Sequence[Event] = (),
    ) -> None:
        # made as a whole: a tracer's start_span and end take ten times as long, and would be half of what the proxy costs
        self._processor.on_end(
            PackedSpan(
                name,
                context=context,
                parent=parent,
                resource=self._resource,
                attributes=attributes,
                events=events,
                kind=kind,
                status=status,
                start_time=start_ns,
                end_time=end_ns,
                instrumentation_scope=self._scope,
            )
        )
        self.made += 1
