"""The findings on what the readings can't be trusted for: whose the GPUs are, and how many of the inferences left a span."""

from __future__ import annotations

from typing import Final

from infermeter.config import Config
from infermeter.model import Finding, LedgerSnapshot

GPU_MAPPING_UNKNOWN = "gpu_mapping_unknown"
LOW_COVERAGE = "low_coverage"
COVERAGE_BIASED = "coverage_biased"
TELEMETRY_INCONSISTENT = "telemetry_inconsistent"

_LEAST_SECONDS: Final = 600.0
_LEAST_INFERENCES: Final = 300
_LEAST_CONCURRENCY: Final = 1.0
_MOST_RATIO: Final = 1.5
_STANDARD_ERRORS: Final = 3.0
_RECOVERY: Final = 0.25
"""Of the way from the least coverage to 1."""

_TRACE_MORE = "Let the server trace every inference, or look where spans are lost (spans_dropped_total, exports_refused_total)."
_TRACE_AT_ALL = "Switch the server's tracing on; if it has none, put `infermeter proxy` before it, or instrument it."


def gpu_mapping_unknown(ledger: LedgerSnapshot) -> tuple[Finding, ...]:
    """One finding where the server is given several GPUs only because they were seen: some may be another server's."""
    assumed = [gpu.identity for gpu in ledger.gpus if gpu.identity.assumed]
    if not assumed:
        return ()
    return (
        Finding(
            code=GPU_MAPPING_UNKNOWN,
            level="warning",
            model=None,
            evidence={"gpus_assumed": len(assumed)},
            what_to_do="Say which GPUs the server uses: server.gpus (UUIDs, indices, or all), server.pid, or the kubelet's socket mounted.",
            falsified_by="server.gpus lists the same GPUs, or says all.",
        ),
    )


def low_coverage(config: Config, ledger: LedgerSnapshot) -> tuple[Finding, ...]:
    """One finding where fewer inferences leave a span than the configured share: stages, quantiles and shares rest on a sample.

    Once spans are taken for a sample, it holds until coverage has risen as far as the ledger asks to believe them again.
    """
    least = config.ledger.coverage_below_ratio
    enough = least + (1 - least) * _RECOVERY * ledger.thin
    if ledger.coverage_ratio is None or ledger.coverage_ratio >= enough:
        return ()
    return (
        Finding(
            code=LOW_COVERAGE,
            level="warning",
            model=None,
            evidence={"span_coverage_ratio": ledger.coverage_ratio, "least_ratio": least},
            what_to_do=_TRACE_MORE if ledger.coverage_ratio > 0 else _TRACE_AT_ALL,
            falsified_by=f"span_coverage_ratio is at least {enough:g}.",
        ),
    )


def coverage_biased(ledger: LedgerSnapshot) -> tuple[Finding, ...]:
    """One finding for each model whose spans are no fair sample: another share of them is fast than of all that the server counts."""
    return tuple(
        Finding(
            code=COVERAGE_BIASED,
            level="warning",
            model=model.model,
            evidence={
                "edge_seconds": bias.edge_seconds,
                "server_ratio": bias.server_ratio,
                "observed_ratio": bias.observed_ratio,
                "observed": bias.observed,
            },
            what_to_do="Sample at the head, whatever an inference takes, or trace every one: tail sampling keeps the slow ones.",
            falsified_by=f"The shares that took at most {bias.edge_seconds:g} s agree within two standard errors, or every span is here.",
        )
        for model in ledger.models
        if (bias := model.coverage_bias) is not None
    )


def telemetry_inconsistent(ledger: LedgerSnapshot) -> tuple[Finding, ...]:
    """One finding where the server says that more ran at once than its spans tell, or fewer, by half again and beyond chance.

    Judged on ten minutes and 300 inferences at least, with one running at a time, where spans measure their compute time.
    """
    both = ledger.concurrency
    if both is None or both.standard_error is None or ledger.stage_quality.get("compute") != "measured":
        return ()
    less, more = sorted((both.running, both.computing))
    if both.seconds < _LEAST_SECONDS or both.inferences < _LEAST_INFERENCES or more < _LEAST_CONCURRENCY:
        return ()
    if more - _MOST_RATIO * less <= _STANDARD_ERRORS * both.standard_error:
        return ()
    if both.running > both.computing:
        advice = (
            "Find what runs without a span: requests that clients leave, spans that are lost, another server behind server.metrics_url."
        )
    else:
        advice = "Find what sends spans and isn't this server: another replica, a second rank; or whether server.metrics_url is another's."
    return (
        Finding(
            code=TELEMETRY_INCONSISTENT,
            level="warning",
            model=None,
            evidence={
                "running": both.running,
                "computing": both.computing,
                "standard_error": both.standard_error,
                "told_seconds": both.seconds,
                "inferences": both.inferences,
            }
            | ({"window": ledger.windows[-1].window.label} if ledger.windows else {}),
            what_to_do=advice,
            falsified_by=f"The mean of the server's gauge is within a factor of {_MOST_RATIO:g} of throughput x mean compute time.",
        ),
    )
