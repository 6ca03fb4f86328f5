from __future__ import annotations

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from infermeter.metrics.exposition import Exposition
from infermeter.metrics.report import SLOTS_A_PIECE, findings_report, report, report_pieces
from infermeter.web import events, server
from infermeter.web.server import WebServer
from support.patience import SOON_SECONDS
from support.snapshots import rich_snapshot

SNAPSHOT = rich_snapshot()


def web_server(**changes: Any) -> WebServer:
    """A server of the rich snapshot; events follow each other quickly."""
    parts: dict[str, Any] = {
        "render": lambda accept: Exposition().pieces(SNAPSHOT, accept),
        "report": lambda: report_pieces(SNAPSHOT),
        "events": lambda: report_pieces(SNAPSHOT, slots=False),
        "findings": lambda: findings_report(SNAPSHOT.advice.findings),
        "ready": lambda: (True, "ready"),
        "events_interval_seconds": 0.01,
    }
    return WebServer(**{**parts, **changes})


@asynccontextmanager
async def listening(**changes: Any) -> AsyncIterator[tuple[aiohttp.ClientSession, int]]:
    """A client of a server on a port of its own."""
    web = web_server(**changes)
    port = await web.start("127.0.0.1:0")
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", auto_decompress=False) as session:
            yield session, port
    finally:
        await web.stop()


def against(scenario: Callable[[aiohttp.ClientSession, int], Awaitable[None]], **changes: Any) -> None:
    """Runs a scenario against a server."""

    async def run() -> None:
        async with listening(**changes) as (session, port):
            await scenario(session, port)

    asyncio.run(run())


async def event(response: aiohttp.ClientResponse) -> tuple[str, Any]:
    """The next event's name and data."""
    name = (await response.content.readline()).decode().removeprefix("event: ").strip()
    data = (await response.content.readline()).decode().removeprefix("data: ")
    assert await response.content.readline() == b"\n"
    return name, json.loads(data)


