"""The keys of the file that `web.config_file` names. What of them can't be kept is told by web_file.py.

Source: prometheus/exporter-toolkit, docs/web-configuration.md and web/tls_config.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from infermeter.config.keys import Duration, key

ClientAuth: TypeAlias = Literal[
    "NoClientCert",
    "RequestClientCert",
    "RequireClientCert",
    "RequireAnyClientCert",
    "VerifyClientCertIfGiven",
    "RequireAndVerifyClientCert",
]
Version: TypeAlias = Literal["TLS10", "TLS11", "TLS12", "TLS13"]
CipherSuite: TypeAlias = Literal[
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
]
Curve: TypeAlias = Literal["CurveP256", "CurveP384", "CurveP521", "X25519"]

SETTABLE_HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}
"""Those that may be set, and to what; empty: to anything."""


@dataclass(frozen=True, slots=True)
class TlsServer:
    """TLS of the web port."""

    cert_file: str | None = key(None, "PEM certificate chain; relative paths begin where this file is")
    key_file: str | None = key(None, "PEM private key, not encrypted")
    client_auth_type: ClientAuth = key(
        "NoClientCert",
        "whether clients show certificates; RequestClientCert and RequireAnyClientCert, which verify nothing, are refused",
    )
    client_ca_file: str | None = key(None, "PEM: who signs the certificates of clients")
    client_allowed_sans: tuple[str, ...] = key((), "a client's certificate must name one of them: DNS name, address, e-mail or URI")
    min_version: Version = key("TLS12", "TLS12 or TLS13; older ones are refused")
    max_version: Version = key("TLS13", "TLS12 or TLS13")
    cipher_suites: tuple[CipherSuite, ...] = key((), "of TLS 1.2, in order of preference; those of TLS 1.3 can't be chosen")
    prefer_server_cipher_suites: bool = key(default=True, doc="that order counts, not the client's")
    curve_preferences: tuple[Curve, ...] = key((), "one at most, since Python's TLS takes one or its own list")
    cert: str | None = key(None, "refused: cert_file names a file", secret=True)
    client_ca: str | None = key(None, "refused: client_ca_file names a file", secret=True)
    key: str | None = key(None, "refused: key_file names a file", secret=True)


@dataclass(frozen=True, slots=True)
class HttpServer:
    """What is spoken."""

    http2: bool | None = key(None, "HTTP/1.1 is spoken whatever stands here")
    headers: Mapping[str, str] = key(factory=dict, doc=f"set on every answer: {', '.join(SETTABLE_HEADERS)}; none where empty")


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Of all requests together, but those for /-/healthy and /-/ready; then 429."""

    interval: Duration = key(0.0, "between two requests; 0: no limit", minimum=0)
    burst: int = key(0, "so many may come at once", minimum=0)


@dataclass(frozen=True, slots=True)
class WebFile:
    """The whole file."""

    tls_server_config: TlsServer | None = key(None, "TLS")
    http_server_config: HttpServer = key(factory=HttpServer, doc="HTTP")
    basic_auth_users: Mapping[str, str] = key(
        factory=dict, doc='password hashes by user, made by bcrypt (`htpasswd -nBC 10 ""`); none: nobody is asked', secret=True
    )
    rate_limit: RateLimit = key(factory=RateLimit, doc="how many requests are answered")
