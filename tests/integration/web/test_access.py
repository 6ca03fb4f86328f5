"""TLS, client certificates, passwords and their renewal, over real sockets."""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import bcrypt
import pytest

from infermeter.errors import ConfigErrors
from infermeter.network.file_watch import FileWatch
from infermeter.web import passwords
from infermeter.web.access import Access, read_access, weakened
from infermeter.web.server import WebServer
from support.certificates import Authority
from support.patience import SOON_SECONDS

LOOK_SECONDS = 0.02

HASH = bcrypt.hashpw(b"hunter2", bcrypt.gensalt(4)).decode()
OTHER_HASH = bcrypt.hashpw(b"correct horse", bcrypt.gensalt(4)).decode()
USERS = f"basic_auth_users: {{alice: '{HASH}'}}\n"
TLS = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n"


def basic(user: str, password: str) -> dict[str, str]:
    """The header that shows them."""
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


ALICE = basic("alice", "hunter2")
MALLORY = basic("alice", "guess")


@asynccontextmanager
async def listening(file: Path, **changes: Any) -> AsyncIterator[tuple[str, FileWatch[Access]]]:
    """A server's address, and what it knows of who may ask."""
    mistakes: list[Exception] = []
    watch = FileWatch("the file", lambda: read_access(str(file)), refused=weakened, fail=mistakes.append, interval_seconds=LOOK_SECONDS)
    parts: dict[str, Any] = {
        "render": lambda _: ([b"metrics 1\n"], "text/plain"),
        "report": dict,
        "events": lambda: [b"{}"],
        "findings": dict,
        "ready": lambda: (True, "ready, without a GPU: no driver"),
        "access": watch,
        "auth_failures_per_minute": 1000,
    }
    server = WebServer(**{**parts, **changes})
    port = await server.start("127.0.0.1:0")
    try:
        yield f"127.0.0.1:{port}", watch
    finally:
        await server.stop()
    assert mistakes == []


def against(scenario: Callable[[aiohttp.ClientSession, str, FileWatch[Access]], Awaitable[None]], file: Path, **changes: Any) -> None:
    """Runs a scenario against a server; each request has a connection of its own."""

    async def run() -> None:
        connector = aiohttp.TCPConnector(force_close=True)
        async with listening(file, **changes) as (address, watch), aiohttp.ClientSession(connector=connector) as session:
            await scenario(session, address, watch)

    asyncio.run(run())


def written(folder: Path, *texts: str) -> Path:
    """The web configuration."""
    file = folder / "web.yml"
    new = folder / "web.yml.new"
    new.write_text("".join(texts))
    return new.rename(file)  # in one step, as it is looked at all the time


async def status(session: aiohttp.ClientSession, url: str, **options: Any) -> int:
    """Of a GET."""
    async with session.get(url, **options) as response:
        await response.read()
        return response.status


async def until(holds: Callable[[], bool]) -> None:
    """Waits for it."""
    async with asyncio.timeout(SOON_SECONDS):
        while True:
            if holds():
                return
            await asyncio.sleep(LOOK_SECONDS / 2)


# --- passwords ---------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", ["/", "/metrics", "/api/v1/report", "/api/v1/findings", "/api/v1/report/events", "/nowhere", "/-/reload"])
def test_every_path_asks_who_it_is(path: str, tmp_path: Path) -> None:
    async def scenario(session: aiohttp.ClientSession, address: str, _: FileWatch[Access]) -> None:
        async with session.get(f"http://{address}{path}") as response:
            assert response.status == 401
            assert response.headers["WWW-Authenticate"] == 'Basic realm="infermeter", charset="UTF-8"'
            assert "Content-Security-Policy" in response.headers
        assert await status(session, f"http://{address}{path}", headers=MALLORY) == 401
        async with session.get(f"http://{address}{path}", headers=ALICE) as response:
            assert response.status == {"/nowhere": 404, "/-/reload": 405}.get(path, 200)

    against(scenario, written(tmp_path, USERS))


def test_probes_are_answered_to_everybody_and_tell_no_more_than_that(tmp_path: Path) -> None:
    async def scenario(session: aiohttp.ClientSession, address: str, _: FileWatch[Access]) -> None:
        for path, text in (("/-/healthy", "healthy\n"), ("/-/ready", "ready\n")):
            async with session.get(f"http://{address}{path}") as response:
                assert (response.status, await response.text()) == (200, text)

    against(scenario, written(tmp_path, USERS))


