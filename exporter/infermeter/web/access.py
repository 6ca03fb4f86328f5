"""Who may ask, and what is set on answers: what the file of `web.config_file` says, with the certificates that it names."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from infermeter.config.web_file import ClientAuth, Curve, RateLimit, TlsServer, WebFile
from infermeter.errors import ConfigError
from infermeter.network.file_watch import FileWatch, Held
from infermeter.network.tls import TlsChoice, server_context
from infermeter.parsing.web_file import load_web_file, openssl_ciphers

BYTES_MOST: Final = 1 << 20

_VERSIONS: Final = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_CURVES: Final[Mapping[Curve, str]] = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}
_CLIENTS: Final[Mapping[ClientAuth, Any]] = {"VerifyClientCertIfGiven": "if_given", "RequireAndVerifyClientCert": "required"}


@dataclass(frozen=True, slots=True)
class Access:
    """Without `context` there is no TLS, without `users` nobody is asked for a password; `users` are bcrypt's hashes by name."""

    context: ssl.SSLContext | None = None
    allowed_sans: frozenset[str] = frozenset()
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    rate_limit: RateLimit = field(default_factory=RateLimit)
    notes: tuple[str, ...] = ()

    def lets_in(self, certificate: Mapping[str, Any] | None) -> bool:
        """Whether a client with this certificate, verified and as Python tells it, may ask; None: it has shown none."""
        return not self.allowed_sans or not self.allowed_sans.isdisjoint(_names((certificate or {}).get("subjectAltName", ())))


OPEN: Final = Access()
"""Everybody, in plain HTTP."""


def read_access(path: str) -> Held[Access]:
    """What the file at `path` says now. Blocks. Raises: ConfigErrors, ConfigError."""
    where = Path(path)
    file = load_web_file(_text_in(where), path)
    tls = None if file.tls_server_config is None else _choice(file.tls_server_config, where.parent)
    access = Access(
        context=None if tls is None else server_context(tls),
        allowed_sans=frozenset() if file.tls_server_config is None else frozenset(_written(name) for name in _sans(file)),
        users=file.basic_auth_users,
        headers={name: value for name, value in file.http_server_config.headers.items() if value},
        rate_limit=file.rate_limit,
        notes=tuple(_notes(file, path)),
    )
    return Held(access, (where, *(() if tls is None else tls.files)))


def watched(path: str | None, *, fail: Callable[[Exception], None]) -> FileWatch[Access] | None:
    """The same, renewed as the files change; None without one. Raises: ConfigErrors, ConfigError."""
    if path is None:
        return None
    return FileWatch("the file of web.config_file", lambda: read_access(path), refused=weakened, fail=fail)


def weakened(before: Access, after: Access) -> str | None:
    """Why what is read while it runs isn't taken over: a file that is being written, or is lost, must open no door."""
    if (before.context is None) != (after.context is None):
        return "TLS is turned on and off by a restart alone"
    if before.users and not after.users:
        return "basic_auth_users are taken away by a restart alone"
    if before.context is not None and after.context is not None and before.context.verify_mode > after.context.verify_mode:
        return "clients' certificates are done without by a restart alone"
    return "client_allowed_sans are taken away by a restart alone" if before.allowed_sans and not after.allowed_sans else None


def _sans(file: WebFile) -> Iterable[str]:
    return () if file.tls_server_config is None else file.tls_server_config.client_allowed_sans


def _choice(tls: TlsServer, folder: Path) -> TlsChoice:
    return TlsChoice(
        folder / str(tls.cert_file),
        folder / str(tls.key_file),
        client_ca_file=None if not tls.client_ca_file else folder / tls.client_ca_file,
        clients=_CLIENTS.get(tls.client_auth_type, "none"),
        minimum=_VERSIONS[tls.min_version],
        maximum=_VERSIONS[tls.max_version],
        ciphers=openssl_ciphers(tls.cipher_suites),
        curve=_CURVES[tls.curve_preferences[0]] if tls.curve_preferences else None,
        prefers_own_order=tls.prefer_server_cipher_suites,
    )


def _notes(file: WebFile, path: str) -> Iterable[str]:
    """What it says in vain, or at a risk."""
    if file == WebFile():
        yield f"{path}: says nothing, so everybody is let in, in plain HTTP"
    if file.http_server_config.http2:
        yield f"{path}: http_server_config.http2: HTTP/1.1 is spoken whatever stands here"
    if file.basic_auth_users and file.tls_server_config is None:
        yield f"{path}: basic_auth_users: without tls_server_config passwords can be read on their way"


def _text_in(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(BYTES_MOST + 1)
        if len(content) > BYTES_MOST:
            raise ConfigError(str(path), f"longer than {BYTES_MOST} bytes")
        return content.decode()
    except OSError as error:
        raise ConfigError(str(path), f"can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), f"is no UTF-8 text: byte {error.start}") from None


def _names(told: Iterable[tuple[str, str]]) -> Iterable[str]:
    """Those that may be allowed, as `_written` has them. Source: RFC 5280, section 4.2.1.6, as `ssl` spells the kinds."""
    return (_written(name) for kind, name in told if kind in ("DNS", "IP Address", "email", "URI"))


def _written(name: str) -> str:
    """An address has many spellings, and is compared in one."""
    try:
        return str(ip_address(name.strip()))
    except ValueError:
        return name
