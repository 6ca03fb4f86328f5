"""Cost and budget: who spends on what, and where the month will end."""

from __future__ import annotations

from dashboards.src import limits, rules
from dashboards.src.bundle import COST, SERVER, Page, Section, row_link, series_link
from dashboards.src.figures import NO_PRICE, NO_RULES
from dashboards.src.grafana import MONEY, Bars, Query, Series, Stat
from dashboards.src.promql import FLEET, HOUR_SECONDS, ON_MODEL, increase, largest, of, on, quotient, total
from dashboards.src.table import Column, Table

from infermeter.metrics import catalog

NO_BUDGET = "no budget for these namespaces (alerts/rules/thresholds.yaml), or the recording rules aren't loaded"
KWH_JOULES = 3_600_000

_FORECAST = of(rules.FORECAST_30D)
_IN_CLUSTER, _ANYWHERE = (*FLEET, "currency"), ("namespace", "currency")
_BUDGET = (
    f"({_FORECAST} * 0 + {on(_IN_CLUSTER)} {largest(_IN_CLUSTER, of(rules.BUDGET))}"
    f" or ({_FORECAST} unless on ({', '.join(_IN_CLUSTER)}) {of(rules.BUDGET)}) * 0"
    f" + {on(_ANYWHERE)} {largest(_ANYWHERE, of(rules.BUDGET, cluster=''))})"
)
"""Each namespace's own: its cluster's, else the one for all clusters, as the alert compares."""

_OF_BUDGET = quotient(_FORECAST, _BUDGET)


def page() -> Page:
    """The page."""
    return Page(
        uid=COST,
        title="Cost and budget",
        about="What was spent, on what and by whom, what 30 days will cost against the budget, and what energy went into it.",
        sections=(_period(), _budget(), _split(), _change(), _energy()),
    )


def _period() -> Section:
    return Section(
        "In the period shown",
        (
            Stat(
                title="Spend",
                read="All money that accrued in the period.",
                formula="increase of cost_total over the period",
                missing=NO_PRICE,
                queries=(Query(total(("currency",), increase(catalog.COST)), "{{currency}}", instant=True),),
                unit=MONEY,
            ),
            Stat(
                title="Price of an hour, now",
                read="What an hour of all chosen servers costs now, by the configured prices and the measured watts.",
                formula="sum of cost_per_hour",
                missing=NO_PRICE,
                queries=(Query(total(("currency",), of(catalog.COST_PER_HOUR)), "{{currency}}", instant=True),),
                unit=MONEY,
            ),
            Stat(
                title="30 days at this rate",
                read="What 30 days like the last one cost: a day, so that nights and autoscalers are in it.",
                formula="mean spend of the last day x 30 days",
                missing=NO_PRICE,
                queries=(Query(total(("currency",), of(rules.FORECAST_30D)), "{{currency}}", instant=True),),
                unit=MONEY,
            ),
            Stat(
                title="Worst forecast of a budget",
                read="Over 100 % the namespace will overspend; the table below says which.",
                formula="30 days at the last day's rate / budget, the largest of the namespaces",
                missing=NO_BUDGET,
                queries=(Query(f"max({_OF_BUDGET})", instant=True),),
                unit="percentunit",
                decimals=0,
                thresholds=((None, "green"), (limits.BUDGET_FORECAST, "yellow"), (1, "red")),
            ),
            Stat(
                title="Energy",
                read="Energy of the GPUs, these servers' share, and of their hosts where it is known.",
                formula="energy_joules_total + host_energy_joules_total over the period / 3.6 MJ",
                missing="no GPU tells its power",
                queries=(
                    Query(
                        f"(sum({increase(catalog.ENERGY)}) + (sum({increase(catalog.HOST_ENERGY)}) or sum({increase(catalog.ENERGY)}) * 0))"
                        f" / {KWH_JOULES}",
                        instant=True,
                    ),
                ),
                unit="kwatth",
                decimals=1,
            ),
            Stat(
                title="Emissions",
                read="Measured energy x PUE x the configured intensity of the grid.",
                formula="increase of emissions_co2e_grams_total over the period",
                missing="no intensity is configured (emissions.grams_per_kwh)",
                queries=(Query(f"sum({increase(catalog.EMISSIONS)})", instant=True),),
                unit="massg",
            ),
        ),
    )


def _budget() -> Section:
    return Section(
        "Budget",
        (
            Table(
                title="Namespaces against their budget",
                read="Forecast over budget is what the alert compares. Spent: of the last 30 days, or of as many as are kept.",
                formula="30 days at the last day's rate; spend of 30 days; the budget's constant rule",
                missing=NO_RULES,
                width=14,
                labels=(("cluster", "Cluster"), ("namespace", "Namespace"), ("currency", "Currency")),
                columns=(
                    Column("Spent, 30 d", Query(of(rules.SPENT_30D), instant=True), decimals=0),
                    Column("Forecast, 30 d", Query(of(rules.FORECAST_30D), instant=True), decimals=0),
                    Column(
                        "Budget",
                        Query(_BUDGET, instant=True),
                        decimals=0,
                    ),
                    Column(
                        "Forecast of budget",
                        Query(_OF_BUDGET, instant=True),
                        unit="percentunit",
                        decimals=0,
                        bar=True,
                        maximum=1.5,
                        thresholds=((None, "green"), (limits.BUDGET_FORECAST, "yellow"), (1, "red")),
                    ),
                ),
                sort="Forecast of budget",
            ),
            Series(
                title="30 days at the last day's rate, and budget",
                read="Where it crosses its dashed budget the forecast alert fires.",
                formula="mean spend of the last day x 30 days, by namespace; the budget",
                missing=NO_RULES,
                queries=(
                    Query(of(rules.FORECAST_30D), "{{namespace}} {{currency}}"),
                    Query(_BUDGET, "{{namespace}} budget {{currency}}", dashed=True),
                ),
                unit=MONEY,
                width=10,
                links=(series_link(COST, "Cost of ${__field.labels.namespace}", "namespace"),),
            ),
        ),
    )