def test_a_reload_asks_for_a_password_too(tmp_path: Path) -> None:
    asked: list[None] = []

    async def reload() -> tuple[bool, str]:
        asked.append(None)
        return True, "reloaded"

    async def scenario(session: aiohttp.ClientSession, address: str, _: FileWatch[Access]) -> None:
        for shown, expected in (({}, 401), (MALLORY, 401), (ALICE, 200)):
            async with session.post(f"http://{address}/-/reload", headers=shown) as response:
                assert response.status == expected
        assert len(asked) == 1

    against(scenario, written(tmp_path, USERS), reload=reload)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic !",
        "Basic YWxpY2U=",
        "Bearer YWxpY2U6aHVudGVyMg==",
        "YWxpY2U6aHVudGVyMg==",
        "Basic YWxpY2U6aHVudGVyMg",
        "Basic //8=",
    ],
)
def test_what_is_no_user_and_password_is_refused(header: str, tmp_path: Path) -> None:
    async def scenario(session: aiohttp.ClientSession, address: str, _: FileWatch[Access]) -> None:
        assert await status(session, f"http://{address}/metrics", headers={"Authorization": header}) == 401

    against(scenario, written(tmp_path, USERS))


def test_two_users_at_once_are_nobody(tmp_path: Path) -> None:
    async def scenario(session: aiohttp.ClientSession, address: str, _: FileWatch[Access]) -> None:
        shown = [*ALICE.items()] * 2
        assert await status(session, f"http://{address}/metrics", headers=shown) == 401

    against(scenario, written(tmp_path, USERS))


def test_who_fails_too_often_waits_and_others_do_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(session: aiohttp.ClientSession, address: str, _: FileWatch[Access]) -> None:
        url = f"http://{address}/metrics"
        assert await status(session, url, headers=ALICE) == 200
        statuses = [await status(session, url, headers=MALLORY) for _ in range(5)]
        assert statuses == [401, 401, 401, 429, 429]
        async with session.get(url, headers=ALICE) as response:  # else 429 would tell a wrong password from a right one
            assert response.status == 429
            assert 0 < int(response.headers["Retry-After"]) <= 20
        assert await status(session, url) == 401
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))) as elsewhere:
            assert await status(elsewhere, url, headers=ALICE) == 200

    with caplog.at_level(logging.WARNING):
        against(scenario, written(tmp_path, USERS), auth_failures_per_minute=3)
    told = [record.getMessage() for record in caplog.records]
    assert told == ["web: 127.0.0.1 has failed to authenticate too often, and is refused for a while"]


def test_guesses_at_once_are_counted_before_they_are_judged(tmp_path: Path) -> None:
    async def scenario(session: aiohttp.ClientSession, address: str, _: FileWatch[Access]) -> None:
        url = f"http://{address}/metrics"
        statuses = await asyncio.gather(*(status(session, url, headers=MALLORY) for _ in range(10)))
        assert sorted(statuses) == [401] * 3 + [429] * 7

    against(scenario, written(tmp_path, USERS), auth_failures_per_minute=3)


def test_guesses_that_wait_for_bcrypt_are_bounded_and_those_that_were_right_do_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "WAITING_MOST", 2)
    slow = bcrypt.hashpw(b"hunter2", bcrypt.gensalt(10)).decode()

    async def scenario(session: aiohttp.ClientSession, address: str, _: FileWatch[Access]) -> None:
        url = f"http://{address}/metrics"
        assert await status(session, url, headers=ALICE) == 200
        guesses = [asyncio.create_task(status(session, url, headers=basic("alice", str(number)))) for number in range(8)]
        done, _ = await asyncio.wait(guesses, return_when=asyncio.FIRST_COMPLETED)
        assert await status(session, url, headers=ALICE) == 200
        assert 503 in {task.result() for task in done} | set(await asyncio.gather(*guesses))

    against(scenario, written(tmp_path, f"basic_auth_users: {{alice: '{slow}'}}"))


def test_a_limit_of_all_requests_spares_the_probes(tmp_path: Path) -> None:
    async def scenario(session: aiohttp.ClientSession, address: str, _: FileWatch[Access]) -> None:
        assert [await status(session, f"http://{address}/metrics") for _ in range(3)] == [200, 200, 429]
        assert await status(session, f"http://{address}/-/healthy") == 200

    against(scenario, written(tmp_path, "rate_limit: {interval: 1h, burst: 2}"))


