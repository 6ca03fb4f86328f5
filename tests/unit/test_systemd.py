"""What a supervisor hears at its socket, and that nothing depends on its being there."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from infermeter.systemd import LEAST_BEAT_SECONDS, Supervisor

SOON = 10.0
PID = 42


class Listener:
    """A supervisor's end: each datagram that it got, as lines."""

    def __init__(self, socket_: socket.socket) -> None:
        self._socket = socket_
        socket_.settimeout(SOON)

    def heard(self) -> list[str]:
        return self._socket.recv(4096).decode().split("\n")

    def is_silent(self) -> bool:
        self._socket.settimeout(0)
        try:
            self._socket.recv(4096)
        except BlockingIOError:
            return True
        finally:
            self._socket.settimeout(SOON)
        return False


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@infermeter-test-{os.getpid()}"


@pytest.fixture
def listener(address: str) -> Iterator[Listener]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(address.replace("@", "\0"))
        yield Listener(end)


def test_each_state_is_told_in_the_words_of_the_protocol(address: str, listener: Listener) -> None:
    supervisor = Supervisor(address, monotonic_ns=lambda: 5_000_001_999)
    supervisor.ready("ready, no spans yet")
    assert listener.heard() == ["READY=1", "STATUS=ready, no spans yet"]
    supervisor.reloading()
    assert listener.heard() == ["RELOADING=1", "MONOTONIC_USEC=5000001"]
    supervisor.ready("ready")
    assert listener.heard() == ["READY=1", "STATUS=ready"]
    supervisor.stopping()
    assert listener.heard() == ["STOPPING=1", "STATUS=stopping"]


def test_how_it_is_is_told_when_it_changes(address: str, listener: Listener) -> None:
    supervisor = Supervisor(address)
    supervisor.ready("ready")
    listener.heard()
    supervisor.is_told("ready")
    assert listener.is_silent()
    supervisor.is_told("ready, without a GPU")
    assert listener.heard() == ["STATUS=ready, without a GPU"]


def test_what_nobody_heard_is_told_once_somebody_listens_and_the_trouble_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    address = str(tmp_path / "notify")
    supervisor = Supervisor(address)
    supervisor.ready("ready")
    supervisor.is_told("ready")
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "NOTIFY_SOCKET: the supervisor can't be told anything: No such file or directory"
    ]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(address)
        supervisor.is_told("ready")
        assert Listener(end).heard() == ["READY=1", "STATUS=ready"]
        supervisor.is_told("ready")
        assert Listener(end).is_silent()


def test_a_supervisor_that_does_not_read_holds_nobody_up(address: str, listener: Listener) -> None:
    supervisor = Supervisor(address)
    for number in range(2000):  # more than its queue holds
        supervisor.is_told(str(number))
    while not listener.is_silent():
        pass
    supervisor.is_told("1999")
    assert listener.heard() == ["STATUS=1999"]


@pytest.mark.parametrize("address", [None, "", "relative/path", "vsock:2:1234", "/" + 200 * "x"])
def test_without_a_socket_that_can_be_told_nothing_happens(address: str | None) -> None:
    supervisor = Supervisor(address)
    supervisor.ready("ready")
    supervisor.is_told("ready")
    supervisor.stopping()


@pytest.mark.parametrize(
    ("environ", "beats"),
    [
        ({"WATCHDOG_USEC": "1000"}, True),
        ({"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "42"}, True),
        ({"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "43"}, False),
        ({"WATCHDOG_USEC": "0"}, False),
        ({"WATCHDOG_USEC": "-1"}, False),
        ({"WATCHDOG_USEC": "18446744073709551615"}, False),
        ({}, False),
    ],
)
def test_the_watchdog_is_fed_if_the_environment_asks_this_process_for_it(
    environ: dict[str, str], beats: bool, address: str, listener: Listener
) -> None:
    supervisor = Supervisor.named_by({"NOTIFY_SOCKET": address, **environ}, pid=PID)

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        with supervisor.watched():
            if beats:
                for _ in range(3):
                    assert await loop.run_in_executor(None, listener.heard) == ["WATCHDOG=1"]
            else:
                await asyncio.sleep(0)
        while not listener.is_silent():
            pass
        await asyncio.sleep(2 * LEAST_BEAT_SECONDS)

    asyncio.run(scenario())
    assert listener.is_silent()


def test_a_loop_that_does_not_turn_feeds_no_watchdog(address: str, listener: Listener) -> None:
    supervisor = Supervisor(address, watchdog_seconds=2 * LEAST_BEAT_SECONDS)

    async def scenario() -> None:
        with supervisor.watched():
            await asyncio.sleep(0)
            listener.heard()
            blocked_until = asyncio.get_running_loop().time() + 4 * LEAST_BEAT_SECONDS
            while asyncio.get_running_loop().time() < blocked_until:
                assert listener.is_silent()

    asyncio.run(scenario())


def test_without_a_socket_no_watchdog_is_fed() -> None:
    async def scenario() -> None:
        with Supervisor.named_by({"WATCHDOG_USEC": "1000"}, pid=PID).watched():
            await asyncio.sleep(0)

    asyncio.run(scenario())
