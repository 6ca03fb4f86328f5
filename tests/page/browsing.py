"""The status page in a real Chromium, and sidecars for it to show: of any report, or the real program."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
from playwright.async_api import Browser, Page, Request

from infermeter.metrics.exposition import Exposition
from infermeter.metrics.report import findings_report, report
from infermeter.model import Snapshot
from infermeter.web.page.status import STATUS
from infermeter.web.server import WebServer

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic"]
SOON_MS = 15_000
DESKTOP, PHONE = (1200, 900), (360, 780)

_TOLD = """
() => [...document.querySelectorAll("data")].map((data) => ({
  section: data.closest("#figures > *")?.getAttribute("aria-labelledby") ?? data.closest("#figures > *")?.id,
  key: data.closest("tr[data-key], .model[data-key], .finding[data-key]")?.getAttribute("data-key") ?? null,
  of: data.getAttribute("data-of"), value: data.value, text: data.textContent.replaceAll("\\u00a0", " "),
}))
"""


class Told(NamedTuple):
    """One number on the page: as the report has it, and as a person reads it."""

    value: str
    text: str


@dataclass
class Opened:
    """A page that is open, and what went wrong on it."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    async def text(self, selector: str = "body") -> str:
        """What a person reads, with plain spaces."""
        return (await self.page.inner_text(selector)).replace("\u00a0", " ")

    async def told(self) -> Mapping[tuple[str, str | None, str], Told]:
        """Every number, by section, row, and what it is."""
        rows: list[dict[str, Any]] = await self.page.evaluate(_TOLD)
        numbers = {(row["section"], row["key"], row["of"]): Told(row["value"], row["text"]) for row in rows}
        assert len(numbers) == len(rows), "two numbers of one name"
        return numbers

    async def drawn(self) -> None:
        """Returns once a report is on the page."""
        await self.page.wait_for_selector("#figures:not([hidden])", timeout=SOON_MS)

    async def says(self, selector: str, text: str) -> None:
        """Returns once a part of the page contains this."""
        await self.page.locator(selector).filter(has_text=text).wait_for(timeout=SOON_MS)

    async def overflow_pixels(self) -> int:
        """By how much the page is wider than the window."""
        pixels: int = await self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return pixels


@asynccontextmanager
async def opened(
    browser: Browser, url: str, *, size: tuple[int, int] = DESKTOP, scheme: Any = "light", waits: bool = True, **context: Any
) -> AsyncIterator[Opened]:
    """The page at this address, in a browser that remembers nothing."""
    width, height = size
    window = await browser.new_context(color_scheme=scheme, viewport={"width": width, "height": height}, **context)
    page = await window.new_page()
    on = Opened(page, url)

    def note(request: Request) -> None:
        on.asked.append(request.url)

    page.on("console", lambda said: on.complaints.append(said.text) if said.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: on.complaints.append(str(error)))
    page.on("request", note)
    await page.add_init_script(
        "addEventListener('securitypolicyviolation', (event) => console.error(`refused: ${event.violatedDirective}`))"
    )
    try:
        await page.goto(url)
        if waits:
            await on.drawn()
        yield on
    finally:
        await window.close()


class Sidecar:
    """The web face over a snapshot that a test replaces as it likes."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.changes: dict[str, Any] = {}

    def report(self, *, slots: bool = True) -> dict[str, Any]:
        """What it answers; `changes` come over the snapshot's families."""
        answer = report(self.snapshot, slots=slots) | self.changes
        return {name: value for name, value in answer.items() if value is not None}

    def server(self) -> WebServer:
        """One that hasn't started; a new event every 100 ms."""
        return WebServer(
            render=lambda accept: Exposition().pieces(self.snapshot, accept),
            report=lambda: [orjson.dumps(self.report())],
            events=lambda: [orjson.dumps(self.report(slots=False))],
            findings=lambda: findings_report(self.snapshot.advice.findings),
            ready=lambda: (True, "ready"),
            page=STATUS,
            events_interval_seconds=0.1,
        )


@asynccontextmanager
async def shown(
    browser: Browser, snapshot: Snapshot, *, changes: dict[str, Any] | None = None, **how: Any
) -> AsyncIterator[tuple[Opened, Sidecar]]:
    """The page of a sidecar with this snapshot; `changes` are families in place of its own, None: absent."""
    sidecar = Sidecar(snapshot)
    sidecar.changes = changes or {}
    server = sidecar.server()
    try:
        port = await server.start("127.0.0.1:0")
        async with opened(browser, f"http://127.0.0.1:{port}/", **how) as on:
            yield on, sidecar
    finally:
        await server.stop()
