"""The reference of findings: docs/findings.md, and what `reference findings` prints. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from infermeter.advice.batching import BATCH_TOO_LARGE, QUEUE_BOUND
from infermeter.advice.capacity import MOST_UNEXPLAINED_RATIO, OVER_PROVISIONED, SCALE_OUT, SCALE_OUT_USELESS, SLA_MISSED
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
        "GPUs without a model on them were known to be idle throughout `idle_after`: fresh readings, utilisation 0, nothing computing, and "
        "nothing being loaded into their memory (each further 1 % or 512 MiB begins the wait anew).",
        ("idle_after",),
        "`gpus`, `gpus_up`, `idle_seconds` (the shortest of them), `power_watts`; the saving is all that the server costs if none of its "
        "GPUs works, else their part of rent or amortisation alone",
        "release it, or start on it what it is paid for",
        "no evidence, no verdict: nothing is idle on stale readings, or where spans are a sample and no GPU tells that it isn't busy",
        "Silent where the driver tells no utilisation. A spare, or maintenance that takes longer than `idle_after`, is "
        "idle too: silence the "
        "alert for it. So is a GPU that waits for a model which is still being downloaded to disk.",
    ),
    Entry(
        HELD_IDLE_GPU,
        "warning",
        "As `idle_gpu`, with a model on the GPU: a process that computes there, or memory that a driver alone doesn't "
        "take. The wait begins "
        "once the model is loaded.",
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
        "at least `minimum_saving_ratio` of the server is never needed. The capacity was reached or modelled, over "
        "`minimum_history`. There is "
        f"some demand, no model misses its SLA, and at most {MOST_UNEXPLAINED_RATIO:.0%} of the window's time is neither idle nor any "
        "inference's that was seen.",
        ("thresholds.peak_load_low_ratio", "headroom", "minimum_saving_ratio", "minimum_history"),
        "`peak_load_ratio`, `over_provisioning_ratio` (1 / peak), `needed_ratio` (with headroom), `headroom`; the "
        "saving is what isn't needed",
        "fewer replicas, smaller hardware, or sharing: `infermeter advise`",
        "demand by starts; capacity as in docs/decisions",
        "A yearly peak isn't in a week of history. Of one replica the saving is a part that only smaller or shared hardware realises. "
        "A server that batches is modelled up to twice the largest batch seen, so that it must have been near its "
        "limit once. A batch limit "
        "that was set low on purpose looks like a capacity. Silent without an SLA.",
    ),
    Entry(
        SLA_MISSED,
        "warning",
        f"{_LONGEST}: so many inferences miss a target, or fail, that the SLA is missed with `ledger.confidence`.",
        (),
        "`within_ratio`, `error_ratio`, the signals at the SLA's quantile and their targets, `dominant_stage` of what makes the late ones "
        "late and its part (`dominant_ratio`; not where errors are most of the misses), `inferences_observed`, `window`",
        "shorten the stage that makes the late ones late; errors first, where they are most of it",
        "Clopper and Pearson 1934, lower bound of the miss share",
        "Of a late first token the queue and what computes before it count, of late tokens after it what computes from it on; a queue is "
        "taken to be before the first token, and a stage that may lie on either side of it counts as `other` for as much as may. "
        "A burst that is over still holds until it leaves the window. Silent while the spans are no fair sample, and "
        "for the first quarter of "
        "an hour where they are one of which that isn't known yet.",
    ),
    Entry(
        QUEUE_BOUND,
        "warning",
        f"{_LONGEST}: inferences (or, where the SLA is missed, the late ones) spend over `stage_dominant_ratio` of "
        "their time in the queue, "
        "while the GPUs' utilisation is below `utilisation_moderate_ratio`, or the mean batch below half of "
        "`server.max_batch`. Not with the "
        "batch at half of it or above, a KV cache that is 90 % full, or a step time of which most grows with the batch.",
        ("thresholds.stage_dominant_ratio", "thresholds.utilisation_moderate_ratio"),
        "`queue_ratio`, `utilisation_ratio`, `batch_mean`, `max_batch`, `throughput_gain_ratio` (at twice the largest batch)",
        "larger or sooner batches, more instances",
        "step time affine in the batch: ML.ENERGY leaderboard, median error -8 % up to twice the largest batch",
        "Utilisation says only that something ran: a server that computes one at a time without a pause looks full, "
        "and is found only where "
        "`server.max_batch` is set. With a batch of one by design, set it to 1.",
    ),
    Entry(
        BATCH_TOO_LARGE,
        "warning",
        f"{_LONGEST}: the SLA is missed, the mean meets its target, at most `queue_small_ratio` of the late ones' time is queue, and over "
        "half of the compute time grows with the batch, which is 2 at least on the mean.",
        ("thresholds.queue_small_ratio",),
        "`batch_mean`, `batch_largest`, `compute_seconds`, `of_it_by_batch_seconds`, `mean_duration_seconds`, `queue_ratio`",
        "lower the batch limit or its delay",
        "step time affine in the batch",
        "Silent until three sizes of batch were seen with 300 inferences each.",
    ),
    Entry(
        SCALE_OUT,
        "warning",
        f"{_LONGEST}: the SLA is missed, but not by errors; over `stage_dominant_ratio` of the late ones' time is queue, utilisation is "
        "`utilisation_high_ratio` or more, and larger batches aren't known to be possible (`queue_bound` then speaks).",
        ("thresholds.stage_dominant_ratio", "thresholds.utilisation_high_ratio", "headroom"),
        "`queue_ratio`, `utilisation_ratio`, `load_ratio`, `replicas_needed` (load with headroom, where a capacity is known)",
        "more replicas",
        "Kingman 1961: waiting grows without bound towards full load",
        "A queue that one long request causes looks the same; look at the distribution before paying.",
    ),
    Entry(
        SCALE_OUT_USELESS,
        "warning",
        f"{_LONGEST}: the SLA is missed, but not by errors; at most `queue_small_ratio` of the late ones' time is "
        "queue, and utilisation is "
        "below `utilisation_low_ratio`.",
        ("thresholds.queue_small_ratio", "thresholds.utilisation_low_ratio"),
        "`utilisation_ratio`, `queue_ratio`, `dominant_stage`, `dominant_ratio`",
        "shorten the dominant stage, or take a faster device",
        "an inference that waits for nobody is as slow on an empty replica",
        "Silent where the server doesn't tell its queue. A queue before the server (a gateway, a mesh) is in nobody's spans.",
    ),
    Entry(
        TRANSFER_BOUND,
        "warning",
        f"{_LONGEST}: over `stage_large_ratio` of the inferences' time is transfer.",
        ("thresholds.stage_large_ratio",),
        "`transfer_ratio`, `largest_part`, `quality`",
        "pinned memory, tensors that stay on the device, workers put together",
        "design choice",
        "Triton's input and output windows hold what the backend does in them, gathering too. `largest_part` is since the start.",
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
        "`throughput_gain_most_ratio` (an upper bound), `published_ratios` (of FP8 over BF16 alone)",
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
        "Native low-precision activations can still raise the ceiling: it doesn't say never. Silent where every model is of the class "
        "`batch`: nobody waits there.",
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
        "Fewer of the inferences that the server counts leave a span than `ledger.coverage_below_ratio`; then until "
        "coverage has risen by a "
        "quarter of the way from there to 1.",
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
hour (savings overlap). What is measured is told once it has held for `advice.hold`, and withdrawn once it is gone for as long, its
evidence as it was last seen; after two minutes without a look, or a clock that was set, every wait begins anew. What the configuration
lacks is told at once. A change of a threshold shows after the next wait. `advice.enabled: false` turns all of them off, and so does a
configuration without `windows` for all that is judged over one.

No evidence, no verdict: silence says that nothing was proven, not that all is well. Before acting on the first finding, look whether
`low_coverage`, `coverage_biased`, `gpu_mapping_unknown` or `telemetry_inconsistent` is among them: these speak of what the others rest on.

**What binds** (`infermeter_resource_bound`): `queue` where `queue_bound` has its cause; else, with utilisation of `thresholds.busy_ratio`
or more, `memory`, `compute` or `launch` (the GPU looks full, and neither memory nor arithmetic is used) by GPM or DCGM's profiling fields,
or by what vLLM or SGLang estimate, held against verified facts of the catalogue; `unknown` where nothing tells. NVML's utilisation says
that something ran, never what held it up. Findings that need to know what binds are silent while it is unknown.

**What a model is used for** (`server.workload: auto`), by which other hardware is ranked: `edge` on an embedded module; `latency` with a
target for tokens, or one for durations of 1 s or less; `batch` without a target. A longer target leaves it to the traffic: `latency` if
at most 8 inferences are computed at once on the mean, `batch` otherwise. That answers are streamed doesn't count: it says how they are
sent, not that somebody waits.

The thresholds are design choices, and can be set; the defaults keep a distance from both sides (simulated servers of every kind below
are told what was planted in them, and nothing else).

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
