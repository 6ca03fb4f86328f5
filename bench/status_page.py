"""What the status page costs: from the first byte asked for to the figures, on loopback, and a redraw.

usage: status_page.py [--repetitions 20]   (PYTHONPATH=tests)
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from dataclasses import replace

from playwright.async_api import Browser, async_playwright

from infermeter.web.encoding import packed
from infermeter.web.page.status import STATUS
from page.browsing import ARGUMENTS, CHROMIUM, Sidecar
from support.snapshots import empty_snapshot, llm, rich_snapshot

CASES = {
    "just started": empty_snapshot(),
    "1 model, 1 GPU": rich_snapshot(models=(llm(),), gpus=1),
    "3 models, 8 GPUs": rich_snapshot(models=tuple(replace(llm(), model=f"model-{i}") for i in range(3)), gpus=8),
    "20 models, 8 GPUs": rich_snapshot(models=tuple(replace(llm(), model=f"model-{i}") for i in range(20)), gpus=8),
}

WATCH = """
new MutationObserver((_, self) => {
  const figures = document.getElementById("figures");
  if (figures && !figures.hidden) { self.disconnect(); requestAnimationFrame(() => { window.drawnAt = performance.now(); }); }
}).observe(document, {subtree: true, childList: true, attributes: true, attributeFilter: ["hidden"]});
"""

WORK = {"ScriptDuration", "LayoutDuration", "RecalcStyleDuration"}

COUNT = """
window.draws = 0;
const everything = {subtree: true, childList: true, characterData: true};
new MutationObserver(() => { draws += 1; }).observe(document.getElementById("clock"), everything);
"""


async def loaded(browser: Browser, url: str) -> tuple[float, float]:
    """Milliseconds from navigation to the document's end, and to the frame that shows figures; in a browser that remembers nothing."""
    window = await browser.new_context(reduced_motion="reduce")
    page = await window.new_page()
    await page.add_init_script(WATCH)
    await page.goto(url)
    await page.wait_for_function("window.drawnAt !== undefined")
    document_ms: float = await page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
    drawn_ms: float = await page.evaluate("window.drawnAt")
    await window.close()
    return document_ms, drawn_ms


async def redraw_seconds(browser: Browser, url: str, *, seconds: float) -> float:
    """The browser's script time per redraw, at ten events a second."""
    window = await browser.new_context(reduced_motion="reduce")
    page = await window.new_page()
    await page.goto(url)
    await page.wait_for_selector("#figures:not([hidden])")
    session = await window.new_cdp_session(page)
    await session.send("Performance.enable")
    await page.evaluate(COUNT)

    async def script_seconds() -> float:
        metrics = (await session.send("Performance.getMetrics"))["metrics"]
        return float(
            sum(metric["value"] for metric in metrics if metric["name"] in {"ScriptDuration", "LayoutDuration", "RecalcStyleDuration"})
        )

    begin = await script_seconds()
    await asyncio.sleep(seconds)
    spent, draws = await script_seconds() - begin, await page.evaluate("draws")
    await window.close()
    return spent / max(draws, 1)


async def measure(repetitions: int) -> None:
    """Prints a row for each case."""
    print(f"document: {len(STATUS.body):,} bytes, {len(packed(STATUS.body, 'gzip')[0]):,} packed")
    print(f"{'':<20}{'document':>22}{'figures shown':>24}{'a redraw':>12}   ms: median [least to most]")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for name, snapshot in CASES.items():
            sidecar = Sidecar(snapshot)
            server = sidecar.server()
            url = f"http://127.0.0.1:{await server.start('127.0.0.1:0')}/"
            readings = [await loaded(browser, url) for _ in range(repetitions)]
            ticking = asyncio.create_task(ticks(sidecar))
            redraw = await redraw_seconds(browser, url, seconds=4)
            ticking.cancel()
            await server.stop()
            columns = [f"{statistics.median(ms):.0f} [{min(ms):.0f} to {max(ms):.0f}]" for ms in zip(*readings, strict=True)]
            print(f"{name:<20}{columns[0]:>22}{columns[1]:>24}{1000 * redraw:>12.1f}", flush=True)
        await browser.close()


async def ticks(sidecar: Sidecar) -> None:
    """Time passes, so that each event is another report: a second of the report's each tenth of ours."""
    while True:
        ledger = sidecar.snapshot.ledger
        sidecar.snapshot = replace(sidecar.snapshot, ledger=replace(ledger, time_ns=ledger.time_ns + 1_000_000_000))
        await asyncio.sleep(0.1)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=20)
    begin = time.monotonic()
    asyncio.run(measure(parser.parse_args().repetitions))
    print(f"{time.monotonic() - begin:.0f} s in all")


if __name__ == "__main__":
    main()
