"""Fleet overview: what it costs, what of it is wasted, and which server to look at first."""

from __future__ import annotations

from dashboards.src import limits, promql, rules
from dashboards.src.bundle import COST, EXPORTER, FLEET, IDLE, RIGHTSIZING, SERVER, SLO, STAGES, Page, Section, link, row_link, series_link
from dashboards.src.figures import COST_WITHIN_SLA, MODELS_BURNING, NO_PRICE, NO_RULES, PER_JOULE, WITHIN_SLA
from dashboards.src.grafana import MONEY, Query, Series, Stat
from dashboards.src.promql import HOUR_SECONDS, ON_MODEL, ON_SERVER, increase, largest, mean, most, of, slices, total
from dashboards.src.table import Column, Table

from infermeter.metrics import catalog

_IDLE_GPUS = f"sum({slices(rules.GPU_STATES_SLICE, state=('idle', 'held_idle'))}) / ({promql.SLICES} > 0)"


def page() -> Page:
    """The page."""
    return Page(
        uid=FLEET,
        title="Fleet overview",
        about="What the inference fleet costs, what of it is wasted, whether the SLAs hold, and which server to look at first.",
        sections=(_period(), _servers(), _money(), _load()),
    )


def _period() -> Section:
    return Section(
        "In the period shown",
        (
            Stat(
                title="Spend",
                read="All money that accrued in the period, whether work came or not.",
                formula="increase of cost_total over the period, by currency",
                missing=NO_PRICE,
                queries=(Query(total(("currency",), increase(catalog.COST)), "{{currency}}", instant=True),),
                unit=MONEY,
                links=(link(COST, "Cost and budget"),),
            ),
            Stat(
                title="Spent on idle GPUs",
                read="What of the spend accrued while nothing computed. Settled: it trails by some minutes.",
                formula='increase of cost_by_use_total{use="idle"} over the period',
                missing=NO_PRICE,
                queries=(Query(total(("currency",), increase(catalog.COST_BY_USE, use="idle")), "{{currency}}", instant=True),),
                unit=MONEY,
                links=(link(IDLE, "Idle and over-provisioned"),),
            ),
            Stat(
                title="Per 1,000 within the SLA",
                read="All cost over the inferences that met their SLA: what a kept promise costs, all models together. Compare a"
                " server with itself.",
                formula="1000 x cost / (inferences without error x the share of the observed ones within the SLA)",
                missing="no price, no SLA or no traffic",
                queries=(Query(COST_WITHIN_SLA, "{{currency}}", instant=True),),
                unit=MONEY,
                links=(link(SERVER, "Server and model efficiency"),),
            ),
            Stat(
                title="Inferences per joule",
                read="Performance per watt: inferences a second per watt of the GPUs. Higher is better; only servers whose GPUs"
                " tell their power.",
                formula="inferences without error / GPU energy, over the period",
                missing="no GPU tells its power, or no traffic",
                queries=(Query(PER_JOULE, instant=True),),
                unit="count:inf/J",
                links=(link(SERVER, "Server and model efficiency"),),
            ),
            Stat(
                title="Within the SLA",
                read="Of the inferences that were seen, errors included, those that met every target of their model. Each"
                " model's own target"
                " is on the SLO page.",
                formula="observed_within_sla / observed, over the period, of models with an SLA",
                missing="no SLA is configured, or no traffic",
                queries=(Query(WITHIN_SLA, instant=True),),
                unit="percentunit",
                decimals=2,
                links=(link(SLO, "SLO burn"),),
            ),
            Stat(
                title="Models over their budget",
                read="Models that missed more in the last hour than their SLA lets them: burn over 1.",
                formula="models whose share of misses of 1h is over what may miss",
                missing=NO_RULES,
                queries=(Query(MODELS_BURNING, instant=True),),
                decimals=0,
                thresholds=((None, "green"), (1, "red")),
                links=(link(SLO, "SLO burn"),),
            ),
            Stat(
                title="Servers",
                read="Inference servers with a sidecar; replicas of one name count once.",
                formula="servers with a build_info",
                missing="no sidecar is scraped",
                queries=(Query(f"count({largest(ON_SERVER, of(catalog.BUILD_INFO))})", instant=True),),
            ),
            Stat(
                title="Replicas",
                read="Sidecars, so replicas of all servers together.",
                formula="number of build_info",
                missing="no sidecar is scraped",
                queries=(Query(f"count({of(catalog.BUILD_INFO)})", instant=True),),
            ),
            Stat(
                title="GPUs",
                read="GPUs of these servers; one that several servers share counts once.",
                formula="number of different gpu_uuid",
                missing="no GPU is read",
                queries=(Query(f"count({largest(promql.ON_DEVICE, of(catalog.GPU_INFO))})", instant=True),),
            ),
            Stat(
                title="GPUs idle, on average",
                read="How many GPUs were known to be idle, on average over the period, with or without a model on them.",
                formula="GPU seconds idle or held idle / seconds, over the period",
                missing="no GPU is read, or the recording rules aren't loaded",
                queries=(Query(_IDLE_GPUS, instant=True),),
                decimals=1,
                thresholds=((None, "green"), (1, "orange")),
                links=(link(IDLE, "Idle and over-provisioned"),),
            ),
            Stat(
                title="Alerts that fire",
                read="Alerts of this bundle that fire now.",
                formula='number of ALERTS{alertstate="firing"}',
                missing="none",
                queries=(
                    Query(
                        f"count({of(promql.ALERTS, alertname=('Infermeter.+',), alertstate='firing', server=('$server', ''))})",
                        instant=True,
                    ),
                ),
                thresholds=((None, "orange"),),
            ),
            Stat(
                title="Exporters down",
                read="Sidecars that couldn't be scraped last time: their servers are missing on this page.",
                formula="targets with up = 0",
                missing="no target: is the job scraped?",
                queries=(Query(f"sum({promql.up()} == bool 0)", instant=True),),
                thresholds=((None, "green"), (1, "red")),
                links=(link(EXPORTER, "Exporter health"),),
            ),
        ),
    )


