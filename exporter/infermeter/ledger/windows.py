"""Windows: sums over closed slots up to the energy watermark, and the readings that have enough evidence."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, Literal

import numpy as np

from infermeter.ledger import slots as columns
from infermeter.ledger.blocks import Blocks
from infermeter.ledger.booked import Booked
from infermeter.ledger.hardware import Hardware
from infermeter.ledger.instants import SECOND_NS
from infermeter.ledger.sketch import BUCKETS, bucket_of, estimate_seconds, quantile_bucket
from infermeter.ledger.slots import Slots, Sums, Told, unpriced_longest
from infermeter.ledger.slowdown import Slowdowns
from infermeter.ledger.totals import Totals
from infermeter.ledger.verdict import verdict
from infermeter.ledger.waterfall import waterfall
from infermeter.ledger.window_sketches import WindowSketches
from infermeter.model import (
    SIGNALS,
    STAGES,
    Component,
    HardwareWindow,
    Judged,
    Misses,
    ModelWindow,
    ServerWindow,
    Signal,
    SlaState,
    SlaTarget,
    Slowdown,
    Stage,
    Window,
)

_LEAST_SECONDS: Final = 30.0
_LEAST_INFERENCES: Final = 30
_LEAST_DURATIONS: Final = 3
_MOST_UNKNOWN: Final = 0.1
"""Of a window's time; with more of it in no total, there is no value per inference."""

_MOST_UNNAMED: Final = 0.1
"""Of the inferences of a model that were seen; with more of them without its name, what it cost is in part another's."""

_MOST_UNPRICED: Final = 0.1
"""Of a window's time; with more of it without the price of a component, there is no cost per inference: it would be too low."""

_DURATION_QUANTILE: Final = 0.99
_ROW: Final = len(SIGNALS) * BUCKETS
_FIRST_BUCKETS: Final = np.arange(len(SIGNALS))[:, None] * BUCKETS


class WindowQuantiles(WindowSketches):
    """The values of every signal in each window."""

    def __init__(self, windows: Sequence[Window]) -> None:
        super().__init__(windows, _ROW)

    def count(self, booked: Booked) -> None:
        """Counts the signals of inferences in their slots."""
        keys = bucket_of(booked.signals_ns)
        keys += booked.codes * _ROW
        keys += _FIRST_BUCKETS
        self.add(booked.slots, keys, booked.signals_ns >= 0)

    def quantile(self, window: Window, code: int, signal: Signal, quantile: float) -> float | None:
        """The quantile of a signal in a window, in seconds; None without enough values."""
        first = SIGNALS.index(signal) * BUCKETS
        counts = self.row(window, code)[first : first + BUCKETS]
        bucket = quantile_bucket(counts, quantile, least=_LEAST_INFERENCES)
        return None if bucket is None else estimate_seconds(bucket)

    def inferences(self, window: Window, code: int) -> dict[Signal, int]:
        """How many inferences have a value for each signal in a window; none of those that nobody has."""
        told = zip(SIGNALS, self.row(window, code).reshape(len(SIGNALS), BUCKETS).sum(axis=1).tolist(), strict=True)
        return {signal: inferences for signal, inferences in told if inferences}


