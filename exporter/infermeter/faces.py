"""What listens: how it begins, and how it ends together with what passes exports on."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import Protocol

from infermeter.errors import ListenError
from infermeter.forward.forwarder import Forwarder


class Face(Protocol):
    """Something that listens."""

    async def start(self, address: str) -> int:
        """Binds `host:port` and tells the port. Raises: OSError."""
        ...

    async def stop(self) -> None:
        """Takes what was accepted, then closes."""
        ...


async def listen(key: str, address: str, face: Face) -> str:
    """Binds a face; the address with the port that it got. Raises: ListenError."""
    try:
        port = await face.start(address)
    except OSError as error:
        raise ListenError(f"listen.{key}", f"{address}: {error.strerror or error}") from error
    return f"{address.rpartition(':')[0]}:{port}"


async def drained(faces: Iterable[Face], forwarder: Forwarder | None, ends: float) -> None:
    """Nothing more is accepted; what was is answered, and passed on until this instant of the loop."""
    await asyncio.gather(*(face.stop() for face in faces))
    if forwarder:
        await forwarder.stop(seconds=ends - asyncio.get_running_loop().time())


async def unless(hurry: asyncio.Event | None, draining: Coroutine[object, object, None]) -> None:
    """Waits for it, unless there is hurry; then it is broken off."""
    drain = asyncio.create_task(draining)
    hurried = asyncio.create_task((hurry or asyncio.Event()).wait())
    await asyncio.wait((drain, hurried), return_when=asyncio.FIRST_COMPLETED)
    hurried.cancel()
    if not drain.done():
        drain.cancel()
    with suppress(asyncio.CancelledError):
        await drain
