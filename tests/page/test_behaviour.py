"""How the page behaves: live, when the sidecar goes away, under the keyboard, without JavaScript, and with names that senders chose."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Route

from infermeter.model import Finding, Snapshot
from page.browsing import DESKTOP, PHONE, Opened, Sidecar, opened, shown
from page.conftest import Against
from support.snapshots import empty_snapshot, gpu, llm, opaque, rich_snapshot

pytestmark = pytest.mark.page

HOSTILE = (
    "<img src=x onerror=document.title='taken'>",
    "</script><script>document.title='taken'</script>",
    "\u202egnitrevni \u05e9\u05dc\u05d5\u05dd",
    "x" * 200,
    "org/" + "very-long-word/" * 13,
    "\"'><svg onload=document.title='taken'>",
    "__proto__",
    "${document.title='taken'}",
)


def named(*names: str) -> Snapshot:
    """Models, a GPU, a finding and prices whose names others chose."""
    whole = rich_snapshot(models=tuple(replace(llm(), model=name) for name in names))
    finding = Finding("low_coverage", "warning", names[0], {names[1]: names[2], "share_ratio": 0.5}, names[3], names[4], 0.25)
    device = gpu()
    identity = replace(device.identity, product=names[0], uuid=names[3])
    return replace(
        whole,
        price_source=names[5],
        advice=replace(whole.advice, findings=(finding,)),
        ledger=replace(whole.ledger, gpus=(replace(device, identity=identity),)),
    )


def test_names_that_senders_chose_are_text_and_fit_on_the_page(against: Against) -> None:
    async def scenario(browser: Browser) -> None:
        for size in (DESKTOP, PHONE):
            async with shown(browser, named(*HOSTILE), size=size) as (on, _):
                heads = await on.page.locator("#sla tbody th").all_text_contents()
                assert heads == list(HOSTILE)
                assert await on.page.locator("#figures :is(img, script, iframe, object), #figures svg[onload], [style]").count() == 0
                assert await on.page.title() == "chat · Infermeter"
                assert await on.overflow_pixels() == 0
                assert on.complaints == []

    against(scenario)


def stalled() -> tuple[Any, asyncio.Event]:
    """A route that never answers, as a proxy that holds events back; and what lets it go."""
    over = asyncio.Event()

    async def hold(route: Route) -> None:
        await over.wait()
        await route.abort()

    return hold, over


@contextmanager
def answered(status: int) -> Iterator[Any]:
    """A route that answers with an error."""

    async def refuse(route: Route) -> None:
        await route.fulfill(status=status, body="no\n")

    yield refuse


def test_figures_arrive_without_a_reload_and_the_elements_stay(against: Against) -> None:
    async def scenario(browser: Browser) -> None:
        async with shown(browser, rich_snapshot()) as (on, sidecar):
            await on.says("#link", "live")
            await on.page.evaluate("document.querySelector('#sla tbody tr').mark = 'stayed'")
            await on.page.evaluate("getSelection().selectAllChildren(document.querySelector('#n-time'))")
            ledger = sidecar.snapshot.ledger
            first, *others = ledger.models
            models = (opaque("aaa"), replace(first, observed_ok=1234), *others)
            sidecar.snapshot = replace(sidecar.snapshot, ledger=replace(ledger, models=models))
            await on.says("#time", "1,234 ok")
            assert await on.page.evaluate("document.querySelector('#sla tr[data-key=\"llama-3-8b\"]').mark") == "stayed"
            assert await on.page.evaluate("getSelection().toString()") != ""
            assert [url for url in on.asked if url == on.url] == [on.url]
            assert on.complaints == []

    against(scenario)


def test_a_screen_reader_is_told_of_the_link_and_not_of_every_figure(against: Against) -> None:
    watch = """
    window.said = [];
    const live = document.querySelectorAll("[aria-live], [role=status], [role=alert], [role=log]");
    const everything = {subtree: true, childList: true, characterData: true};
    for (const region of live) new MutationObserver(() => said.push(region.textContent)).observe(region, everything);
    live.length
    """

    async def scenario(browser: Browser) -> None:
        async with shown(browser, rich_snapshot()) as (on, sidecar):
            await on.says("#link", "live")
            assert await on.page.evaluate(watch) == 1
            for second in range(5):
                later = sidecar.snapshot.ledger.time_ns + 10**9
                sidecar.snapshot = replace(sidecar.snapshot, ledger=replace(sidecar.snapshot.ledger, time_ns=later))
                await on.says("#clock", f"14:00:0{second + 1}")
            assert await on.page.evaluate("said") == []

    against(scenario)


def test_it_says_since_when_it_is_stale_when_the_sidecar_goes_and_stops_when_it_is_back(against: Against) -> None:
    async def scenario(browser: Browser) -> None:
        sidecar = Sidecar(rich_snapshot())
        first = sidecar.server()
        port = await first.start("127.0.0.1:0")
        async with opened(browser, f"http://127.0.0.1:{port}/") as on:
            await on.says("#link", "live")
            assert await on.page.is_hidden("#stale")
            await first.stop()
            await on.says("#stale", "Stale since")
            assert "answer; the figures below are from then." in await on.text("#stale")
            assert await on.text("#link") == "stale"
            assert "4.545" in await on.text("#cost"), "the last figures stay"
            sidecar.snapshot = replace(sidecar.snapshot, server="back")
            second = sidecar.server()
            await second.start(f"127.0.0.1:{port}")
            try:
                await on.says("#server", "back")
                await on.says("#link", "live")
                assert await on.page.is_hidden("#stale")
            finally:
                await second.stop()

    against(scenario)


def test_behind_a_proxy_that_holds_events_back_it_shows_what_it_asked_for(against: Against) -> None:
    async def scenario(browser: Browser) -> None:
        hold, over = stalled()
        async with shown(browser, rich_snapshot(), waits=False) as (on, _):
            await on.page.route("**/events", hold)
            await on.page.reload()
            await on.drawn()
            assert "2.250" in await on.text("#cost")
            await on.says("#link", "asked for every 10 s")
            assert await on.page.is_hidden("#stale")
            over.set()

    against(scenario)


@pytest.mark.parametrize("status", [401, 500, 503])
def test_an_error_is_told_with_its_status_and_leaves_no_figures(against: Against, status: int) -> None:
    async def scenario(browser: Browser) -> None:
        async with shown(browser, rich_snapshot(), waits=False) as (on, _):
            with answered(status) as refuse:
                await on.page.route("**/api/v1/report*", refuse)
                await on.page.route("**/api/v1/report/events", refuse)
                await on.page.reload()
                await on.says("#stale", f"The sidecar answers {status}")
                assert await on.page.is_hidden("#figures")
                await on.page.unroute_all()
                await on.drawn()
                assert await on.page.is_hidden("#stale")

    against(scenario)


def test_a_report_that_cannot_be_drawn_is_said_and_the_next_one_is_drawn(against: Against) -> None:
    async def scenario(browser: Browser) -> None:
        async with shown(browser, rich_snapshot()) as (on, sidecar):
            await on.says("#link", "live")
            sidecar.changes = {"report": {"schema": 1}}
            await on.says("#stale", "be drawn")
            sidecar.changes = {}
            await on.says("#link", "live")
            assert await on.page.is_hidden("#stale")

    against(scenario)


def test_without_javascript_it_says_what_to_open_instead(against: Against) -> None:
    async def scenario(browser: Browser) -> None:
        async with shown(browser, rich_snapshot(), waits=False, java_script_enabled=False) as (on, _):
            text = await on.text()
            assert "switched off" in text
            assert "infermeter advise" in text
            for path in ("/metrics", "/api/v1/report", "/api/v1/findings"):
                assert await on.page.locator(f"footer a[href='{path}']").is_visible()

    against(scenario)


async def focused(on: Opened) -> str:
    """The element that has the focus: its tag, and what tells it apart."""
    script = "(({tagName, id, value, textContent}) => `${tagName} ${id || value || textContent.trim()}`)(document.activeElement)"
    described: str = await on.page.evaluate(script)
    return described


def two_windows() -> Snapshot:
    """The rich snapshot over an hour and a day."""
    whole = rich_snapshot(models=(llm(),))
    ledger, (model,) = whole.ledger, whole.ledger.models
    day = replace(ledger.windows[0].window, label="1d", seconds=86400.0)
    longer = replace(model.windows[0], window=day, cost_per_inference=0.009)
    return replace(
        whole,
        ledger=replace(
            ledger,
            models=(replace(model, windows=(*model.windows, longer)),),
            windows=(*ledger.windows, replace(ledger.windows[0], window=day, accrued_seconds=7200.0)),
        ),
    )


def test_the_keyboard_reaches_everything_and_sees_where_it_is(against: Against) -> None:
    async def scenario(browser: Browser) -> None:
        async with shown(browser, two_windows()) as (on, sidecar):
            keys = on.page.keyboard
            await keys.press("Tab")
            assert await focused(on) == "A Skip to the figures"
            assert await on.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
            await keys.press("Enter")
            assert await focused(on) == "MAIN sheet"
            await keys.press("Tab")
            assert await focused(on) == "A 2 findings"
            await keys.press("Tab")
            assert await focused(on) == "INPUT 1h"
            await keys.press("ArrowRight")
            assert await focused(on) == "INPUT 1d"
            assert "9.000" in await on.text("#cost")
            assert "Last 1d; holds 2 h." in await on.text("#n-cost")
            sidecar.snapshot = replace(sidecar.snapshot, server="later")
            await on.says("#server", "later")
            assert await focused(on) == "INPUT 1d", "an update takes nobody's place"
            assert "9.000" in await on.text("#cost")
            reached = []
            for _ in range(3):
                await keys.press("Tab")
                reached.append(await focused(on))
            assert reached == ["A /metrics", "A /api/v1/report", "A /api/v1/findings"]

    against(scenario)


def stale_gpus() -> Snapshot:
    """One that isn't read any more, and one that never was."""
    whole = rich_snapshot()
    return replace(whole, ledger=replace(whole.ledger, gpus=(replace(gpu(), up=False, last=None), replace(gpu(1), last_sample_ns=None))))


