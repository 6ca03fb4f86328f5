"""The reference of metrics, made from the catalog: docs/metrics.md, and what `reference metrics` prints. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from infermeter.metrics.catalog import OPTIONAL, PREFIX, SECTIONS, Family, Kind, Label
from infermeter.metrics.derived import DERIVED

_HEAD = """\
# Metrics

Generated from the catalog by `infermeter reference metrics`; don't edit it.

Names begin with `infermeter_`. Every family carries `server`, the server that the sidecar belongs to; the tables name the other labels.
Replicas share it, and the scraper's `instance` tells them apart (scrape with `honor_labels: true`). A name's last word is its unit;
money's unit is the `currency` label, which every aggregation keeps. What a server or a device can't tell is absent, never 0.

- Counters and histograms start at 0, and have no `_created` series.
- `gpu_*` describe the whole device, which several sidecars may report: aggregate with `max by (gpu_uuid)`, never with `sum`.
- `window_*` are for a person without recording rules: never sum or average them.
- Energy and money by use trail the totals, up to `settled_timestamp_seconds`.
- The format is `text/plain; version=0.0.4`, or OpenMetrics 1.0.0 where `Accept` prefers it. Exemplars (`trace_id`) are in OpenMetrics only.
- `process_*` (resident memory, CPU seconds, start time, file descriptors) are the Python client's own, without `server`.
- With 8 GPUs, 3 models and one window there are at most 600 series, `process_*` included, unless `gpu.hardware` is on or GPUs are shared.
"""

_KINDS: dict[Kind, str] = {"info": "gauge, always 1", "state set": "gauges, exactly one is 1"}


def metrics_markdown() -> str:
    """The whole reference, with a newline at its end."""
    return "\n".join((_HEAD, *_sections(), *_limit(), *_report()))


def _sections() -> Iterator[str]:
    for title, families in SECTIONS:
        yield f"## {title}\n"
        yield "| name | kind | labels | meaning |"
        yield "| --- | --- | --- | --- |"
        yield from (_row(family) for family in families)
        yield ""


def _row(family: Family) -> str:
    labels = "<br>".join(_label(label) for label in family.labels)
    absent = f" Absent: {family.absent}." if family.absent else ""
    return f"| `{PREFIX}{family.name}` | {_KINDS.get(family.kind, family.kind)} | {labels} | {family.help}{absent} |"


def _label(label: Label) -> str:
    return f"`{label.name}`: {', '.join(label.values)}" if label.values else f"`{label.name}`"


def _limit() -> Iterator[str]:
    yield "## The limit on series\n"
    yield "Above `limits.series`, series are left out of an exposition and counted: from these families, in this order, the last first."
    yield "Nothing else is ever left out, GPU, energy and cost families least of all.\n"
    yield from (f"{place}. `{PREFIX}{family.name}`" for place, family in enumerate(OPTIONAL, start=1))
    yield ""


def _report() -> Iterator[str]:
    yield "## Only in the report\n"
    yield "The report (`infermeter replay --format json`, `/api/v1/report`) holds every family under its name without the prefix, and:\n"
    yield "| name | labels and meaning |"
    yield "| --- | --- |"
    yield from (f"| `{name}` | {about} |" for name, about in DERIVED.items())
    yield "\nIts schema is [report.schema.json](report.schema.json).\n"
