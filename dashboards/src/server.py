"""Server and model efficiency: what an inference costs, what it could cost here, and what stands between the two."""

from __future__ import annotations

from dashboards.src import limits, promql, rules
from dashboards.src.bundle import RIGHTSIZING, SERVER, SLO, STAGES, Page, Section, link
from dashboards.src.figures import COST_PER_THOUSAND, COST_WITHIN_SLA, ERRORS, NO_PRICE, NO_RULES, PER_JOULE
from dashboards.src.grafana import MONEY, Bars, Query, Series, Stat
from dashboards.src.promql import HOUR_SECONDS, ON_MODEL, ON_REPLICA, ON_SERVER, largest, mean, most, of, on, quotient, total
from dashboards.src.table import Column, Table

from infermeter.metrics import catalog

NO_CAPACITY = "no load has shown the capacity at the SLA yet"
NO_TOKENS = "neither spans nor the server tell tokens"
NO_POWER = "no GPU tells its power, or no traffic"
WHERE = "{{server}} {{model}}"


_PRICED = (*ON_MODEL, "currency")
_WITHIN = f"{on(ON_MODEL)} {of(rules.WITHIN_SLA_RATE)}"
_IDEAL = total(("currency",), f"{of(rules.COST_AT_CAPACITY)} * {_WITHIN}")
"""Money a second that the inferences within the SLA would have cost at capacity."""

_IDEAL_INFERENCES = total(("currency",), f"({of(rules.COST_AT_CAPACITY)} >= bool 0) * {_WITHIN}")
_PAID = total(("currency",), f"{of(rules.MODEL_COST_RATE)} and on ({', '.join(_PRICED)}) {of(rules.COST_AT_CAPACITY)}")


def _busiest(expression: str) -> str:
    return most(expression, ON_MODEL, mean(rules.INFERENCES_RATE, at_end=True))


def _target(signal: str) -> str:
    return of(rules.SLA_TARGET, signal=signal)


def _over_gpus(recorded: promql.Recorded) -> str:
    """Of servers' means the mean over their GPUs."""
    weight = f"on ({', '.join(ON_SERVER)}) {of(rules.GPUS)}"
    return quotient(f"sum({of(recorded)} * {weight})", f"sum({of(rules.GPUS)} and {of(recorded)})")


def page() -> Page:
    """The page."""
    return Page(
        uid=SERVER,
        title="Server and model efficiency",
        about="Cost paid against cost at capacity, where the difference goes, performance per watt, and throughput at the target latency.",
        sections=(_period(), _cost(), _throughput(), _energy(), _tokens(), _gpus()),
    )


def _period() -> Section:
    return Section(
        "In the period shown",
        (
            Stat(
                title="Paid per 1,000 inferences",
                read="All cost, idle time included, over the inferences that ended without error.",
                formula="1000 x cost_by_use / inferences_total{outcome=ok}, over the period",
                missing="no price, or no traffic",
                queries=(Query(COST_PER_THOUSAND, "{{currency}}", instant=True),),
                unit=MONEY,
            ),
            Stat(
                title="Per 1,000 within the SLA",
                read="The same cost over those that also met their SLA (goodput): never less than what was paid for any inference.",
                formula="1000 x cost_by_use / (inferences without error x the share of the observed ones within the SLA), over the period",
                missing="no price, no SLA or no traffic",
                queries=(Query(COST_WITHIN_SLA, "{{currency}}", instant=True),),
                unit=MONEY,
            ),
            Stat(
                title="Per 1,000 at capacity, now",
                read="What 1,000 inferences would cost if these replicas served as many as they have held at the SLA; each model weighs as"
                " much as it serves.",
                formula="1000 x (price of an hour / (3600 x observed capacity)), weighted by the inferences within the SLA (1h)",
                missing=NO_CAPACITY,
                queries=(Query(quotient(f"1000 * {_IDEAL}", _IDEAL_INFERENCES), "{{currency}}", instant=True),),
                unit=MONEY,
            ),
            Stat(
                title="Paid over cost at capacity",
                read="How many times too much an inference within the SLA costs: 1 is a full server. Capacity that isn't reached is a lower"
                " bound, so the true factor may be larger.",
                formula="cost of 1h / (inferences within the SLA x cost at capacity), of models whose capacity is known",
                missing=NO_CAPACITY,
                queries=(Query(quotient(_PAID, _IDEAL), "{{currency}}", instant=True),),
                unit="suffix:x",
                decimals=1,
                thresholds=((None, "green"), (limits.OVER_CAPACITY, "yellow"), (limits.OVER_CAPACITY_HIGH, "orange")),
            ),
            Stat(
                title="Inferences per joule",
                read="Performance per watt of the GPUs. Higher is better.",
                formula="inferences without error / GPU energy, over the period",
                missing=NO_POWER,
                queries=(Query(PER_JOULE, instant=True),),
                unit="count:inf/J",
            ),
            Stat(
                title="Errors",
                read="Inferences that ended with an error, of all.",
                formula="1 - inferences_total{outcome=ok} / inferences_total, over the period",
                missing="no traffic",
                queries=(Query(ERRORS, instant=True),),
                unit="percentunit",
                decimals=2,
                thresholds=((None, "green"), (limits.ERRORS, "orange"), (limits.ERRORS_HIGH, "red")),
            ),
        ),
    )


