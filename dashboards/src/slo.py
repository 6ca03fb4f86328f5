"""SLO burn: whether the promise is kept, how fast its budget is used, and what missing it costs."""

from __future__ import annotations

from dashboards.src import limits, promql, rules
from dashboards.src.bundle import SLO, STAGES, Page, Section, link, row_link
from dashboards.src.figures import MODELS_BURNING, NO_PRICE, NO_RULES, NO_SLA, WITHIN_SLA, WITHIN_SLA_OF_MODEL
from dashboards.src.grafana import MONEY, Bars, Query, Series, Stat
from dashboards.src.promql import HOUR_SECONDS, ON_MODEL, increase, largest, mean, most, of, on, quotient, total
from dashboards.src.table import Column, Table

from infermeter.metrics import catalog

WHERE = "{{server}} {{model}}"

_TARGET = of(rules.SLA_TARGET, signal="duration")
_SLOWEST = quotient(
    f"{mean(rules.DURATION['p99'], at_end=True)}",
    _TARGET + promql.AT_END,
    on(ON_MODEL),
)
"""The mean of p99 over the target: which models are worst."""

_MISSED_MONEY = total(("server", "model", "currency"), increase(catalog.COST_IN_SLA_STATE, state="missed"))


def page() -> Page:
    """The page."""
    return Page(
        uid=SLO,
        title="SLO burn",
        about="Whether the SLAs hold, how fast the budget of misses is used, who uses it, and what missing costs.",
        sections=(_now(), _burn(), _latency(), _cost()),
    )


def _now() -> Section:
    return Section(
        "Now, and in the period shown",
        (
            Stat(
                title="Within the SLA",
                read="Of the observed inferences of models with an SLA, errors included, those that met every target.",
                formula="observed_within_sla / observed, over the period",
                missing=NO_SLA,
                queries=(Query(WITHIN_SLA, instant=True),),
                unit="percentunit",
                decimals=2,
                width=6,
            ),
            Stat(
                title="Least budget left",
                read="Of 30 days' budget of misses, or of as many days as are kept, what the worst model has left. Below 0 it is"
                " overdrawn.",
                formula="1 - share of misses / what may miss, over 30 days; the least of the models",
                missing=NO_RULES,
                queries=(Query(f"min({of(rules.BUDGET_LEFT)})", instant=True),),
                unit="percentunit",
                decimals=0,
                thresholds=((None, "red"), (0, "orange"), (limits.BUDGET_LEFT, "green")),
                width=6,
            ),
            Stat(
                title="Fastest burn, 1h",
                read="How many times too fast the budget is used: 1 uses it up in 30 days, 14.4 takes 2 % of it in an hour.",
                formula="share of misses of 1h / what may miss; the largest of the models",
                missing=NO_RULES,
                queries=(Query(f"max({of(rules.BURN['1h'])})", instant=True),),
                unit="suffix:x",
                decimals=1,
                thresholds=((None, "green"), (1, "orange"), (limits.BURN_PAGES, "red")),
                width=6,
            ),
            Stat(
                title="Models over their budget",
                read="Models that missed more in the last hour than their SLA lets them: burn over 1.",
                formula="models whose share of misses of 1h is over what may miss",
                missing=NO_RULES,
                queries=(Query(MODELS_BURNING, instant=True),),
                decimals=0,
                thresholds=((None, "green"), (1, "red")),
                width=6,
            ),
            Table(
                title="Models",
                read="The worst first. Burn over 1 in all windows: it won't last 30 days. Target and p99 are of the duration.",
                formula="burn: share of misses / what may miss; p99 of the last hour from the histogram",
                missing=NO_RULES,
                height=9,
                labels=(
                    ("cluster", "Cluster"),
                    ("namespace", "Namespace"),
                    ("job", ""),
                    ("server", "Server"),
                    ("model", "Model"),
                ),
                columns=(
                    Column("Quantile", Query(largest(ON_MODEL, of(catalog.SLA_QUANTILE)), instant=True), unit="percentunit"),
                    Column("Target", Query(_TARGET, instant=True), unit="s"),
                    Column("p99, 1h", Query(of(rules.DURATION_HOUR), instant=True), unit="s"),
                    Column(
                        "Within",
                        Query(WITHIN_SLA_OF_MODEL, instant=True),
                        unit="percentunit",
                        decimals=2,
                    ),
                    *(
                        Column(
                            f"Burn {window}",
                            Query(of(rules.BURN[window]), instant=True),
                            decimals=1,
                            thresholds=((None, "green"), (1, "orange"), (limits.BURN_PAGES_SLOWER, "red")),
                            width=90,
                        )
                        for window in ("5m", "1h", "6h", "1d")
                    ),
                    Column(
                        "Budget left",
                        Query(of(rules.BUDGET_LEFT), instant=True),
                        unit="percentunit",
                        decimals=0,
                        thresholds=((None, "red"), (0, "orange"), (limits.BUDGET_LEFT, "green")),
                    ),
                ),
                sort="Burn 1h",
                label_links={"server": row_link(STAGES, "Stages of ${__value.raw}", "server")},
            ),
        ),
    )


