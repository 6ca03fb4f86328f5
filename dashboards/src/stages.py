"""Stage drill-down: where an inference's time goes, which stage dominates, and what helps there."""

from __future__ import annotations

from dashboards.src import promql, rules
from dashboards.src.bundle import SERVER, STAGES, Page, Section, link
from dashboards.src.figures import NO_RULES
from dashboards.src.grafana import Bars, Query, Series, Text
from dashboards.src.promql import ON_MODEL, ON_SERVER, largest, mean, most, of, quotient, slices, total
from dashboards.src.table import Column, Table

from infermeter.metrics import catalog

NO_SPANS = "no inference was seen as a span"

_STAGE_WORDS = {
    "queue": "orange",
    "compute": "green",
    "transfer": "blue",
    "serialisation": "purple",
    "other": "#8e8e8e",
}
_SHARE = quotient(total(("stage",), slices(rules.STAGE_SECONDS)), f"sum({slices(rules.STAGE_SECONDS)})", "on () group_left ()")
_SECONDS = total(("stage",), of(rules.STAGE_SECONDS))
_MOST_QUEUED = mean(rules.STAGE_SECONDS, at_end=True, stage="queue")
"""Inferences that waited, on average: which models queue most."""


def page() -> Page:
    """The page."""
    return Page(
        uid=STAGES,
        title="Stage drill-down",
        about="Where an inference's time goes: queue, compute, transfer, serialisation, and the rest that no stage claims.",
        sections=(_dominant(), _time(), _quantiles(), _parts()),
        since="now-6h",
    )


def _dominant() -> Section:
    return Section(
        "The dominant stage",
        (
            Bars(
                title="Time by stage, over the period",
                read="Shares of all inferences' time; they add up to 1. Work on the longest bar first.",
                formula="seconds of a stage / seconds of all stages and other, over the period",
                missing=NO_SPANS,
                queries=(Query(f"sort_desc({_SHARE})", "{{stage}}", instant=True),),
                unit="percentunit",
                decimals=0,
                maximum=1,
                width=8,
            ),
            Table(
                title="Dominant stage of each model, now",
                read="The stage that took the largest share of the last five minutes. Two rows for a model are a tie.",
                formula="the stage whose share is the largest",
                missing=NO_RULES,
                width=9,
                labels=(
                    ("cluster", ""),
                    ("namespace", "Namespace"),
                    ("job", ""),
                    ("server", "Server"),
                    ("model", "Model"),
                    ("stage", "Stage"),
                ),
                columns=(
                    Column(
                        "Share",
                        Query(of(rules.STAGE_DOMINANT), instant=True),
                        unit="percentunit",
                        decimals=0,
                        bar=True,
                        maximum=1,
                        thresholds=((None, "blue"),),
                    ),
                ),
                sort="Share",
                label_words={"stage": _STAGE_WORDS},
            ),
            Text(
                title="What helps where",
                read="What to try for each dominant stage; the findings on the right-sizing page say it with evidence.",
                width=7,
                height=8,
                content="- **queue**: larger or sooner batches; then more instances or replicas\n"
                "- **compute**: a batch limit that keeps the SLA; lower precision; a faster device\n"
                "- **transfer**: pinned memory, tensors that stay on the device, workers put together\n"
                "- **serialisation**: a binary protocol, more front-end processes, less to send\n"
                "- **other**: time that no span claims: trace more of the server\n",
            ),
        ),
    )