def test_metrics_come_in_the_format_that_is_asked_for() -> None:
    async def scenario(session: aiohttp.ClientSession, _: int) -> None:
        for accept, content_type in (
            ("", "text/plain; version=0.0.4; charset=utf-8"),
            ("application/openmetrics-text", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
            ("image/png", "text/plain; version=0.0.4; charset=utf-8"),
        ):
            async with session.get("/metrics", headers={"Accept": accept, "Accept-Encoding": "identity"}) as response:
                assert response.status == 200
                assert response.headers["Content-Type"] == content_type
                assert response.headers["Vary"] == "Accept, Accept-Encoding"
                assert (await response.read(), content_type) == Exposition().render(SNAPSHOT, accept)

    against(scenario)


def test_metrics_are_packed_for_those_who_accept_it() -> None:
    async def scenario(session: aiohttp.ClientSession, _: int) -> None:
        async with session.get("/metrics", headers={"Accept-Encoding": "gzip"}) as response:
            assert response.headers["Content-Encoding"] == "gzip"
            assert gzip.decompress(await response.read()) == Exposition().render(SNAPSHOT, "")[0]
        async with session.get("/metrics", headers={"Accept-Encoding": "gzip;q=0"}) as response:
            assert "Content-Encoding" not in response.headers

    against(scenario)


@pytest.mark.parametrize("accepted", ["identity", "gzip"])
@pytest.mark.parametrize("path", ["/metrics", "/api/v1/report", "/api/v1/findings"])
def test_head_tells_what_get_answers_without_the_body(path: str, accepted: str) -> None:
    async def scenario(session: aiohttp.ClientSession, _: int) -> None:
        async with session.get(path, headers={"Accept-Encoding": accepted}) as response:
            length, headers = len(await response.read()), dict(response.headers)
        async with session.head(path, headers={"Accept-Encoding": accepted}) as response:
            assert response.status == 200
            assert await response.read() == b""
            told = dict(response.headers)
        assert int(told["Content-Length"]) == length > 0
        assert {**told, "Date": ""} == {**headers, "Date": ""}

    against(scenario)


@pytest.mark.parametrize("path", ["/metrics", "/api/v1/report", "/api/v1/findings"])
def test_who_has_seen_an_answer_before_gets_the_next_one_whole(path: str) -> None:
    async def scenario(session: aiohttp.ClientSession, _: int) -> None:
        async with session.get(path) as first:
            assert not {"ETag", "Last-Modified", "Accept-Ranges"} & first.headers.keys()
            body = await first.read()
        seen = {"If-None-Match": '"seen"', "If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT", "Range": "bytes=0-9"}
        async with session.get(path, headers=seen) as again:
            assert (again.status, await again.read()) == (200, body)

    against(scenario)


def test_a_report_of_many_pieces_is_packed_as_a_whole() -> None:
    long = replace(SNAPSHOT, ledger=replace(SNAPSHOT.ledger, slots=SNAPSHOT.ledger.slots * (2 * SLOTS_A_PIECE)))

    async def scenario(session: aiohttp.ClientSession, _: int) -> None:
        async with session.get("/api/v1/report", headers={"Accept-Encoding": "gzip"}) as response:
            assert response.headers["Content-Encoding"] == "gzip"
            assert json.loads(gzip.decompress(await response.read())) == report(long)

    against(scenario, report=lambda: report_pieces(long))


@pytest.mark.parametrize(("path", "part"), [("/metrics", "render"), ("/api/v1/report", "report"), ("/api/v1/report/events", "events")])
def test_of_what_fails_after_some_pieces_nothing_is_sent(path: str, part: str, caplog: pytest.LogCaptureFixture) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"half of it" * 1000
        raise RuntimeError("a mistake")

    async def scenario(session: aiohttp.ClientSession, _: int) -> None:
        async with session.get(path) as response:
            assert (response.status, await response.text()) == (500, "500 Internal Server Error\n")

    with caplog.at_level(logging.ERROR):
        against(scenario, **{part: (lambda _: (pieces(), "text/plain")) if part == "render" else pieces})
    assert [record.getMessage() for record in caplog.records] == [f"{path} failed"]


def test_health_needs_nothing_and_readiness_waits_for_the_listeners() -> None:
    ready: list[bool] = [False]

    async def scenario(session: aiohttp.ClientSession, _: int) -> None:
        async with session.get("/-/healthy") as response:
            assert response.status == 200
        async with session.get("/-/ready") as response:
            assert (response.status, await response.text()) == (503, "starting\n")
        ready[0] = True
        async with session.get("/-/ready") as response:
            assert (response.status, await response.text()) == (200, "ready\n")

    against(scenario, ready=lambda: (ready[0], "ready" if ready[0] else "starting"))


def test_report_and_findings_are_json_that_nobody_stores() -> None:
    async def scenario(session: aiohttp.ClientSession, _: int) -> None:
        for path, content in (("/api/v1/report", report(SNAPSHOT)), ("/api/v1/findings", findings_report(SNAPSHOT.advice.findings))):
            async with session.get(path, headers={"Accept-Encoding": "identity"}) as response:
                assert response.status == 200
                assert response.content_type == "application/json"
                assert response.headers["Cache-Control"] == "no-store"
                assert await response.json() == content

    against(scenario)


def test_the_root_links_to_what_is_there() -> None:
    async def scenario(session: aiohttp.ClientSession, _: int) -> None:
        async with session.get("/") as response:
            assert response.content_type == "text/html"
            page = await response.text()
        for path in ("/metrics", "/api/v1/report", "/api/v1/findings"):
            assert f'href="{path}"' in page
            async with session.get(path) as response:
                assert response.status == 200

    against(scenario)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("POST", "/metrics", 405), ("HEAD", "/api/v1/report/events", 405), ("GET", "/-/reload", 405)],
)
def test_what_is_not_there_or_not_allowed_is_said_plainly(method: str, path: str, status: int) -> None:
    async def scenario(session: aiohttp.ClientSession, _: int) -> None:
        async with session.request(method, path) as response:
            assert response.status == status
            assert response.content_type == "text/plain"
            assert ("Allow" in response.headers) == (status == 405)

    against(scenario)


