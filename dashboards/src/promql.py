"""Expressions over the catalog's families, limited to what the variables select.

Names, labels and the values of closed label sets come from the catalog and are checked against it: a typing error ends the generation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from infermeter.metrics import catalog
from infermeter.metrics.catalog import MODEL, SERVER, Family

RATE_INTERVAL = "$__rate_interval"
PERIOD = "$__range"
"""The period that the dashboard shows; figures over it say so in their title or section."""

SETTLED_INTERVAL = "1h"
AT_END = " @ end()"
NEVER = " @ 0"
"""An instant of which no series tells anything: what is read then costs nothing."""

SLICE, SLICES_AN_HOUR = "5m", 12
"""Recorded rates of five minutes tile a period: so many seconds of them at each whole five minutes are what it holds."""

SLICES = f"count_over_time(vector(1)[{PERIOD}:{SLICE}])"
"""How many of them there are in the period that is shown."""

SETTLED = (
    catalog.ENERGY,
    catalog.COST_BY_USE,
    catalog.COST_IN_SLA_STATE,
    catalog.INFERENCES_IN_SLA_STATE,
    catalog.GPU_STATE_SECONDS,
    catalog.BUSY_SECONDS,
)
"""Counters that move when a stretch of time is settled, which may be minutes after it."""

FLEET = ("cluster", "namespace")
SCRAPED = (*FLEET, "job", "instance")
"""Labels that the scraper adds."""

ON_SERVER = (*FLEET, "job", "server")
ON_MODEL = (*ON_SERVER, "model")
ON_REPLICA = (*FLEET, "job", "instance", "server")
ON_DEVICE = ("cluster", "gpu_uuid")
"""One GPU, which several sidecars may report, also from different namespaces."""

HOUR_SECONDS = 3600
BUCKET, SUM, COUNT = "_bucket", "_sum", "_count"


@dataclass(frozen=True, slots=True)
class Outside:
    """A series that Prometheus, the alerts or the Python client publishes, without `server`."""

    name: str
    labels: tuple[str, ...] = SCRAPED


UP = Outside("up")
SCRAPE_SECONDS = Outside("scrape_duration_seconds")
OPEN_FILES = Outside("process_open_fds")
OPEN_FILES_LIMIT = Outside("process_max_fds")
ALERTS = Outside("ALERTS", FLEET)
OUTSIDE = (UP, SCRAPE_SECONDS, OPEN_FILES, OPEN_FILES_LIMIT, ALERTS)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A series of alerts/rules. `labels` are those of the variables that it keeps."""

    name: str
    labels: tuple[str, ...]


def of(family: Family | Outside | Recorded, part: str = "", **labels: str | tuple[str, ...]) -> str:
    """The selector of a family's series; `part` is a histogram's, a tuple of values means any of them.

    Raises: ValueError for a label or a value that the catalog doesn't know.
    """
    name = family.full_name if isinstance(family, Family) else family.name
    chosen = [f'{label}=~"${label}"' for label in _variables(family)]
    for label, value in labels.items():
        if isinstance(family, Family):
            _known(family, label, (value,) if isinstance(value, str) else value)
        chosen.append(f'{label}="{value}"' if isinstance(value, str) else f'{label}=~"{"|".join(value)}"')
    return f"{name}{part}{{{','.join(chosen)}}}"


def rate(family: Family | Outside, part: str = "", *, over: str = "", **labels: str | tuple[str, ...]) -> str:
    """Its increase per second; of what is settled in steps of some minutes over an hour, since shorter rates are the steps' picture."""
    usual = SETTLED_INTERVAL if family in SETTLED else RATE_INTERVAL
    return f"rate({of(family, part, **labels)}[{over or usual}])"


def increase(family: Family | Outside, part: str = "", *, at_end: bool = False, **labels: str | tuple[str, ...]) -> str:
    """Its increase over the period that is shown; `at_end`: one value for all of a graph, with which to choose its series."""
    return f"increase({of(family, part, **labels)}[{PERIOD}]{AT_END if at_end else ''})"


def slices(recorded: Recorded, *, beside: Recorded | None = None, **labels: str | tuple[str, ...]) -> str:
    """The sum of a recorded rate over the period that is shown, once in five minutes: the numerator or the denominator of a share of it.

    Where a series began or ended within the period, nothing is made up for the rest of it. `beside`: only while that was there, too.
    """
    of_them = of(recorded, "", **labels) if beside is None else f"({of(recorded, '', **labels)} and {of(beside)})"
    return f"sum_over_time({of_them}[{PERIOD}:{SLICE}])"


def mean(recorded: Recorded, *, at_end: bool = False, **labels: str | tuple[str, ...]) -> str:
    """The mean of a recorded series over the period that is shown; `at_end`: one value for all of a graph, to choose its series by."""
    return f"avg_over_time({of(recorded, '', **labels)}[{PERIOD}]{AT_END if at_end else ''})"


def most(expression: str, by: Sequence[str], rank: str, *, number: int = 10) -> str:
    """Of the series of an expression those that are largest by `rank`, which has one value for all of a graph."""
    return f"{expression} and on ({', '.join(by)}) topk({number}, {rank})"


def traces(family: Family, by: Sequence[str]) -> str:
    """No series at all, but the exemplars of a histogram: a graph of recorded quantiles has none of its own.

    Prometheus looks for exemplars in the period that is shown, whatever instant the expression asks for.
    """
    return total(by, f"rate({of(family, BUCKET)}[{RATE_INTERVAL}]{NEVER})")


def total(by: Sequence[str], expression: str) -> str:
    """The sum that keeps these labels."""
    return f"sum by ({', '.join(by)}) ({expression})"


def largest(by: Sequence[str], expression: str) -> str:
    """The maximum that keeps these labels: how states, targets and readings of one device are put together."""
    return f"max by ({', '.join(by)}) ({expression})"


def quotient(above: str, below: str, matching: str = "") -> str:
    """Absent, and not NaN, where there is nothing to divide by. `matching`: `on (...) group_left ()` where the sides' labels differ."""
    return f"{above} / {matching + ' ' if matching else ''}({below} > 0)"


def on(labels: Sequence[str], *extra: str) -> str:
    """Matches many series on the left with one on the right, from which it takes `extra`."""
    return f"on ({', '.join(labels)}) group_left ({', '.join(extra)})"


def _variables(family: Family | Outside | Recorded) -> tuple[str, ...]:
    if not isinstance(family, Family):
        return family.labels
    return (*SCRAPED, SERVER.name, *(label.name for label in family.labels if label is MODEL))


def _known(family: Family, name: str, values: Sequence[str]) -> None:
    label = next((label for label in family.labels if label.name == name), None)
    if label is None or (label.values and not set(values) <= set(label.values)):
        raise ValueError(f"{family.full_name} has no {name}={'|'.join(values)}")


def up() -> str:
    """Whether each sidecar answered: of all that is scraped, what has been one in the last day, or whose job is called like one."""
    been = f"last_over_time({of(catalog.BUILD_INFO)}[1d])"
    return f"({of(UP)} and on ({', '.join(SCRAPED)}) {been} or {of(UP, job=('.*infermeter.*',))})"