SHOWN = {
    "rich": rich_snapshot(models=(llm(), llm("another"), opaque()), gpus=8),
    "two windows": two_windows(),
    "nothing yet": empty_snapshot(),
    "stale GPUs": stale_gpus(),
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_to_complain_of(against: Against, scheme: str) -> None:
    async def scenario(browser: Browser) -> None:
        for size, names in ((DESKTOP, list(SHOWN)), (PHONE, ["two windows", "stale GPUs"])):
            async with shown(browser, rich_snapshot(), size=size, scheme=scheme, reduced_motion="reduce") as (on, sidecar):
                for name, snapshot in ((name, SHOWN[name]) for name in names):
                    sidecar.snapshot = replace(snapshot, server=name)
                    await on.says("#server", name)
                    await on.says("#link", "live")
                    found = (await Axe().run(on.page)).response["violations"]
                    assert [(rule["id"], [node["html"] for node in rule["nodes"]][:2]) for rule in found] == [], (name, size)
                    assert await on.overflow_pixels() == 0, (name, size)

    against(scenario)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_to_complain_of_when_it_is_stale(against: Against, scheme: str) -> None:
    async def scenario(browser: Browser) -> None:
        async with shown(browser, rich_snapshot(), scheme=scheme, size=PHONE) as (on, _):
            await on.says("#link", "live")
            with answered(500) as refuse:
                await on.page.route("**/api/v1/report*", refuse)
                await on.page.route("**/api/v1/report/events", refuse)
                await on.page.reload()
                await on.says("#stale", "500")
                assert (await Axe().run(on.page)).violations_count == 0

    against(scenario)


def test_it_is_dark_where_dark_is_preferred(against: Against) -> None:
    async def scenario(browser: Browser) -> None:
        shades = {}
        for scheme in ("light", "dark"):
            async with shown(browser, rich_snapshot(), scheme=scheme) as (on, _):
                colour: str = await on.page.evaluate("getComputedStyle(document.body).backgroundColor")
                shades[scheme] = sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(",")))
        assert shades["dark"] < 100
        assert shades["light"] > 700

    against(scenario)


def test_nothing_moves_where_that_is_not_wanted(against: Against) -> None:
    async def scenario(browser: Browser) -> None:
        for motion, wanted in (("reduce", "0s"), ("no-preference", "0.4s")):
            async with shown(browser, rich_snapshot(), reduced_motion=motion) as (on, _):
                lasts = await on.page.evaluate("getComputedStyle(document.querySelector('svg rect')).transitionDuration")
                assert lasts.split(",")[0] == wanted

    against(scenario)


def test_the_policy_stops_a_style_and_markup_that_were_not_sent_with_it(against: Against) -> None:
    add = "document.head.append(Object.assign(document.createElement('style'), {textContent: 'body { display: none }'}))"
    inject = "() => { try { document.body.innerHTML = '<p>'; return 'taken'; } catch (error) { return error.name; } }"

    async def scenario(browser: Browser) -> None:
        async with shown(browser, rich_snapshot()) as (on, _):
            await on.page.evaluate(add)
            assert await on.page.is_visible("#figures")
            assert any("style-src" in said for said in on.complaints)
            assert await on.page.evaluate(inject) == "TypeError"

    against(scenario)
