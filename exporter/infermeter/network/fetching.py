"""Another server's page over HTTP, fetched within bounds; blocks, so it belongs into a thread.

Redirects are not followed, and proxies of the environment not used: a sidecar asks its neighbour, and nobody else. Errors hold nothing that
a peer sent, nor what a URL may hide (its query).
"""

from __future__ import annotations

import base64
import http.client
import io
import socket
import ssl
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final, Self
from urllib.parse import SplitResult, urlsplit

from infermeter.errors import Unavailable

BYTES_MOST: Final = 16 << 20
TOKEN_BYTES_MOST: Final = 65_536

_HEADERS: Final = {"Accept": "text/plain;version=0.0.4", "Accept-Encoding": "gzip", "Connection": "close", "User-Agent": "infermeter"}
_PIECE_BYTES: Final = 65_536
_PEM_END: Final = "-----END CERTIFICATE-----\n"
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Caller:
    """By what a server knows who asks, and by what it is known. Files are read with each request.

    `ca_file` holds who signs its certificate (None: whom the system trusts), `server_name` is what that is for (None: the URL's host);
    `pinned_file` holds the very certificate that it must show, for whatever name. `cert_file` and `key_file` are shown where it asks.
    """

    token_file: str | None = None
    username: str | None = None
    password_file: str | None = None
    ca_file: str | None = None
    server_name: str | None = None
    pinned_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None


ANONYMOUS: Final = Caller()


def fetch(
    url: str, *, timeout_seconds: float, token_file: str | None = None, caller: Caller = ANONYMOUS, most_bytes: int = BYTES_MOST
) -> bytes:
    """What a GET of an http or https URL brings, whole and unpacked: at most `most_bytes`, `timeout_seconds` after the call.

    `token_file` holds a bearer token and is read anew each time, so that it can rotate; it stands in for the caller's. Only the
    resolving of the host's name, which is the system's, can take longer. Raises: Unavailable (no URL that can be asked, no connection, no
    answer in time, a status other than 200, too large, damaged, or a file of the caller's that can't be read).
    """
    parts = _parts(url)
    caller = caller if token_file is None else replace(caller, token_file=token_file)
    headers = {**_HEADERS, **_authorization(caller)}
    ends = time.monotonic() + timeout_seconds

    def left() -> float:
        seconds = ends - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        return seconds

    try:
        with _connected(parts, left, caller) as connection:
            return _answer(connection, parts, headers, most_bytes)
    except Unavailable as error:
        raise Unavailable(f"{_shown(parts)}: {error}") from None
    except TimeoutError:
        raise Unavailable(f"{_shown(parts)}: no whole answer within {timeout_seconds:g} s") from None
    except ssl.SSLError as error:
        raise Unavailable(f"{_shown(parts)}: TLS: {getattr(error, 'verify_message', None) or error.reason or 'failed'}") from None
    except OSError as error:
        raise Unavailable(f"{_shown(parts)}: {error.strerror or 'the connection failed'}") from None
    except http.client.IncompleteRead:
        raise Unavailable(f"{_shown(parts)}: the answer was cut off") from None
    except (http.client.HTTPException, ValueError):
        raise Unavailable(f"{_shown(parts)}: the answer is not HTTP") from None


def url_problem(url: str) -> str | None:
    """Why a URL can't be asked, in one sentence; None: it can."""
    try:
        parts = urlsplit(url)
        port = parts.port
        (parts.hostname or "").encode("idna")
    except ValueError:
        return "can't be read"
    if parts.scheme not in _PORTS or not parts.hostname or port == 0:
        return "is not an http or https URL such as http://127.0.0.1:9400/metrics"
    if parts.username is not None or parts.password is not None:
        return "holds a user or password, which would be shown; use a token file"
    if not url.isascii() or not url.isprintable() or " " in url:
        return "holds characters that belong percent-encoded"
    return None


def _parts(url: str) -> SplitResult:
    problem = url_problem(url)
    if problem is not None:
        raise Unavailable(f"the URL {problem}")
    return urlsplit(url)


