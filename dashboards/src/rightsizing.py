"""Right-sizing and findings: what to act on, what it would save, and which device would do."""

from __future__ import annotations

from dashboards.src import rules
from dashboards.src.bundle import IDLE, RIGHTSIZING, SERVER, STAGES, Page, Section, link, row_link
from dashboards.src.grafana import MONEY, Bars, Query, Series, Stat, Text
from dashboards.src.promql import ON_DEVICE, ON_REPLICA, ON_SERVER, largest, of, on, quotient, total
from dashboards.src.table import Column, Table

from infermeter.metrics import catalog

NO_FINDING = "no finding holds"
NO_CANDIDATE = "advice.prices_file prices no other device, or the present cost isn't known"

_LEVEL_WORDS = {"warning": "orange", "info": "blue"}


def page() -> Page:
    """The page."""
    return Page(
        uid=RIGHTSIZING,
        title="Right-sizing and findings",
        about="What Infermeter advises, with what it would save, which other device would do, and what binds the server.",
        sections=(_findings(), _devices(), _evidence()),
    )


def _findings() -> Section:
    return Section(
        "Findings",
        (
            Stat(
                title="Warnings",
                read="Findings of level warning that hold now: each is something to act on.",
                formula='number of finding{level="warning"}, one for a server, model and code',
                missing=NO_FINDING,
                queries=(Query(f"count({largest((*ON_SERVER, 'model', 'code'), of(catalog.FINDING, level='warning'))})", instant=True),),
                thresholds=((None, "orange"),),
                width=4,
            ),
            Stat(
                title="Largest saving per hour",
                read="The finding that would save most. Savings overlap, so they are never added up.",
                formula="max (finding_saving_per_hour)",
                missing="no finding tells a saving",
                queries=(Query(largest(("currency",), of(catalog.FINDING_SAVING_PER_HOUR)), "{{currency}}", instant=True),),
                unit=MONEY,
                width=4,
            ),
            Text(
                title="How to use this page",
                read="Where the evidence is.",
                width=16,
                height=4,
                content="A finding holds while its row is here. Its evidence, what to do and what would prove it wrong:"
                " `/api/v1/findings` of the"
                " sidecar, or `infermeter advise`. Savings overlap: act on the largest, look again. A candidate that *fits* is"
                " an estimate from"
                " published device data, an A/B test and no promise.",
            ),
            Table(
                title="Findings that hold",
                read="A row for each; without a model it speaks of the server. The code leads to nowhere by itself:"
                " docs/findings.md explains it.",
                formula="finding = 1; finding_saving_per_hour, the largest of the replicas",
                missing=NO_FINDING,
                width=24,
                height=9,
                labels=(
                    ("cluster", "Cluster"),
                    ("namespace", "Namespace"),
                    ("job", ""),
                    ("server", "Server"),
                    ("model", "Model"),
                    ("code", "Finding"),
                    ("level", "Level"),
                    ("currency", "Currency"),
                ),
                columns=(
                    Column(
                        "Replicas",
                        Query(
                            f"count by ({', '.join((*ON_SERVER, 'model', 'code', 'level'))}) ({of(catalog.FINDING)})",
                            instant=True,
                        ),
                        decimals=0,
                        width=90,
                    ),
                    Column(
                        "Saving / h",
                        Query(
                            f"{largest((*ON_SERVER, 'model', 'code', 'currency'), of(catalog.FINDING_SAVING_PER_HOUR))}",
                            instant=True,
                        ),
                        decimals=2,
                    ),
                ),
                sort="Saving / h",
                label_links={
                    "server": row_link(SERVER, "Efficiency of ${__value.raw}", "server"),
                },
                label_words={"level": _LEVEL_WORDS},
            ),
        ),
    )


