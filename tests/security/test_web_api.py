"""Requests of every kind at the web port: each is answered as docs/api.openapi.yaml says, and by an error of ours never."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from http.client import HTTPConnection, HTTPResponse
from itertools import cycle
from pathlib import Path
from typing import Any

import bcrypt
import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from referencing import Registry, Resource

from infermeter.metrics.exposition import Exposition
from infermeter.metrics.report import findings_report, report_pieces
from infermeter.network.file_watch import FileWatch
from infermeter.web import server
from infermeter.web.access import read_access, weakened
from infermeter.web.server import WebServer
from support.patience import SOON_SECONDS
from support.snapshots import rich_snapshot

DOCS = Path(__file__).parents[2] / "docs"
DESCRIBED: dict[str, Any] = yaml.safe_load((DOCS / "api.openapi.yaml").read_text())
PATHS: dict[str, dict[str, Any]] = DESCRIBED["paths"]
REFUSED = {"400", "401", "404", "405", "429", "503"}
"""What `default` in the description stands for; its text names them."""

PROBED = {"/-/healthy", "/-/ready"}
EVENTS = "/api/v1/report/events"
PASSWORD = "hunter2"
SNAPSHOT = rich_snapshot()


@dataclass(frozen=True)
class Answer:
    status: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def kind(self) -> str:
        """The type of its content, without parameters."""
        return self.headers.get("Content-Type", "").partition(";")[0]


@contextmanager
def served(folder: Path) -> Iterator[int]:
    """The port of a server that has much to tell; every other reload fails, and now and then it isn't ready."""
    outcomes, phases = cycle([(True, "reloaded"), (False, "not reloaded")]), cycle([(True, "ready"), (False, "stopping")])
    told: dict[str, Any] = {}
    listens = threading.Event()

    async def reload() -> tuple[bool, str]:
        return next(outcomes)

    @asynccontextmanager
    async def listening() -> Any:
        file = folder / "web.yml"
        web = WebServer(
            render=lambda accept: Exposition().pieces(SNAPSHOT, accept),
            report=lambda: report_pieces(SNAPSHOT),
            events=lambda: report_pieces(SNAPSHOT, slots=False),
            findings=lambda: findings_report(SNAPSHOT.advice.findings),
            ready=lambda: next(phases),
            reload=reload,
            access=FileWatch("a file", lambda: read_access(str(file)), refused=weakened, fail=lambda _: None) if file.exists() else None,
            auth_failures_per_minute=100_000,
        )
        told["port"] = await web.start("127.0.0.1:0")
        try:
            yield
        finally:
            await web.stop()

    async def run() -> None:
        told["loop"], told["stop"] = asyncio.get_running_loop(), asyncio.Event()
        async with listening():
            listens.set()
            await told["stop"].wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert listens.wait(SOON_SECONDS)
    try:
        yield told["port"]
    finally:
        told["loop"].call_soon_threadsafe(told["stop"].set)
        thread.join()


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with served(tmp_path_factory.mktemp("open")) as port:
        yield port


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server that wants to know who asks."""
    folder = tmp_path_factory.mktemp("guarded")
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (folder / "web.yml").write_text(f"basic_auth_users: {{alice: '{hashed}'}}\n")
    with served(folder) as port:
        yield port


def asked(port: int, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
    """What a request is answered on a connection of its own; of a stream its beginning."""
    connection = HTTPConnection("127.0.0.1", port, timeout=SOON_SECONDS)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value.encode("latin-1"))
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        return Answer(str(response.status), response.headers, _read(response))
    finally:
        connection.close()


def _read(response: HTTPResponse) -> bytes:
    if response.headers.get("Content-Type") == "text/event-stream":
        return response.readline() + response.readline()
    return response.read()


def described(method: str, path: str, answer: Answer) -> Mapping[str, Any] | None:
    """What the description says of such an answer; None: it says nothing of it."""
    method = "get" if method == "HEAD" and path != EVENTS else method.lower()
    responses = PATHS.get(path, {}).get(method, {}).get("responses", {"default": {"$ref": "#/components/responses/refused"}})
    if answer.status in responses:
        return _at(responses[answer.status])
    return _at(responses["default"]) if answer.status in REFUSED else None


def _at(part: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = part
    if "$ref" in part:
        found = DESCRIBED
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
    return dict(found)


def assert_described(method: str, path: str, answer: Answer) -> None:
    """The status, the type of the content, and of JSON its schema are those that are described; the headers of every answer are there."""
    said = described(method, path, answer)
    assert said is not None, (method, path, answer.status)
    assert answer.kind in said["content"], (method, path, answer)
    if answer.status != "400":  # of what is no HTTP, nobody can tell what it would read
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
    if answer.kind == "application/json" and method != "HEAD":
        is_packed = answer.headers.get("Content-Encoding") == "gzip"
        assert_valid(gzip.decompress(answer.body) if is_packed else answer.body, path)
    if answer.status == "405":
        assert answer.headers["Allow"].split(",")[0] in {"GET", "POST"}
    if method == "HEAD":
        assert answer.body == b""


@cache
def assert_valid(body: bytes, path: str) -> None:
    """Once for each different body."""
    schema = PATHS[path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    report_schema = Resource.from_contents(json.loads((DOCS / "report.schema.json").read_text()))
    registry: Registry[Any] = Registry().with_resource("report.schema.json", report_schema)
    jsonschema.Draft202012Validator(schema, registry=registry).validate(json.loads(body))


def basic(pair: str) -> str:
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND")
TEXTS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=40)
TARGETS = st.sampled_from(sorted(PATHS)) | st.text(st.sampled_from("/-.%~ametricsv1pi;:@2F"), max_size=24).map("/".__add__)
QUERIES = st.just("") | st.text(st.sampled_from("ab=&%2F+[]~;?"), max_size=24).map("?".__add__)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Accept": st.sampled_from(["*/*", "application/json", "text/plain;version=0.0.4", "application/openmetrics-text; version=1.0.0"])
        | TEXTS,
        "Accept-Encoding": st.sampled_from(["gzip", "gzip;q=0", "identity", "*;q=0.5", "br, gzip;q=1.000"]) | TEXTS,
        "Authorization": st.sampled_from([basic(f"alice:{PASSWORD}"), basic("alice:guess"), basic("nobody"), "Basic", "Bearer x"]) | TEXTS,
        "Origin": st.sampled_from(["null", "http://evil.example"]),
        "Range": st.sampled_from(["bytes=0-1", "bytes=-1", "lines=1"]),
        "If-None-Match": st.just("*"),
        "If-Modified-Since": TEXTS,
        "Expect": st.sampled_from(["100-continue", "anything"]) | TEXTS,
        "Content-Type": st.sampled_from(["application/json", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"])
        | TEXTS,
        "Content-Encoding": st.sampled_from(["gzip", "deflate", "br", "compress"]),
        "Cookie": TEXTS,
        "Connection": st.sampled_from(["close", "keep-alive", "Upgrade"]),
        "Upgrade": st.sampled_from(["websocket", "h2c"]),
        "X-Forwarded-For": TEXTS,
        "X-HTTP-Method-Override": st.sampled_from(["DELETE", "POST"]),
    },
)
BODIES = st.sampled_from([b"", b"{}", b"\x1f\x8b\x08\x00", b"a=b", b"--x\r\n\r\n--x--\r\n"]) | st.binary(max_size=32)


@given(method=st.sampled_from(METHODS), path=TARGETS, query=QUERIES, headers=HEADERS, body=BODIES)
def test_whatever_is_asked_is_answered_as_it_is_described(
    port: int, method: str, path: str, query: str, headers: dict[str, str], body: bytes
) -> None:
    target = (path + query).replace(" ", "%20")
    assert_described(method, path, asked(port, method, target, headers, body))


@given(method=st.sampled_from(METHODS), path=TARGETS, query=QUERIES, headers=HEADERS, body=BODIES)
def test_whoever_is_not_known_learns_nothing_whatever_is_asked(
    guarded: int, method: str, path: str, query: str, headers: dict[str, str], body: bytes
) -> None:
    headers = {name: value for name, value in headers.items() if value != basic(f"alice:{PASSWORD}")}
    answer = asked(guarded, method, (path + query).replace(" ", "%20"), headers, body)
    assert_described(method, path, answer)
    assert path in PROBED or answer.status in {"400", "401"}


@pytest.mark.parametrize("path", PATHS)
def test_every_path_that_is_described_is_there_and_answers_each_of_its_methods(port: int, path: str) -> None:
    for method in PATHS[path]:
        answer = asked(port, method.upper(), path, {})
        assert answer.status in {"200", "500", "503"} & PATHS[path][method]["responses"].keys()
        assert_described(method.upper(), path, answer)


def test_every_path_that_there_is_is_described() -> None:
    routes = re.findall(r'web\.(get|post)\("([^"]+)"', Path(server.__file__).read_text())
    assert len(routes) == len(PATHS)
    assert {(path, method) for method, path in routes} == {(path, method) for path, methods in PATHS.items() for method in methods}


def test_an_answer_that_is_not_described_would_be_found() -> None:
    plain = {"Content-Type": "text/plain", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
    assert_described("GET", "/-/ready", Answer("503", plain, b"stopping\n"))
    for wrong in (Answer("500", plain, b""), Answer("200", {**plain, "Content-Type": "text/html"}, b""), Answer("200", {}, b"")):
        with pytest.raises(AssertionError):
            assert_described("GET", "/-/ready", wrong)
    with pytest.raises(jsonschema.ValidationError):
        assert_described("GET", "/api/v1/findings", Answer("200", {**plain, "Content-Type": "application/json"}, b'{"schema": 2}'))