def _shown(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def token_in(path: str) -> str:
    """The bearer token that a file holds. Raises: Unavailable."""
    try:
        with Path(path).open("rb") as file:
            token = file.read(TOKEN_BYTES_MOST + 1).strip()
    except OSError as error:
        raise Unavailable(f"token_file {path}: {error.strerror}") from None
    if not token or len(token) > TOKEN_BYTES_MOST or not all(33 <= byte <= 126 for byte in token):
        raise Unavailable(f"token_file {path}: holds no token of printable ASCII")
    return token.decode("ascii")


def _authorization(caller: Caller) -> dict[str, str]:
    """Raises: Unavailable."""
    if caller.token_file is not None:
        return {"Authorization": f"Bearer {token_in(caller.token_file)}"}
    if caller.username is None or caller.password_file is None:
        return {}
    pair = caller.username.encode() + b":" + _line_in(caller.password_file, "password_file")
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _line_in(path: str, key: str) -> bytes:
    """What a file holds, without the end of its last line. Raises: Unavailable."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(TOKEN_BYTES_MOST + 1)
    except OSError as error:
        raise Unavailable(f"{key} {path}: {error.strerror}") from None
    if len(content) > TOKEN_BYTES_MOST:
        raise Unavailable(f"{key} {path}: longer than {TOKEN_BYTES_MOST} bytes")
    return content.rstrip(b"\r\n")


def _connected(parts: SplitResult, left: Callable[[], float], caller: Caller) -> _Connection:
    """A connection to the first of the host's addresses that takes one. Raises: OSError, TimeoutError, Unavailable."""
    host = parts.hostname or ""
    tls = _tls(caller) if parts.scheme == "https" else None
    trouble: OSError = OSError("the host has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, parts.port or _PORTS[parts.scheme], type=socket.SOCK_STREAM):
        plain = socket.socket(family, kind, protocol)
        try:
            plain.settimeout(left())
            plain.connect(address)
            plain.settimeout(left())
            return _Connection(plain if tls is None else tls.wrap_socket(plain, server_hostname=caller.server_name or host), left)
        except TimeoutError:
            plain.close()
            raise
        except OSError as error:
            plain.close()
            trouble = error
    raise trouble


def _tls(caller: Caller) -> ssl.SSLContext:
    """Raises: Unavailable (a file that holds no certificate), OSError."""
    if caller.ca_file is None and caller.cert_file is None and caller.pinned_file is None:
        return _trusting_the_system()
    context = ssl.create_default_context() if caller.ca_file is None else _trusting(caller.ca_file)
    if caller.pinned_file is not None:
        context = _trusting(caller.pinned_file, alone=True)
    if caller.cert_file is not None:
        try:
            context.load_cert_chain(caller.cert_file, caller.key_file, password="")
        except ssl.SSLError:
            raise Unavailable(f"cert_file {caller.cert_file}: is no certificate with its key, in PEM, not encrypted") from None
        except OSError as error:
            raise Unavailable(f"cert_file {caller.cert_file}, or its key: {error.strerror}") from None
    return context


@cache
def _trusting_the_system() -> ssl.SSLContext:
    return ssl.create_default_context()


def _trusting(path: str, *, alone: bool = False) -> ssl.SSLContext:
    """Whoever a file's certificates sign; `alone`: nobody but the first of them, under any name. Raises: Unavailable."""
    try:
        text = Path(path).read_text("ascii")
        context = ssl.create_default_context(cadata=text.partition(_PEM_END)[0] + _PEM_END if alone else text)
    except (ssl.SSLError, ValueError):
        raise Unavailable(f"{path}: holds no certificate in PEM") from None
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}") from None
    if alone:
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _answer(connection: _Connection, parts: SplitResult, headers: dict[str, str], most_bytes: int) -> bytes:
    """Raises: Unavailable (the answer is none that can be used), OSError, TimeoutError, HTTPException."""
    client = http.client.HTTPConnection(parts.netloc)
    client.sock = connection  # what of a socket the client uses
    client.request("GET", f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}", headers=headers)
    with client.getresponse() as response:
        if 300 <= response.status < 400:
            raise Unavailable(f"redirects (HTTP {response.status}), which is not followed")
        if response.status != 200:
            raise Unavailable(f"HTTP {response.status}")
        encoding = response.getheader("Content-Encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip"):
            raise Unavailable("is in a Content-Encoding that was not asked for")
        return _body(response, most_bytes, gzip=encoding == "gzip")


def _body(response: http.client.HTTPResponse, most_bytes: int, *, gzip: bool) -> bytes:
    """The body, never more of it than is allowed, neither as sent nor unpacked."""
    inflater = zlib.decompressobj(16 + zlib.MAX_WBITS) if gzip else None
    body = bytearray()
    sent_bytes = 0
    while piece := response.read1(_PIECE_BYTES):
        sent_bytes += len(piece)
        if inflater is not None:
            try:
                piece = inflater.decompress(piece, most_bytes + 1 - len(body))
            except zlib.error:
                raise Unavailable("damaged gzip") from None
        body += piece
        if max(sent_bytes, len(body)) > most_bytes:
            raise Unavailable(f"is larger than {most_bytes} bytes")
    if response.length or (inflater is not None and not inflater.eof):
        raise Unavailable("the answer was cut off")
    if inflater is not None and inflater.unused_data:  # a part of a page would be read as the whole
        raise Unavailable("gzip with something after its end")
    return bytes(body)


class _Connection:
    """A socket, as the HTTP client uses it: each wait ends when the whole call's time is over, however slowly the bytes drip."""

    def __init__(self, connected: socket.socket, left: Callable[[], float]) -> None:
        self._socket = connected
        self._left = left

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def sendall(self, data: bytes) -> None:
        """Sends all of it."""
        self._socket.settimeout(self._left())
        self._socket.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What arrives."""
        return io.BufferedReader(_Arriving(self._socket, self._left))

    def close(self) -> None:
        """Nothing: whoever opened it closes it."""


class _Arriving(io.RawIOBase):
    """The bytes of a socket."""

    def __init__(self, connected: socket.socket, left: Callable[[], float]) -> None:
        self._socket = connected
        self._left = left

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # io hands over a memoryview
        """Some bytes, at least one but at the end. Raises: TimeoutError."""
        self._socket.settimeout(self._left())
        return self._socket.recv_into(buffer)
