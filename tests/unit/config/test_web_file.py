from __future__ import annotations

import ssl
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.config.web_file import SETTABLE_HEADERS, CipherSuite, WebFile
from infermeter.errors import ConfigErrors
from infermeter.parsing.web_file import load_web_file, openssl_ciphers

HASH = "$2y$10$" + "a" * 53
TLS = "cert_file: c, key_file: k"


def problems(text: str) -> list[str]:
    """Every problem of a file, as it is told."""
    try:
        load_web_file(text, "web.yml")
    except ConfigErrors as errors:
        return [str(problem) for problem in errors.problems]
    return []


@pytest.mark.parametrize("text", ["", "{}", "tls_server_config: null", "basic_auth_users: {}", "rate_limit: {interval: 0s}"])
def test_a_file_that_asks_for_nothing_is_taken(text: str) -> None:
    assert load_web_file(text, "web.yml") == WebFile()


def test_a_whole_file_is_read() -> None:
    file = load_web_file(
        f"""
tls_server_config:
  cert_file: server.crt
  key_file: server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.pem
  client_allowed_sans: [prometheus.example]
  min_version: TLS12
  max_version: TLS13
  cipher_suites: [TLS_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: true
  curve_preferences: [X25519]
http_server_config:
  http2: true
  headers: {{X-Frame-Options: sameorigin, X-XSS-Protection: "1"}}
basic_auth_users: {{alice: {HASH}}}
rate_limit: {{interval: 100ms, burst: 5}}
""",
        "web.yml",
    )
    assert file.tls_server_config is not None
    assert file.tls_server_config.client_allowed_sans == ("prometheus.example",)
    assert file.basic_auth_users == {"alice": HASH}
    assert (file.rate_limit.interval, file.rate_limit.burst) == (0.1, 5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[]", "web.yml: must be a mapping (line 1)"),
        ("tls_server: {}", "web.yml: tls_server: unknown key; did you mean tls_server_config? (line 1)"),
        ("tls_server_config: {}", "web.yml: tls_server_config.cert_file: is required with tls_server_config (line 1)"),
        ("tls_server_config: {cert_file: c}", "web.yml: tls_server_config.key_file: is required with tls_server_config (line 1)"),
        (f"tls_server_config: {{{TLS}, min_version: TLS10}}", "web.yml: tls_server_config.min_version: TLS10 isn't spoken: it is broken"),
        (f"tls_server_config: {{{TLS}, max_version: TLS11, min_version: TLS12}}", "web.yml: tls_server_config.max_version: TLS11 isn't"),
        (f"tls_server_config: {{{TLS}, max_version: TLS12, min_version: TLS13}}", "web.yml: tls_server_config.max_version: is below"),
        (
            f"tls_server_config: {{{TLS}, min_version: TLS14}}",
            "web.yml: tls_server_config.min_version: must be one of TLS10, TLS11, TLS12,",
        ),
        (
            f"tls_server_config: {{{TLS}, cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]}}",
            "web.yml: tls_server_config.cipher_suites[0]: must be",
        ),
        (
            f"tls_server_config: {{{TLS}, cipher_suites: [TLS_AES_128_GCM_SHA256]}}",
            "web.yml: tls_server_config.cipher_suites: names none of",
        ),
        (
            f"tls_server_config: {{{TLS}, curve_preferences: [X25519, CurveP256]}}",
            "web.yml: tls_server_config.curve_preferences: names sev",
        ),
        (f"tls_server_config: {{{TLS}, client_auth_type: RequireAnyClientCert}}", "web.yml: tls_server_config.client_auth_type: RequireAn"),
        (f"tls_server_config: {{{TLS}, client_auth_type: RequestClientCert}}", "web.yml: tls_server_config.client_auth_type: RequestClie"),
        (
            f"tls_server_config: {{{TLS}, client_ca_file: a}}",
            "web.yml: tls_server_config.client_ca_file: is set, but client_auth_type is No",
        ),
        (f"tls_server_config: {{{TLS}, client_auth_type: VerifyClientCertIfGiven}}", "web.yml: tls_server_config.client_ca_file: is requi"),
        (f"tls_server_config: {{{TLS}, client_allowed_sans: [a]}}", "web.yml: tls_server_config.client_allowed_sans: needs client_auth_ty"),
        (f"tls_server_config: {{{TLS}, client_ca: pem}}", "web.yml: tls_server_config.client_ca: isn't taken from within this file: clie"),
        ("http_server_config: {headers: {Server: x}}", "web.yml: http_server_config.headers.Server: can't be set; those that can are"),
        ("http_server_config: {headers: {X-Frame-Options: allow}}", "web.yml: http_server_config.headers.X-Frame-Options: must be deny or"),
        ('http_server_config: {headers: {X-XSS-Protection: "a\\nb: c"}}', "web.yml: http_server_config.headers.X-XSS-Protection: holds w"),
        ("basic_auth_users: {alice: hunter2}", "web.yml: basic_auth_users.alice: is no hash made by bcrypt, which begins with $2y$, $2b"),
        (
            f"basic_auth_users: {{alice: $2y$31${'a' * 53}}}",
            "web.yml: basic_auth_users.alice: has a cost of 31, which must be from 4 to 14",
        ),
        (f'basic_auth_users: {{"a:b": {HASH}}}', "web.yml: basic_auth_users.a:b: is no user's name: basic authentication takes none that"),
        ("rate_limit: {interval: 1s}", "web.yml: rate_limit.burst: is required with rate_limit.interval: with a burst of 0 nobody would"),
        ("rate_limit: {interval: 5}", "web.yml: rate_limit.interval: must be a duration such as 30s, 5m or 1h30m, not `5` (line 1)"),
        ("a: [", "web.yml: line 1: not valid YAML: expected the node content, but found '<stream end>'"),
    ],
)
def test_what_can_not_be_kept_is_refused_in_a_sentence(text: str, expected: str) -> None:
    assert problems(text)[0].startswith(expected)