@pytest.mark.parametrize("path", ["/metrics", "/api/v1/report", "/nowhere", "/-/ready", "/api/v1/report/events"])
def test_every_answer_carries_the_security_headers(path: str) -> None:
    async def scenario(session: aiohttp.ClientSession, _: int) -> None:
        async with session.get(path) as response:
            assert {name: response.headers.get(name) for name in server.HEADERS} == server.HEADERS

    against(scenario)


@pytest.mark.parametrize(("path", "part"), [("/metrics", "render"), ("/api/v1/report", "report"), ("/api/v1/report/events", "events")])
def test_a_mistake_of_ours_is_logged_and_answered_with_500(path: str, part: str, caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: str) -> Any:
        raise RuntimeError("a mistake")

    async def scenario(session: aiohttp.ClientSession, _: int) -> None:
        async with session.get(path) as response:
            assert response.status == 500
            assert "a mistake" not in await response.text()
        async with session.get("/-/healthy") as response:
            assert response.status == 200

    with caplog.at_level(logging.ERROR):
        against(scenario, **{part: broken})
    assert [record.getMessage() for record in caplog.records] == [f"{path} failed"]


def test_requests_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(session: aiohttp.ClientSession, _: int) -> None:
        async with session.get("/metrics?token=secret") as response:
            assert response.status == 200

    with caplog.at_level(logging.INFO):
        against(scenario)
    assert caplog.records == []


