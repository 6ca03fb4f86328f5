"""The reference of findings: docs/findings.md, and what `reference findings` prints. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from infermeter.advice.batching import BATCH_TOO_LARGE, QUEUE_BOUND
from infermeter.advice.capacity import OVER_PROVISIONED, SCALE_OUT, SCALE_OUT_USELESS, SLA_MISSED
from infermeter.advice.idle import HELD_IDLE_GPU, IDLE_GPU
from infermeter.advice.precision import COMPUTE_BOUND_NO_LATENCY_GAIN_FROM_QUANTISATION, MEMORY_BOUND_TRY_LOWER_PRECISION
from infermeter.advice.prices import PRICE_MISSING, PRICE_STALE
from infermeter.advice.stages import SERIALISATION_BOUND, TRANSFER_BOUND
from infermeter.advice.telemetry import COVERAGE_BIASED, GPU_MAPPING_UNKNOWN, LOW_COVERAGE, TELEMETRY_INCONSISTENT
from infermeter.config import Advice


@dataclass(frozen=True, slots=True)
class Entry:
    """One finding, for people. `thresholds` are keys below `advice`; `fails` says when it is wrong, or silent where it shouldn't be."""

    code: str
    level: str
    rule: str
    thresholds: tuple[str, ...]
    evidence: str
    what_to_do: str
    source: str
    fails: str


_LONGEST = "Judged over the longest of `windows`"

