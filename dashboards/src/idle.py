"""Idle and over-provisioned: GPUs that are paid for nothing, and servers with more than their peak needs."""

from __future__ import annotations

from dashboards.src import limits, rules
from dashboards.src.bundle import IDLE, RIGHTSIZING, SERVER, Page, Section, link, row_link
from dashboards.src.figures import IDLE_OF_SPEND, NO_PRICE
from dashboards.src.grafana import MONEY, Query, Series, Stat
from dashboards.src.promql import HOUR_SECONDS, ON_SERVER, SLICES_AN_HOUR, increase, largest, mean, of, on, quotient, slices, total
from dashboards.src.table import Column, Table

from infermeter.metrics import catalog

NO_GPU = "no GPU is read, or the recording rules aren't loaded"
NO_PEAK = "no peak load yet: it needs a capacity that was reached or modelled, and advice.minimum_history"

_IDLE_SPEND = total(("currency",), increase(catalog.COST_BY_USE, use="idle"))
_GPU = ("cluster", "namespace", "gpu_uuid")
_IDLEST = f"topk(100, {largest(_GPU, mean(rules.GPU_IDLE))})"


def _hours(state: str) -> Query:
    return Query(f"sum({slices(rules.GPU_STATES_SLICE, state=state)}) / {SLICES_AN_HOUR}", instant=True)


def _of_the_idlest(expression: str) -> Query:
    return Query(f"{expression} and on ({', '.join(_GPU)}) {_IDLEST}", instant=True)


def page() -> Page:
    """The page."""
    return Page(
        uid=IDLE,
        title="Idle and over-provisioned",
        about="Which GPUs are paid for nothing, what that costs, and which servers have more replicas than their peak load needs.",
        sections=(_period(), _time(), _gpus(), _provisioning()),
    )


def _period() -> Section:
    return Section(
        "In the period shown",
        (
            Stat(
                title="Spent while idle",
                read="Money that accrued while nothing computed, and the GPUs were known to be idle.",
                formula='increase of cost_by_use_total{use="idle"} over the period',
                missing=NO_PRICE,
                queries=(Query(_IDLE_SPEND, "{{currency}}", instant=True),),
                unit=MONEY,
                thresholds=((None, "orange"),),
                width=5,
            ),
            Stat(
                title="Of all spend",
                read="The idle part of the money. Some is the price of being ready; more than half is a fleet that is too large.",
                formula="idle money / all money by use, over the period",
                missing=NO_PRICE,
                queries=(Query(IDLE_OF_SPEND, "{{currency}}", instant=True),),
                unit="percentunit",
                decimals=0,
                thresholds=((None, "green"), (limits.IDLE_MONEY, "yellow"), (limits.IDLE_MONEY_HIGH, "orange")),
                width=5,
            ),
            Stat(
                title="GPU hours idle",
                read="Hours in which GPUs had neither work nor a model: release them.",
                formula='increase of gpu_state_seconds_total{state="idle"} / 3600, each GPU once',
                missing=NO_GPU,
                queries=(_hours("idle"),),
                unit="suffix: h",
                decimals=1,
                thresholds=((None, "orange"),),
                width=5,
            ),
            Stat(
                title="GPU hours held idle",
                read="Hours in which a model was resident and nothing computed: scale to zero, share the GPU, or unload the model.",
                formula='increase of gpu_state_seconds_total{state="held_idle"} / 3600, each GPU once',
                missing=NO_GPU,
                queries=(_hours("held_idle"),),
                unit="suffix: h",
                decimals=1,
                thresholds=((None, "yellow"),),
                width=5,
            ),
            Stat(
                title="Replicas beyond need",
                read="Replicas that could go, with headroom over the peak load; of servers all of whose replicas know their peak.",
                formula="sum of (replicas - ceil(sum of peak loads x headroom)), where above 0",
                missing=NO_PEAK,
                queries=(Query(f"sum(clamp_min({of(rules.REPLICAS)} - {of(rules.REPLICAS_NEEDED)}, 0))", instant=True),),
                decimals=0,
                thresholds=((None, "green"), (1, "orange")),
                width=4,
            ),
        ),
    )


def _time() -> Section:
    return Section(
        "Over time",
        (
            Series(
                title="GPUs by state",
                read="active: computing; held_idle: a model resident and no work; idle: neither; unknown: no fresh readings. Do nights and"
                " weekends look like days?",
                formula="GPU seconds a second, mean of 1h; of a GPU that several servers report each has a part",
                missing=NO_GPU,
                queries=(Query(total(("state",), of(rules.GPU_STATES)), "{{state}}"),),
                unit="short",
                stacked=True,
            ),
            Series(
                title="Idle spend per hour, the ten worst servers",
                read="Money a server's idle GPUs cost. What never falls is what could be released.",
                formula='cost_by_use_total{use="idle"}, rate over 1h x 3600, the ten that spent most of it in the period',
                missing=NO_PRICE,
                queries=(
                    Query(
                        f"{of(rules.USE_RATE, use='idle')} * {HOUR_SECONDS} and on ({', '.join((*ON_SERVER, 'currency'))})"
                        f" topk by (currency) (10, {mean(rules.USE_RATE, at_end=True, use='idle')})",
                        "{{server}} {{currency}}",
                    ),
                ),
                unit=MONEY,
                stacked=True,
                links=(link(SERVER, "Server and model efficiency"),),
            ),
        ),
    )


