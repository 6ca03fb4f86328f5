"""A TCP listener that speaks TLS: the certificate is the newest for each connection, and handshakes are bounded in time and number.

asyncio's own server has one context for its life, and no bound on connections that haven't shaken hands.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import traceback
from collections.abc import Callable
from typing import Final

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS: Final = 10.0
HANDSHAKES: Final = 64
"""At a time; one more takes the place of the one that has taken longest."""

SHUTDOWN_SECONDS: Final = 1.0
"""How long a peer may take to say goodbye."""

_BACKLOG: Final = 100
_PAUSE_SECONDS: Final = 0.2
"""Where no connection can be taken, as a rule for want of descriptors."""


class TlsListener:
    """Makes a protocol for each connection, which begins when hands are shaken. Whoever fails at that is dropped without a word."""

    def __init__(
        self,
        protocol: Callable[[], asyncio.BaseProtocol],
        context: Callable[[], ssl.SSLContext],
        *,
        handshake_seconds: float = HANDSHAKE_SECONDS,
        handshakes: int = HANDSHAKES,
    ) -> None:
        """`context` is asked for each connection."""
        self._protocol = protocol
        self._context = context
        self._handshake_seconds = handshake_seconds
        self._handshakes = handshakes
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._shaking: dict[asyncio.Task[None], None] = {}

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """Those that listen."""
        return tuple(self._sockets)

    async def start(self, host: str | None, port: int) -> int:
        """Listens (None: at every address) and returns the port. Raises: OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, _, _, _, address in dict.fromkeys(found):
                listening = socket.create_server(address, family=family, backlog=_BACKLOG)
                listening.settimeout(0)
                self._sockets.append(listening)
        except OSError:
            self.close()
            raise
        self._accepting = [loop.create_task(self._accept(listening)) for listening in self._sockets]
        bound: int = self._sockets[0].getsockname()[1]
        return bound

    def close(self) -> None:
        """Takes no more connections; those that have begun go on, those that shake hands don't."""
        for task in (*self._accepting, *self._shaking):
            task.cancel()
        for listening in self._sockets:
            listening.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(listening)
            except OSError:
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if len(self._shaking) >= self._handshakes:
                longest = next(iter(self._shaking))
                del self._shaking[longest]
                longest.cancel()
            task = loop.create_task(self._shake_hands(accepted))
            self._shaking[task] = None
            task.add_done_callback(self._shaken)

    def _shaken(self, task: asyncio.Task[None]) -> None:
        self._shaking.pop(task, None)

    async def _shake_hands(self, accepted: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol,
                accepted,
                ssl=self._context(),
                ssl_handshake_timeout=self._handshake_seconds,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
        except ssl.SSLError as error:
            log.debug("a TLS handshake failed: %s", error.reason)
            _forgotten(error)
        except OSError as error:
            log.debug("a TLS handshake was broken off")
            _forgotten(error)
        except BaseException:
            accepted.close()
            raise


def _forgotten(error: BaseException | None) -> None:
    """Lets go of what it was raised in: asyncio's frames hold the error that holds them, and with them the connection's 256 KiB buffer."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__
