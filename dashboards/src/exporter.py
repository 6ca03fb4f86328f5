"""Exporter health: whether the numbers of the other pages can be believed."""

from __future__ import annotations

from dashboards.src import limits, promql, rules
from dashboards.src.bundle import EXPORTER, Page, Section
from dashboards.src.grafana import Bars, Query, Series, Stat
from dashboards.src.promql import ON_REPLICA, ON_SERVER, SCRAPED, largest, mean, most, of, quotient, rate, total
from dashboards.src.table import Column, Table

from infermeter.metrics import catalog


def _exporters(expression: str) -> str:
    """Of all that is scraped what is a sidecar."""
    return f"({expression} and on ({', '.join(SCRAPED)}) {of(catalog.BUILD_INFO)})"


_UP = promql.up()


def page() -> Page:
    """The page."""
    return Page(
        uid=EXPORTER,
        title="Exporter health",
        about="Whether spans, GPU readings, prices and configuration arrive: what all other pages rest on.",
        since="now-6h",
        sections=(_health(), _spans(), _gpus(), _process()),
    )


def _health() -> Section:
    return Section(
        "Health now",
        (
            Stat(
                title="Exporters up",
                read="Sidecars that Prometheus could scrape last time.",
                formula="targets with up = 1",
                missing="no target: is the job scraped?",
                queries=(Query(f"count({_UP} == 1)", instant=True),),
                thresholds=((None, "green"),),
                width=3,
            ),
            Stat(
                title="Exporters down",
                read="Sidecars that couldn't be scraped last time. Their servers are in no figure of the other pages.",
                formula="targets with up = 0",
                missing="no target: is the job scraped?",
                queries=(Query(f"sum({_UP} == bool 0)", instant=True),),
                thresholds=((None, "green"), (1, "red")),
                width=3,
            ),
            Stat(
                title="GPU sources down",
                read="Sources of GPU readings (NVML, DCGM, ...) that don't answer. Without them there is no power, and no idle verdict.",
                formula="sources with gpu_source_up = 0",
                missing="no source of GPU readings is in use",
                queries=(Query(f"sum({of(catalog.GPU_SOURCE_UP)} == bool 0)", instant=True),),
                thresholds=((None, "green"), (1, "red")),
                width=3,
            ),
            Stat(
                title="Old configuration",
                read="Sidecars that refused the last configuration that they were offered, and run on with the one before.",
                formula="sidecars with config_last_reload_successful = 0",
                missing="no sidecar is scraped",
                queries=(Query(f"sum({of(catalog.CONFIG_LAST_RELOAD_SUCCESSFUL)} == bool 0)", instant=True),),
                thresholds=((None, "green"), (1, "orange")),
                width=3,
            ),
            Stat(
                title="Span coverage, least",
                read="Inferences seen as spans, of all that the server itself counted; the least of the chosen servers."
                " Under 0.9 stages and quantiles speak of a sample.",
                formula="min (span_coverage_ratio)",
                missing="no server tells its own count: set server.metrics_url",
                queries=(Query(f"min({of(catalog.SPAN_COVERAGE)})", instant=True),),
                unit="percentunit",
                decimals=0,
                thresholds=((None, "orange"), (limits.COVERAGE, "green")),
                width=3,
            ),
            Stat(
                title="Without a span",
                read="How long ago the newest span ended, of the sidecar that has waited longest. Long is fine where no requests come.",
                formula="max (time() - last_span_timestamp)",
                missing="no span has arrived yet",
                queries=(Query(f"max(time() - {of(catalog.LAST_SPAN)})", instant=True),),
                unit="s",
                decimals=0,
                width=3,
            ),
            Stat(
                title="Settled behind",
                read="By how much energy and money by use trail. Half a minute and the longest duration is normal.",
                formula="max (time() - settled_timestamp)",
                missing="nothing is settled yet",
                queries=(Query(f"max(time() - {of(catalog.SETTLED_TIMESTAMP)})", instant=True),),
                unit="s",
                decimals=0,
                thresholds=((None, "green"), (limits.SETTLED_BEHIND_SECONDS, "orange")),
                width=3,
            ),
            Stat(
                title="Oldest prices",
                read="Age of the prices (cost.as_of), of the sidecar whose are oldest. Over 90 days compare them with the last bill.",
                formula="max (time() - price_timestamp)",
                missing="no price is set: cost pages are empty",
                queries=(Query(f"max(time() - {of(catalog.PRICE_TIMESTAMP)})", instant=True),),
                unit="s",
                decimals=0,
                thresholds=((None, "green"), (limits.PRICE_AGE_SECONDS, "orange")),
                width=3,
            ),
            Table(
                title="Sidecars",
                read="A row for each sidecar: what runs, and what it has. Span coverage and the server's own metrics are empty where no"
                " server.metrics_url is set.",
                missing="no sidecar is scraped",
                height=8,
                labels=(
                    ("cluster", "Cluster"),
                    ("namespace", "Namespace"),
                    ("server", "Server"),
                    ("job", "Job"),
                    ("instance", "Instance"),
                    ("version", "Version"),
                    ("revision", "Revision"),
                ),
                columns=(
                    Column(
                        "Build", Query(largest((*ON_REPLICA, "version", "revision"), of(catalog.BUILD_INFO)), instant=True), hidden=True
                    ),
                    Column(
                        "Config",
                        Query(largest(ON_REPLICA, of(catalog.CONFIG_LAST_RELOAD_SUCCESSFUL)), instant=True),
                        words={"1": ("in force", "green"), "0": ("refused", "orange")},
                    ),
                    Column(
                        "Server's metrics",
                        Query(largest(ON_REPLICA, of(catalog.SERVER_SCRAPE_UP)), instant=True),
                        words={"1": ("answer", "green"), "0": ("don't", "red")},
                    ),
                    Column(
                        "Coverage",
                        Query(largest(ON_REPLICA, of(catalog.SPAN_COVERAGE)), instant=True),
                        unit="percentunit",
                        thresholds=((None, "orange"), (limits.COVERAGE, "green")),
                    ),
                    Column("GPUs up", Query(total(ON_REPLICA, largest((*ON_REPLICA, "gpu_uuid"), of(catalog.GPU_UP))), instant=True)),
                    Column("Series", Query(largest(ON_REPLICA, of(catalog.SERIES)), instant=True), decimals=0),
                ),
                label_widths={"revision": 110, "version": 90},
            ),
        ),
    )


