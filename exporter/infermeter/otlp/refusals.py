"""Why an export is refused, and the one table of what its sender is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from infermeter.errors import DecodeError, Overloaded, TooLarge

Reason: TypeAlias = Literal["malformed", "too_large", "overload", "unauthorised", "signal"]
"""The label `reason` of `exports_refused_total`."""

RETRY_AFTER_SECONDS = 1
"""What a refused but welcome sender is asked to wait."""


class WrongContentType(DecodeError):
    """The peer's: neither protobuf nor JSON, or packed in another way than gzip. 415 / INVALID_ARGUMENT."""


class UnknownPacking(DecodeError):
    """The peer's: a message of gRPC that is packed in another way than gzip; it is told which ones are known. 415 / UNIMPLEMENTED."""


class TooSlow(DecodeError):
    """The peer's: the body took longer than `limits.request_time`. 408 / DEADLINE_EXCEEDED."""


class WrongSignal(Exception):
    """The peer's: metrics or logs, which nobody reads here. Answered so that no sender tries again. 200 / UNIMPLEMENTED."""


class Unauthorised(Exception):
    """The peer's: it doesn't show the token of `otlp.token_file`. 401 / UNAUTHENTICATED."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """How one kind of refusal is counted and answered. `grpc_status` is the number in google.rpc.Code."""

    reason: Reason
    http_status: int
    grpc_status: int
    retry: bool = False


_INVALID_ARGUMENT = 3
_DEADLINE_EXCEEDED = 4
_RESOURCE_EXHAUSTED = 8
_UNIMPLEMENTED = 12
_UNAVAILABLE = 14
_UNAUTHENTICATED = 16

REFUSALS: dict[type[Exception], Refusal] = {
    DecodeError: Refusal("malformed", 400, _INVALID_ARGUMENT),
    WrongContentType: Refusal("malformed", 415, _INVALID_ARGUMENT),
    UnknownPacking: Refusal("malformed", 415, _UNIMPLEMENTED),
    TooSlow: Refusal("malformed", 408, _DEADLINE_EXCEEDED),
    TooLarge: Refusal("too_large", 413, _RESOURCE_EXHAUSTED),
    Overloaded: Refusal("overload", 503, _UNAVAILABLE, retry=True),
    Unauthorised: Refusal("unauthorised", 401, _UNAUTHENTICATED),
    WrongSignal: Refusal("signal", 200, _UNIMPLEMENTED),
}
"""What each error of a sender means to it. Python's SDK tries again after any 5xx, hence 200 for a signal that isn't taken."""