def _servers() -> Section:
    return Section(
        "Servers, the one that wastes most first",
        (
            Table(
                title="Servers",
                read="A row for each server, now. Money is of the last hour, per hour. A server's name leads to its page."
                " Empty cells: no price, no SLA, or nothing that tells it.",
                missing=NO_RULES,
                height=10,
                labels=(("cluster", "Cluster"), ("namespace", "Namespace"), ("job", ""), ("server", "Server"), ("currency", "Currency")),
                columns=(
                    Column("Replicas", Query(of(rules.REPLICAS), instant=True), width=80),
                    Column("GPUs", Query(of(rules.GPUS), instant=True), width=70),
                    Column("Cost / h", Query(f"{of(rules.COST_RATE)} * {HOUR_SECONDS}", instant=True), decimals=2),
                    Column(
                        "Idle / h",
                        Query(total((*ON_SERVER, "currency"), of(rules.USE_RATE, use="idle")) + f" * {HOUR_SECONDS}", instant=True),
                        decimals=2,
                        thresholds=((None, "text"),),
                    ),
                    Column(
                        "Idle share",
                        Query(of(rules.IDLE_SHARE), instant=True),
                        unit="percentunit",
                        decimals=0,
                        bar=True,
                        maximum=1,
                        thresholds=((None, "green"), (limits.IDLE_MONEY, "yellow"), (limits.IDLE_MONEY_HIGH, "orange")),
                    ),
                    Column("Per 1,000", Query(f"1000 * {of(rules.COST_PER_INFERENCE_OF_SERVER)}", instant=True), decimals=3),
                    Column("Inferences / s", Query(total(ON_SERVER, of(rules.INFERENCES_RATE)), instant=True), decimals=1),
                    Column(
                        "SLA burn, 1h",
                        Query(largest(ON_SERVER, of(rules.BURN["1h"])), instant=True),
                        decimals=1,
                        thresholds=((None, "green"), (1, "red")),
                    ),
                    Column("GPU use", Query(of(rules.UTILISATION), instant=True), unit="percentunit", decimals=0),
                    Column("Inferences / J", Query(of(rules.PER_JOULE), instant=True)),
                    Column(
                        "Needed",
                        Query(of(rules.REPLICAS_NEEDED), instant=True),
                        decimals=0,
                    ),
                    Column(
                        "Findings",
                        Query(
                            f"count by ({', '.join(ON_SERVER)}) ({largest((*ON_SERVER, 'code'), of(catalog.FINDING, level='warning'))})",
                            instant=True,
                        ),
                        decimals=0,
                        thresholds=((None, "text"), (1, "orange")),
                    ),
                ),
                sort="Idle / h",
                label_links={"server": row_link(SERVER, "Efficiency of ${__value.raw}", "server")},
                label_widths={"cluster": 80, "currency": 80},
            ),
        ),
    )


