import gzip
import tracemalloc
from functools import partial

import pytest

from infermeter.errors import DecodeError, TooLarge
from infermeter.otlp.inflate import MEMBERS, gunzip
from infermeter.otlp.parts import MOST_PARTS, check_parts
from unit.otlp.exports import body, span

compressed = partial(gzip.compress, mtime=0)
"""With the same bytes in every process, whose tests bear them in their names."""

MEBIBYTE = 2**20


def test_gzip_is_unpacked() -> None:
    assert gunzip(compressed(b"spans"), 5) == b"spans"


def test_gzip_of_nothing_is_nothing() -> None:
    assert gunzip(compressed(b""), 5) == b""


def test_gzip_of_several_members_is_one_body() -> None:
    assert gunzip(compressed(b"one ") + compressed(b"two"), 7) == b"one two"


def test_a_bomb_is_refused_without_being_unpacked() -> None:
    bomb = compressed(bytes(64 * MEBIBYTE))
    tracemalloc.start()
    with pytest.raises(TooLarge):
        gunzip(bomb, MEBIBYTE)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 8 * MEBIBYTE


def test_the_bound_holds_over_all_members() -> None:
    with pytest.raises(TooLarge):
        gunzip(compressed(b"one ") + compressed(b"two"), 6)


def test_many_members_are_refused() -> None:
    assert gunzip(compressed(b"") * MEMBERS, 5) == b""
    with pytest.raises(TooLarge):
        gunzip(compressed(b"") * (MEMBERS + 1), 5)


@pytest.mark.parametrize("packed", [b"", b"spans", compressed(b"spans")[:-1], compressed(b"spans")[:12], compressed(b"spans") + b"x"])
def test_damaged_or_truncated_gzip_is_refused(packed: bytes) -> None:
    with pytest.raises(DecodeError):
        gunzip(packed, MEBIBYTE)


@pytest.mark.parametrize("part", [b"\x0a\0", b"\x12\0", b"\x4a\0", b"\x5a\0", b"\x92\0\0", b"\x92\x80\0\0"])
def test_small_bytes_that_become_many_objects_are_refused(part: bytes) -> None:
    with pytest.raises(TooLarge):
        check_parts(part * (MOST_PARTS + 1), "protobuf")


@pytest.mark.parametrize("part", [b"{},", b"[],", b"0,"])
def test_small_json_that_becomes_many_objects_is_refused(part: bytes) -> None:
    with pytest.raises(TooLarge):
        check_parts(b"[" + part * MOST_PARTS + b"0]", "json")


def test_exports_of_many_spans_pass() -> None:
    check_parts(body(span(attributes={"prompt": "word " * MEBIBYTE})), "protobuf")
    check_parts(body(*(span(number, {"key": number}) for number in range(10_000))), "protobuf")
