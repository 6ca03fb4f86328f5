"""TLS, client certificates and tokens of the OTLP listeners, over real sockets, and their renewal."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import grpc
import pytest

from infermeter.config import Limits, Otlp, OtlpTls
from infermeter.errors import ConfigError
from infermeter.model import Export
from infermeter.network.file_watch import FileWatch
from infermeter.otlp.access import Access, read_access, watched
from infermeter.otlp.grpc import GrpcReceiver
from infermeter.otlp.http import HttpReceiver
from infermeter.otlp.receiver import Receiver
from integration.otlp.listening import on_a_loop
from support.certificates import Authority, Pem
from support.patience import SOON_SECONDS
from unit.otlp.exports import body, span, wants

LOOK_SECONDS = 0.02
TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
METRICS = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
PROTOBUF = {"Content-Type": "application/x-protobuf"}


@dataclass
class Senders:
    """Both listeners, and what has become of what was sent to them."""

    receiver: Receiver
    exports: list[Export]
    access: FileWatch[Access]
    http_port: int
    grpc_port: int

    async def post(self, number: int, *, tls: ssl.SSLContext | None = None, token: str | None = None) -> int:
        """Sends one export over HTTP; the status."""
        headers = PROTOBUF | ({} if token is None else {"Authorization": token})
        url = f"http{'' if tls is None else 's'}://127.0.0.1:{self.http_port}/v1/traces"
        connector = aiohttp.TCPConnector(force_close=True)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.post(url, data=body(span(number)), headers=headers, ssl=tls or True) as response,
        ):
            await response.read()
            assert (response.status == 401) == ("WWW-Authenticate" in response.headers)
            return response.status

    async def call(
        self, number: int, *, tls: grpc.ChannelCredentials | None = None, token: str | None = None, method: str = TRACES
    ) -> grpc.StatusCode:
        """Sends one export over gRPC; the status."""
        address = f"127.0.0.1:{self.grpc_port}"
        options = [("grpc.use_local_subchannel_pool", 1)]
        channel = grpc.aio.insecure_channel(address, options) if tls is None else grpc.aio.secure_channel(address, tls, options)
        async with channel:
            try:
                metadata = None if token is None else (("authorization", token),)
                await channel.unary_unary(method)(body(span(number)), metadata=metadata, timeout=SOON_SECONDS)
            except grpc.aio.AioRpcError as error:
                return error.code()
        return grpc.StatusCode.OK


@asynccontextmanager
async def listening(otlp: Otlp) -> AsyncIterator[Senders]:
    """Both listeners, with access that is looked after often."""
    exports: list[Export] = []
    mistakes: list[Exception] = []
    receiver = Receiver(wants("a"), exports.append, Limits(), overloaded=lambda: False)
    access = FileWatch(
        "a file", lambda: read_access(otlp), refused=lambda _before, _after: None, fail=mistakes.append, interval_seconds=LOOK_SECONDS
    )
    http, over_grpc = HttpReceiver(receiver, access), GrpcReceiver(receiver, access)
    ports = await http.start("127.0.0.1:0"), await over_grpc.start("127.0.0.1:0")
    try:
        yield Senders(receiver, exports, access, *ports)
    finally:
        await asyncio.gather(http.stop(), over_grpc.stop())
    assert mistakes == []


def tls_of(pem: Pem, client_ca: Path | None = None) -> OtlpTls:
    """As it is configured."""
    return OtlpTls(str(pem.cert_file), str(pem.key_file), None if client_ca is None else str(client_ca))


def credentials(authority: Authority, shown: Pem | None = None) -> grpc.ChannelCredentials:
    """What a sender over gRPC uses that trusts it, and shows a certificate if it has one."""
    pair = (None, None) if shown is None else (shown.key_file.read_bytes(), shown.cert_file.read_bytes())
    return grpc.ssl_channel_credentials(authority.ca_file.read_bytes(), *pair)


def token_file(folder: Path, token: str = "s3cret-token") -> Path:
    """A file that holds it."""
    file = folder / "token"
    file.write_text(f"{token}\n")
    return file


@pytest.mark.parametrize("token", [None, "", "Bearer", "Bearer wrong", "Basic s3cret-token", "s3cret-token", "Bearer s3cret-token x"])
@on_a_loop
async def test_an_export_without_the_token_is_refused_and_counted(token: str | None, tmp_path: Path) -> None:
    async with listening(Otlp(token_file=str(token_file(tmp_path)))) as senders:
        assert await senders.post(1, token=token) == 401
        assert await senders.call(1, token=token) is grpc.StatusCode.UNAUTHENTICATED
        assert await senders.call(1, token=token, method=METRICS) is grpc.StatusCode.UNAUTHENTICATED
        assert senders.receiver.exports_refused == {("http", "unauthorised"): 1, ("grpc", "unauthorised"): 2}
        assert senders.exports == []


@on_a_loop
async def test_an_export_with_the_token_is_taken(tmp_path: Path) -> None:
    async with listening(Otlp(token_file=str(token_file(tmp_path)))) as senders:
        assert await senders.post(1, token="Bearer s3cret-token") == 200
        assert await senders.call(2, token="bearer s3cret-token") is grpc.StatusCode.OK
        assert len(senders.exports) == 2


@on_a_loop
async def test_without_the_token_nothing_of_a_body_is_awaited(tmp_path: Path) -> None:
    async with listening(Otlp(token_file=str(token_file(tmp_path)))) as senders:
        reader, writer = await asyncio.open_connection("127.0.0.1", senders.http_port)
        writer.write(b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: 1000000\r\n\r\n")
        assert (await reader.readline()) == b"HTTP/1.1 401 Unauthorized\r\n"
        writer.transport.abort()


@on_a_loop
async def test_a_new_token_holds_without_a_restart_and_the_old_one_no_more(tmp_path: Path) -> None:
    async with listening(Otlp(token_file=str(token_file(tmp_path)))) as senders:
        assert await senders.post(1, token="Bearer s3cret-token") == 200
        token_file(tmp_path, "another")
        async with asyncio.timeout(SOON_SECONDS):
            while True:
                if await senders.post(2, token="Bearer another") == 200:
                    break
                await asyncio.sleep(LOOK_SECONDS)
        assert await senders.post(3, token="Bearer s3cret-token") == 401
        assert await senders.call(4, token="Bearer another") is grpc.StatusCode.OK


@on_a_loop
async def test_both_speak_tls_and_nothing_else(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    async with listening(Otlp(tls_of(authority.pem("server", "127.0.0.1")))) as senders:
        assert await senders.post(1, tls=authority.client()) == 200
        assert await senders.call(2, tls=credentials(authority)) is grpc.StatusCode.OK
        with pytest.raises(aiohttp.ClientError):
            await senders.post(3, tls=other.client())
        with pytest.raises(aiohttp.ClientError):
            await senders.post(3)
        assert await senders.call(3, tls=credentials(other)) is grpc.StatusCode.UNAVAILABLE
        assert await senders.call(3) is grpc.StatusCode.UNAVAILABLE
        assert len(senders.exports) == 2


@on_a_loop
async def test_with_an_authority_senders_show_a_certificate_of_it(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server, sender = authority.pem("server", "127.0.0.1"), authority.pem("sender", "sender.example")
    stranger = Authority(tmp_path, "other").pem("stranger", "sender.example")
    async with listening(Otlp(tls_of(server, authority.ca_file))) as senders:
        assert await senders.post(1, tls=authority.client(sender)) == 200
        assert await senders.call(2, tls=credentials(authority, sender)) is grpc.StatusCode.OK
        for shown in (None, stranger):
            with pytest.raises((aiohttp.ClientError, ssl.SSLError, ConnectionError)):
                await senders.post(3, tls=authority.client(shown))
            assert await senders.call(3, tls=credentials(authority, shown)) is grpc.StatusCode.UNAVAILABLE
        assert len(senders.exports) == 2


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
@pytest.mark.parametrize("transport", ["http_port", "grpc_port"])
@on_a_loop
async def test_tls_below_1_2_is_not_spoken(transport: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    old = authority.client()
    old.minimum_version, old.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    async with listening(Otlp(tls_of(authority.pem("server", "127.0.0.1")))) as senders:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", getattr(senders, transport), ssl=old)


@on_a_loop
async def test_a_renewed_certificate_is_shown_without_a_restart(tmp_path: Path) -> None:
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    pem = old.pem("server", "127.0.0.1")
    async with listening(Otlp(tls_of(pem))) as senders:
        assert await senders.post(1, tls=old.client()) == 200
        assert await senders.call(2, tls=credentials(old)) is grpc.StatusCode.OK
        pem.write(new.leaf("127.0.0.1"))
        async with asyncio.timeout(SOON_SECONDS):
            while True:
                if await senders.call(3, tls=credentials(new)) is grpc.StatusCode.OK:
                    break
                await asyncio.sleep(LOOK_SECONDS)
        assert await senders.post(4, tls=new.client()) == 200
        assert await senders.call(5, tls=credentials(old)) is grpc.StatusCode.UNAVAILABLE


@on_a_loop
async def test_a_token_that_is_lost_stays_in_force(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = token_file(tmp_path)
    async with listening(Otlp(token_file=str(file))) as senders:
        file.unlink()
        async with asyncio.timeout(SOON_SECONDS):
            while True:
                if caplog.records:
                    break
                await asyncio.sleep(LOOK_SECONDS)
        assert await senders.post(1) == 401
        assert await senders.post(1, token="Bearer s3cret-token") == 200
    assert [record.getMessage() for record in caplog.records] == [
        f"a file can't be taken over, what it said before stays in force: otlp: token_file {file}: No such file or directory"
    ]


def test_where_nothing_is_asked_nothing_is_watched() -> None:
    assert watched(Otlp(), fail=lambda _: None) is None


@pytest.mark.parametrize("content", ["", "\n", "two words", "ü", "x" * 70_000])
def test_a_token_that_can_not_be_one_is_a_mistake_of_the_operator_and_not_shown(content: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        watched(Otlp(token_file=str(token_file(tmp_path, content))), fail=lambda _: None)
    assert str(caught.value) == f"otlp: token_file {tmp_path / 'token'}: holds no token of printable ASCII"


def test_nothing_that_is_held_shows_a_secret(tmp_path: Path) -> None:
    pem = Authority(tmp_path).pem("server", "127.0.0.1")
    held = read_access(Otlp(tls_of(pem), str(token_file(tmp_path))))
    assert "s3cret" not in repr(held)
    assert "PRIVATE" not in repr(held)