def _money() -> Section:
    per_hour = f" * {HOUR_SECONDS}"
    return Section(
        "Where the money goes",
        (
            Series(
                title="Spend per hour, by use",
                read="active: an inference was computing; idle: none was; unattributed: a GPU was busy and no span says for whom."
                " The orange area is what better packing could save.",
                formula="cost_by_use, rate over 1h x 3600",
                missing=NO_PRICE,
                queries=(Query(total(("use", "currency"), of(rules.USE_RATE)) + per_hour, "{{use}} {{currency}}"),),
                unit=MONEY,
                stacked=True,
                width=8,
                links=(link(IDLE, "Idle and over-provisioned"),),
            ),
            Series(
                title="Waterfall, per hour",
                read="capacity: what the good inferences would have cost at full load; low_load: busy below capacity (busy: both, where no"
                " capacity is known); idle; sla_missed: spent on inferences that missed. They add up to the spend.",
                formula="the four steps of the last hour's cost x 3600",
                missing=NO_PRICE,
                queries=(Query(total(("step", "currency"), of(rules.WATERFALL)) + per_hour, "{{step}} {{currency}}"),),
                unit=MONEY,
                stacked=True,
                width=8,
                links=(link(SERVER, "Server and model efficiency"),),
            ),
            Series(
                title="Spend per hour, by namespace",
                read="Who spends. A step is a replica that came or went, or a new price.",
                formula="cost_total, rate over 5m x 3600",
                missing=NO_PRICE,
                queries=(Query(of(rules.NAMESPACE_RATE) + per_hour, "{{namespace}} {{currency}}"),),
                unit=MONEY,
                stacked=True,
                width=8,
                links=(series_link(COST, "Cost of ${__field.labels.namespace}", "namespace"),),
            ),
        ),
    )


def _load() -> Section:
    return Section(
        "Load, SLA and GPUs",
        (
            Series(
                title="Inferences per second, the ten busiest servers",
                read="Load of the servers that served most over the period.",
                formula="inferences_total, rate over 5m, of the ten with the highest mean",
                missing=NO_RULES,
                queries=(
                    Query(
                        most(
                            total(ON_SERVER, of(rules.INFERENCES_RATE)),
                            ON_SERVER,
                            total(ON_SERVER, mean(rules.INFERENCES_RATE, at_end=True)),
                        ),
                        "{{server}}",
                    ),
                ),
                unit="count:inf/s",
                width=8,
                links=(series_link(SERVER, "Efficiency of ${__field.labels.server}", "server"),),
            ),
            Series(
                title="SLA burn, the ten worst models",
                read="How many times too fast the budget of misses is used. Over 1 for long, the SLA is missed; over the dashed"
                " line the alert pages.",
                formula="misses of 1h / what may miss, of the ten that missed most over the period",
                missing="no SLA is configured, or no traffic",
                queries=(
                    Query(
                        f"{of(rules.BURN['1h'])} and on ({', '.join(ON_MODEL)})"
                        f" topk(10, max_over_time({of(rules.BURN['1h'])}[{promql.PERIOD}]{promql.AT_END}))",
                        "{{server}} {{model}}",
                    ),
                    Query(f"max({of(rules.BURN_THRESHOLD['1h'])})", "alert's limit", dashed=True),
                ),
                unit="short",
                width=8,
                links=(series_link(STAGES, "Stages of ${__field.labels.server}", "server"),),
            ),
            Series(
                title="GPUs by state",
                read="active: computing; held_idle: a model resident and no work; idle: nothing; unknown: no fresh readings.",
                formula="GPU seconds a second by state, mean of 1h; of a GPU that several servers report each has a part",
                missing="no GPU is read, or the recording rules aren't loaded",
                queries=(Query(total(("state",), of(rules.GPU_STATES)), "{{state}}"),),
                unit="short",
                stacked=True,
                width=8,
                links=(link(IDLE, "Idle and over-provisioned"), link(RIGHTSIZING, "Right-sizing and findings")),
            ),
        ),
    )
