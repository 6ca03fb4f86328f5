"""Children of the demo: what is said when one dies, and that none survives."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import psutil
import pytest

from infermeter.demo.processes import Child, free_ports

FOR_EVER = "import signal; signal.pause()"
DEAF = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', file=sys.stderr, flush=True); signal.pause()"
PARENT = f"""
import asyncio, os, signal, sys
from infermeter.demo.processes import Child

async def main():
    child = await Child.start("child", [sys.executable, "-c", {FOR_EVER!r}], os.environ)
    print(child.pid, flush=True)
    signal.pause()

asyncio.run(main())
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_child_that_dies_is_told_with_its_status_and_the_last_thing_it_said() -> None:
    async def scenario() -> str:
        child = await Child.start("server", python("import sys; print('first\\nlast words', file=sys.stderr); sys.exit(3)"), os.environ)
        return str(await child.died())

    assert asyncio.run(scenario()) == "the server ended with status 3: last words"


def test_a_child_that_dies_in_silence_is_told_too() -> None:
    async def scenario() -> str:
        child = await Child.start("server", python("raise SystemExit(1)"), os.environ)
        return str(await child.died())

    assert asyncio.run(scenario()) == "the server ended with status 1: it said nothing"


def test_a_child_is_stopped_by_sigterm() -> None:
    async def scenario() -> int:
        child = await Child.start("child", python(FOR_EVER), os.environ)
        return await child.stop(30)

    assert asyncio.run(scenario()) == -signal.SIGTERM


def test_a_child_that_ignores_sigterm_is_killed() -> None:
    async def scenario() -> int:
        child = await Child.start("child", python(DEAF), os.environ)
        while child.last_line != "deaf":  # noqa: ASYNC110 - what a child says is no event
            await asyncio.sleep(0)
        return await child.stop(0.1)

    assert asyncio.run(scenario()) == -signal.SIGKILL


def test_stopping_a_child_that_is_dead_already_tells_how_it_ended() -> None:
    async def scenario() -> int:
        child = await Child.start("child", python("raise SystemExit(4)"), os.environ)
        await child.died()
        return await child.stop(30)

    assert asyncio.run(scenario()) == 4


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_no_child_survives_a_parent_that_is_killed() -> None:
    with subprocess.Popen(python(PARENT), stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    gone, alive = psutil.wait_procs([child], timeout=30)
    assert (gone, alive) == ([child], [])


def test_free_ports_differ() -> None:
    assert len(set(free_ports(5))) == 5
