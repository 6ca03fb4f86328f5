"""Who may send spans: whoever shows the token of `otlp.token_file`, and the certificate that `otlp.tls` asks for."""

from __future__ import annotations

import hmac
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from infermeter.config import Otlp
from infermeter.errors import ConfigError, Unavailable
from infermeter.network.fetching import token_in
from infermeter.network.file_watch import FileWatch, Held
from infermeter.network.tls import TlsChoice, server_context
from infermeter.otlp.refusals import Unauthorised


@dataclass(frozen=True, slots=True)
class Certificates:
    """What the transports speak TLS with: `http2_context` says so in the handshake, where clients of gRPC insist on it."""

    context: ssl.SSLContext
    http2_context: ssl.SSLContext


@dataclass(frozen=True, slots=True)
class Access:
    """Without `token` nobody is asked for one, without `certificates` there is no TLS. May be read by any thread."""

    token: bytes | None = field(default=None, repr=False)
    certificates: Certificates | None = None

    def check(self, authorizations: Sequence[str]) -> None:
        """Looks at every such header of an export, or metadata of a call. Compares in constant time. Raises: Unauthorised."""
        if self.token is None:
            return
        scheme, _, shown = authorizations[0].partition(" ") if len(authorizations) == 1 else ("", "", "")
        is_right = hmac.compare_digest(shown.strip().encode(errors="surrogatepass"), self.token)
        if scheme.lower() != "bearer" or not is_right:
            raise Unauthorised("the bearer token of otlp.token_file isn't shown")


OPEN: Final = Access()
"""Everybody."""


def read_access(otlp: Otlp) -> Held[Access]:
    """What the files hold now that `otlp` names. Blocks. Raises: ConfigError."""
    token = None
    if otlp.token_file is not None:
        try:
            token = token_in(otlp.token_file).encode()
        except Unavailable as error:
            raise ConfigError("otlp", str(error)) from None
    choice = _choice(otlp)
    files = (*(() if otlp.token_file is None else (Path(otlp.token_file),)), *(() if choice is None else choice.files))
    return Held(Access(token, None if choice is None else _certificates(choice)), files)


def watched(otlp: Otlp, *, fail: Callable[[Exception], None]) -> FileWatch[Access] | None:
    """The same, renewed as the files change; None where there are none. Raises: ConfigError."""
    if otlp == Otlp():
        return None
    return FileWatch("one of the files of otlp", lambda: read_access(otlp), refused=lambda _before, _after: None, fail=fail)


def _choice(otlp: Otlp) -> TlsChoice | None:
    tls = otlp.tls
    if tls.cert_file is None or tls.key_file is None:
        return None
    client_ca = None if tls.client_ca_file is None else Path(tls.client_ca_file)
    return TlsChoice(Path(tls.cert_file), Path(tls.key_file), client_ca_file=client_ca, clients="none" if client_ca is None else "required")


def _certificates(choice: TlsChoice) -> Certificates:
    http2 = server_context(choice)
    http2.set_alpn_protocols(["h2"])
    return Certificates(server_context(choice), http2)