def _cost() -> Section:
    return Section(
        "Cost paid against cost at capacity",
        (
            Series(
                title="Cost per 1,000 inferences",
                read="within SLA: what a kept promise cost in the last hour; at capacity (dashed): what it could cost on this hardware."
                " Logarithmic: the gap between the lines is the factor that better use could save.",
                formula="1000 x cost_by_use / inferences within the SLA (1h); 1000 x price of an hour / (3600 x observed capacity)",
                missing="no price, or no traffic",
                queries=(
                    Query(f"1000 * {of(rules.COST_WITHIN_SLA)}", WHERE + " within SLA, {{currency}}"),
                    Query(f"1000 * {of(rules.COST_AT_CAPACITY)}", WHERE + " at full load, {{currency}}", dashed=True),
                ),
                unit=MONEY,
                logarithmic=True,
                links=(link(STAGES, "Stage drill-down"),),
            ),
            Series(
                title="Waterfall, per hour",
                read="capacity: what the good inferences would have cost at full load. The rest is waste by cause: low_load"
                " (busy: both, where"
                " no capacity is known), idle, sla_missed. They add up to what was spent.",
                formula="the four steps of the last hour's cost x 3600; divided by the inferences within the SLA they are the cost of one",
                missing=NO_PRICE,
                queries=(Query(f"{total(('step', 'currency'), of(rules.WATERFALL))} * {HOUR_SECONDS}", "{{step}} {{currency}}"),),
                unit=MONEY,
                stacked=True,
            ),
            Bars(
                title="Waterfall, mean of the period",
                read="The same steps as shares of the money: which cause to work on first.",
                formula="mean over the period of each step / mean of all steps",
                missing=NO_PRICE,
                queries=(
                    Query(
                        "sort_desc("
                        + quotient(
                            total(("step", "currency"), f"avg_over_time({of(rules.WATERFALL)}[{promql.PERIOD}])"),
                            total(("currency",), f"avg_over_time({of(rules.WATERFALL)}[{promql.PERIOD}])"),
                            on(("currency",)),
                        )
                        + ")",
                        "{{step}} {{currency}}",
                        instant=True,
                    ),
                ),
                unit="percentunit",
                decimals=0,
                maximum=1,
                width=8,
            ),
            Table(
                title="Models",
                read="A row for each model, of the last hour. Factor: what is paid over what it could cost at capacity.",
                missing=NO_RULES,
                width=16,
                labels=(
                    ("cluster", ""),
                    ("namespace", "Namespace"),
                    ("job", ""),
                    ("server", "Server"),
                    ("model", "Model"),
                    ("currency", "Currency"),
                ),
                columns=(
                    Column("Inferences / s", Query(of(rules.INFERENCES_RATE), instant=True), decimals=2),
                    Column("Per 1,000", Query(f"1000 * {of(rules.COST_PER_INFERENCE)}", instant=True), decimals=4),
                    Column("Within SLA", Query(f"1000 * {of(rules.COST_WITHIN_SLA)}", instant=True), decimals=4),
                    Column("At capacity", Query(f"1000 * {of(rules.COST_AT_CAPACITY)}", instant=True), decimals=4),
                    Column(
                        "Factor",
                        Query(quotient(of(rules.COST_WITHIN_SLA), of(rules.COST_AT_CAPACITY)), instant=True),
                        decimals=1,
                        thresholds=((None, "green"), (limits.OVER_CAPACITY, "yellow"), (limits.OVER_CAPACITY_HIGH, "orange")),
                    ),
                    Column("Inferences / J", Query(of(rules.MODEL_PER_JOULE), instant=True)),
                ),
                sort="Factor",
                label_widths={"currency": 80},
            ),
        ),
    )


