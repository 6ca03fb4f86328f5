"""Answers as HTTP/2 writes them, read by the library hpack."""

from __future__ import annotations

import hpack
from hypothesis import given
from hypothesis import strategies as st

from infermeter.otlp.grpc_answers import Answer, written
from infermeter.otlp.grpc_frames import HEAD, HEADERS


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=400), st.integers(1, 16), st.integers(1, (1 << 31) - 1))
def test_a_refusal_is_one_frame_of_fields_however_long_its_text(text: str, status: int, stream: int) -> None:
    frame = written(Answer(status, text=text), stream)
    high, low, kind, flags, number = HEAD.unpack_from(frame)
    assert (high << 8 | low, kind, flags, number) == (len(frame) - HEAD.size, HEADERS, 0x5, stream)
    fields = dict(hpack.Decoder().decode(frame[HEAD.size :]))
    told = bytes(fields.pop("grpc-message", ""), "ascii")
    assert fields.pop("grpc-accept-encoding") == "identity,gzip", "whoever packed otherwise isn't told how it may"
    assert fields == {":status": "200", "content-type": "application/grpc", "grpc-status": str(status)}
    assert percent_decoded(told) == text.encode()
    assert all(0x20 <= byte <= 0x7E for byte in told)


def percent_decoded(told: bytes) -> bytes:
    first, *others = told.split(b"%")
    return first + b"".join(bytes((int(other[:2], 16),)) + other[2:] for other in others)
