"""The file that `web.config_file` names: exporter-toolkit's web configuration, as far as it can be kept here. Pure.

What can't be kept is refused in a sentence, never ignored: an operator believes what such a file says. Certificates and keys are files that
it names; nothing is read here. Source: prometheus/exporter-toolkit, docs/web-configuration.md and web/tls_config.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from infermeter.config.web_file import SETTABLE_HEADERS, CipherSuite, TlsServer, WebFile
from infermeter.parsing.rules import Problem
from infermeter.parsing.structure import load_file

BCRYPT_COST_LEAST, BCRYPT_COST_MOST = 4, 14
"""A cost of 14 is a second of a core for each password that isn't known yet; each one more is twice that."""

USERS_MOST: Final = 1000

_BCRYPT: Final = re.compile(r"\$2[abxy]\$([0-9]{2})\$[./A-Za-z0-9]{53}")
_HEADER_VALUE: Final = re.compile(r"[ -~]*")
_TLS13: Final = ("TLS_AES_", "TLS_CHACHA20_")


def load_web_file(text: str, where: str) -> WebFile:
    """What the file's `text` says; `where` names it. Raises: ConfigErrors with every problem; none tells a hash or a key."""
    return load_file(WebFile, text, where, unfit)


def unfit(file: WebFile) -> Iterator[Problem]:
    """What of it can't be kept."""
    if file.tls_server_config is not None:
        for path, problem in _unfit_tls(file.tls_server_config):
            yield f"tls_server_config.{path}", problem
    for name, value in file.http_server_config.headers.items():
        if (wrong := _header_problem(name, value)) is not None:
            yield f"http_server_config.headers.{name}", wrong
    if len(file.basic_auth_users) > USERS_MOST:
        yield "basic_auth_users", f"more than {USERS_MOST} users"
    for user, hashed in file.basic_auth_users.items():
        if (wrong := _user_problem(user, hashed)) is not None:
            yield f"basic_auth_users.{user}", wrong
    if file.rate_limit.interval and not file.rate_limit.burst:
        yield "rate_limit.burst", "is required with rate_limit.interval: with a burst of 0 nobody would be answered"


def openssl_ciphers(suites: tuple[CipherSuite, ...]) -> str | None:
    """Those of TLS 1.2 as OpenSSL calls them, in order; None where none is chosen. Source: openssl-ciphers(1), cipher suite names."""
    chosen = [suite.removeprefix("TLS_") for suite in suites if not suite.startswith(_TLS13)]
    return ":".join(_openssl_name(suite) for suite in chosen) or None


def _openssl_name(suite: str) -> str:
    exchange, _, cipher = suite.partition("_WITH_")
    packed = cipher.replace("AES_", "AES").replace("_CBC", "").replace("CHACHA20_POLY1305_SHA256", "CHACHA20_POLY1305")
    return f"{exchange}_{packed}".replace("_", "-")


def _unfit_tls(tls: TlsServer) -> Iterator[Problem]:
    for name in ("cert", "key", "client_ca"):
        if getattr(tls, name) is not None:
            yield name, f"isn't taken from within this file: {name}_file names a file"
    for name in ("cert_file", "key_file"):
        if not getattr(tls, name):
            yield name, "is required with tls_server_config"
    for name in ("min_version", "max_version"):
        if getattr(tls, name) in ("TLS10", "TLS11"):
            yield name, f"{getattr(tls, name)} isn't spoken: it is broken; TLS12 is the least"
    if tls.min_version == "TLS13" and tls.max_version == "TLS12":
        yield "max_version", "is below min_version"
    if tls.cipher_suites and openssl_ciphers(tls.cipher_suites) is None and tls.min_version != "TLS13":
        yield "cipher_suites", "names none of TLS 1.2, which min_version allows; those of TLS 1.3 are always there"
    if len(tls.curve_preferences) > 1:
        yield "curve_preferences", "names several; Python's TLS takes one, or, where none is named, has its own list"
    yield from _unfit_clients(tls)


def _unfit_clients(tls: TlsServer) -> Iterator[Problem]:
    policy = tls.client_auth_type
    if policy in ("RequestClientCert", "RequireClientCert", "RequireAnyClientCert"):
        yield "client_auth_type", f"{policy} verifies nothing, and isn't taken; RequireAndVerifyClientCert is what protects"
    elif policy == "NoClientCert":
        if tls.client_ca_file:
            yield "client_ca_file", "is set, but client_auth_type is NoClientCert: clients wouldn't be asked"
    elif not tls.client_ca_file:
        yield "client_ca_file", f"is required with {policy}: whoever has a public certificate would be let in"
    if tls.client_allowed_sans and policy != "RequireAndVerifyClientCert":
        yield "client_allowed_sans", "needs client_auth_type: RequireAndVerifyClientCert"


def _header_problem(name: str, value: str) -> str | None:
    if name not in SETTABLE_HEADERS:
        return f"can't be set; those that can are {', '.join(SETTABLE_HEADERS)}"
    if SETTABLE_HEADERS[name] and value and value not in SETTABLE_HEADERS[name]:
        return f"must be {' or '.join(SETTABLE_HEADERS[name])}"
    return None if _HEADER_VALUE.fullmatch(value) else "holds what isn't printable ASCII"


def _user_problem(user: str, hashed: str) -> str | None:
    if not user or ":" in user:
        return "is no user's name: basic authentication takes none that is empty or holds a colon"
    found = _BCRYPT.fullmatch(hashed)
    if found is None:
        return "is no hash made by bcrypt, which begins with $2y$, $2b$ or $2a$"
    if not BCRYPT_COST_LEAST <= int(found[1]) <= BCRYPT_COST_MOST:
        return f"has a cost of {int(found[1])}, which must be from {BCRYPT_COST_LEAST} to {BCRYPT_COST_MOST}"
    return None