class WindowReader:
    """Reads one window of closed slots."""

    def __init__(  # noqa: PLR0913 - what it reads, and what is known of it
        self,
        window: Window,
        slots: Slots,
        quantiles: WindowQuantiles,
        slowdowns: Slowdowns,
        hardware: Hardware,
        totals: Totals,
        *,
        sampled: bool,
        confidence: float,
        priced: Collection[Component],
        metered: bool,
        biased: Collection[int] = (),
    ) -> None:
        """With `totals`, they say how many inferences a window holds, and tokens where the server counts them; spans give shares.

        Such a window never reaches back before the totals. `priced`: the components that have ever been priced. `biased`: the models whose
        spans are no fair sample, so that nothing can be told of their SLA.
        """
        self._window = window
        self._slots = slots
        self._quantiles = quantiles
        self._slowdowns = slowdowns
        self._hardware = hardware
        self._confidence = confidence
        self._priced = bool(priced)
        self._metered = metered
        self._biased = biased
        start = slots.first_slot if totals.first_slot is None else totals.first_slot
        self._stop = slots.closed
        self._first = min(max(self._stop - quantiles.length(window), start), self._stop)
        self._sums: Sums = slots.sums(self._first, self._stop)
        self._sums_since = {self._first: self._sums}
        self._served = totals.sums(self._first, self._stop)
        self._unnamed = totals.unnamed
        self._tokens = totals.tokens
        self._fallback = totals.fallback
        self._work = totals.work
        self._served_tokens = totals.tokens.sums(self._first, self._stop)
        accrued_seconds = float(self._sums.server[columns.ACCRUED_SECONDS])
        self._unpriced_seconds = float(unpriced_longest(self._sums.unpriced_seconds, priced))
        self._is_priced = bool(priced) and self._unpriced_seconds <= _MOST_UNPRICED * accrued_seconds
        self._is_long_enough = accrued_seconds >= _LEAST_SECONDS
        if self._served is None:
            self._is_counted = not sampled
        else:
            self._is_counted = totals.unknown_seconds(self._first, self._stop) <= _MOST_UNKNOWN * accrued_seconds

    def hardware(self) -> HardwareWindow | None:
        """What the GPUs did in the window."""
        seconds = float(self._sums.server[columns.ACCRUED_SECONDS])
        return self._hardware.window(self._first, self._stop, seconds=seconds)

    def model(self, code: int, told: Told, sla: SlaTarget | None, blocks: Blocks | None, capacity: float | None) -> ModelWindow:
        """One model in the window, with its observed capacity in inferences per second."""
        counts, amounts = self._sums.counts[code].tolist(), self._sums.amounts[code].tolist()
        is_fair = code not in self._biased
        ok, within = self._ok(code), self._within(code, told.sla_since) if is_fair else None
        of_spans = (
            self._tokens_of_all(code, counts[columns.TOKENS_INPUT]) if told.tokens_input else None,
            self._tokens_of_all(code, counts[columns.TOKENS_OUTPUT]) if told.tokens_output else None,
        )
        tokens_input, tokens_output = self._tokens.choose(code, of_spans, self._served_tokens)
        prefill_ns, decode_ns = counts[columns.PREFILL_NS], counts[columns.DECODE_NS]
        cost = amounts[columns.COST] if self._priced else None
        covers_durations = self._covers_durations(code)
        judged = self._is_long_enough and covers_durations
        is_whole = counts[columns.OK] > 0 and not self._is_unnamed(code)
        since = told.sla_since if is_fair and covers_durations and sla is not None else None
        evidence = None if since is None else self._evidence(code, since)
        divisible = judged and ok >= _LEAST_INFERENCES and self._is_counted and (is_whole or self._is_all(code))
        return ModelWindow(
            window=self._window,
            inferences_ok=ok,
            inferences_observed=counts[columns.OBSERVED],
            inferences_within_sla=None if within is None else round(within),
            cost=cost,
            joules=amounts[columns.JOULES] if self._metered else None,
            tokens=None if tokens_input is tokens_output is None else (tokens_input or 0) + (tokens_output or 0),
            stage_seconds=self._stage_seconds(code, counts) if judged else {},
            cost_per_inference=cost / ok if divisible and self._is_priced and cost is not None else None,
            cost_per_inference_at_sla=self._at_sla(cost, within, told.sla_since, blocks, capacity)
            if divisible and is_fair and self._is_priced and cost is not None
            else {},
            latency_at_sla_quantile_seconds=self._latencies(code, sla) if judged and is_fair and sla is not None else {},
            sla_state=None if sla is None or told.sla_since is None or not is_fair else self._state(sla, evidence),
            tokens_input=tokens_input,
            tokens_output=tokens_output,
            prefill_seconds=prefill_ns / SECOND_NS if prefill_ns or decode_ns else None,
            decode_seconds=decode_ns / SECOND_NS if prefill_ns or decode_ns else None,
            signal_inferences=self._quantiles.inferences(self._window, code),
            slowdown_at_sla_ratio=self._slowdown(code, sla, told.sla_since) if is_fair else None,
            misses=self._misses(code, told.sla_since) if sla is not None and is_fair else None,
            slowdowns=self._slowdowns_alone(code, sla, told.sla_since) if is_fair else (),
            divisible=divisible,
            judged=evidence,
        )

    def server(self, models: Mapping[int, Told], capacities: Mapping[int, float]) -> ServerWindow:
        """The whole server in the window, but for its load and its `hardware`.

        `models` and `capacities` by code, these observed, in inferences per second.
        """
        accrued, active, idle, computing = self._sums.server.tolist()
        cost = self._server_cost()
        ok = sum(map(self._ok, models))
        judged = [self._kept(code, told.sla_since) for code, told in models.items() if told.sla_since is not None]
        unjudged = sum(self._ok(code) for code, told in models.items() if told.sla_since is None)
        steps: Mapping[str, float] = {}
        if cost is not None and self._is_priced and self._is_long_enough and not self._biased:
            steps = waterfall(
                cost=cost,
                idle_ratio=min(1.0, idle / accrued),
                full_ratio=self._full_ratio(models, capacities, accrued),
                ok=ok,
                within=sum(judged) + unjudged,
            )
        flops, moved_bytes = self._work.sums(self._first, self._stop, seconds=accrued)
        return ServerWindow(
            window=self._window,
            accrued_seconds=accrued,
            busy_seconds=active,
            joules=sum(self._sums.amounts[:, columns.JOULES].tolist()) if self._metered else None,
            cost=cost,
            inferences_ok=ok,
            inferences_within_sla=round(sum(judged)) if judged and not self._biased else None,
            waterfall_cost=steps,
            idle_seconds=idle,
            unpriced_seconds=self._unpriced_seconds if self._priced else None,
            flops_per_gpu=flops,
            memory_bytes_per_gpu=moved_bytes,
            batch_mean=float(self._sums.amounts[:, columns.COMPUTE_SECONDS].sum()) / computing if computing > 0 else None,
        )

    def _stage_seconds(self, code: int, counts: Sequence[int]) -> dict[Stage, float]:
        """Of the inferences that were seen; where none was, as the server itself tells."""
        if counts[columns.OBSERVED]:
            return _stage_seconds(counts)
        seconds = float(self._sums.server[columns.ACCRUED_SECONDS])
        return self._fallback.stage_seconds(code, self._first, self._stop, seconds=seconds)

    def _server_cost(self) -> float | None:
        return sum(self._sums.amounts[:, columns.COST].tolist()) if self._priced else None

    def _full_ratio(self, models: Iterable[int], capacities: Mapping[int, float], accrued: float) -> float | None:
        """The part of the window's time that its inferences would have needed at capacity.

        None where one of the models has none, or nothing tells how many there were.
        """
        served = {code: self._ok(code) for code in models if self._ok(code)}
        if not (self._is_counted and served.keys() <= capacities.keys()):
            return None
        return sum(ok / capacities[code] for code, ok in served.items()) / accrued

    def _ok(self, code: int) -> int:
        """Ok inferences: of the server's own counts, else of the spans."""
        return int(self._sums.counts[code, columns.OK] if self._served is None else self._served[code])

    def _is_all(self, code: int) -> bool:
        """Whether all that was served and seen is of this model, and all that it cost: then no span is needed to say what is whose."""
        sums = self._sums
        alone = self._served is not None and self._served[code] == self._served.sum()
        seen = sums.counts[:, columns.OBSERVED]
        others = np.delete(sums.amounts[:, [columns.COST, columns.JOULES]], code, axis=0)
        return bool(alone and seen[code] == seen.sum() and not others.any())

    def _is_unnamed(self, code: int) -> bool:
        """Whether too many of what was seen of a model may be among the spans that name none: the server counts them as its own."""
        if self._served is None or self._unnamed is None:
            return False
        both = [self._unnamed, code]
        seen, served = self._sums.counts[both, columns.OK].tolist(), self._served[both].tolist()
        strays = min(seen[0] - served[0], served[1] - seen[1])
        return bool(strays > _MOST_UNNAMED * (seen[1] + strays))

    def _of_all(self, code: int, of_seen: int) -> float | None:
        """What the ok inferences that were seen have together, for all of them; None where none of some was seen."""
        seen, ok = int(self._sums.counts[code, columns.OK]), self._ok(code)
        if seen == ok:
            return of_seen
        return ok * (of_seen / seen) if seen else None

    def _tokens_of_all(self, code: int, of_seen: int) -> int | None:
        tokens = self._of_all(code, of_seen)
        return None if tokens is None else round(tokens)

    def _judged(self, since: int) -> Sums:
        """What the SLA in force, which judges alone `since` a slot, has judged of the window."""
        first = min(max(since, self._first), self._stop)
        if first not in self._sums_since:  # all models that a reload concerned have the same
            self._sums_since[first] = self._slots.sums(first, self._stop)
        return self._sums_since[first]

    def _within(self, code: int, since: int | None) -> float | None:
        """Ok inferences within the SLA in force; None without one, and where it has judged too few of them to tell its share of all."""
        if since is None:
            return None
        _, judged_ok, within = self._judged(since).counts[code, [columns.OBSERVED, columns.OK, columns.WITHIN]].tolist()
        if since <= self._first:
            return self._of_all(code, within)
        return self._ok(code) * (within / judged_ok) if judged_ok >= _LEAST_INFERENCES else None

    def _slowdown(self, code: int, sla: SlaTarget | None, since: int | None) -> float | None:
        """None where another SLA has judged a part of the window: its inferences were held against other targets."""
        if sla is None or since is None or since > self._first:
            return None
        return self._slowdowns.at_sla(self._window, code, sla, confidence=self._confidence)

    def _slowdowns_alone(self, code: int, sla: SlaTarget | None, since: int | None) -> tuple[Slowdown, ...]:
        """None of them likewise."""
        if sla is None or since is None or since > self._first:
            return ()
        return self._slowdowns.alone(self._window, code, sla, confidence=self._confidence)

    def _misses(self, code: int, since: int | None) -> Misses | None:
        """None without an SLA that has judged anything."""
        if since is None:
            return None
        counts = self._judged(since).counts[code].tolist()
        observed, ok, within = (counts[column] for column in (columns.OBSERVED, columns.OK, columns.WITHIN))
        return Misses(
            observed=observed,
            inferences=observed - within,
            errors=observed - ok,
            stage_seconds=_stage_seconds(counts, columns.FIRST_MISSED_STAGE),
        )

    def _kept(self, code: int, since: int) -> float:
        """Inferences within the SLA; where that can't be told, nothing says that any missed it."""
        within = self._within(code, since)
        return self._ok(code) if within is None else within

    def _covers_durations(self, code: int) -> bool:
        """Whether inferences are short against the window, so that its edges don't decide what is in it."""
        p99 = self._quantiles.quantile(self._window, code, "duration", _DURATION_QUANTILE)
        return p99 is None or self._window.seconds >= _LEAST_DURATIONS * p99

    def _at_sla(
        self, cost: float, within: float | None, since: int | None, blocks: Blocks | None, capacity: float | None
    ) -> dict[Literal["goodput", "compliant", "capacity"], float]:
        readings: dict[Literal["goodput", "compliant", "capacity"], float] = {}
        if within:
            readings["goodput"] = cost / within
        compliant = None if blocks is None or since is None else blocks.compliant_cost(max(self._first, since))
        if compliant is not None:
            readings["compliant"] = compliant
        server_cost = self._server_cost()
        if capacity is not None and server_cost is not None:
            readings["capacity"] = server_cost / float(self._sums.server[columns.ACCRUED_SECONDS]) / capacity
        return readings

    def _latencies(self, code: int, sla: SlaTarget) -> dict[Signal, float]:
        told = {signal: self._quantiles.quantile(self._window, code, signal, sla.quantile_ratio) for signal in SIGNALS}
        return {signal: seconds for signal, seconds in told.items() if seconds is not None}

    def _evidence(self, code: int, since: int) -> Judged | None:
        """What the verdict goes by; None: the window is too short yet."""
        judged = self._judged(since)
        if judged.server[columns.ACCRUED_SECONDS] < _LEAST_SECONDS:
            return None
        observed, within = judged.counts[code, [columns.OBSERVED, columns.WITHIN]].tolist()
        return Judged(observed, within, self._confidence)

    def _state(self, sla: SlaTarget, judged: Judged | None) -> SlaState:
        if judged is None:
            return "insufficient"
        return verdict(sla, observed=judged.observed, within=judged.within, confidence=judged.confidence)


def _stage_seconds(counts: Sequence[int], first: int = columns.FIRST_STAGE) -> dict[Stage, float]:
    """Seconds in each stage, `other` among them; none of those in which no inference was."""
    stages_ns = zip((*STAGES, "other"), counts[first : first + len(STAGES) + 1], strict=True)
    return {stage: ns / SECOND_NS for stage, ns in stages_ns if ns}