FINDINGS: tuple[Entry, ...] = (
    Entry(
        IDLE_GPU,
        "warning",
        "GPUs without a model on them were known to be idle throughout `idle_after`: fresh readings, utilisation 0, nothing computing.",
        ("idle_after",),
        "`gpus`, `gpus_up`, `idle_seconds` (the shortest of them), `power_watts`",
        "release it, or start on it what it is paid for",
        "design.md's rule of a tick: nothing is idle on stale readings or thin coverage without a busy signal",
        "Silent where the driver tells no utilisation. A spare that is meant to be idle is one too: silence the alert for it.",
    ),
    Entry(
        HELD_IDLE_GPU,
        "warning",
        "As `idle_gpu`, with a model on the GPU: a process that computes there, or memory that a driver alone doesn't take.",
        ("idle_after",),
        "as `idle_gpu`",
        "scale to zero, share the GPU, or unload the model",
        "idle power with a resident context: arXiv 2605.23918; break-even of unloading 1 to 5 minutes there",
        "A health check that runs an inference every few seconds keeps it silent; `over_provisioned` then speaks.",
    ),
    Entry(
        OVER_PROVISIONED,
        "warning",
        "The peak load (99th percentile of one-minute demand over capacity at the SLA) is at most `peak_load_low_ratio`; with `headroom` "
        "at least `minimum_saving_ratio` of the server is never needed. The capacity was reached or modelled, over `minimum_history`.",
        ("thresholds.peak_load_low_ratio", "headroom", "minimum_saving_ratio", "minimum_history"),
        "`peak_load_ratio`, `over_provisioning_ratio` (1 / peak), `needed_ratio` (with headroom), `headroom`",
        "fewer replicas, smaller hardware, or sharing: `infermeter advise`",
        "demand by starts; capacity as in docs/decisions",
        "A yearly peak isn't in a week of history. Of one replica the saving is a part that only smaller or shared hardware realises.",
    ),
    Entry(
        SLA_MISSED,
        "warning",
        f"{_LONGEST}: so many inferences miss a target that the SLA is missed with `ledger.confidence`.",
        (),
        "`within_ratio`, the signals at the SLA's quantile, `dominant_stage` and its part, `inferences_observed`, `window`",
        "shorten the dominant stage",
        "Clopper and Pearson 1934, lower bound of the miss share",
        "A burst that is over still holds until it leaves the window. Silent while the spans are no fair sample.",
    ),
    Entry(
        QUEUE_BOUND,
        "warning",
        f"{_LONGEST}: inferences spend over `stage_dominant_ratio` of their time in the queue while the GPUs' utilisation is below "
        "`utilisation_moderate_ratio`; the mean batch isn't at half of `server.max_batch`, and a larger one isn't known to cost more.",
        ("thresholds.stage_dominant_ratio", "thresholds.utilisation_moderate_ratio"),
        "`queue_ratio`, `utilisation_ratio`, `batch_mean`, `max_batch`, `throughput_gain_ratio` (at twice the largest batch)",
        "larger or sooner batches, more instances",
        "step time affine in the batch: ML.ENERGY leaderboard, median error -8 % up to twice the largest batch",
        "Utilisation says only that something ran: a server that computes one at a time without a pause looks full, and isn't found.",
    ),
    Entry(
        BATCH_TOO_LARGE,
        "warning",
        f"{_LONGEST}: the SLA is missed, the mean meets its target, at most `queue_small_ratio` is queue, and over half of the compute "
        "time grows with the batch.",
        ("thresholds.queue_small_ratio",),
        "`batch_mean`, `batch_largest`, `compute_seconds`, `of_it_by_batch_seconds`, `mean_duration_seconds`, `queue_ratio`",
        "lower the batch limit or its delay",
        "step time affine in the batch",
        "Silent until three sizes of batch were seen with 300 inferences each.",
    ),
    Entry(
        SCALE_OUT,
        "warning",
        f"{_LONGEST}: the SLA is missed, over `stage_dominant_ratio` of the time is queue, utilisation `utilisation_high_ratio` or more.",
        ("thresholds.stage_dominant_ratio", "thresholds.utilisation_high_ratio", "headroom"),
        "`queue_ratio`, `utilisation_ratio`, `load_ratio`, `replicas_needed` (load with headroom, where a capacity is known)",
        "more replicas",
        "Kingman 1961: waiting grows without bound towards full load",
        "A queue that one long request causes looks the same; look at the distribution before paying.",
    ),
    Entry(
        SCALE_OUT_USELESS,
        "warning",
        f"{_LONGEST}: the SLA is missed, at most `queue_small_ratio` is queue, and utilisation is below `utilisation_low_ratio`.",
        ("thresholds.queue_small_ratio", "thresholds.utilisation_low_ratio"),
        "`utilisation_ratio`, `queue_ratio`, `dominant_stage`, `dominant_ratio`",
        "shorten the dominant stage, or take a faster device",
        "an inference that waits for nobody is as slow on an empty replica",
        "Silent where the server doesn't tell its queue.",
    ),
    Entry(
        TRANSFER_BOUND,
        "warning",
        f"{_LONGEST}: over `stage_large_ratio` of the inferences' time is transfer.",
        ("thresholds.stage_large_ratio",),
        "`transfer_ratio`, `largest_part`, `quality`",
        "pinned memory, tensors that stay on the device, workers put together",
        "design choice",
        "Triton's input and output windows hold what the backend does in them, gathering too.",
    ),
    Entry(
        SERIALISATION_BOUND,
        "warning",
        f"{_LONGEST}: over `stage_large_ratio` of the inferences' time is serialisation.",
        ("thresholds.stage_large_ratio",),
        "`serialisation_ratio`, `largest_part`, `quality`",
        "a binary protocol, more front-end processes, less to send",
        "design choice",
        "With quality `estimated` it is what the engine doesn't claim (vLLM): messages between processes too.",
    ),
    Entry(
        MEMORY_BOUND_TRY_LOWER_PRECISION,
        "info",
        f"{_LONGEST}: memory bandwidth binds (over `memory_bound_ratio` of the achievable while busy, and 1.5 times the arithmetic), "
        "`server.precision` is set, and the device is known to compute as fast or faster in a format of fewer bits.",
        ("thresholds.memory_bound_ratio", "thresholds.busy_ratio"),
        "`memory_ratio`, `compute_ratio`, `told_by` (counters, or the server's estimates), `precision`, `lower_precision`, "
        "`throughput_gain_most_ratio` (an upper bound), `published_ratios`",
        "an A/B test, never a promise",
        "ML.ENERGY leaderboard, FP8 over BF16; arXiv 2601.22362",
        "Needs GPM or DCGM's profiling fields, or the estimates of vLLM or SGLang. Up to 16 sequences at once FP8 was slower as published.",
    ),
    Entry(
        COMPUTE_BOUND_NO_LATENCY_GAIN_FROM_QUANTISATION,
        "info",
        f"{_LONGEST}: arithmetic binds (over `compute_bound_ratio` of the tensor units' time or peak rate while busy, more than memory).",
        ("thresholds.compute_bound_ratio", "thresholds.busy_ratio"),
        "`memory_ratio`, `compute_ratio`, `told_by`",
        "don't quantise weights for latency",
        "the roofline: Williams, Waterman and Patterson 2009",
        "Native low-precision activations can still raise the ceiling: it doesn't say never.",
    ),
    Entry(
        PRICE_MISSING,
        "warning",
        "No price is configured, or a configured one can't be applied: the number of GPUs, their power or the price of one isn't known.",
        (),
        "`prices`, or `unpriced` and `costs_hold_only` (the components), `gpus_seen`, `products` (those without a price in the file)",
        "set the price, let the GPUs be read, or say how many there are",
        "the configuration",
        "None.",
    ),
    Entry(
        PRICE_STALE,
        "warning",
        "The oldest of the prices in force is older than `cost.stale_after`.",
        (),
        "`age_days`, `stale_after_days`, `as_of`",
        "compare the prices with the last bill, and date them anew",
        "the configuration",
        "A price that was dated anew without a look at the bill.",
    ),
    Entry(
        GPU_MAPPING_UNKNOWN,
        "warning",
        "The server is given several GPUs only because they were seen: nothing says that they are its own.",
        (),
        "`gpus_assumed`",
        "say which it uses: `server.gpus`, `server.pid`, or mount the kubelet's socket",
        "the GPU source",
        "None.",
    ),
    Entry(
        LOW_COVERAGE,
        "warning",
        "Fewer of the inferences that the server counts leave a span than `ledger.coverage_below_ratio`.",
        (),
        "`span_coverage_ratio`, `least_ratio`",
        "trace every inference, or find where spans are lost",
        "the server's own counters",
        "Silent without `server.metrics_url`.",
    ),
    Entry(
        COVERAGE_BIASED,
        "warning",
        "The server's own histogram has another share of fast inferences than the spans; nothing is told of the model's SLA meanwhile.",
        (),
        "`edge_seconds` (near the target), `server_ratio` and `observed_ratio` (at most that long), `observed`",
        "sample at the head, whatever an inference takes, or trace every one",
        "two shares held against each other, by a 95 % bound",
        "Silent for servers without a histogram of durations.",
    ),
    Entry(
        TELEMETRY_INCONSISTENT,
        "warning",
        "The server's gauge of running inferences and its throughput x mean compute time (by spans) differ by half, beyond chance.",
        (),
        "`running` by the gauge, `computing` by the spans, `standard_error`, `told_seconds`, `inferences`, `window`",
        "find what runs without a span, or what sends spans and isn't this server",
        "Little 1961",
        "Silent where scrapes may always meet a regular load in the same phase.",
    ),
)

