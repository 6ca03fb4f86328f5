"""Windows: sums over closed slots up to the energy watermark, and the readings that have enough evidence."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np

from infermeter.ledger import slots as columns
from infermeter.ledger.arrivals import Booked
from infermeter.ledger.blocks import Blocks
from infermeter.ledger.columns import widened
from infermeter.ledger.instants import SECOND_NS, SLOT_SECONDS
from infermeter.ledger.sketch import BUCKETS, SlotSketches, bucket_of, estimate_seconds, quantile_bucket
from infermeter.ledger.sla import SIGNALS
from infermeter.ledger.slots import Slots, Sums, Told
from infermeter.ledger.totals import Totals
from infermeter.ledger.verdict import verdict
from infermeter.ledger.waterfall import waterfall
from infermeter.model import STAGES, Ints, ModelWindow, ServerWindow, Signal, SlaState, SlaTarget, Stage, Window

_LEAST_SECONDS: Final = 30.0
_LEAST_INFERENCES: Final = 30
_LEAST_DURATIONS: Final = 3
_MOST_UNKNOWN: Final = 0.1
"""Of a window's time; with more of it in no total, there is no value per inference."""

_DURATION_QUANTILE: Final = 0.99
_ROW: Final = len(SIGNALS) * BUCKETS


class WindowQuantiles:
    """The values of every signal in each window, as sketches that slots enter when they close and leave when the window has passed."""

    def __init__(self, windows: Sequence[Window]) -> None:
        self._arriving = SlotSketches()
        self._lengths = {window.label: round(window.seconds) // SLOT_SECONDS for window in windows}
        self._sums = {window.label: np.zeros((0, _ROW), np.int64) for window in windows}
        self._inside: deque[tuple[int, Ints, Ints]] = deque()
        self._left = dict.fromkeys(self._sums, 0)

    def add(self, slots: Ints, booked: Booked, rows: Ints) -> None:
        """Counts the signals of the inferences `rows` in their slots."""
        if not self._sums:
            return
        signals_ns = booked.signals_ns[rows]
        told = (signals_ns >= 0) & booked.ok[rows, None]
        inference, signal = told.nonzero()
        keys = booked.codes[rows][inference] * _ROW + signal * BUCKETS + bucket_of(signals_ns[told])
        self._arriving.add(slots[inference], keys)

    def close(self, slot: int, models: int) -> None:
        """A slot has closed: it enters every window, and the oldest leave."""
        keys, counts = self._arriving.take(slot)
        self._inside.append((slot, keys, counts))
        for label, sums in self._sums.items():
            self._sums[label] = widened(sums, models)
            self._sums[label].reshape(-1)[keys] += counts
        self._leave(slot)

    def skip(self, stop: int) -> None:
        """Slots before `stop` have closed without anything in them."""
        self._arriving.drop(stop)
        self._leave(stop - 1)

    def length(self, window: Window) -> int:
        """How many slots a window holds."""
        return self._lengths[window.label]

    def stretch(self, window: Window, slots: int) -> None:
        """A window that is longer than the period covers it, slots cut at both ends included."""
        self._lengths[window.label] = slots

    def quantile(self, window: Window, code: int, signal: Signal, quantile: float) -> float | None:
        """The quantile of a signal in a window, in seconds; None without enough values."""
        sums = self._sums[window.label]
        if code >= len(sums):
            return None
        first = SIGNALS.index(signal) * BUCKETS
        counts = sums[code, first : first + BUCKETS]
        bucket = quantile_bucket(counts, quantile) if counts.sum() >= _LEAST_INFERENCES else None
        return None if bucket is None else estimate_seconds(bucket)

    def _leave(self, newest: int) -> None:
        for label, length in self._lengths.items():
            sums = self._sums[label].reshape(-1)
            while self._left[label] < len(self._inside) and self._inside[self._left[label]][0] <= newest - length:
                _, keys, counts = self._inside[self._left[label]]
                sums[keys] -= counts
                self._left[label] += 1
        for _ in range(min(self._left.values(), default=len(self._inside))):
            self._inside.popleft()
            self._left = {label: left - 1 for label, left in self._left.items()}


class WindowReader:
    """Reads one window of closed slots."""

    def __init__(
        self,
        window: Window,
        slots: Slots,
        quantiles: WindowQuantiles,
        totals: Totals,
        *,
        sampled: bool,
        confidence: float,
        priced: bool,
        metered: bool,
    ) -> None:
        """With `totals`, they say how many inferences a window holds, and it never reaches back before them; spans give shares."""
        self._window = window
        self._quantiles = quantiles
        self._confidence = confidence
        self._priced = priced
        self._metered = metered
        start = slots.first_slot if totals.first_slot is None else totals.first_slot
        self._first = min(max(slots.closed - quantiles.length(window), start), slots.closed)
        self._sums: Sums = slots.sums(self._first, slots.closed)
        self._served = totals.sums(self._first, slots.closed)
        accrued_seconds = float(self._sums.server[columns.ACCRUED_SECONDS])
        self._is_long_enough = accrued_seconds >= _LEAST_SECONDS
        if self._served is None:
            self._is_counted = not sampled
        else:
            self._is_counted = totals.unknown_seconds(slots.closed) <= _MOST_UNKNOWN * accrued_seconds

    def model(self, code: int, told: Told, sla: SlaTarget | None, blocks: Blocks | None) -> ModelWindow:
        """One model in the window."""
        counts, amounts = self._sums.counts[code].tolist(), self._sums.amounts[code].tolist()
        seen_ok, observed, seen_within = counts[columns.OK], counts[columns.OBSERVED], counts[columns.WITHIN]
        ok, within = self._ok(code), self._of_all(code, seen_within) if sla else None
        tokens = self._of_all(code, counts[columns.TOKENS_INPUT] + counts[columns.TOKENS_OUTPUT])
        cost = amounts[columns.COST] if self._priced else None
        judged = self._is_long_enough and self._covers_durations(code)
        divisible = judged and ok >= _LEAST_INFERENCES and self._is_counted and seen_ok > 0
        return ModelWindow(
            window=self._window,
            inferences_ok=ok,
            inferences_observed=observed,
            inferences_within_sla=None if within is None else round(within),
            cost=cost,
            joules=amounts[columns.JOULES] if self._metered else None,
            tokens=None if tokens is None or not (told.tokens_input or told.tokens_output) else round(tokens),
            stage_seconds=_stage_seconds(counts) if judged else {},
            cost_per_inference=cost / ok if divisible and cost is not None else None,
            cost_per_inference_at_sla=self._at_sla(cost, within, blocks) if divisible and cost is not None else {},
            latency_at_sla_quantile_seconds=self._latencies(code, sla) if judged and sla is not None else {},
            sla_state=None if sla is None else self._state(sla, observed=observed, within=seen_within, judged=judged),
        )

    def server(self, models: Sequence[tuple[int, SlaTarget | None]]) -> ServerWindow:
        """The whole server in the window."""
        accrued, active, idle, _ = self._sums.server.tolist()
        cost = sum(self._sums.amounts[:, columns.COST].tolist()) if self._priced else None
        ok = sum(self._ok(code) for code, _ in models)
        judged = [self._within(code) for code, sla in models if sla is not None]
        unjudged = sum(self._ok(code) for code, sla in models if sla is None)
        steps: Mapping[str, float] = {}
        if cost is not None and self._is_long_enough:
            steps = waterfall(cost=cost, idle_ratio=min(1.0, idle / accrued), ok=ok, within=sum(judged) + unjudged)
        return ServerWindow(
            window=self._window,
            accrued_seconds=accrued,
            busy_seconds=active,
            joules=sum(self._sums.amounts[:, columns.JOULES].tolist()) if self._metered else None,
            cost=cost,
            inferences_ok=ok,
            inferences_within_sla=round(sum(judged)) if judged else None,
            waterfall_cost=steps,
        )

    def _ok(self, code: int) -> int:
        """Ok inferences: of the server's own counts, else of the spans."""
        return int(self._sums.counts[code, columns.OK] if self._served is None else self._served[code])

    def _of_all(self, code: int, of_seen: int) -> float | None:
        """What the ok inferences that were seen have together, for all of them; None where none of some was seen."""
        seen, ok = int(self._sums.counts[code, columns.OK]), self._ok(code)
        if seen == ok:
            return of_seen
        return ok * (of_seen / seen) if seen else None

    def _within(self, code: int) -> float:
        """Inferences within the SLA; where none was seen, nothing says that any missed it."""
        within = self._of_all(code, int(self._sums.counts[code, columns.WITHIN]))
        return self._ok(code) if within is None else within

    def _covers_durations(self, code: int) -> bool:
        """Whether inferences are short against the window, so that its edges don't decide what is in it."""
        p99 = self._quantiles.quantile(self._window, code, "duration", _DURATION_QUANTILE)
        return p99 is None or self._window.seconds >= _LEAST_DURATIONS * p99

    def _at_sla(self, cost: float, within: float | None, blocks: Blocks | None) -> dict[Literal["goodput", "compliant", "capacity"], float]:
        readings: dict[Literal["goodput", "compliant", "capacity"], float] = {}
        if within:
            readings["goodput"] = cost / within
        compliant = None if blocks is None else blocks.compliant_cost(self._first)
        if compliant is not None:
            readings["compliant"] = compliant
        return readings

    def _latencies(self, code: int, sla: SlaTarget) -> dict[Signal, float]:
        told = {signal: self._quantiles.quantile(self._window, code, signal, sla.quantile_ratio) for signal in SIGNALS}
        return {signal: seconds for signal, seconds in told.items() if seconds is not None}

    def _state(self, sla: SlaTarget, *, observed: int, within: int, judged: bool) -> SlaState:
        return verdict(sla, observed=observed, within=within, confidence=self._confidence) if judged else "insufficient"


def _stage_seconds(counts: Sequence[int]) -> dict[Stage, float]:
    """Seconds in each stage, `other` among them; none of those in which no inference was."""
    stages_ns = zip((*STAGES, "other"), counts[columns.FIRST_STAGE :], strict=True)
    return {stage: ns / SECOND_NS for stage, ns in stages_ns if ns}