def _spans() -> Section:
    return Section(
        "Spans",
        (
            Series(
                title="Spans received",
                read="What arrives over each protocol. A fall to nothing while requests are served: the server's exporter, or"
                " the way here.",
                formula="rate (spans_received_total)",
                missing="no sidecar is scraped",
                queries=(Query(total(("protocol",), of(rules.SPANS_RECEIVED)), "{{protocol}}"),),
                unit="cps",
                stacked=True,
                width=8,
            ),
            Series(
                title="Spans that became no inference",
                read="no_rule: the mapping doesn't know them (a server has such spans); incomplete: a part never came; invalid: their times"
                " can't be; suppressed: a better span tells of the same.",
                formula="rate (spans_unmapped_total), by reason",
                missing="no sidecar is scraped",
                queries=(Query(total(("reason",), of(rules.SPANS_UNMAPPED)), "{{reason}}"),),
                unit="cps",
                stacked=True,
                width=8,
            ),
            Series(
                title="Spans dropped, exports refused, inferences late",
                read="Losses. A few duplicates are retries. overload: the sidecar has too little memory or CPU; late: raise"
                " ledger.span_delay.",
                formula="rates of spans_dropped_total, exports_refused_total (by reason) and inferences_late_total",
                missing="nothing was lost",
                queries=(
                    Query(f"{total(('reason',), of(rules.SPANS_DROPPED))} > 0", "dropped: {{reason}}"),
                    Query(f"{total(('reason',), of(rules.EXPORTS_REFUSED))} > 0", "export refused: {{reason}}"),
                    Query(f"sum({of(rules.INFERENCES_LATE)}) > 0", "inferences late"),
                ),
                unit="cps",
                width=8,
            ),
            Series(
                title="Traces that wait for their rest",
                read="At 1 the oldest are evicted, incomplete: raise limits.pending_traces, or find why spans of one trace come far apart.",
                formula="traces_pending / traces_pending_limit, the fullest replica of each server",
                missing="no sidecar is scraped",
                queries=(Query(of(rules.TRACES_PENDING), "{{server}}"),),
                unit="percentunit",
                maximum=1,
                width=8,
            ),
            Series(
                title="Spans passed on",
                read="What forward.endpoint took, and what it didn't get, by reason: those traces are missing there.",
                formula="rates of spans_forwarded_total and spans_forward_dropped_total",
                missing="no forward.endpoint is set",
                queries=(
                    Query(f"sum({of(rules.SPANS_FORWARDED)})", "forwarded"),
                    Query(total(("reason",), of(rules.SPANS_FORWARD_DROPPED)), "dropped: {{reason}}"),
                ),
                unit="cps",
                width=8,
            ),
            Series(
                title="Forwarding queue",
                read="Exports that wait to be passed on, of what may wait. Near 1 forward.endpoint is slow or down, and exports"
                " are dropped next.",
                formula="forward_queue_bytes / forward_queue_limit_bytes, the fullest replica of each server",
                missing="no forward.endpoint is set",
                queries=(Query(of(rules.FORWARD_QUEUE), "{{server}}"),),
                unit="percentunit",
                maximum=1,
                width=8,
            ),
        ),
    )


