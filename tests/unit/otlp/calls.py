"""A client of gRPC that speaks HTTP/2 by the library h2: it makes bytes, and reads those that come back. And a server by it, as a judge."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import hyperframe.frame

from infermeter.otlp.grpc_frames import PREFACE, SETTINGS, Code, frame

TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
GREETING = PREFACE + frame(SETTINGS, 0, 0)
"""What the least of clients begins with."""


def head(path: str = TRACES, *more: tuple[str, str], method: str = "POST") -> list[tuple[str, str]]:
    """The fields of a call."""
    return [
        (":method", method),
        (":scheme", "http"),
        (":path", path),
        (":authority", "here"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        *more,
    ]


def message(content: bytes, *, is_packed: bool = False) -> bytes:
    """As gRPC frames it."""
    return bytes((is_packed,)) + len(content).to_bytes(4, "big") + content


@dataclass
class Told:
    """What a call was answered."""

    fields: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    is_whole: bool = False
    reset: int | None = None

    @property
    def status(self) -> int:
        """Of gRPC."""
        return int(self.fields["grpc-status"])


class Client:
    """One connection's. Whatever comes back that is no HTTP/2 is a mistake that h2 raises."""

    def __init__(self) -> None:
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.told: dict[int, Told] = {}
        self.goodbye: int | None = None

    def unsent(self) -> bytes:
        """What is to be sent."""
        return bytes(self.h2.data_to_send())

    def call(
        self,
        content: bytes,
        fields: Sequence[tuple[str, str]] = (),
        *,
        ends: bool = True,
        pieces: int = 1 << 14,
        padding: int | None = None,
    ) -> int:
        """Begins a call, and sends its content in frames of so many bytes; its stream."""
        stream: int = self.h2.get_next_available_stream_id()
        self.told[stream] = Told()
        self.h2.send_headers(stream, list(fields or head()))
        self.send(stream, content, ends=ends, pieces=pieces, padding=padding)
        return stream

    def send(self, stream: int, content: bytes, *, ends: bool = True, pieces: int = 1 << 14, padding: int | None = None) -> None:
        """More of its content."""
        for at in range(0, len(content), pieces):
            self.h2.send_data(stream, content[at : at + pieces], pad_length=padding)
        if ends:
            self.h2.end_stream(stream)

    def hear(self, data: bytes) -> None:
        """Takes what came back."""
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                self.told[event.stream_id].fields |= dict(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                self.told[event.stream_id].data += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                self.told[event.stream_id].is_whole = True
            elif isinstance(event, h2.events.StreamReset):
                self.told[event.stream_id].reset = int(event.error_code)
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.goodbye = int(event.error_code or 0)


class Oracle:
    """A server by the library h2, which says what it thinks of what a client sends."""

    def __init__(self) -> None:
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self._h2.initiate_connection()
        self._h2.receive_data(GREETING)
        self.last: int | None = None

    def code(self, data: bytes) -> Code | None:
        """Why a stream or the connection ends over these bytes; None: it doesn't. `last` is the stream that its goodbye names."""
        self._h2.clear_outbound_data_buffer()
        with suppress(h2.exceptions.ProtocolError):
            self._h2.receive_data(data)
        said, code = self._h2.data_to_send(), None
        while said:
            ending, length = hyperframe.frame.Frame.parse_frame_header(memoryview(said[:9]))
            ending.parse_body(memoryview(said[9 : 9 + length]))
            said = said[9 + length :]
            if isinstance(ending, hyperframe.frame.RstStreamFrame | hyperframe.frame.GoAwayFrame):
                code = Code(ending.error_code)
            if isinstance(ending, hyperframe.frame.GoAwayFrame):
                self.last = ending.last_stream_id
        return code

    def answer(self, stream: int) -> None:
        """The whole answer to a call."""
        self._h2.send_headers(stream, [(":status", "200")], end_stream=True)