def _throughput() -> Section:
    return Section(
        "Throughput at the target latency",
        (
            Series(
                title="Load and capacity at the SLA",
                read="Load below the dashed line: room within the SLA. observed: the most that has held it, a lower bound until"
                " more was proven"
                " to miss; model: computed from step times.",
                formula="inferences_total, rate over 5m; capacity_at_sla, replicas added up",
                missing=NO_RULES,
                queries=(
                    Query(of(rules.INFERENCES_RATE), WHERE + " load"),
                    Query(of(rules.CAPACITY), WHERE + " limit, {{bound}}", dashed=True),
                ),
                unit="count:inf/s",
                links=(link(RIGHTSIZING, "Right-sizing and findings"),),
            ),
            Series(
                title="Duration p50, p95, p99 and target, the ten busiest models",
                read="All of an inference. p99 over the dashed target for long: the SLA is missed. Points are traces: click one.",
                formula="histogram_quantile over inference_duration_seconds, 5m; sla_target_seconds",
                missing="no inference was seen, or the recording rules aren't loaded",
                queries=(
                    *(Query(_busiest(of(recorded)), f"{WHERE} {ratio}") for ratio, recorded in rules.DURATION.items()),
                    Query(_busiest(_target("duration")), WHERE + " target", dashed=True),
                    Query(promql.traces(catalog.INFERENCE_DURATION, ("server", "model")), WHERE, exemplars=True),
                ),
                unit="s",
                links=(link(STAGES, "Stage drill-down"),),
            ),
            Bars(
                title="Latency at the SLA's quantile, of its target, now",
                read="Each replica by itself, over its own window: over 1 that signal misses. Exact to 1 %, at the model's own quantile."
                " The ten highest.",
                formula="window_latency_at_sla_quantile / sla_target, by replica and signal",
                missing="no SLA is configured, or too few inferences in the window",
                queries=(
                    Query(
                        "sort_desc(topk(10, "
                        + quotient(
                            of(catalog.WINDOW_LATENCY_AT_SLA_QUANTILE),
                            of(catalog.SLA_TARGET),
                            on((*ON_REPLICA, "model", "signal")),
                        )
                        + "))",
                        "{{instance}} {{model}} {{signal}} {{window}}",
                        instant=True,
                    ),
                ),
                unit="percentunit",
                decimals=0,
                maximum=1,
                thresholds=((None, "green"), (1, "red")),
                links=(link(SLO, "SLO burn"),),
            ),
            Series(
                title="Effective batch",
                read="Inferences that computed at one time, on average over the busy time. 1: no batching; compare with the server's limit."
                " server: what it says itself.",
                formula="seconds in compute / busy_seconds_total, over 1h; server_batch_inferences",
                missing="spans are a sample, or the server tells no compute",
                queries=(
                    Query(of(rules.BATCH), "{{server}}"),
                    Query(largest(ON_SERVER, of(catalog.SERVER_BATCH)), "{{server}}, by the server"),
                ),
                unit="short",
            ),
            Series(
                title="Running and waiting, as the server says",
                read="Waiting that grows while running stands still: the server is full.",
                formula="server_running_inferences, server_waiting_inferences, replicas added up",
                missing="the server's own metrics don't tell it",
                queries=(
                    Query(total(("server",), of(catalog.SERVER_RUNNING)), "{{server}} running"),
                    Query(total(("server",), of(catalog.SERVER_WAITING)), "{{server}} waiting"),
                ),
                unit="short",
            ),
            Series(
                title="KV cache",
                read="How full the fullest KV cache of a server is. Near 1 requests are preempted or wait.",
                formula="max (server_kv_cache_used_ratio)",
                missing="the server's own metrics don't tell it",
                queries=(Query(largest(("server",), of(catalog.SERVER_KV_CACHE_USED)), "{{server}}"),),
                unit="percentunit",
                maximum=1,
            ),
        ),
    )


