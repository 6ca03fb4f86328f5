"""`infermeter mappings record`: what a server exports, over both protocols, into files that a mapping is tried with."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
import socket
from pathlib import Path

import aiohttp
import grpc
import pytest

from infermeter import cli
from infermeter.commands.mapping_recording import FILES_LIMIT, Recording, recorded, summed_up
from infermeter.errors import ConfigError, InputError, ListenError
from infermeter.model import Accepted
from mapping.exports import body
from support.running import JSON, PROTOBUF
from unit.mapping.hand_made import Span
from unit.otlp.exports import request, span

ANY = "127.0.0.1:0"
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def test_exports_over_both_protocols_are_files_in_their_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written, sent = body([Span("handle", 0, 10)]), request(span(0, {"acme.prompt": "secret"})).SerializeToString()
    ports: dict[str, int] = {}
    both = asyncio.Event()

    def listening(protocol: str, port: int) -> None:
        ports[protocol] = port
        if len(ports) == 2:
            both.set()

    async def life() -> Recording:
        recording = asyncio.create_task(recorded(tmp_path / "new" / "acme", http=ANY, grpc=ANY, duration_seconds=60, on_listen=listening))
        await both.wait()
        url = f"http://127.0.0.1:{ports['http']}/v1/traces"
        async with aiohttp.ClientSession() as http:
            for data, headers in ((written, {"Content-Type": JSON}), (gzip.compress(sent), GZIP)):
                async with http.post(url, data=data, headers=headers) as response:
                    assert response.status == 200
        async with grpc.aio.insecure_channel(f"127.0.0.1:{ports['grpc']}") as channel:
            await channel.unary_unary(EXPORT)(request(span(1)).SerializeToString())
        os.kill(os.getpid(), signal.SIGINT)
        return await recording

    recording = asyncio.run(life())
    assert (recording.exports, recording.spans) == ({"json": 1, "protobuf": 2}, 3)
    files = {path.name: path.read_bytes() for path in sorted((tmp_path / "new" / "acme").iterdir())}
    assert files == {"001.json": written, "002.pb": sent, "003.pb": request(span(1)).SerializeToString()}
    assert cli.main(["mappings", "test", "vllm", "--spans", str(tmp_path / "new" / "acme")]) == 0
    assert "3 spans" in capsys.readouterr().out


GZIP = {"Content-Type": PROTOBUF, "Content-Encoding": "gzip"}


def test_a_recording_that_got_nothing_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["mappings", "record", "--output", str(tmp_path), "--duration", "10ms", "--http", ANY, "--grpc", ANY]
    assert cli.main(argv) == 1
    error = capsys.readouterr().err
    assert error.startswith("OTLP over http on port ")
    assert error.endswith(f"{tmp_path}: no export arrived: does the server's exporter name one of these ports?\n")


def malformed() -> bytes:
    sent = request(span(1), span(2))
    for one in sent.resource_spans[0].scope_spans[0].spans:
        one.trace_id = b"short"
    return sent.SerializeToString()


@pytest.mark.parametrize(
    ("sent", "status", "why"),
    [
        (malformed(), 200, "exports arrived, but all of their 2 spans are malformed: none has a valid id, start and end"),
        (b"<html>", 400, "1 exports arrived, and all were refused: the sender was told why"),
    ],
)
def test_exports_of_which_nothing_could_be_recorded_are_told_from_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sent: bytes, status: int, why: str
) -> None:
    async def life() -> Recording:
        port: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def listening(protocol: str, at: int) -> None:
            if protocol == "http":
                port.set_result(at)

        recording = asyncio.create_task(recorded(tmp_path, http=ANY, grpc=ANY, duration_seconds=60, on_listen=listening))
        url = f"http://127.0.0.1:{await port}/v1/traces"
        async with aiohttp.ClientSession() as http, http.post(url, data=sent, headers={"Content-Type": PROTOBUF}) as response:
            assert response.status == status
        os.kill(os.getpid(), signal.SIGINT)
        return await recording

    assert summed_up("acme", asyncio.run(life())) == 1
    assert capsys.readouterr().err == f"acme: {why}\n"
    assert not list(tmp_path.iterdir())


def test_what_was_recorded_is_told_with_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = Recording(tmp_path)
    recording.add(accepted())
    assert summed_up("acme", recording) == 0
    assert capsys.readouterr().err == "acme: 1 exports, 1 spans; attributes are as sent: prompts may be among them\n"


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "001.pb").write_bytes(b"older")
    assert cli.main(["mappings", "record", "--output", str(tmp_path), "--http", ANY, "--grpc", ANY]) == 2
    assert capsys.readouterr().err == f"--output: {tmp_path} isn't empty\n"
    with pytest.raises(ConfigError, match=r"001\.pb can't be written: "):
        Recording(tmp_path / "001.pb")


def test_an_address_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ListenError, match=f"^--grpc: {address}: "):
            asyncio.run(recorded(tmp_path, http=ANY, grpc=address, duration_seconds=1, on_listen=lambda _protocol, _port: None))


@pytest.mark.parametrize("address", ["here", "127.0.0.1:x"])
def test_what_is_no_address_is_told(address: str, tmp_path: Path) -> None:
    with pytest.raises(ListenError, match=f"^--http: {address}: "):
        asyncio.run(recorded(tmp_path, http=address, grpc=ANY, duration_seconds=1, on_listen=lambda _protocol, _port: None))


def accepted(content: bytes = b"x") -> Accepted:
    return Accepted(content, "protobuf", "identity", 1, len(content))


def test_a_recording_ends_when_it_is_full(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    for _ in range(FILES_LIMIT):
        assert not recording.full.is_set()
        recording.add(accepted())
    assert recording.full.is_set()


def test_a_file_that_cannot_be_written_ends_it_and_is_told(tmp_path: Path) -> None:
    async def life() -> None:
        ports: asyncio.Queue[int] = asyncio.Queue()
        recording = asyncio.create_task(
            recorded(tmp_path, http=ANY, grpc=ANY, duration_seconds=60, on_listen=lambda _protocol, port: ports.put_nowait(port))
        )
        _, port = await ports.get(), await ports.get()
        (tmp_path / "001.pb").mkdir()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await channel.unary_unary(EXPORT)(request(span(1)).SerializeToString())
        await recording

    with pytest.raises(InputError, match=r"001\.pb: can't be written: File exists$"):
        asyncio.run(life())


@pytest.mark.parametrize("duration", ["soon", "-1s"])
def test_a_duration_that_is_none_is_told(duration: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["mappings", "record", "--output", str(tmp_path), f"--duration={duration}"])
    assert "--duration" in capsys.readouterr().err