def _time() -> Section:
    return Section(
        "Time of an inference",
        (
            Series(
                title="Mean time by stage",
                read="The mean inference, cut into its stages; the height is its mean duration. Which colour grows when latency does?",
                formula="seconds of a stage / inferences, all chosen models together",
                missing=NO_SPANS,
                queries=(
                    Query(
                        quotient(_SECONDS, f"sum({of(rules.DURATION_BUCKETS, le='+Inf')})", "on () group_left ()"),
                        "{{stage}}",
                    ),
                ),
                unit="s",
                stacked=True,
                links=(link(SERVER, "Server and model efficiency"),),
            ),
            Series(
                title="Share by stage",
                read="The same as shares, so that a change of mix shows also where durations don't change.",
                formula="seconds of a stage / seconds of all",
                missing=NO_SPANS,
                queries=(
                    Query(
                        quotient(_SECONDS, f"sum({of(rules.STAGE_SECONDS)})", "on () group_left ()"),
                        "{{stage}}",
                    ),
                ),
                unit="percentunit",
                stacked=True,
                maximum=1,
            ),
            Series(
                title="Share of the queue, and its limit, the ten that queue most",
                read="Each model's share of time in the queue. Over the dashed line while the SLA is missed, the alert fires.",
                formula='share5m of stage="queue"',
                missing=NO_RULES,
                queries=(
                    Query(most(of(rules.STAGE_SHARE, stage="queue"), ON_MODEL, _MOST_QUEUED), "{{server}} {{model}}"),
                    Query(f"max({of(rules.QUEUE_THRESHOLD)})", "alert's limit", dashed=True),
                ),
                unit="percentunit",
                maximum=1,
            ),
            Series(
                title="Queue time against arrivals, the ten that queue most",
                read="Mean time in the queue (left) and inferences a second (right). Queue that rises with load: more capacity;"
                " queue at low"
                " load: the batch's delay.",
                formula="mean queue seconds, 5m; inferences_observed_total, rate over 5m",
                missing=NO_SPANS,
                queries=(
                    Query(
                        most(of(rules.STAGE_MEAN, stage="queue"), ON_MODEL, _MOST_QUEUED),
                        "{{server}} {{model}} queue",
                        plain=True,
                    ),
                    Query(
                        most(of(rules.OBSERVED_RATE), ON_MODEL, _MOST_QUEUED),
                        "{{server}} {{model}} arrivals",
                        right="count:inf/s",
                    ),
                ),
                unit="s",
            ),
        ),
    )


def _quantiles() -> Section:
    return Section(
        "Quantiles",
        (
            Series(
                title="p99 by stage, of the slowest model",
                read="The slowest of a hundred in each stage, of the model where that takes longest. Not to be added up: they are"
                " different inferences. Points are traces: click one.",
                formula="histogram_quantile(0.99) over stage_duration_seconds, 5m, by model; the largest",
                missing=NO_SPANS,
                queries=(
                    Query(largest(("stage",), of(rules.STAGE_QUANTILE)), "{{stage}}"),
                    Query(promql.traces(catalog.STAGE_DURATION, ("stage",)), "{{stage}}", exemplars=True),
                ),
                unit="s",
                logarithmic=True,
            ),
            Series(
                title="Duration p50, p99 and target",
                read="All of an inference; where several servers have a model, on the slowest of them. Points are traces: click one.",
                formula="histogram_quantile over inference_duration_seconds, 5m, by server; sla_target_seconds; the largest",
                missing=NO_SPANS,
                queries=(
                    Query(largest(("model",), of(rules.DURATION["p50"])), "{{model}} p50"),
                    Query(largest(("model",), of(rules.DURATION["p99"])), "{{model}} p99"),
                    Query(largest(("model",), of(rules.SLA_TARGET, signal="duration")), "{{model}} target", dashed=True),
                    Query(promql.traces(catalog.INFERENCE_DURATION, ("model",)), "{{model}}", exemplars=True),
                ),
                unit="s",
                logarithmic=True,
            ),
        ),
    )


def _parts() -> Section:
    return Section(
        "Parts and quality",
        (
            Series(
                title="Parts of stages",
                read="Named pieces of a stage, per observed inference: what the server itself calls them. Not comparable across"
                " kinds of servers.",
                formula="stage_part_seconds_total / inferences_observed_total",
                missing="the server tells no parts",
                queries=(
                    Query(
                        quotient(total(("stage", "part"), of(rules.STAGE_PART)), f"sum({of(rules.OBSERVED_RATE)})", "on () group_left ()"),
                        "{{part}} ({{stage}})",
                        plain=True,
                    ),
                ),
                unit="s",
            ),
            Table(
                title="How each stage is known",
                read="measured: spans tell it; estimated: worked out from what they tell; fallback: from the server's own"
                " metrics, until the"
                " first span.",
                missing=NO_SPANS,
                width=12,
                labels=(
                    ("cluster", ""),
                    ("namespace", "Namespace"),
                    ("job", ""),
                    ("server", "Server"),
                    ("stage", "Stage"),
                    ("quality", "Quality"),
                ),
                columns=(
                    Column(
                        "Replicas",
                        Query(
                            f"count by ({', '.join((*ON_SERVER, 'stage', 'quality'))}) ({of(catalog.STAGE_QUALITY)})",
                            instant=True,
                        ),
                        decimals=0,
                    ),
                ),
                label_words={
                    "stage": _STAGE_WORDS,
                    "quality": {"measured": "green", "estimated": "yellow", "fallback": "orange"},
                },
            ),
        ),
    )
