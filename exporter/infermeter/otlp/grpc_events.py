"""What happens on a connection of HTTP/2, as far as requests go. Each names its stream. Pure."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, TypeAlias

from infermeter.otlp.grpc_heads import Head


class Mark(Enum):
    """What concerns no request, and that nothing more can be said before more has come."""

    NOTHING = "nothing"
    NEED_DATA = "need data"


class Begun(NamedTuple):
    """A request."""

    stream: int
    head: Head


class Piece(NamedTuple):
    """Some of its content."""

    stream: int
    content: bytes


class Ended(NamedTuple):
    """It is whole."""

    stream: int


class BrokenOff(NamedTuple):
    """Nobody waits for its answer any more."""

    stream: int


Event: TypeAlias = Begun | Piece | Ended | BrokenOff | Mark