def _gpus() -> Section:
    return Section(
        "GPUs, the idlest first",
        (
            Table(
                title="The hundred idlest GPUs",
                read="Held idle: a model was on it. A GPU that several servers share has one row. Known to be idle: a GPU without fresh"
                " readings isn't. Utilisation, power and memory are of now.",
                formula="means over the period of the share of 30m that was idle, and idle with a model resident; hours: share x period",
                missing=NO_GPU,
                height=9,
                labels=(
                    ("cluster", "Cluster"),
                    ("namespace", "Namespace"),
                    ("gpu_uuid", "GPU"),
                    ("product", "Product"),
                    ("server", "Server"),
                ),
                columns=(
                    Column(
                        "Info",
                        _of_the_idlest(largest((*_GPU, "product", "server"), of(catalog.GPU_INFO))),
                        hidden=True,
                    ),
                    Column(
                        "Idle share",
                        Query(_IDLEST, instant=True),
                        unit="percentunit",
                        decimals=0,
                        bar=True,
                        maximum=1,
                        thresholds=((None, "green"), (limits.IDLE_GPU, "yellow"), (limits.MOSTLY_IDLE, "orange")),
                    ),
                    Column(
                        "Held idle",
                        _of_the_idlest(largest(_GPU, mean(rules.GPU_HELD_IDLE))),
                        unit="percentunit",
                        decimals=0,
                    ),
                    Column(
                        "Idle, h",
                        _of_the_idlest(f"{largest(_GPU, slices(rules.GPU_IDLE))} / {SLICES_AN_HOUR}"),
                        decimals=1,
                    ),
                    Column("Utilisation", _of_the_idlest(largest(_GPU, of(rules.GPU_UTILISATION))), unit="percentunit", decimals=0),
                    Column("Power", _of_the_idlest(largest(_GPU, of(catalog.GPU_POWER))), unit="watt", decimals=0),
                    Column(
                        "Memory used",
                        _of_the_idlest(quotient(largest(_GPU, of(catalog.GPU_MEMORY_USED)), largest(_GPU, of(catalog.GPU_MEMORY_TOTAL)))),
                        unit="percentunit",
                        decimals=0,
                    ),
                ),
                sort="Idle share",
                label_widths={"cluster": 80, "namespace": 110, "gpu_uuid": 160, "product": 200},
                label_links={"server": row_link(SERVER, "Efficiency of ${__value.raw}", "server")},
            ),
        ),
    )


def _provisioning() -> Section:
    return Section(
        "More than the peak needs",
        (
            Table(
                title="Replicas against need",
                read="Needed: the replicas that the peak load (99 % of minutes) needs, with headroom. Idle money beside it is"
                " what fewer replicas"
                " would save at most.",
                formula="replicas; ceil(sum of peak loads x headroom); replicas / sum of peak loads",
                missing=NO_PEAK,
                width=14,
                labels=(("cluster", "Cluster"), ("namespace", "Namespace"), ("job", ""), ("server", "Server"), ("currency", "Currency")),
                columns=(
                    Column("Replicas", Query(of(rules.REPLICAS), instant=True), decimals=0),
                    Column("Peak load", Query(of(rules.PEAK_LOAD), instant=True), decimals=2),
                    Column("Needed", Query(of(rules.REPLICAS_NEEDED), instant=True), decimals=0),
                    Column("Factor", Query(of(rules.OVER_PROVISIONING), instant=True), decimals=1),
                    Column(
                        "Verdict",
                        Query(
                            f"{of(rules.OVER_PROVISIONING)} > bool {on(())} {of(rules.OVER_PROVISIONING_THRESHOLD)}",
                            instant=True,
                        ),
                        words={"1": ("too large", "orange"), "0": ("fits", "green")},
                    ),
                    Column(
                        "Price / h",
                        Query(of(rules.PRICE_PER_HOUR), instant=True),
                        decimals=2,
                    ),
                ),
                sort="Factor",
                label_links={"server": row_link(RIGHTSIZING, "Right-sizing of ${__value.raw}", "server")},
            ),
            Series(
                title="Times too large, and the alert's limit",
                read="Replicas paid over replicas that the peak needs. Over the dashed line for hours the alert fires, unless"
                " the SLA is missed.",
                formula="replicas / sum of peak_load_ratio, by server",
                missing=NO_PEAK,
                queries=(
                    Query(of(rules.OVER_PROVISIONING), "{{server}}"),
                    Query(f"max({of(rules.OVER_PROVISIONING_THRESHOLD)})", "alert's limit", dashed=True),
                ),
                unit="short",
                width=10,
            ),
        ),
    )
