from __future__ import annotations

import gzip

import pytest

from infermeter.web.encoding import LEAST_BYTES, accepts_gzip, packed


@pytest.mark.parametrize("header", ["gzip", "deflate, gzip;q=0.5", "GZIP", "*", "br;q=1.0, *;q=0.1", "gzip; q=0.001"])
def test_gzip_is_accepted(header: str) -> None:
    assert accepts_gzip(header)


@pytest.mark.parametrize("header", ["", "identity", "br", "gzip;q=0", "gzip; q=0.000", "*;q=0", "gzip;q=0, *", "x-gzipped"])
def test_gzip_is_not_accepted(header: str) -> None:
    assert not accepts_gzip(header)


def test_a_long_body_is_packed_and_says_so() -> None:
    body = b"a" * LEAST_BYTES
    sent, headers = packed(body, "gzip")
    assert gzip.decompress(sent) == body
    assert headers == {"Content-Encoding": "gzip"}


def test_a_short_body_is_sent_as_it_is() -> None:
    assert packed(b"a" * (LEAST_BYTES - 1), "gzip") == (b"a" * (LEAST_BYTES - 1), {})
