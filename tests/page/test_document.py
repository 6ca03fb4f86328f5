"""The page as it is sent: what a browser isn't needed for."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from infermeter.web.page import LINKS, Page
from infermeter.web.page.status import STATUS, document
from support.running import Clock, running

ROOT = Path(__file__).parents[2]
TEXT = STATUS.body.decode()
MOST_BYTES = 100_000


class Markup(HTMLParser):
    """Every element's attributes, and the text in script and style."""

    def __init__(self) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []
        self.inline: dict[str, list[str]] = {"script": [], "style": []}
        self._inside: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._inside = tag if tag in self.inline else None

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.inline[self._inside].append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = None


def markup(page: Page) -> Markup:
    parsed = Markup()
    parsed.feed(page.body.decode())
    return parsed


def directives(page: Page) -> dict[str, str]:
    return dict(part.strip().partition(" ")[::2] for part in page.policy.split(";"))


@pytest.mark.parametrize("kind", ["script", "style"])
def test_the_policy_names_the_hash_of_the_only_inline_script_and_style(kind: str) -> None:
    (inline,) = markup(STATUS).inline[kind]
    digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
    assert directives(STATUS)[f"{kind}-src"] == f"'sha256-{digest}'"


def test_the_policy_allows_nothing_else_but_to_ask_this_server() -> None:
    allowed = directives(STATUS)
    assert allowed["default-src"] == allowed["base-uri"] == allowed["form-action"] == allowed["frame-ancestors"] == "'none'"
    assert allowed["connect-src"] == "'self'"
    assert allowed["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in STATUS.policy
    assert "*" not in STATUS.policy


def test_a_changed_script_has_another_hash() -> None:
    html = "<style>/*status.css*/</style><script>/*status.js*/</script>"
    assert document(html, css="a{}", js="1") == document(html, css="a{}", js="1")
    assert document(html, css="a{}", js="1").policy != document(html, css="a{}", js="2").policy


def test_no_element_carries_style_or_code_of_its_own() -> None:
    assert [found for found in markup(STATUS).attributes if found[1] == "style" or found[1].startswith("on")] == []


def test_nothing_comes_from_elsewhere() -> None:
    links = [value for _, name, value in markup(STATUS).attributes if name in {"href", "src", "action"} and not value.startswith("data:")]
    assert [link for link in links if not link.startswith(("/", "#"))] == []
    assert set(re.findall(r"https?://[^\s'\"/]+", TEXT)) == {"http://www.w3.org", "http://127.0.0.1:4317"}, "a name space, and what to set"
    assert not re.search(r"@import|url\(", TEXT)


def test_what_a_report_holds_never_becomes_markup() -> None:
    (script,) = markup(STATUS).inline["script"]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|\beval\b|new Function", script)


def test_it_is_small() -> None:
    assert len(STATUS.body) < MOST_BYTES


def test_nothing_is_left_of_the_places_for_style_and_script() -> None:
    assert "/*status." not in TEXT


def test_a_wheel_carries_the_files_that_it_is_made_of() -> None:
    carried = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    assert {f"infermeter/web/page/status.{kind}" for kind in ("html", "css", "js", "py")} <= carried


@pytest.mark.parametrize(("config", "page"), [("", STATUS), ("web: {page: false}\n", LINKS)], ids=["on", "off"])
def test_the_root_shows_it_unless_it_is_switched_off(config: str, page: Page) -> None:
    async def scenario() -> tuple[bytes, str, str]:
        async with (
            running("gpu: {source: none}\n" + config, Clock(1_795_000_000_000_000_000)) as sidecar,
            sidecar.http.get(f"http://{sidecar.addresses['web']}/") as answer,
        ):
            return await answer.read(), answer.headers["Content-Security-Policy"], answer.headers["Content-Type"]

    assert asyncio.run(scenario()) == (page.body, page.policy, "text/html; charset=utf-8")