def test_a_limit_that_changes_holds_without_a_restart(tmp_path: Path) -> None:
    file = written(tmp_path, "rate_limit: {interval: 1h, burst: 1}")

    async def scenario(session: aiohttp.ClientSession, address: str, watch: FileWatch[Access]) -> None:
        assert [await status(session, f"http://{address}/metrics") for _ in range(2)] == [200, 429]
        written(tmp_path, "rate_limit: {interval: 0s}")
        await until(lambda: not watch.current.rate_limit.interval)
        assert [await status(session, f"http://{address}/metrics") for _ in range(3)] == [200] * 3

    against(scenario, file)


def test_headers_of_the_file_are_on_every_answer(tmp_path: Path) -> None:
    text = "http_server_config: {headers: {X-Frame-Options: deny, Strict-Transport-Security: max-age=9, Content-Security-Policy: ''}}"

    async def scenario(session: aiohttp.ClientSession, address: str, _: FileWatch[Access]) -> None:
        for path in ("/metrics", "/nowhere"):
            async with session.get(f"http://{address}{path}") as response:
                assert response.headers["X-Frame-Options"] == "deny"
                assert response.headers["Strict-Transport-Security"] == "max-age=9"
                assert "default-src 'none'" in response.headers["Content-Security-Policy"]

    against(scenario, written(tmp_path, text))