def test_what_is_no_http_is_neither_logged_nor_repeated(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(_: aiohttp.ClientSession, port: int) -> None:
        for wrong in (b"secret\r\n\r\n", b"GET /secret\xff HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nsecret : x\r\n\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(wrong)
            answer = await reader.read()
            assert answer.splitlines()[0].endswith(b" 400 Bad Request")
            assert b"Server: infermeter\r\n" in answer
            assert b"secret" not in answer
            writer.close()
            await writer.wait_closed()

    against(scenario)

    assert not caplog.records


def test_headers_that_never_end_are_refused() -> None:
    async def scenario(session: aiohttp.ClientSession, _: int) -> None:
        async with session.get("/metrics", headers={"X-Long": "a" * 20_000}) as response:
            assert response.status == 400

    with suppress(aiohttp.ClientOSError):  # the server may hang up before all of it is sent
        against(scenario)


def test_a_connection_that_never_asks_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "IDLE_SECONDS", 0.05)

    async def scenario(_: aiohttp.ClientSession, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
        async with asyncio.timeout(SOON_SECONDS):
            assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    against(scenario)


def test_one_connection_too_many_takes_the_place_of_one_that_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS", 1)

    async def scenario(session: aiohttp.ClientSession, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
        async with session.get("/-/healthy") as response:
            assert response.status == 200
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    against(scenario)


def test_one_connection_too_many_is_told_to_come_back_if_all_are_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS", 1)

    async def scenario(session: aiohttp.ClientSession, port: int) -> None:
        async with session.get("/api/v1/report/events"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
            writer.close()
            await writer.wait_closed()

    against(scenario)


def test_an_address_that_is_taken_is_an_error_of_the_system() -> None:
    async def scenario(_: aiohttp.ClientSession, port: int) -> None:
        second = web_server()
        with pytest.raises(OSError, match="in use"):
            await second.start(f"127.0.0.1:{port}")
        await second.stop()

    against(scenario)


def test_ipv6_addresses_are_written_in_brackets() -> None:
    async def scenario() -> None:
        web = web_server()
        port = await web.start("[::1]:0")
        async with aiohttp.ClientSession() as session, session.get(f"http://[::1]:{port}/-/healthy") as response:
            assert response.status == 200
        await web.stop()

    asyncio.run(scenario())


def test_events_are_reports_without_slots_made_once_for_all_listeners() -> None:
    made: list[int] = []

    def counted() -> Iterator[bytes]:
        made.append(len(made))
        yield b'{"report":'
        yield b"%d}" % made[-1]

    async def scenario(session: aiohttp.ClientSession, _: int) -> None:
        async with session.get("/api/v1/report/events") as one, session.get("/api/v1/report/events") as two:
            assert one.content_type == "text/event-stream"
            numbers = [[(await event(response))[1]["report"] for _ in range(3)] for response in (one, two)]
        assert numbers[0] == sorted(set(numbers[0]))
        assert set(numbers[0]) & set(numbers[1])
        assert await event_of_another(session) == "report"

    async def event_of_another(session: aiohttp.ClientSession) -> str:
        async with session.get("/api/v1/report/events") as response:
            return (await event(response))[0]

    against(scenario, events=counted)


def test_who_comes_while_an_event_is_made_waits_for_it() -> None:
    begun: list[None] = []

    def made() -> Iterator[bytes]:
        begun.append(None)
        yield b"["
        for _ in range(50):
            yield b""
        yield b"%d]" % len(begun)

    async def scenario(session: aiohttp.ClientSession, _: int) -> None:
        async def first() -> Any:
            async with session.get("/api/v1/report/events") as response:
                return (await event(response))[1]

        assert await asyncio.gather(*(first() for _ in range(4))) == [[1]] * 4

    against(scenario, events=made, events_interval_seconds=3600.0)


def test_listeners_are_bounded_and_make_room_when_they_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "LISTENERS", 1)

    async def scenario(session: aiohttp.ClientSession, _: int) -> None:
        async with session.get("/api/v1/report/events") as listener:
            await event(listener)
            async with session.get("/api/v1/report/events") as refused:
                assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
            listener.close()
        async with asyncio.timeout(SOON_SECONDS):
            while True:
                async with session.get("/api/v1/report/events") as next_listener:
                    if next_listener.status == 200:
                        break

    against(scenario)


def test_a_listener_that_stops_reading_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "WRITE_SECONDS", 0.05)
    monkeypatch.setattr(events, "LISTENERS", 1)

    async def scenario(session: aiohttp.ClientSession, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(b"GET /api/v1/report/events HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readline()
        async with asyncio.timeout(SOON_SECONDS):
            while True:
                async with session.get("/api/v1/report/events") as listener:
                    if listener.status == 200:
                        break
        writer.transport.abort()

    against(scenario, events=lambda: [b'"', b"a" * 8_000_000, b'"'])


def test_events_that_can_no_longer_be_made_end_the_stream_with_a_log(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[None] = []

    def breaks() -> Iterator[bytes]:
        yield b"{"
        calls.append(None)
        if len(calls) > 1:
            raise RuntimeError("a mistake")
        yield b"}"

    async def scenario(session: aiohttp.ClientSession, _: int) -> None:
        async with session.get("/api/v1/report/events") as response:
            assert await event(response) == ("report", {})
            assert await response.content.read() == b""

    against(scenario, events=breaks)
    assert [record.getMessage() for record in caplog.records] == ["an event could not be made"]


def test_a_stop_ends_the_streams() -> None:
    async def scenario() -> None:
        web = web_server(events_interval_seconds=3600.0)
        port = await web.start("127.0.0.1:0")
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/api/v1/report/events") as response:
            await event(response)
            async with asyncio.timeout(SOON_SECONDS):
                await asyncio.gather(web.stop(), response.content.read())

    asyncio.run(scenario())


def test_a_server_that_never_started_can_be_stopped() -> None:
    asyncio.run(web_server().stop())


@pytest.mark.parametrize(("taken", "status"), [(True, 200), (False, 500)])
def test_a_reload_answers_whether_and_why(taken: bool, status: int) -> None:
    async def reload() -> tuple[bool, str]:
        return taken, "what became of it"

    async def scenario(session: aiohttp.ClientSession, _: int) -> None:
        async with session.post("/-/reload", data=b"x" * 100_000) as response:
            assert (response.status, await response.text()) == (status, "what became of it\n")
        async with session.get("/-/reload") as response:
            assert (response.status, response.headers["Allow"]) == (405, "POST")

    against(scenario, reload=reload)


def test_a_reload_over_http_is_forbidden_unless_it_is_switched_on() -> None:
    async def scenario(session: aiohttp.ClientSession, _: int) -> None:
        async with session.post("/-/reload") as response:
            assert response.status == 403
            assert "web.lifecycle" in await response.text()

    against(scenario)