_HEAD = """\
# Findings

Generated by `infermeter reference findings`; don't edit it.

A finding holds while what it speaks of lasts: `infermeter_finding{code, level}` is 1 then, and absent otherwise: also where it can't be
judged. `/api/v1/findings` carries each with its evidence, what to do about it, what would prove it wrong, and what it would save an
hour (savings overlap). What is measured is told once it has held for `advice.hold`, and withdrawn once it is gone for as long.
`advice.enabled: false` turns all of them off.

| code | level | what to do |
| --- | --- | --- |
"""


def findings_markdown() -> str:
    """The whole reference, with a newline at its end."""
    rows = "".join(f"| [`{entry.code}`](#{entry.code}) | {entry.level} | {entry.what_to_do} |\n" for entry in FINDINGS)
    return _HEAD + rows + "".join(_section(entry) for entry in FINDINGS)


def _section(entry: Entry) -> str:
    thresholds = ", ".join(f"`advice.{name}` ({_default(name)})" for name in entry.thresholds) or "none of its own"
    return (
        f"\n## {entry.code}\n\n{entry.rule}\n\n"
        f"- thresholds: {thresholds}\n"
        f"- evidence: {entry.evidence}\n"
        f"- what to do: {entry.what_to_do}\n"
        f"- source: {entry.source}\n"
        f"- fails: {entry.fails}\n"
    )


def _default(name: str) -> str:
    section: object = Advice()
    for key in name.split("."):
        section = getattr(section, key)
    return f"{section:g}" + (" s" if name in _DURATIONS else "")


_DURATIONS = frozenset({"idle_after", "minimum_history", "hold"})
