"""Every number on the page is the report's, and reads as in the report for a terminal."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.async_api import Browser

from infermeter.model import Advice, Judged, Snapshot
from page.browsing import Opened, opened, shown
from page.conftest import Against
from page.expected import Report, expected, verdicts
from support.reports import values
from support.running import JSON, Clock, Running, running
from support.snapshots import empty_snapshot, llm, opaque, rich_snapshot

pytestmark = pytest.mark.page

CAPTURES = Path(__file__).parents[1] / "captures"
TRITON = sorted((CAPTURES / "triton").glob("00*.json"))
SPANS_END_NS = 1_795_401_868_922_697_610
SECOND_NS = 1_000_000_000
FIRST_SECOND, LAST_SECOND = 1_795_401_850, 1_795_401_980

CONFIG = """
server: {{kind: triton, name: triton-1, sampled: false}}
sla: {{default: {{quantile: 0.99, duration_seconds: 0.05}}}}
cost:
  currency: EUR
  as_of: 2026-11-01
  source: test
  purchase: {{price: 30000, lifetime_years: 3, per: gpu}}
  power: {{price_per_kwh: 0.3, pue: 1.2}}
gpu: {{source: replay, file: '{file}'}}
windows: [1m, 5m]
ledger: {{span_delay: 1s}}
advice: {{hold: 0s}}
"""


def a_recording(path: Path) -> Path:
    """One GPU, a row a second."""
    rows = [f"{second},GPU-1,{60 + second % 7},{0.5 if second % 2 else 0},{8 << 30}" for second in range(FIRST_SECOND, LAST_SECOND + 1)]
    head = ["# infermeter capture: 1", "# source: synthetic", "# gpu: GPU-1,0,Test,300,24000000000"]
    path.write_text(
        "\n".join([*head, "time_unix_seconds,gpu,power_watts,utilisation_ratio,memory_used_bytes", *rows, f"# end: {len(rows)} rows", ""])
    )
    return path


async def compared(on: Opened, report: Report, label: str) -> int:
    """Holds all that the page shows against the report; how many numbers these are."""
    on_page = await on.told()
    states = {at[1]: told.value for at, told in on_page.items() if at[2] == "state"}
    numbers = {at: told for at, told in on_page.items() if at[2] not in {"state", "dominant"}}
    wanted = expected(report, label)
    assert numbers.keys() == wanted.keys()
    for at, (value, text) in wanted.items():
        assert float(numbers[at].value) == pytest.approx(value, rel=1e-9, abs=1e-9), at
        assert text is None or numbers[at].text == text, at
    assert states == verdicts(report, label)
    return len(wanted)


async def lived(sidecar: Running, clock: Clock) -> None:
    """Most of a minute of the recorded Triton, under a clock that is turned second by second."""
    while values(await sidecar.report(), "gpu_source_up") != [1]:
        pass  # the recording is played from the first reading on
    for second in range(FIRST_SECOND, SPANS_END_NS // SECOND_NS + 1):
        clock.turn_to(second * SECOND_NS)
        await sidecar.report()
    clock.turn_to(SPANS_END_NS)
    for file in TRITON[:-1]:
        assert await sidecar.send(file.read_bytes(), JSON) == 200
    for second in range(SPANS_END_NS // SECOND_NS + 1, FIRST_SECOND + 55):
        clock.turn_to(second * SECOND_NS)
        await sidecar.report()


async def caught_up(on: Opened, sidecar: Running, clock: Clock) -> Report:
    """The report once the GPU has been read up to now and the page shows that: the reading thread has its own cadence."""
    while clock.unix_ns - 1e9 * min(values(report := await sidecar.report(), "gpu_last_sample_timestamp_seconds")) >= SECOND_NS:
        pass
    age = report["report"]["end_unix_seconds"] - values(report, "gpu_last_sample_timestamp_seconds")[0]
    age_on_page, clock_on_page = "+document.querySelector('data[data-of=gpu-oldest]').value", "document.querySelector('#clock').textContent"
    now = datetime.fromtimestamp(clock.unix_ns // SECOND_NS, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    await on.page.wait_for_function(f"([age, now]) => {age_on_page} === age && {clock_on_page} === now", arg=[age, now])
    return report


def test_the_real_program_shows_what_its_report_says_in_every_window_and_goes_on_without_a_reload(against: Against, tmp_path: Path) -> None:
    async def scenario(browser: Browser) -> None:
        clock = Clock(FIRST_SECOND * SECOND_NS)
        async with running(CONFIG.format(file=a_recording(tmp_path / "power.csv")), clock) as sidecar:
            await lived(sidecar, clock)
            async with opened(browser, f"http://{sidecar.addresses['web']}/") as on:
                await on.says("#link", "live")
                report = await caught_up(on, sidecar, clock)
                assert await compared(on, report, "1m") > 40
                await on.page.get_by_label("5m").check()
                assert await compared(on, report, "5m") > 40
                await on.page.evaluate("window.stayed = true")
                assert await sidecar.send(TRITON[-1].read_bytes(), JSON) == 200
                clock.turn(3)
                later = await caught_up(on, sidecar, clock)
                assert await compared(on, later, "5m") > 40
                assert sum(values(later, "inferences_observed_total")) > sum(values(report, "inferences_observed_total"))
                assert await on.page.evaluate("window.stayed")
                assert on.complaints == []
                assert [url for url in on.asked if not url.startswith((on.url, "data:"))] == []

    against(scenario)


def amounts(*costs: float) -> Snapshot:
    """A model for each cost of an inference."""
    base = llm()
    (window,) = base.windows
    models = [
        replace(
            base,
            model=f"model-{i}",
            windows=(replace(window, cost_per_inference=cost, cost_per_inference_at_sla={"goodput": cost * 1.25}),),
        )
        for i, cost in enumerate(costs)
    ]
    return rich_snapshot(models=tuple(models), gpus=1)


def states(*seen: tuple[str, int, int]) -> Snapshot:
    """A model for each state with so many observed and within."""
    base = llm()
    (window,) = base.windows
    models = [
        replace(base, model=f"model-{i}", windows=(replace(window, sla_state=state, judged=Judged(observed, within, 0.95)),))  # type: ignore[arg-type]
        for i, (state, observed, within) in enumerate(seen)
    ]
    return rich_snapshot(models=tuple(models), gpus=8)


MADE_UP = {
    "rich": rich_snapshot(),
    "one": rich_snapshot(models=(llm(),), gpus=1, share=1.0),
    "no SLA": rich_snapshot(models=(opaque(),)),
    "from tiny to huge": amounts(1e-13, 3.3333e-6, 0.0045, 2.5e9, 123456.789),
    "on the edge of rounding": amounts(2.835, 0.3333335, 1.0005, 2.0625, 1234.5, 1235.5, 0.0312505, 10.125),
    "per million": amounts(2e-9, 4e-8),
    "per thousand": amounts(0.00045),
    "states": states(("met", 5000, 4990), ("missed", 1000, 900), ("insufficient", 100, 100), ("insufficient", 0, 0)),
    "twenty": rich_snapshot(models=tuple(replace(llm(), model=f"m{i}") for i in range(20)), gpus=8),
    "nothing": replace(rich_snapshot(models=(), gpus=0), advice=Advice()),
}


def test_made_up_reports_are_shown_as_they_are(against: Against) -> None:
    async def scenario(browser: Browser) -> None:
        async with shown(browser, empty_snapshot()) as (on, sidecar):
            for name, snapshot in MADE_UP.items():
                sidecar.snapshot = replace(snapshot, server=name)
                await on.says("#server", name)
                assert await compared(on, sidecar.report(), "1h") > 10, name
                assert await on.overflow_pixels() == 0, name
            assert on.complaints == []

    against(scenario)


def test_the_waterfall_on_the_page_adds_up_to_the_cost_at_the_sla(against: Against) -> None:
    async def scenario(browser: Browser) -> None:
        async with shown(browser, rich_snapshot(models=(llm(),))) as (on, _):
            told = await on.told()
            steps = [
                float(value)
                for (section, key, of), (value, _) in told.items()
                if (section, of) == ("h-money", "step-each") and key != "all"
            ]
            assert sum(steps) == pytest.approx(float(told["h-money", "all", "step-each"].value))
            assert sum(steps) == pytest.approx(float(told["h-cost", None, "at-sla"].value))

    against(scenario)


def test_the_stage_that_is_named_is_the_longest_of_the_window(against: Against) -> None:
    async def scenario(browser: Browser) -> None:
        async with shown(browser, rich_snapshot(models=(llm(),))) as (on, sidecar):
            (dominant,) = sidecar.report()["dominant_stage"]
            assert (await on.told())["h-time", "llama-3-8b", "dominant"].value == dominant["labels"]["stage"]
            assert "other 3.1 %" in await on.text("#time")

    against(scenario)


def test_what_is_absent_is_said_with_its_reason_and_never_as_a_number(against: Against) -> None:
    async def scenario(browser: Browser) -> None:
        async with shown(browser, empty_snapshot()) as (on, _):
            told = await on.told()
            assert {at[2] for at in told} == {"spans", "dropped", "unmapped", "refused", "pending", "series"}
            for selector, reason in {
                "#missing": "No spans yet.", "#cost": "no prices set", "#money": "no prices set", "#sla": "no inference seen",
                "#time": "no inference seen", "#gpus": "none was seen", "#findings": "none", "#inputs": "no server.metrics_url is set",
            }.items():  # fmt: skip
                assert reason in await on.text(selector), selector
            text = await on.text()
            assert not any(word in text for word in ("NaN", "undefined", "null", "Infinity", "[object"))

    against(scenario)


ABSENT: tuple[tuple[dict[str, None], str, str], ...] = (
    ({"window_cost_per_inference_at_sla": None}, "#cost", "none was within the SLA"),
    ({"window_cost_per_inference_at_sla": None, "window_cost_per_inference": None}, "#cost", "too little evidence in the window"),
    ({"waterfall_cost": None}, "#money", "too little evidence in the window"),
    ({"gpu_power_watts": None, "gpu_memory_used_bytes": None}, "#gpus", "not told"),
    ({"gpu_state_seconds_total": None}, "#gpus", "nothing settled yet"),
    ({"energy_joules_total": None}, "#gpus", "no GPU told its power"),
    ({"gpu_last_sample_timestamp_seconds": None}, "#gpus", "never"),
    ({"gpu_source_up": None}, "#inputs", "no source is in use"),
    ({"span_coverage_ratio": None}, "#inputs", "unknown yet"),
    ({"server_scrape_up": None, "span_coverage_ratio": None}, "#inputs", "unknown: no server.metrics_url is set"),
    ({"spans_forwarded_total": None}, "#inputs", "no forward.endpoint is set"),
    ({"state_files_rejected_total": None}, "#inputs", "no state_file is set"),
    ({"last_span_timestamp_seconds": None}, "#missing", "No spans yet."),
    ({"window_latency_at_sla_quantile_seconds": None}, "#sla", "duration unknown of 4.00 s"),
    ({"window_sla_state": None}, "#sla", "not judged yet"),
)


def test_a_family_that_is_absent_leaves_a_reason_in_its_place(against: Against) -> None:
    async def scenario(browser: Browser) -> None:
        async with shown(browser, rich_snapshot(models=(llm(),))) as (on, sidecar):
            for changes, where, reason in ABSENT:
                assert reason not in await on.text(where), reason
                sidecar.changes = changes
                await on.says(where, reason)
                text = await on.text()
                assert not any(word in text for word in ("NaN", "undefined", "null", "Infinity", "[object")), reason
                sidecar.changes = {}
                await on.page.locator(where).filter(has_not_text=reason).wait_for(state="attached")
            assert on.complaints == []

    against(scenario)


def test_stages_that_a_server_cannot_tell_are_named_and_not_drawn_as_nothing(against: Against) -> None:
    served = llm()
    (window,) = served.windows
    seldom = {"queue": 125.0, "compute": 750.0, "other": 31.25}
    blind = replace(
        served,
        stages={stage: histogram for stage, histogram in served.stages.items() if stage in seldom},
        windows=(replace(window, stage_seconds=seldom),),
    )

    async def scenario(browser: Browser) -> None:
        async with shown(browser, rich_snapshot(models=(blind,))) as (on, _):
            assert "not told by this server: transfer, serialisation" in await on.text("#time")
            assert {of for (_, _, of) in await on.told() if of.startswith("stage-")} == {"stage-queue", "stage-compute", "stage-other"}

    against(scenario)


def test_what_is_missing_is_said_with_what_to_do(against: Against) -> None:
    async def scenario(browser: Browser) -> None:
        async with shown(browser, empty_snapshot()) as (on, sidecar):
            text = await on.text("#missing")
            assert all(key in text for key in ("OTEL_EXPORTER_OTLP_ENDPOINT", "cost.rent", "gpu.source", "infermeter proxy"))
            sidecar.snapshot = rich_snapshot(models=(opaque(),))
            await on.says("#missing", "sla.default.duration_seconds")
            sidecar.snapshot = rich_snapshot(models=(llm(), opaque()))
            await on.says("#missing", "No SLA for resnet50.")
            sidecar.snapshot = rich_snapshot(models=(llm(),))
            await on.page.wait_for_selector(".missing", state="detached")

    against(scenario)