def test_too_many_users_are_refused() -> None:
    users = ", ".join(f"u{number}: {HASH}" for number in range(1001))
    assert problems(f"basic_auth_users: {{{users}}}") == ["web.yml: basic_auth_users: more than 1000 users (line 1)"]


@pytest.mark.parametrize("value", ["hunter2", "12345678", "'12345678'", "true", "[hunter2]", "{hunter2: hunter2}", "|\n  hunter2\n  x"])
@pytest.mark.parametrize("key", ["basic_auth_users: {alice: %s}", "tls_server_config: {key: %s}", "tls_server_config: {cert: %s}"])
def test_no_problem_tells_a_password_a_hash_or_a_key(key: str, value: str) -> None:
    told = problems((key % value) if "|" not in value else key.partition("{")[0] + "\n  alice: " + value)
    assert told
    assert not any(secret in line for line in told for secret in ("hunter2", "12345678", "boolean"))


@given(st.text(max_size=80))
def test_no_problem_tells_what_stands_in_place_of_a_hash(text: str) -> None:
    secret = "planted" + text.encode("unicode_escape").decode().replace('"', "").replace("\\", "")
    assert all("planted" not in line for line in problems(f'basic_auth_users: {{alice: "{secret}"}}'))


def test_every_suite_of_tls_1_2_is_one_of_openssls_and_those_of_1_3_are_none() -> None:
    for suite in get_args(CipherSuite):
        name = openssl_ciphers((suite,))
        assert (name is None) == ("_WITH_" not in suite)
        if name is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.set_ciphers(name)
            assert name in {cipher["name"] for cipher in context.get_ciphers()}


def test_the_order_of_suites_is_kept() -> None:
    chosen = ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA")
    assert openssl_ciphers(chosen) == "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-SHA"


@pytest.mark.parametrize("name", SETTABLE_HEADERS)
def test_a_header_may_be_empty(name: str) -> None:
    assert problems(f"http_server_config: {{headers: {{{name}: ''}}}}") == []