def _gpus() -> Section:
    return Section(
        "GPU readings and the server's own metrics",
        (
            Series(
                title="Age of the newest GPU reading, the ten oldest",
                read="A second or two is normal. Rising: the driver hangs; states turn unknown and no idle verdict is given.",
                formula="time() - gpu_last_sample_timestamp, the oldest GPU of each server",
                missing="no GPU was ever read",
                queries=(Query(most(of(rules.GPU_READING_AGE), ON_SERVER, mean(rules.GPU_READING_AGE, at_end=True)), "{{server}}"),),
                unit="s",
                width=8,
            ),
            Series(
                title="GPU readings rejected",
                read="Readings that weren't used: failed, too far apart, after a counter's reset, or not credible.",
                formula="rate (gpu_samples_rejected_total), by reason",
                missing="no sidecar is scraped",
                queries=(Query(total(("reason",), of(rules.SAMPLES_REJECTED)), "{{reason}}"),),
                unit="cps",
                width=8,
            ),
            Series(
                title="Servers' own metrics answer",
                read="1: server.metrics_url answered last time, on each replica. While it doesn't, totals stand still.",
                formula="min (server_scrape_up)",
                missing="no server.metrics_url is set",
                queries=(Query(f"min by ({', '.join(ON_SERVER)}) ({of(catalog.SERVER_SCRAPE_UP)})", "{{server}}"),),
                unit="short",
                maximum=1,
                decimals=0,
                width=8,
            ),
        ),
    )


def _process() -> Section:
    return Section(
        "The sidecars' processes",
        (
            Series(
                title="Series of the limit",
                read="At the dashed line the next model may push optional families out; at 1 they are left out and counted.",
                formula="series / series_limit, the fullest replica of each server",
                missing="no sidecar is scraped",
                queries=(
                    Query(of(rules.SERIES), "{{server}}"),
                    Query(f"max({of(rules.SERIES_LIMIT_THRESHOLD)})", "alert's limit", dashed=True),
                ),
                unit="percentunit",
                maximum=1,
                width=8,
            ),
            Series(
                title="Left out, broken",
                read="Series left out because of the limit, and state files that were broken. Both should be nothing.",
                formula="rates of series_overflowed_total and state_files_rejected_total",
                missing="no sidecar is scraped",
                queries=(
                    Query(f"sum({rate(catalog.SERIES_OVERFLOWED)})", "series left out"),
                    Query(f"sum({rate(catalog.STATE_FILES_REJECTED)})", "state files rejected"),
                ),
                unit="cps",
                width=8,
            ),
            Series(
                title="Scrape duration",
                read="How long Prometheus waits for the page: milliseconds. The slowest replica of each job.",
                formula="max (scrape_duration_seconds)",
                missing="no sidecar is scraped",
                queries=(Query(largest(("cluster", "namespace", "job"), _exporters(of(promql.SCRAPE_SECONDS))), "{{namespace}} {{job}}"),),
                unit="s",
                width=8,
            ),
            Series(
                title="Resident memory",
                read="Memory of the ten sidecars that take most; 100 to 200 MB is normal.",
                formula="process_resident_memory_bytes of those that have a build_info",
                missing="the platform doesn't tell it, or the recording rules aren't loaded",
                queries=(
                    Query(most(of(rules.RESIDENT_BYTES), ON_REPLICA, mean(rules.RESIDENT_BYTES, at_end=True)), "{{server}} {{instance}}"),
                ),
                unit="bytes",
                width=8,
            ),
            Series(
                title="CPU",
                read="Cores that the ten busiest sidecars use.",
                formula="rate over 5m of process_cpu_seconds_total of those that have a build_info",
                missing="the platform doesn't tell it, or the recording rules aren't loaded",
                queries=(Query(most(of(rules.CPU_RATE), ON_REPLICA, mean(rules.CPU_RATE, at_end=True)), "{{server}} {{instance}}"),),
                unit="short",
                width=8,
            ),
            Bars(
                title="Open files of the limit",
                read="At 1 new connections are refused. The ten fullest sidecars, now.",
                formula="process_open_fds / process_max_fds of those that have a build_info",
                missing="the platform doesn't tell it",
                queries=(
                    Query(
                        f"sort_desc(topk(10, {_exporters(quotient(of(promql.OPEN_FILES), of(promql.OPEN_FILES_LIMIT)))}))",
                        "{{instance}}",
                        instant=True,
                    ),
                ),
                unit="percentunit",
                decimals=1,
                thresholds=((None, "green"), (limits.OPEN_FILES, "orange")),
                maximum=1,
                width=8,
            ),
        ),
    )