def _energy() -> Section:
    return Section(
        "Performance per watt",
        (
            Series(
                title="Inferences per joule",
                read="Inferences a second per watt of the GPUs. It falls with the load, since idle watts stay; at one load a"
                " fall is a regression.",
                formula="inferences without error / energy_joules_total, 1h, by model: an attributed estimate",
                missing=NO_POWER,
                queries=(Query(of(rules.MODEL_PER_JOULE), WHERE),),
                unit="count:inf/J",
                width=8,
            ),
            Series(
                title="Joules per inference",
                read="The inverse, and what an electricity bill divides into.",
                formula="energy_joules_total / inferences without error, 1h",
                missing=NO_POWER,
                queries=(Query(of(rules.JOULES_PER_INFERENCE), WHERE),),
                unit="joule",
                logarithmic=True,
                width=8,
            ),
            Series(
                title="Power",
                read="Watts of the GPUs by use, this server's share of them. idle: drawn while nothing computed.",
                formula="energy_joules_total, rate over 1h, by use; host_energy_joules_total, rate over 5m",
                missing="no GPU tells its power",
                queries=(
                    Query(total(("use",), of(rules.USE_WATTS)), "{{use}}"),
                    Query(f"sum({of(rules.HOST_WATTS)})", "host", dashed=True),
                ),
                unit="watt",
                stacked=True,
                width=8,
            ),
        ),
    )


def _tokens() -> Section:
    return Section(
        "Tokens",
        (
            Series(
                title="Tokens per second",
                read="Input and output tokens of all inferences.",
                formula="tokens_total, rate over 5m",
                missing=NO_TOKENS,
                queries=(Query(of(rules.TOKENS_RATE), WHERE + " {{direction}}"),),
                unit="count:tok/s",
                width=8,
            ),
            Series(
                title="Cost per million tokens",
                read="All cost over input and output tokens together. Falls with load and batch.",
                formula="1e6 x cost_by_use / tokens_total, 1h",
                missing=f"no price, or {NO_TOKENS}",
                queries=(Query(of(rules.COST_PER_MILLION_TOKENS), WHERE + " {{currency}}"),),
                unit=MONEY,
                logarithmic=True,
                width=8,
            ),
            Series(
                title="Joules per token",
                read="GPU energy over input and output tokens together.",
                formula="energy_joules_total / tokens_total, 1h",
                missing=f"no power, or {NO_TOKENS}",
                queries=(Query(of(rules.JOULES_PER_TOKEN), WHERE),),
                unit="joule",
                logarithmic=True,
                width=8,
            ),
            Series(
                title="Time to first token p99 and target, the ten busiest models",
                read="What a person waits before anything appears. Points are traces: click one.",
                formula="histogram_quantile over time_to_first_token_seconds; sla_target_seconds{signal=ttft}",
                missing="spans tell no first token",
                queries=(
                    Query(_busiest(of(rules.FIRST_TOKEN)), WHERE),
                    Query(_busiest(_target("ttft")), WHERE + " target", dashed=True),
                    Query(promql.traces(catalog.TIME_TO_FIRST_TOKEN, ("server", "model")), WHERE, exemplars=True),
                ),
                unit="s",
            ),
            Series(
                title="Time per output token p99 and target, the ten busiest models",
                read="The mean gap between output tokens of the slowest inference of a hundred. Points are traces: click one.",
                formula="histogram_quantile over time_per_output_token_seconds; sla_target_seconds{signal=tpot}",
                missing="spans tell no output tokens",
                queries=(
                    Query(_busiest(of(rules.OUTPUT_TOKEN)), WHERE),
                    Query(_busiest(_target("tpot")), WHERE + " target", dashed=True),
                    Query(promql.traces(catalog.TIME_PER_OUTPUT_TOKEN, ("server", "model")), WHERE, exemplars=True),
                ),
                unit="s",
            ),
        ),
    )


