"""A batch of inferences as columns that the rest of the ledger goes on with: a row for each quantity, since each is read alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from infermeter.ledger import slots as columns
from infermeter.ledger.columns import runs, sums_by
from infermeter.ledger.instants import SECOND_NS
from infermeter.model import SIGNALS, STAGES, Bools, Floats, InferenceBatch, Ints

LATE: Final = -1
"""The slot of what came too late for one."""

ERROR, TOLD_INPUT, TOLD_OUTPUT, FIRST_SIGNAL = range(columns.FIRST_MISSED_STAGE, columns.FIRST_MISSED_STAGE + 4)
_AMOUNTS: Final = FIRST_SIGNAL + len(SIGNALS)
"""Rows of `Booked.amounts` after those that slots have, too."""

_SIGNALS: Final = slice(0, len(SIGNALS))
_TOLD_STAGES: Final = slice(len(SIGNALS), len(SIGNALS) + len(STAGES))
_STAGES: Final = slice(columns.FIRST_STAGE, columns.FIRST_MISSED_STAGE)
_TOKENS: Final = slice(columns.TOKENS_INPUT, columns.TOKENS_OUTPUT + 1)
_QUEUE: Final = columns.FIRST_STAGE + STAGES.index("queue")


class SlotSums(NamedTuple):
    """What `amounts` add up to in one slot (or LATE) for each of some models: `sums` has shape (models, amounts)."""

    slot: int
    codes: Ints
    sums: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Booked:
    """A batch, in the order of its rows.

    `slots` are those in which inferences ended, LATE where that has closed. `signals_ns` has shape (3, n), -1 where unknown and for an
    inference with an error; `limits_ns` are the targets as in `Targets.limits_ns`. `amounts` has shape (18, n), 0 where unknown: what
    slots count of an inference, as in `Slots`, whether it has an error and tells its tokens, and its signals; of one with an error nothing
    but that. `sums` are of all inferences, late ones too, ascending by slot.
    """

    codes: Ints
    slots: Ints
    ok: Bools
    within: Bools
    signals_ns: Ints
    limits_ns: Ints
    amounts: Ints
    sums: Sequence[SlotSums]

    @property
    def stages_ns(self) -> Ints:
        """Time in each of STAGES, and in none; shape (5, n)."""
        return self.amounts[_STAGES]

    @property
    def tokens_output(self) -> Ints:
        """Tokens of output."""
        tokens: Ints = self.amounts[columns.TOKENS_OUTPUT]
        return tokens

    def rows(self, rows: Ints) -> Booked:
        """Some of the inferences; `sums` stay those of all."""
        return Booked(
            self.codes[rows],
            self.slots[rows],
            self.ok[rows],
            self.within[rows],
            self.signals_ns.take(rows, axis=1),
            self.limits_ns.take(rows, axis=1),
            self.amounts.take(rows, axis=1),
            self.sums,
        )


def values_of(batch: InferenceBatch) -> Ints:
    """Signals, stages and what is in no stage, in nanoseconds, -1 where unknown and for an inference with an error; shape (8, n)."""
    values_ns = np.empty((len(SIGNALS) + len(STAGES) + 1, len(batch)), np.int64)
    np.subtract(batch.end_ns, batch.start_ns, out=values_ns[0])
    values_ns[1 : len(SIGNALS)] = _as_ns(np.stack((batch.ttft_seconds, batch.tpot_seconds)))
    stages_ns = values_ns[_TOLD_STAGES]
    stages_ns[...] = batch.stages_ns.T
    np.subtract(values_ns[0], np.add.reduce(np.maximum(stages_ns, 0)), out=values_ns[-1])
    np.maximum(values_ns, -1, out=values_ns)
    np.copyto(values_ns, -1, where=batch.error)
    return values_ns


def amounts_of(batch: InferenceBatch, values_ns: Ints, ok: Bools, within: Bools) -> Ints:
    """As `Booked.amounts`; `values_ns` as `values_of` tells."""
    amounts = np.empty((_AMOUNTS, len(ok)), np.int64)
    amounts[columns.OBSERVED], amounts[columns.OK], amounts[columns.WITHIN], amounts[ERROR] = 1, ok, within, batch.error
    tokens = amounts[_TOKENS]
    tokens[0], tokens[1] = batch.tokens_input, batch.tokens_output
    np.copyto(tokens, -1, where=batch.error)
    amounts[TOLD_INPUT : TOLD_OUTPUT + 1] = tokens >= 0
    np.maximum(tokens, 0, out=tokens)
    np.maximum(values_ns[len(SIGNALS) :], 0, out=amounts[_STAGES])
    np.maximum(values_ns[_SIGNALS], 0, out=amounts[FIRST_SIGNAL:])
    amounts[columns.PREFILL_NS : columns.DECODE_NS + 1] = _phases(values_ns[_SIGNALS], tokens[1], amounts[_QUEUE])
    return amounts


def slot_sums(slots: Ints, codes: Ints, amounts: Ints, *, models: int) -> list[SlotSums]:
    """Sums by slot and model (n >= 1), ascending."""
    keys, sums = sums_by((slots - LATE) * models + codes, amounts)
    of_sums, codes = np.divmod(keys, models)
    return [SlotSums(slot + LATE, codes[first:stop], sums[first:stop]) for slot, first, stop in runs(of_sums)]


def _phases(signals_ns: Ints, tokens_output: Ints, queue_ns: Ints) -> Ints | int:
    """Prefill, up to the first token without the queue, and decode, what the tokens after it took; 0 unless both are told.

    With a single token of output there is no time per token, and nothing to decode.
    """
    _, ttft_ns, tpot_ns = signals_ns
    has_first = ttft_ns >= 0
    if not has_first.any():
        return 0
    tokens_after = np.maximum(tokens_output - 1, 0)
    told = has_first & np.where(tokens_after > 0, tpot_ns >= 0, tokens_output == 1)
    phases_ns: Ints = np.stack((np.maximum(ttft_ns - queue_ns, 0), tpot_ns * tokens_after))
    phases_ns *= told
    return phases_ns


def _as_ns(seconds: Floats) -> Floats:
    """Seconds as whole nanoseconds; -1 where not told."""
    ns = seconds * SECOND_NS
    np.rint(ns, out=ns)
    np.fmax(ns, -1.0, out=ns)
    return ns
