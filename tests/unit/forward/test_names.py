import asyncio
import socket
import threading
from collections.abc import Sequence

import pytest

from infermeter.forward.names import Address, Names


def test_a_name_has_the_addresses_that_the_system_tells() -> None:
    (found,) = asyncio.run(Names().resolve("localhost", 4318))
    assert (found["hostname"], found["host"], found["port"], found["family"]) == ("localhost", "127.0.0.1", 4318, socket.AF_INET)


def test_a_link_local_address_keeps_its_zone() -> None:
    def ask(_host: str, port: int, _family: socket.AddressFamily) -> Sequence[Address]:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, zone)) for address, zone in (("fe80::1", 3), ("fd00::1", 0))
        ]

    found = asyncio.run(Names(ask).resolve("tempo", 4318, socket.AF_INET6))
    assert [one["host"] for one in found] == ["fe80::1%3", "fd00::1"]


def test_an_address_of_a_family_that_this_python_lacks_is_left_out() -> None:
    def ask(_host: str, port: int, _family: socket.AddressFamily) -> Sequence[Address]:
        lacking: Address = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (10, b"raw"))
        return [lacking, (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port))]

    (found,) = asyncio.run(Names(ask).resolve("tempo", 4318))
    assert found["host"] == "192.0.2.1"


def test_a_name_without_an_address_is_an_error() -> None:
    def ask(_host: str, _port: int, _family: socket.AddressFamily) -> Sequence[Address]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    with pytest.raises(socket.gaierror):
        asyncio.run(Names(ask).resolve("nobody.invalid"))


def test_the_end_does_not_wait_for_a_name_server_that_is_down() -> None:
    asked, answering, answered = threading.Event(), threading.Event(), threading.Event()

    def ask(_host: str, _port: int, _family: socket.AddressFamily) -> Sequence[Address]:
        asked.set()
        answering.wait(10)
        answered.set()
        return []

    async def give_up() -> None:
        resolving = asyncio.create_task(Names(ask).resolve("tempo"))
        await asyncio.to_thread(asked.wait, 10)
        resolving.cancel()

    asyncio.run(give_up())
    assert not answered.is_set()
    answering.set()
    assert answered.wait(10)


def test_an_answer_that_nobody_waits_for_any_more_is_dropped() -> None:
    async def give_up() -> None:
        asked, answering = threading.Event(), threading.Event()

        def ask(_host: str, _port: int, _family: socket.AddressFamily) -> Sequence[Address]:
            asked.set()
            answering.wait(10)
            return []

        problems: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, problem: problems.append(problem))
        resolving = asyncio.create_task(Names(ask).resolve("tempo"))
        await asyncio.to_thread(asked.wait, 10)
        resolving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await resolving
        answering.set()
        for thread in threading.enumerate():
            if thread.name == "forward-name":
                await asyncio.to_thread(thread.join, 10)
        await Names(lambda *_: []).resolve("next")
        assert not problems

    asyncio.run(give_up())
