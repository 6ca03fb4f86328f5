"""The worked example of what an inference costs at its SLA: its page and its picture, with the figures that `infermeter replay` gives.

docs/example/chat.py computes the spans and the power; nothing here or there was measured.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from docs.example import chat
from docs.src import replayed

DOCS = Path(__file__).resolve().parents[1]
NAMES = ("concepts/cost-at-sla.md", "concepts/waterfall.svg")
STEPS = ("capacity", "low_load", "idle", "sla_missed")
MEANING = {
    "capacity": "what it could cost here",
    "low_load": "busy, but not at full load",
    "idle": "nothing to do",
    "sla_missed": "spent on answers that came late",
}


@dataclass(frozen=True)
class Example:
    """What the replay says."""

    report: dict[str, Any]

    def value(self, family: str, **labels: str) -> float:
        """The one row with these labels."""
        (found,) = [float(row["value"]) for row in self.report[family] if labels.items() <= row["labels"].items()]
        return found

    def evidence(self, code: str) -> Mapping[str, Any]:
        """What a finding rests on."""
        (found,) = [finding["evidence"] for finding in self.report["report"]["findings"] if finding["code"] == code]
        return dict(found)

    @property
    def window(self) -> Mapping[str, Any]:
        """The counts behind its only window."""
        (window,) = self.report["report"]["windows"]
        return dict(window)


@cache
def replay() -> Example:
    """The example, computed and replayed."""
    with tempfile.TemporaryDirectory(prefix="infermeter-chat-") as folder:
        chat.main(Path(folder))
        arguments = ("--spans", f"{folder}/spans.jsonl", "--power", f"{folder}/power.csv", "--config", str(DOCS / "example" / "chat.yaml"))
        return Example(replayed.report(*arguments))


def pages() -> Mapping[str, str]:
    """The text of each, by path under docs/."""
    example = replay()
    page = (DOCS / "src" / "cost-at-sla.template").read_text(encoding="utf-8")
    return {NAMES[0]: page.format(**figures(example)), NAMES[1]: "\n".join(picture(example))}


def figures(example: Example) -> Mapping[str, object]:
    """Whatever the page names in braces."""
    window = example.window
    ok, within, cost = window["inferences_ok"], window["inferences_within_sla"], window["cost"]
    capacity = example.value("capacity_at_sla_inferences_per_second", bound="observed")
    steps = {step: example.value("waterfall_cost", step=step) for step in STEPS}
    energy = {use: example.value("energy_joules_total", use=use) for use in ("active", "idle")}
    seconds = {row["labels"]["stage"]: row["sum"] for row in example.report["stage_duration_seconds"]}
    return {
        "cost": f"{cost:.2f}",
        "hours": f"{window['accrued_seconds'] / 3600:g}",
        "seconds": f"{window['accrued_seconds']:,.0f}",
        "busy": f"{window['busy_seconds']:,.0f}",
        "idle_seconds": f"{window['idle_seconds']:,.0f}",
        "ok": f"{ok:,}",
        "within": f"{within:,}",
        "late": f"{ok - within:,}",
        "within_share": f"{within / ok:.4f}",
        "capacity": f"{capacity:.3f}",
        "needed": f"{ok / capacity:,.0f}",
        "per_hour": f"{example.report['report']['cost']['per_hour']:.2f}",
        "each": f"{1000 * cost / ok:.3f}",
        "at_sla": f"{1000 * example.value('window_cost_per_inference_at_sla', basis='goodput'):.3f}",
        "compliant": f"{1000 * example.value('window_cost_per_inference_at_sla', basis='compliant'):.3f}",
        "at_capacity": f"{1000 * example.value('window_cost_per_inference_at_sla', basis='capacity'):.3f}",
        "ttft": f"{example.value('window_latency_at_sla_quantile_seconds', signal='ttft'):.2f}",
        "joules_each": f"{example.value('energy_per_inference_joules'):.0f}",
        "per_kilojoule": f"{1000 * example.value('inferences_per_joule'):.2f}",
        "active_megajoules": f"{energy['active'] / 1e6:.2f}",
        "idle_megajoules": f"{energy['idle'] / 1e6:.2f}",
        "money_idle_share": f"{steps['idle'] / cost:.0%}",
        "joules_idle_share": f"{energy['idle'] / sum(energy.values()):.0%}",
        "baseline": f"{example.value('gpu_baseline_watts'):.0f}",
        "queue_all": f"{seconds['queue'] / sum(seconds.values()):.0%}",
        "queue_late": f"{example.evidence('sla_missed')['dominant_ratio']:.0%}",
        "replicas": example.evidence("scale_out")["replicas_needed"],
        "peak": f"{example.value('peak_load_ratio'):.2f}",
        "replayed": replayed.section(example.report, "WHERE THE MONEY WENT"),
        **{f"{step}_cost": f"{value:.3f}" for step, value in steps.items()},
        **{f"{step}_each": f"{1000 * value / within:.3f}" for step, value in steps.items()},
    }


# --- the picture -----------------------------------------------------------------------------------------------------------------------
LEFT, RIGHT, TOP, ROW, BAR = 250.0, 690.0, 78.0, 46.0, 26.0
STYLE = """\
  <style>
    .card { fill: #ffffff; stroke: #d5dae1 } .ink { fill: #1c2530 } .soft { fill: #5b6775 } .join { stroke: #9aa5b1; stroke-dasharray: 3 3 }
    .capacity { fill: #1f9d6b } .low_load { fill: #f0b429 } .idle { fill: #e2574c } .sla_missed { fill: #8a63d2 } .sum { fill: #2f7de1 }
    @media (prefers-color-scheme: dark) {
      .card { fill: #12181f; stroke: #2b3540 } .ink { fill: #e8edf2 } .soft { fill: #9aa7b4 } .join { stroke: #5d6975 }
      .capacity { fill: #34c38a } .idle { fill: #f0746a } .sla_missed { fill: #a98ae6 } .sum { fill: #5a9df0 }
    }
  </style>"""


def picture(example: Example) -> Iterator[str]:
    """The waterfall as an SVG, a bar a step, the sum below."""
    within = example.window["inferences_within_sla"]
    each = {step: 1000 * example.value("waterfall_cost", step=step) / within for step in STEPS}
    total = sum(each.values())
    height = TOP + ROW * (len(STEPS) + 1) + 10
    told = ", ".join(f"{step.replace('_', ' ')} {value:.3f}" for step, value in each.items())
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 {height:.0f}" role="img" aria-labelledby="title desc"'
    yield "  font-family=\"system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif\">"
    yield '  <title id="title">The waterfall: what a thousand inferences within the SLA cost, step by step</title>'
    yield f'  <desc id="desc">US dollars for a thousand inferences within the SLA: {told}; together {total:.3f}.</desc>'
    yield STYLE
    yield f'  <rect class="card" x=".5" y=".5" width="959" height="{height - 1:.0f}" rx="12"/>'
    yield '  <text class="ink" x="24" y="34" font-size="15" font-weight="600">What a thousand inferences within the SLA cost, USD</text>'
    yield '  <text class="soft" x="24" y="54" font-size="12">the worked example: computed, not measured</text>'
    begun = 0.0
    for row, step in enumerate(STEPS):
        yield from _bar(row, step, step, MEANING[step], begun / total, (begun + each[step]) / total, f"{each[step]:.3f}")
        begun += each[step]
    yield from _bar(len(STEPS), "sum", "cost at the SLA", "all of it, over those within", 0.0, 1.0, f"{total:.3f}")
    yield "</svg>\n"


def _bar(row: int, kind: str, name: str, meaning: str, begun: float, ended: float, value: str) -> Iterator[str]:
    x, end, y = (LEFT + (RIGHT - LEFT) * begun), (LEFT + (RIGHT - LEFT) * ended), TOP + ROW * row
    yield f'  <text class="ink" x="24" y="{y + 12:.0f}" font-size="14" font-weight="600">{name}</text>'
    yield f'  <text class="soft" x="24" y="{y + 29:.0f}" font-size="12">{meaning}</text>'
    yield f'  <rect class="{kind}" x="{x:.1f}" y="{y:.0f}" width="{end - x:.1f}" height="{BAR:.0f}" rx="3"/>'
    yield f'  <text class="ink" x="{end + 10:.1f}" y="{y + 18:.0f}" font-size="14">{value}</text>'
    if kind != "sum":
        yield f'  <path class="join" d="M{end:.1f} {y + BAR:.0f}V{y + ROW:.0f}" fill="none"/>'
