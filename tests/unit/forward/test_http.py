from __future__ import annotations

import asyncio
import gc
import socket
import tracemalloc
from collections.abc import Iterator

import pytest

from infermeter.endpoints import endpoint_of
from infermeter.forward.http import HttpTarget
from infermeter.forward.outcomes import Busy
from infermeter.model import Accepted

BODY_BYTES = 1 << 20
ATTEMPTS = 20


@pytest.fixture
def _without_collections() -> Iterator[None]:
    gc.collect()
    gc.disable()
    tracemalloc.start()
    yield
    tracemalloc.stop()
    gc.enable()


@pytest.mark.usefixtures("_without_collections")
def test_attempts_that_fail_leave_no_copies_behind_until_the_collector_finds_them() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    export = Accepted(bytes(BODY_BYTES), "protobuf", "identity", 1, BODY_BYTES)

    async def attempts() -> int:
        target = HttpTarget(endpoint_of(f"http://127.0.0.1:{port}", "http"), {}, timeout_seconds=5.0)
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(ATTEMPTS):
            assert await target.send(export) == Busy("Connection refused")
        after, _ = tracemalloc.get_traced_memory()
        await target.close()
        return after - before

    assert asyncio.run(attempts()) < BODY_BYTES