def _devices() -> Section:
    now = largest((*ON_SERVER, "currency"), total((*ON_REPLICA, "currency"), of(catalog.COST_PER_HOUR)))
    candidates = largest((*ON_SERVER, "product", "verdict", "currency"), of(catalog.CANDIDATE_COST_PER_HOUR))
    return Section(
        "Other devices",
        (
            Table(
                title="Candidates",
                read="What a replica would cost on another device. fits: capacity, memory and SLA allow it, by estimate; unsure:"
                " something isn't"
                " known. Below 100 % of a present replica's price it is cheaper.",
                formula="candidate_cost_per_hour; the same / a replica's cost_per_hour, the dearest of the server",
                missing=NO_CANDIDATE,
                width=14,
                labels=(
                    ("cluster", ""),
                    ("namespace", "Namespace"),
                    ("job", ""),
                    ("server", "Server"),
                    ("product", "Candidate"),
                    ("verdict", "Verdict"),
                    ("currency", "Currency"),
                ),
                columns=(
                    Column(
                        "Price / h",
                        Query(candidates, instant=True),
                        decimals=2,
                    ),
                    Column(
                        "Of the present",
                        Query(
                            quotient(
                                candidates,
                                now,
                                on((*ON_SERVER, "currency")),
                            ),
                            instant=True,
                        ),
                        unit="percentunit",
                        decimals=0,
                        thresholds=((None, "green"), (1, "text")),
                    ),
                ),
                label_words={"verdict": {"fits": "green", "unsure": "yellow", "no": "red"}},
                label_widths={"currency": 80, "verdict": 80},
            ),
            Bars(
                title="GPU memory used, the fullest",
                read="Of each GPU, now. Little: a smaller device may do; near 1: it won't.",
                formula="gpu_memory_used_bytes / gpu_memory_total_bytes, each GPU once",
                missing="the GPU doesn't tell its memory",
                queries=(
                    Query(
                        "sort_desc(topk(20, "
                        + quotient(largest(ON_DEVICE, of(catalog.GPU_MEMORY_USED)), largest(ON_DEVICE, of(catalog.GPU_MEMORY_TOTAL)))
                        + "))",
                        "{{gpu_uuid}}",
                        instant=True,
                    ),
                ),
                unit="percentunit",
                decimals=0,
                maximum=1,
                thresholds=((None, "blue"),),
                width=10,
            ),
        ),
    )


def _evidence() -> Section:
    return Section(
        "What it rests on",
        (
            Series(
                title="Peak load",
                read="Each server's peak load, replicas added up: as many replicas as it needs at its busiest, without headroom.",
                formula="sum of peak_load_ratio, where every replica knows its own",
                missing="no peak load yet: it needs a capacity that was reached or modelled, and advice.minimum_history",
                queries=(
                    Query(of(rules.PEAK_LOAD), "{{server}} peak"),
                    Query(of(rules.REPLICAS), "{{server}} replicas", dashed=True),
                ),
                unit="short",
                width=8,
                links=(link(IDLE, "Idle and over-provisioned"),),
            ),
            Series(
                title="Load now, each replica",
                read="Demand over capacity in the replica's own window; over 1 it can't hold its SLA.",
                formula="window_load_ratio",
                missing="no capacity yet, or the window isn't full",
                queries=(Query(of(catalog.WINDOW_LOAD), "{{server}} {{instance}} {{window}}"),),
                unit="percentunit",
                thresholds=((None, "transparent"), (1, "red")),
                width=8,
                links=(link(SERVER, "Server and model efficiency"),),
            ),
            Table(
                title="What binds, and how the capacity is known",
                read="What binds while the server computes; reached: a load above the observed capacity was proven to miss, else"
                " it is a lower"
                " bound.",
                formula="resource_bound = 1; capacity_reached",
                missing="GPUs were busy for too little of the window",
                width=8,
                labels=(
                    ("cluster", ""),
                    ("namespace", ""),
                    ("job", ""),
                    ("server", "Server"),
                    ("instance", "Replica"),
                    ("resource", "Bound by"),
                ),
                columns=(
                    Column(
                        "Bound",
                        Query(f"{largest((*ON_REPLICA, 'resource'), of(catalog.RESOURCE_BOUND))} == 1", instant=True),
                        hidden=True,
                    ),
                    Column(
                        "Capacity",
                        Query(f"min by ({', '.join(ON_REPLICA)}) ({of(catalog.CAPACITY_REACHED)})", instant=True),
                        words={"1": ("reached", "green"), "0": ("lower bound", "yellow")},
                    ),
                ),
                label_links={"server": row_link(STAGES, "Stages of ${__value.raw}", "server")},
            ),
        ),
    )
