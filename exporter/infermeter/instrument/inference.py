"""An inference under way, and the stages that its time goes to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, get_tracer, set_span_in_context, use_span

from infermeter.instrument import layout
from infermeter.instrument.layout import Stage
from infermeter.instrument.recorded import attributes_of
from infermeter.instrument.timed import Timed

WALL_CLOCK = layout.WallClock()
"""Every inference's time is from it."""

_TRACER = get_tracer(layout.SCOPE)
"""Of the global provider, also of one that is set later."""

_CURRENT: ContextVar[Inference | None] = ContextVar("infermeter_inference", default=None)


class Inference:
    """One inference from now until `end`. Other threads may tell of it, too; what is told after its end is dropped.

    `now()` are the unix nanoseconds in which it is timed.
    """

    def __init__(self, model: str | None = None, *, tracer: Tracer = _TRACER, context: Context | None = None) -> None:
        """`model` None: told later, or by the receiver. Below the span of `context`, by default the current one."""
        self.now = WALL_CLOCK.steady()
        attributes = {} if model is None else {layout.MODEL: model}
        self.span: Span = tracer.start_span(layout.INFERENCE, context, SpanKind.SERVER, attributes, start_time=self.now())
        self._tracer = tracer
        self._within = set_span_in_context(self.span, context)
        self._first_token_told = False
        self._ended = False

    def is_of(self, model: str) -> None:
        """Tells its model."""
        self.span.set_attribute(layout.MODEL, model)

    def tokens(self, *, input: int | None = None, output: int | None = None) -> None:  # noqa: A002 - they are called so
        """Tells how many tokens went in, or have come out; None: not known."""
        if input is not None:
            self.span.set_attribute(layout.TOKENS_INPUT, input)
        if output is not None:
            self.span.set_attribute(layout.TOKENS_OUTPUT, output)

    def first_token(self) -> None:
        """The first token is there now. Only the first call counts."""
        if not (self._first_token_told or self._ended):
            self._first_token_told = True
            self.span.add_event(layout.FIRST_TOKEN, timestamp=self.now())

    def in_batch_of(self, size: int) -> None:
        """Tells how many inferences were computed together with this one, itself among them."""
        self.span.set_attribute(layout.BATCH_SIZE, size)

    def fail(self, why: str) -> None:
        """It has failed; `why` is one of few words, never a text with anything of the request in it."""
        if not self._ended:
            self.span.set_status(StatusCode.ERROR)
            self.span.set_attribute(layout.ERROR_TYPE, why)

    def stage(self, name: Stage, part: str | None = None) -> Timed[None]:
        """Times a stage of it, `part` names a piece of the stage. Raises: ValueError for a stage that there isn't."""
        _known(name)
        return Timed(partial(_staged, self, name, part))

    def add(self, name: Stage, start_ns: int, end_ns: int, *, part: str | None = None, batch_id: int | None = None) -> None:
        """A stage that somebody else has timed, in unix nanoseconds. `batch_id`: the same device time serves a whole batch."""
        if not self._ended:
            self._begun(_known(name), start_ns, part, batch_id).end(end_ns)

    def end(self) -> None:
        """It has ended now. Only the first call counts."""
        if not self._ended:
            self._ended = True
            self.span.end(self.now())

    def _begun(self, name: Stage, start_ns: int, part: str | None, batch_id: int | None = None) -> Span:
        return self._tracer.start_span(name, self._within, SpanKind.INTERNAL, attributes_of(part, batch_id), start_time=start_ns)


def inference(model: str | None = None, *, tracer: Tracer = _TRACER, context: Context | None = None) -> Timed[Inference]:
    """Times an inference: a block (`with ... as one:`) or, as a decorator, each call. An exception that leaves it is a failure of it."""
    return Timed(partial(_during, model, tracer, context))


def stage(name: Stage, part: str | None = None) -> Timed[None]:
    """Times a stage of the current inference: a block (`with`) or, as a decorator, each call. Outside of any it does nothing.

    Raises:
        ValueError: there is no such stage.
    """
    _known(name)
    return Timed(lambda: _staged(_CURRENT.get(), name, part))


def current() -> Inference | None:
    """The inference that this task or thread works for; None outside of any."""
    return _CURRENT.get()


def first_token() -> None:
    """The current inference's first token is there now."""
    if (one := _CURRENT.get()) is not None:
        one.first_token()


def tokens(*, input: int | None = None, output: int | None = None) -> None:  # noqa: A002 - they are called so
    """Tells how many tokens went into the current inference, or have come out."""
    if (one := _CURRENT.get()) is not None:
        one.tokens(input=input, output=output)


@contextmanager
def _during(model: str | None, tracer: Tracer, context: Context | None) -> Iterator[Inference]:
    one = Inference(model, tracer=tracer, context=context)
    token = _CURRENT.set(one)
    try:
        # an exception's message may hold what was asked: only its class is told
        with use_span(one.span, record_exception=False, set_status_on_exception=False):
            yield one
    except BaseException as error:
        one.fail(type(error).__name__)
        raise
    finally:
        _CURRENT.reset(token)
        one.end()


@contextmanager
def _staged(one: Inference | None, name: Stage, part: str | None) -> Iterator[None]:
    if one is None:
        yield
        return
    span = one._begun(name, one.now(), part)  # noqa: SLF001 - of this module
    try:
        with use_span(span, record_exception=False, set_status_on_exception=False):
            yield
    finally:
        span.end(one.now())


def _known(name: Stage) -> Stage:
    if name not in layout.STAGES:
        raise ValueError(f"no stage {name!r}: there are {', '.join(layout.STAGES)}")
    return name