def _worst(window: str) -> str:
    return f"on ({', '.join(ON_MODEL)}) topk(5, max_over_time({of(rules.BURN[window])}[{promql.PERIOD}]{promql.AT_END}))"


def _burn() -> Section:
    def lines(long: str, short: str) -> tuple[Query, ...]:
        return (
            Query(f"{of(rules.BURN[long])} and {_worst(long)}", f"{WHERE} {long}"),
            Query(f"{of(rules.BURN[short])} and {_worst(long)}", f"{WHERE} {short}"),
            Query(f"max({of(rules.BURN_THRESHOLD[long])})", "alert's limit", dashed=True),
        )

    return Section(
        "Burn rates; an alert needs both windows over the dashed line",
        (
            *(
                Series(
                    title=f"Burn over {long} and {short}, the five worst models",
                    read=f"{what} The long window says that it matters, the short one that it still goes on.",
                    formula="share of misses / what may miss",
                    missing=NO_RULES,
                    queries=lines(long, short),
                    unit="short",
                    links=(link(STAGES, "Stage drill-down"),),
                )
                for long, short, what in (
                    ("1h", "5m", "A page: 2 % of 30 days' budget in an hour."),
                    ("6h", "30m", "A page: 5 % of 30 days' budget in six hours."),
                    ("1d", "2h", "A ticket: 10 % of 30 days' budget in a day."),
                    ("3d", "6h", "A ticket: on course to use all of it."),
                )
            ),
        ),
    )


def _latency() -> Section:
    return Section(
        "Latency against the targets",
        (
            Series(
                title="Duration p99 and target, the ten slowest models",
                read="Over the dashed line inferences miss. Slowest against their own target. Points are traces: click one.",
                formula="histogram_quantile(0.99) over inference_duration_seconds, 5m; sla_target_seconds",
                missing="no inference was seen, no target, or the recording rules aren't loaded",
                queries=(
                    Query(most(of(rules.DURATION["p99"]), ON_MODEL, _SLOWEST), WHERE),
                    Query(most(_TARGET, ON_MODEL, _SLOWEST), WHERE + " target", dashed=True),
                    Query(promql.traces(catalog.INFERENCE_DURATION, ("server", "model")), WHERE, exemplars=True),
                ),
                unit="s",
                logarithmic=True,
            ),
            Series(
                title="Inferences within the SLA and missed",
                read="Of those observed, a second. Red is what uses the budget.",
                formula="rates over 5m of observed_within_sla_total and of the rest of observed_total",
                missing=NO_SLA,
                queries=(
                    Query(f"sum({of(rules.OBSERVED_WITHIN_RATE)})", "met"),
                    Query(f"sum({of(rules.OBSERVED_RATE)} - {of(rules.OBSERVED_WITHIN_RATE)})", "missed"),
                ),
                unit="count:inf/s",
                stacked=True,
            ),
        ),
    )


def _cost() -> Section:
    return Section(
        "What it costs",
        (
            Series(
                title="Spend per hour, by the SLA's verdict",
                read="Money by the verdict on the block of time that it accrued in. insufficient: too few inferences to say.",
                formula="cost_in_sla_state_total, rate over 1h x 3600",
                missing=NO_PRICE,
                queries=(Query(f"{total(('state', 'currency'), of(rules.VERDICT_COST))} * {HOUR_SECONDS}", "{{state}} {{currency}}"),),
                unit=MONEY,
                stacked=True,
                width=8,
            ),
            Series(
                title="Inferences by the verdict of their block",
                read="How many inferences were served while the SLA was met, missed, or not judged.",
                formula="inferences_in_sla_state_total, rate over 1h",
                missing=NO_SLA,
                queries=(Query(total(("state",), of(rules.VERDICT_INFERENCES)), "{{state}}"),),
                unit="count:inf/s",
                stacked=True,
                width=8,
            ),
            Bars(
                title="Money that missed, over the period",
                read="What was spent in blocks that missed the SLA, by model.",
                formula='increase of cost_in_sla_state_total{state="missed"} over the period',
                missing=NO_PRICE,
                queries=(
                    Query(
                        f"sort_desc(topk by (currency) (10, {_MISSED_MONEY}) > 0)",
                        WHERE + " {{currency}}",
                        instant=True,
                    ),
                ),
                unit=MONEY,
                thresholds=((None, "red"),),
                width=8,
            ),
        ),
    )
