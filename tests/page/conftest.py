"""One Chromium for all tests of the page, in one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from playwright.async_api import Browser, async_playwright

from page.browsing import ARGUMENTS, CHROMIUM

Against = Callable[[Callable[[Browser], Awaitable[Any]]], None]


@pytest.fixture(scope="session")
def against() -> Iterator[Against]:
    """Runs a scenario with the browser."""
    with asyncio.Runner() as runner:
        playwright = runner.run(async_playwright().start())
        browser = runner.run(playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS))

        def run(scenario: Callable[[Browser], Awaitable[Any]]) -> None:
            async def whole() -> None:
                async with asyncio.timeout(60):
                    await scenario(browser)

            runner.run(whole())

        yield run
        runner.run(browser.close())
        runner.run(playwright.stop())
