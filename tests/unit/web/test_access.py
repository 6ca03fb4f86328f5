from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from infermeter.errors import ConfigError
from infermeter.web.access import BYTES_MOST, OPEN, Access, read_access, watched, weakened

SECURE = Access(context=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), users={"alice": "hash"}, allowed_sans=frozenset({"a"}))


def asking(access: Access) -> Access:
    """The same, with a certificate of clients required."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    return replace(access, context=context)


def test_without_a_file_nothing_is_watched() -> None:
    assert watched(None, fail=lambda _: None) is None


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        (SECURE, replace(SECURE, context=None), "TLS"),
        (OPEN, replace(OPEN, context=SECURE.context), "TLS"),
        (SECURE, replace(SECURE, users={}), "basic_auth_users"),
        (SECURE, replace(SECURE, allowed_sans=frozenset()), "client_allowed_sans"),
        (asking(SECURE), SECURE, "certificates"),
    ],
)
def test_a_door_is_opened_by_a_restart_alone(before: Access, after: Access, word: str) -> None:
    problem = weakened(before, after)
    assert problem is not None
    assert word in problem
    assert "restart" in problem


@pytest.mark.parametrize(
    ("before", "after"),
    [(OPEN, OPEN), (OPEN, replace(OPEN, users={"a": "b"})), (SECURE, asking(SECURE)), (SECURE, replace(SECURE, users={"bob": "hash"}))],
)
def test_other_changes_and_more_doors_are_taken_over(before: Access, after: Access) -> None:
    assert weakened(before, after) is None


@pytest.mark.parametrize(
    ("certificate", "is_in"),
    [
        ({"subjectAltName": (("DNS", "prometheus.example"),)}, True),
        ({"subjectAltName": (("DNS", "grafana.example"), ("IP Address", "2001:DB8:0:0:0:0:0:1"))}, True),
        ({"subjectAltName": (("URI", "spiffe://cluster/prometheus"),)}, True),
        ({"subjectAltName": (("email", "sre@example"),)}, True),
        ({"subjectAltName": (("DNS", "prometheus.example.evil"), ("DirName", "prometheus.example"))}, False),
        ({"subject": ((("commonName", "prometheus.example"),),)}, False),
        ({}, False),
        (None, False),
    ],
)
def test_a_certificate_is_let_in_by_the_names_of_whom_it_is_for(certificate: dict[str, object] | None, is_in: bool) -> None:
    allowed = frozenset({"prometheus.example", "2001:db8::1", "spiffe://cluster/prometheus", "sre@example"})
    assert Access(allowed_sans=allowed).lets_in(certificate) == is_in
    assert OPEN.lets_in(certificate)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b" " * (BYTES_MOST + 1), f"longer than {BYTES_MOST} bytes"),
        (b"a\xff", "is no UTF-8 text: byte 1"),
        (None, "can't be read: No such"),
    ],
    ids=["long", "no text", "none"],
)
def test_a_file_that_can_not_be_read_is_named(content: bytes | None, told: str, tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_access(str(file))
    assert str(caught.value).startswith(f"{file}: {told}")


def test_what_is_said_in_vain_or_at_a_risk_is_noted(tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    file.write_text(f"http_server_config: {{http2: true}}\nbasic_auth_users: {{alice: $2y$10${'a' * 53}}}")
    assert read_access(str(file)).content.notes == (
        f"{file}: http_server_config.http2: HTTP/1.1 is spoken whatever stands here",
        f"{file}: basic_auth_users: without tls_server_config passwords can be read on their way",
    )
    file.write_text("http_server_config: {http2: false}")
    assert read_access(str(file)).content.notes == ()
    for nothing in ("", "basic_auth_users: {}"):
        file.write_text(nothing)
        assert read_access(str(file)).content.notes == (f"{file}: says nothing, so everybody is let in, in plain HTTP",)


def test_what_is_held_shows_no_hash() -> None:
    assert "hash" not in repr(SECURE)
