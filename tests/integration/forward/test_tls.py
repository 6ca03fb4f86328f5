"""`infermeter serve` as a process of its own, in front of receivers behind TLS: whom it trusts is its environment's to say."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import aiohttp
import grpc
import pytest

from integration.forward.receivers import SOON_SECONDS, TOKEN, Receiver, grpc_receiver, http_receiver
from integration.otlp.listening import on_a_loop
from support.running import LISTEN, PROTOBUF
from unit.otlp.exports import body, span

BOTH = pytest.mark.parametrize("protocol", ["http", "grpc"])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1, signed by itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    chain, key = folder / "certificate.pem", folder / "key.pem"
    subject = ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-keyout", str(key), "-out", str(chain), *subject]
    subprocess.run(command, check=True, capture_output=True)
    return chain, key


def behind_tls(protocol: str, certificate: tuple[Path, Path]) -> AbstractAsyncContextManager[Receiver]:
    chain, key = certificate
    if protocol == "grpc":
        return grpc_receiver(tls=grpc.ssl_server_credentials([(key.read_bytes(), chain.read_bytes())]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return http_receiver(tls=context)


@asynccontextmanager
async def serving(file: Path, environment: Mapping[str, str]) -> AsyncIterator[tuple[asyncio.StreamReader, str]]:
    """A sidecar of this configuration that listens: its log, and where it takes OTLP over HTTP. It is asked to stop in the end."""
    command = (sys.executable, "-m", "infermeter", "serve", "--config", str(file))
    process = await asyncio.create_subprocess_exec(*command, env={**os.environ, **environment}, stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        yield process.stderr, (await line_with(process.stderr, "listening: otlp_http on ")).strip()
    finally:
        process.terminate()
        await process.communicate()
    assert process.returncode == 0


async def line_with(log: asyncio.StreamReader, text: str) -> str:
    """What follows `text` on the first line that holds it."""
    async with asyncio.timeout(SOON_SECONDS):
        while text not in (line := (await log.readline()).decode()):
            assert line, "the process ended"
    return line.partition(text)[2]


async def send(address: str) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"http://{address}/v1/traces", data=body(span(1)), headers={"Content-Type": PROTOBUF}) as response,
    ):
        assert response.status == 200


@BOTH
@on_a_loop
async def test_tls_is_spoken_with_whom_the_system_trusts(protocol: str, certificate: tuple[Path, Path], tmp_path: Path) -> None:
    async with behind_tls(protocol, certificate) as receiver:
        file = tmp_path / "infermeter.yaml"
        headers = 'headers: {authorization: "Bearer ${env:TOKEN}"}'
        file.write_text(f'{LISTEN}forward: {{endpoint: "https://127.0.0.1:{receiver.port}", protocol: {protocol}, {headers}}}\n')
        async with serving(file, {"SSL_CERT_FILE": str(certificate[0]), "TOKEN": TOKEN}) as (_, address):
            await send(address)
            (got,) = await receiver.exports(1)
    assert got.body == body(span(1))
    assert {name.lower(): text for name, text in got.headers.items()}["authorization"] == f"Bearer {TOKEN}"


@BOTH
@on_a_loop
async def test_nothing_is_sent_to_whom_nobody_vouches_for(protocol: str, certificate: tuple[Path, Path], tmp_path: Path) -> None:
    async with behind_tls(protocol, certificate) as receiver:
        file = tmp_path / "infermeter.yaml"
        file.write_text(f'{LISTEN}forward: {{endpoint: "https://127.0.0.1:{receiver.port}", protocol: {protocol}}}\n')
        async with serving(file, {}) as (log, address):
            await send(address)
            assert (await line_with(log, "forward.endpoint doesn't answer: ")).strip() in {"TLS failed", "gRPC UNAVAILABLE"}
    assert receiver.got == []


@pytest.mark.parametrize("command", ["check-config", "serve"])
def test_a_variable_that_is_missing_is_told_with_its_line(command: str, tmp_path: Path) -> None:
    file = tmp_path / "infermeter.yaml"
    file.write_text('forward:\n  endpoint: http://tempo:4318\n  headers:\n    authorization: "Bearer ${env:NOT_THERE}"\n')
    option = [] if command == "check-config" else ["--config"]
    done = subprocess.run([sys.executable, "-m", "infermeter", command, *option, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith("forward.headers.authorization: there is no environment variable NOT_THERE, or it is empty (line 4)\n")
