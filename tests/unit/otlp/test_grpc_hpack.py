"""Fields out of blocks: as the library hpack reads and writes them, within bounds, and nothing of what it refuses."""

from __future__ import annotations

from contextlib import suppress

import hpack
import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import given
from hypothesis import strategies as st

from infermeter.errors import DecodeError
from infermeter.otlp.grpc_hpack import FIELDS_MOST, LIST_BYTES_MOST, TABLE_BYTES_MOST, Field, Unpacking

NAMES = st.sampled_from([":path", ":method", "te", "authorization", "grpc-timeout", "x-a", "x-b"])
VALUES = st.one_of(st.sampled_from(["POST", "/", "trailers", "9999894u", ""]), st.text(st.characters(max_codepoint=255), max_size=40))
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=8)


def packed(headers: list[Field], encoder: hpack.Encoder, *, huffman: bool) -> bytes:
    """As the library writes them."""
    return encoder.encode([(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers], huffman=huffman)


def literal(name: bytes, value: bytes, first: int = 0) -> bytes:
    """A field written plainly, shorter than 127 bytes each."""
    return bytes((first, len(name))) + name + bytes((len(value),)) + value


def test_every_field_that_needs_no_telling_is_known() -> None:
    library = hpack.Decoder()
    for index in range(1, 62):
        block = bytes((0x80 | index,))
        assert Unpacking().fields(block) == [tuple(part.decode() for part in field[:2]) for field in library.decode(block, raw=True)]


def test_every_character_has_its_code() -> None:
    coder = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
    for number in range(256):
        value = coder.encode(bytes((number,)) * 3)
        assert Unpacking().fields(b"\x04" + bytes((0x80 | len(value),)) + value) == [(":path", chr(number) * 3)]


@given(st.lists(st.tuples(HEADERS, st.booleans(), st.sampled_from([None, 0, 64, 4096]))))
def test_whatever_is_packed_block_by_block_comes_out_as_it_was(blocks: list[tuple[list[Field], bool, int | None]]) -> None:
    encoder, unpacking = hpack.Encoder(), Unpacking()
    for headers, huffman, size in blocks:
        if size is not None:
            encoder.header_table_size = size
        assert unpacking.fields(packed(headers, encoder, huffman=huffman)) == headers


@given(HEADERS, st.booleans(), st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255)), max_size=4), st.binary(max_size=12))
def test_of_damaged_blocks_nothing_comes_that_the_library_reads_otherwise(
    headers: list[Field], huffman: bool, changes: list[tuple[int, int]], more: bytes
) -> None:
    block = bytearray(packed(headers, hpack.Encoder(), huffman=huffman) + more)
    for at, byte in changes:
        if block:
            block[at % len(block)] = byte
    with suppress(DecodeError):
        fields = Unpacking().fields(bytes(block))
        library = hpack.Decoder().decode(bytes(block), raw=True)
        assert fields == [(name.decode("latin-1"), value.decode("latin-1")) for name, value in library]


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",
        b"\xbe",
        b"\xff\x80\x80\x80\x80\x01",
        b"\xff",
        b"\x00",
        b"\x00\x05ab",
        b"\x00\x01a",
        b"\x7e\x01a",
        b"\x82\x20",
        b"\x3f\xe2\x1f",
        b"\x04\x82\x1f\x00",
        b"\x04\x82\x1f\xff\x00",
        b"\x04\x84\xff\xff\xff\xff",
    ],
    ids=[
        "index nought", "nothing there", "number too large", "number cut", "name cut", "text cut", "value cut", "name nowhere",
        "size amid fields", "table too large", "code cut by noughts", "more after a text", "the end's code",
    ],
)  # fmt: skip
def test_what_is_no_block_is_refused(block: bytes) -> None:
    with pytest.raises(DecodeError):
        Unpacking().fields(block)


def test_ones_may_fill_a_code_up_to_its_last_byte_and_no_further() -> None:
    assert Unpacking().fields(b"\x04\x81\x07") == [(":path", "0")]  # five bits, three ones
    with pytest.raises(DecodeError):
        Unpacking().fields(b"\x04\x82\x07\xff")


def test_what_is_remembered_is_bounded_and_the_oldest_goes_first() -> None:
    unpacking = Unpacking()
    value = b"v" * (TABLE_BYTES_MOST // 64 - 32 - 1)
    for number in range(65):
        unpacking.fields(literal(bytes((33 + number,)), value, 0x40))
    assert unpacking.fields(b"\xbe") == [(chr(33 + 64), value.decode())]
    assert unpacking.fields(b"\xfd") == [(chr(33 + 1), value.decode())]
    with pytest.raises(DecodeError):
        unpacking.fields(b"\xfe")


def test_a_table_that_is_made_smaller_forgets_and_made_larger_does_not_remember() -> None:
    unpacking = Unpacking()
    unpacking.fields(literal(b"a", b"b", 0x40))
    assert unpacking.fields(b"\x20\x3f\xe1\x1f") == []
    with pytest.raises(DecodeError):
        unpacking.fields(b"\xbe")


def test_a_field_longer_than_the_table_empties_it() -> None:
    unpacking = Unpacking()
    unpacking.fields(b"\x3f\x09" + literal(b"a", b"b", 0x40))  # 40 bytes long
    assert unpacking.fields(literal(b"a", b"b" * 40, 0x40)) == [("a", "b" * 40)]
    with pytest.raises(DecodeError):
        unpacking.fields(b"\xbe")


def test_a_small_block_that_becomes_large_is_refused() -> None:
    unpacking = Unpacking()
    unpacking.fields(b"\x40\x01a\x7f\xa1\x1e" + b"b" * 4000)
    times = LIST_BYTES_MOST // (1 + 4000 + 32)
    assert len(unpacking.fields(b"\xbe" * times)) == times
    with pytest.raises(DecodeError):
        unpacking.fields(b"\xbe" * (times + 1))


def test_fields_are_bounded_in_number() -> None:
    assert len(Unpacking().fields(b"\x82" * FIELDS_MOST)) == FIELDS_MOST
    with pytest.raises(DecodeError):
        Unpacking().fields(b"\x82" * (FIELDS_MOST + 1))