# --- TLS ---------------------------------------------------------------------------------------------------------------------------
def test_tls_is_spoken_with_the_certificate_of_the_file(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.pem("server", "127.0.0.1")

    async def scenario(session: aiohttp.ClientSession, address: str, _: FileWatch[Access]) -> None:
        assert await status(session, f"https://{address}/metrics", ssl=authority.client()) == 200
        assert await status(session, f"https://{address}/metrics", ssl=authority.client(), headers=ALICE) == 200
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await status(session, f"https://{address}/metrics", ssl=Authority(tmp_path, "other").client())

    against(scenario, written(tmp_path, TLS))


@pytest.mark.parametrize(
    ("policy", "names", "let_in"),
    [
        ("RequireAndVerifyClientCert", "", {"prometheus": True, "stranger": False, None: False}),
        ("VerifyClientCertIfGiven", "", {"prometheus": True, "stranger": False, None: True}),
        ("RequireAndVerifyClientCert", "[prometheus.example, '::1']", {"prometheus": True, "grafana": False, "v6": True}),
        ("NoClientCert", "", {"prometheus": True, "stranger": True, None: True}),
    ],
)
def test_client_certificates_are_asked_for_as_the_file_says(
    policy: str, names: str, let_in: dict[str | None, bool], tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    authority.pem("server", "127.0.0.1")
    certificates = {
        "prometheus": authority.pem("prometheus", "prometheus.example"),
        "grafana": authority.pem("grafana", "grafana.example"),
        "v6": authority.pem("v6", "::1"),
        "stranger": Authority(tmp_path, "other").pem("stranger", "prometheus.example"),
        None: None,
    }
    ca = "" if policy == "NoClientCert" else ", client_ca_file: ca.pem"
    sans = f", client_allowed_sans: {names}" if names else ""
    text = f"tls_server_config: {{cert_file: server.crt, key_file: server.key, client_auth_type: {policy}{ca}{sans}}}"

    async def scenario(session: aiohttp.ClientSession, address: str, _: FileWatch[Access]) -> None:
        for name, is_in in let_in.items():
            url = f"https://{address}/metrics"
            if is_in:
                assert await status(session, url, ssl=authority.client(certificates[name])) == 200
            else:
                with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
                    await status(session, url, ssl=authority.client(certificates[name]))

    against(scenario, written(tmp_path, text))


@pytest.mark.parametrize(
    ("keys", "version", "cipher"),
    [
        ("min_version: TLS13", "TLSv1.3", None),
        ("max_version: TLS12, cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]", "TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        ("max_version: TLS12, cipher_suites: [TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256]", "TLSv1.2", "ECDHE-ECDSA-CHACHA20-POLY1305"),
        ("max_version: TLS12, cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA]", "TLSv1.2", "ECDHE-ECDSA-AES128-SHA"),
        ("prefer_server_cipher_suites: false, curve_preferences: [CurveP384]", "TLSv1.3", None),
    ],
)
def test_versions_ciphers_and_curves_are_those_of_the_file(keys: str, version: str, cipher: str | None, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.pem("server", "127.0.0.1")

    async def run() -> None:
        async with listening(written(tmp_path, f"tls_server_config: {{cert_file: server.crt, key_file: server.key, {keys}}}")) as (
            address,
            _,
        ):
            host, port = address.split(":")
            client = authority.client()
            client.set_ciphers("ALL")
            _, writer = await asyncio.open_connection(host, int(port), ssl=client)
            spoken = writer.get_extra_info("ssl_object")
            assert spoken.version() == version
            assert cipher in (None, spoken.cipher()[0])
            writer.close()
            await writer.wait_closed()

    asyncio.run(run())


# --- renewal -----------------------------------------------------------------------------------------------------------------------
def test_a_renewed_certificate_is_shown_without_a_restart(tmp_path: Path) -> None:
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    pem = old.pem("server", "127.0.0.1")

    async def scenario(session: aiohttp.ClientSession, address: str, watch: FileWatch[Access]) -> None:
        url = f"https://{address}/metrics"
        assert await status(session, url, ssl=old.client()) == 200
        shown = watch.current.context
        pem.write(new.leaf("127.0.0.1"))

        async def is_new() -> bool:
            try:
                return await status(session, url, ssl=new.client()) == 200
            except aiohttp.ClientConnectorCertificateError:
                return False

        async with asyncio.timeout(SOON_SECONDS):
            while True:
                if await is_new():
                    break
                await asyncio.sleep(LOOK_SECONDS)
        assert watch.current.context is not shown

    against(scenario, written(tmp_path, TLS))


def test_changed_passwords_hold_without_a_restart_also_those_that_were_remembered(tmp_path: Path) -> None:
    file = written(tmp_path, USERS)

    async def scenario(session: aiohttp.ClientSession, address: str, watch: FileWatch[Access]) -> None:
        url = f"http://{address}/metrics"
        assert await status(session, url, headers=ALICE) == 200
        written(tmp_path, f"basic_auth_users: {{alice: '{OTHER_HASH}'}}")
        await until(lambda: watch.current.users["alice"] == OTHER_HASH)
        assert await status(session, url, headers=ALICE) == 401
        assert await status(session, url, headers=basic("alice", "correct horse")) == 200

    against(scenario, file)


def test_a_stream_of_events_ends_once_others_may_listen(tmp_path: Path) -> None:
    file = written(tmp_path, USERS)

    async def scenario(session: aiohttp.ClientSession, address: str, _: FileWatch[Access]) -> None:
        url = f"http://{address}/api/v1/report/events"
        async with session.get(url, headers=ALICE) as stream:
            assert await stream.content.readline() == b"event: report\n"
            written(tmp_path, f"basic_auth_users: {{alice: '{OTHER_HASH}'}}")
            async with asyncio.timeout(SOON_SECONDS):
                await stream.read()
        assert await status(session, url, headers=ALICE) == 401

    against(scenario, file, events_interval_seconds=LOOK_SECONDS)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (TLS, "basic_auth_users are taken away by a restart alone"),
        (USERS, "TLS is turned on and off by a restart alone"),
        ("", "TLS is turned on and off by a restart alone"),
        ("basic_auth_users: [", "not valid YAML"),
        ("tls_server_config: {cert_file: gone.crt, key_file: server.key}", "can't be read: No such file or directory"),
    ],
    ids=["no users", "no TLS", "empty", "no YAML", "no certificate"],
)
def test_a_file_that_would_open_a_door_or_has_a_mistake_is_not_taken_over_and_told_once(
    text: str, told: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path)
    authority.pem("server", "127.0.0.1")

    async def scenario(session: aiohttp.ClientSession, address: str, _: FileWatch[Access]) -> None:
        written(tmp_path, text)
        await until(lambda: bool(caplog.records))
        await asyncio.sleep(LOOK_SECONDS * 5)
        assert await status(session, f"https://{address}/metrics", ssl=authority.client()) == 401
        assert await status(session, f"https://{address}/metrics", ssl=authority.client(), headers=ALICE) == 200

    with caplog.at_level(logging.WARNING):
        against(scenario, written(tmp_path, TLS, USERS))
    (record,) = caplog.records
    assert record.getMessage().startswith("the file can't be taken over, what it said before stays in force: ")
    assert told in record.getMessage()
    assert HASH not in record.getMessage()


def test_a_file_with_a_mistake_keeps_the_server_from_starting(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match=r"web.yml: basic_auth_users.alice: is no hash made by bcrypt"):
        FileWatch(
            "the file", lambda: read_access(str(written(tmp_path, "basic_auth_users: {alice: hunter2}"))), refused=weakened, fail=print
        )