def _split() -> Section:
    per_hour = f" * {HOUR_SECONDS}"
    return Section(
        "Who spends on what",
        (
            Series(
                title="Spend per hour, by component",
                read="instance: rent; amortisation: own hardware; power and cooling by the measured watts; host, licence, other:"
                " fixed sums.",
                formula="cost_total, rate over 5m x 3600",
                missing=NO_PRICE,
                queries=(Query(total(("component", "currency"), of(rules.COMPONENT_RATE)) + per_hour, "{{component}} {{currency}}"),),
                unit=MONEY,
                stacked=True,
                width=8,
            ),
            Series(
                title="Spend per hour, by use",
                read="active: an inference was computing; idle: none was; unattributed: a GPU was busy and no span says for whom.",
                formula="cost_by_use_total, rate over 1h x 3600",
                missing=NO_PRICE,
                queries=(Query(total(("use", "currency"), of(rules.USE_RATE)) + per_hour, "{{use}} {{currency}}"),),
                unit=MONEY,
                stacked=True,
                width=8,
            ),
            Bars(
                title="The dearest servers, over the period",
                read="Spend of the fifteen servers that cost most.",
                formula="increase of cost_total over the period, the 15 largest",
                missing=NO_PRICE,
                queries=(
                    Query(
                        f"sort_desc(topk by (currency) (15, {total(('namespace', 'server', 'currency'), increase(catalog.COST))}))",
                        "{{server}} {{currency}}",
                        instant=True,
                    ),
                ),
                unit=MONEY,
                thresholds=((None, "blue"),),
                width=8,
                links=(series_link(SERVER, "Efficiency of ${__field.labels.server}", "server"),),
            ),
            Table(
                title="Models, over the period",
                read="Money by model and use. A model's active money follows its compute time; idle money is shared in the same"
                " proportion.",
                formula="increase of cost_by_use_total over the period",
                missing=NO_PRICE,
                labels=(
                    ("cluster", "Cluster"),
                    ("namespace", "Namespace"),
                    ("job", ""),
                    ("server", "Server"),
                    ("model", "Model"),
                    ("currency", "Currency"),
                ),
                columns=(
                    Column("All", Query(total((*ON_MODEL, "currency"), increase(catalog.COST_BY_USE)), instant=True), decimals=2),
                    Column(
                        "Active",
                        Query(total((*ON_MODEL, "currency"), increase(catalog.COST_BY_USE, use="active")), instant=True),
                        decimals=2,
                    ),
                    Column(
                        "Idle", Query(total((*ON_MODEL, "currency"), increase(catalog.COST_BY_USE, use="idle")), instant=True), decimals=2
                    ),
                    Column(
                        "Unattributed",
                        Query(total((*ON_MODEL, "currency"), increase(catalog.COST_BY_USE, use="unattributed")), instant=True),
                        decimals=2,
                    ),
                    Column(
                        "Inferences",
                        Query(total(ON_MODEL, increase(catalog.INFERENCES, outcome="ok")), instant=True),
                        unit="short",
                        decimals=1,
                    ),
                ),
                sort="All",
                label_links={"server": row_link(SERVER, "Efficiency of ${__value.raw}", "server")},
            ),
        ),
    )


def _change() -> Section:
    yesterday = " offset 1d"
    return Section(
        "Is it getting dearer?",
        (
            Series(
                title="Cost per 1,000 inferences, against the day before",
                read="Solid over dashed: dearer than at the same hour yesterday. With less traffic it is the empty server, else"
                " a regression.",
                formula="1000 x cost_by_use / inferences without error, 1h; the same a day earlier",
                missing="no price, or no traffic",
                queries=(
                    Query(f"1000 * {of(rules.COST_PER_INFERENCE)}", "{{server}} {{model}} {{currency}}"),
                    Query(
                        f"1000 * {of(rules.COST_PER_INFERENCE)}{yesterday}", "{{server}} {{model}} day before, {{currency}}", dashed=True
                    ),
                ),
                unit=MONEY,
                logarithmic=True,
            ),
            Series(
                title="Price of an hour, by server",
                read="Steps are replicas or prices. With measured power it moves with the load.",
                formula="sum of cost_per_hour",
                missing=NO_PRICE,
                queries=(Query(of(rules.PRICE_PER_HOUR), "{{server}} {{currency}}"),),
                unit=MONEY,
            ),
        ),
    )


def _energy() -> Section:
    return Section(
        "Energy and emissions",
        (
            Series(
                title="Power by server",
                read="GPU watts, each server's share.",
                formula="energy_joules_total, rate over 5m",
                missing="no GPU tells its power",
                queries=(Query(of(rules.WATTS), "{{server}}"),),
                unit="watt",
                stacked=True,
            ),
            Series(
                title="Emissions per 1,000 inferences",
                read="Grams of CO2e.",
                formula="1000 x emissions_co2e_grams_total / inferences without error, 1h",
                missing="no intensity is configured (emissions.grams_per_kwh), or no traffic",
                queries=(Query(f"1000 * {of(rules.GRAMS_PER_INFERENCE)}", "{{server}}"),),
                unit="massg",
            ),
        ),
    )
