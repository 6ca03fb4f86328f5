"""The findings on what the readings can't be trusted for: whose the GPUs are, and how many of the inferences left a span."""

from __future__ import annotations

from infermeter.config import Config
from infermeter.model import Finding, LedgerSnapshot

GPU_MAPPING_UNKNOWN = "gpu_mapping_unknown"
LOW_COVERAGE = "low_coverage"


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
    """One finding where fewer inferences leave a span than the configured share: stages, quantiles and shares rest on a sample."""
    least = config.ledger.coverage_below_ratio
    if ledger.coverage_ratio is None or ledger.coverage_ratio >= least:
        return ()
    return (
        Finding(
            code=LOW_COVERAGE,
            level="warning",
            model=None,
            evidence={"span_coverage_ratio": ledger.coverage_ratio, "least_ratio": least},
            what_to_do="Let the server trace every inference, or look where spans are lost (spans_dropped_total, exports_refused_total).",
            falsified_by=f"span_coverage_ratio is at least {least:g}.",
        ),
    )