def _gpus() -> Section:
    return Section(
        "GPUs",
        (
            Series(
                title="Utilisation",
                read="Share of time in which a kernel ran, on average and of the most and the least used GPU: lines far apart are work that"
                " isn't spread. It says that something ran, not that the GPU was full.",
                formula="gpu_utilisation_ratio, mean of 5m of each GPU",
                missing="the GPU doesn't tell it, or the recording rules aren't loaded",
                queries=(
                    Query(_over_gpus(rules.UTILISATION), "mean"),
                    Query(f"max({of(rules.UTILISATION_MOST)})", "most used GPU"),
                    Query(f"min({of(rules.UTILISATION_LEAST)})", "least used GPU"),
                ),
                unit="percentunit",
                maximum=1,
                width=8,
            ),
            Series(
                title="SMs, memory and tensor cores active",
                read="memory well over SMs and tensor cores: bound by memory; tensor cores high: bound by compute; all low:"
                " launches or the queue.",
                formula="mean over the GPUs of the largest reading of each",
                missing="profiling counters aren't readable (GPM or DCGM)",
                queries=(
                    Query(_over_gpus(rules.GPU_ACTIVE["sm"]), "SMs"),
                    Query(_over_gpus(rules.GPU_ACTIVE["dram"]), "memory"),
                    Query(_over_gpus(rules.GPU_ACTIVE["tensor"]), "tensor cores"),
                    Query(_over_gpus(rules.GPU_OCCUPANCY), "occupancy"),
                ),
                unit="percentunit",
                maximum=1,
                width=8,
            ),
            Series(
                title="Clocks held down",
                read="Share of the time in which the power limit, heat or anything else held the clocks down: inferences then"
                " take longer for no"
                " other reason.",
                formula="rate over 5m of gpu_throttled_seconds_total, the worst GPU, by reason",
                missing="the GPU doesn't tell it",
                queries=(Query(largest(("reason",), of(rules.GPU_THROTTLED)), "{{reason}}"),),
                unit="percentunit",
                maximum=1,
                width=8,
            ),
            Series(
                title="Power, limit and baseline",
                read="What the GPUs draw; dashed: their limits, and what they draw with a model resident and nothing computing.",
                formula="sums over GPUs of gpu_power_watts, gpu_power_limit_watts, gpu_baseline_watts; of a GPU that several servers report"
                " each has a part",
                missing="no GPU tells its power",
                queries=(
                    Query(f"sum({of(rules.GPU_WATTS)})", "power"),
                    Query(f"sum({of(rules.GPU_LIMIT_WATTS)})", "limit", dashed=True),
                    Query(f"sum({of(rules.GPU_BASELINE_WATTS)})", "baseline", dashed=True),
                ),
                unit="watt",
                width=8,
            ),
            Series(
                title="Temperature of the hottest GPU",
                read="Of each server, the ten hottest. Near its limit the clocks fall, and with them the throughput: see clocks held down.",
                formula="max (gpu_temperature_celsius)",
                missing="gpu.hardware is false, or the GPU doesn't tell it",
                queries=(Query(most(of(rules.GPU_TEMPERATURE), ON_SERVER, mean(rules.GPU_TEMPERATURE, at_end=True)), "{{server}}"),),
                unit="celsius",
                width=8,
            ),
            Series(
                title="PCI Express",
                read="Bytes to and from the GPUs; much of it beside a large transfer stage: pin memory, keep tensors on the device.",
                formula="rate over 5m of gpu_pcie_bytes_total, GPUs added up",
                missing="gpu.hardware is false, or the GPU doesn't tell it",
                queries=(Query(total(("direction",), of(rules.GPU_PCIE)), "{{direction}}"),),
                unit="Bps",
                width=8,
            ),
        ),
    )
