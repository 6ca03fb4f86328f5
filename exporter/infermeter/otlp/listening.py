"""Listens for connections of senders, with or without TLS, and ends them; what is spoken on them is known by who makes them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from functools import partial
from typing import Final

from infermeter.network.file_watch import FileWatch
from infermeter.network.listener import TlsListener
from infermeter.otlp.access import OPEN, Access, Certificates
from infermeter.otlp.connection import Connection
from infermeter.otlp.places import Places

_STOP_SECONDS: Final = 0.5


class Listening:
    """One address, all connections to it, and who may send there."""

    def __init__(
        self,
        made: Callable[[asyncio.AbstractEventLoop], Connection],
        places: Places[Connection],
        access: FileWatch[Access] | None,
        context: Callable[[Certificates], ssl.SSLContext],
        *,
        handshake_seconds: float,
    ) -> None:
        """`made` makes a connection, `places` has all of them, `context` is the one of these certificates that is shown.

        `access` says who may send, and is looked after while this listens; None: everybody.
        """
        self._made = made
        self._places = places
        self._watch = access
        self._context = context
        self._handshake_seconds = handshake_seconds
        self._listener: asyncio.Server | TlsListener | None = None

    @property
    def access(self) -> Access:
        """Who may send now."""
        return OPEN if self._watch is None else self._watch.current

    async def start(self, address: str) -> int:
        """Listens at `host:port` (port 0: any) and returns the port.

        Raises:
            OSError: the address can't be had.
        """
        host, _, port = address.rpartition(":")
        loop = asyncio.get_running_loop()
        made = partial(self._made, loop)
        if self._watch is not None:
            self._watch.start()
        if self.access.certificates is None:
            self._listener = await loop.create_server(made, host.strip("[]") or None, int(port))
            bound: int = self._listener.sockets[0].getsockname()[1]
        else:
            self._listener = listener = TlsListener(made, self._newest, handshake_seconds=self._handshake_seconds)
            bound = await listener.start(host.strip("[]") or None, int(port))
        return bound

    async def stop(self) -> None:
        """Takes no more connections, lets exports that are being received end, at most for half a second, and closes."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            if self._watch is not None:
                self._watch.stop()
            connections = tuple(self._places)
            if under_way := [answered for connection in connections if (answered := connection.wind_up()) is not None]:
                await asyncio.wait(under_way, timeout=_STOP_SECONDS)
            for connection in connections:
                connection.cut()
            await asyncio.sleep(0)

    def _newest(self) -> ssl.SSLContext:
        certificates = self.access.certificates
        assert certificates is not None  # noqa: S101 - the files are named once, and always there
        return self._context(certificates)
