"""Another server, on a socket of its own in a thread: it answers each connection exactly as the test says, also wrongly."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

Answer = Callable[[socket.socket], None]
"""Writes on a connection whose request was read; the connection is closed afterwards."""

HOST = "127.0.0.1"


def answer(body: bytes, *headers: str, status: str = "200 OK", told_bytes: int | None = None) -> Answer:
    """A whole answer; `told_bytes` is the length that it claims."""
    length = len(body) if told_bytes is None else told_bytes
    head = "\r\n".join((f"HTTP/1.1 {status}", f"Content-Length: {length}", *headers, "", ""))
    return written(head.encode() + body)


def written(data: bytes) -> Answer:
    """These bytes, whatever they are."""
    return lambda connection: connection.sendall(data)


def dripping(data: bytes, *, until: threading.Event, seconds: float = 0.01) -> Answer:
    """`data`, then a byte of it again and again, each well within any time-out of a single read."""

    def drip(connection: socket.socket) -> None:
        connection.sendall(data)
        while not until.wait(seconds):
            connection.sendall(data[-1:])

    return drip


class Peer:
    """Listens from `with` to its end; `answers` may be changed meanwhile, and `requests` are what was asked."""

    def __init__(self, answers: Answer, *, tls: ssl.SSLContext | None = None) -> None:
        self.answers = answers
        self.requests: list[str] = []
        self.ending = threading.Event()
        self._tls = tls
        self._socket = socket.create_server((HOST, 0))
        self.address = f"{HOST}:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)

    @property
    def url(self) -> str:
        """Of its /metrics."""
        return f"http{'s' if self._tls else ''}://{self.address}/metrics"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _serve(self) -> None:
        while not self.ending.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                self._answer(connection if self._tls is None else self._tls.wrap_socket(connection, server_side=True))

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            request = b""
            while b"\r\n\r\n" not in request and request.startswith(b"GET"[: len(request)]) and (piece := connection.recv(65_536)):
                request += piece
            self.requests.append(request.decode("latin-1"))
            self.answers(connection)
