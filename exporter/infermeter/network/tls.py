"""Certificates and keys from files, as Python's TLS takes them: at least TLS 1.2, and no client certificate that isn't verified."""

from __future__ import annotations

import ssl
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from infermeter.errors import ConfigError

PEM_BYTES_MOST: Final = 1 << 20

_CLIENTS: Final = {"none": ssl.CERT_NONE, "if_given": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


@dataclass(frozen=True, slots=True)
class TlsChoice:
    """What a listener shows, and what it asks of clients. `ciphers` (of TLS 1.2) and `curve` are OpenSSL's names; None: its own choice."""

    cert_file: Path
    key_file: Path
    client_ca_file: Path | None = None
    clients: Literal["none", "if_given", "required"] = "none"
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ciphers: str | None = None
    curve: str | None = None
    prefers_own_order: bool = True

    @property
    def files(self) -> tuple[Path, ...]:
        """All that it reads."""
        return (self.cert_file, self.key_file, *(() if self.client_ca_file is None else (self.client_ca_file,)))


def server_context(choice: TlsChoice) -> ssl.SSLContext:
    """Reads the files. Raises: ConfigError that names the file, and tells nothing of what it holds."""
    for path in choice.files:
        pem_in(path)
    try:
        return _context(choice)
    except OSError as error:  # since it was read just now
        raise ConfigError(" or ".join(map(str, choice.files)), f"can't be read any more: {error.strerror}") from None


def _context(choice: TlsChoice) -> ssl.SSLContext:
    """Raises: ConfigError; OSError where a file isn't there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = choice.minimum, choice.maximum
    if choice.prefers_own_order:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if choice.ciphers is not None:
        context.set_ciphers(choice.ciphers)
    if choice.curve is not None:
        context.set_ecdh_curve(choice.curve)
    try:
        context.load_cert_chain(choice.cert_file, choice.key_file, password=_nobody_is_asked)
    except (ssl.SSLError, ValueError):
        problem = f"is no certificate, or {choice.key_file} not its key; both are PEM, and the key isn't encrypted"
        raise ConfigError(str(choice.cert_file), problem) from None
    if choice.client_ca_file is not None:
        try:
            context.load_verify_locations(choice.client_ca_file)
        except ssl.SSLError:
            raise ConfigError(str(choice.client_ca_file), "holds no certificate in PEM") from None
    context.verify_mode = _CLIENTS[choice.clients]
    return context


def pem_in(path: Path) -> bytes:
    """What a file of certificates or a key holds; a pipe would keep its reader waiting. Raises: ConfigError that names the file."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConfigError(str(path), "is no file")
        with path.open("rb") as file:
            content = file.read(PEM_BYTES_MOST + 1)
    except OSError as error:
        raise ConfigError(str(path), f"can't be read: {error.strerror}") from None
    except ValueError:  # a NUL
        raise ConfigError(str(path), "is no path") from None
    if len(content) > PEM_BYTES_MOST:
        raise ConfigError(str(path), f"longer than {PEM_BYTES_MOST} bytes")
    return content


def _nobody_is_asked() -> str:
    """In place of OpenSSL's question on the terminal for the password of an encrypted key."""
    raise ValueError
