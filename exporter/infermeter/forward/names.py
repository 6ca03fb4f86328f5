"""A host's addresses, asked of the system in threads that nobody waits for.

The loop's own threads are waited for at the end, and a name server that is down keeps one of them for a minute or more.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from typing import TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult

from infermeter.polling import HandOver

Address: TypeAlias = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str | int | bytes, ...]]
"""As `socket.getaddrinfo` has it; a Python without IPv6 tells such an address as something that is no text."""

Ask: TypeAlias = Callable[[str, int, socket.AddressFamily], Sequence[Address]]


def _asked(host: str, port: int, family: socket.AddressFamily) -> Sequence[Address]:
    return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)


class Names(AbstractResolver):
    """Resolves names for aiohttp's connector, which asks for one host once at a time."""

    def __init__(self, ask: Ask = _asked) -> None:
        """`ask` blocks, and raises OSError for a name that has no address."""
        self._ask = ask

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        """The addresses. Raises: OSError."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Sequence[Address]] = loop.create_future()
        on_loop = HandOver(loop)

        def settle(addresses: Sequence[Address], error: OSError | None) -> None:
            if answer.done():
                return
            if error is None:
                answer.set_result(addresses)
            else:
                answer.set_exception(error)

        def ask() -> None:
            try:
                on_loop(settle, self._ask(host, port, family), None)
            except OSError as error:
                on_loop(settle, (), error)

        threading.Thread(target=ask, name="forward-name", daemon=True).start()
        return [
            ResolveResult(
                hostname=host,
                host=_numeric(address),
                port=port,
                family=of,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for of, _, protocol, _, address in await answer
            if isinstance(address[0], str)
        ]

    async def close(self) -> None:
        """Nothing: a thread ends with its answer, or with the process."""


def _numeric(address: tuple[str | int | bytes, ...]) -> str:
    """With the zone of a link-local IPv6 one."""
    zone = address[3] if len(address) > 3 else 0
    return f"{address[0]!s}%{zone!s}" if zone else str(address[0])
