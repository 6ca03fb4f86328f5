"""Which inferences missed the SLA though they ended well, and where the time went in the signals that they missed. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from infermeter.ledger.booked import Booked
from infermeter.model import SIGNALS, STAGES, Bools, Ints, PartColumn

_TTFT: Final = SIGNALS.index("ttft")
_QUEUE, _COMPUTE, _OTHER = STAGES.index("queue"), STAGES.index("compute"), len(STAGES)
_BEFORE, _AFTER = "prefill", "decode"
"""The parts of compute up to the first token, and from it on."""


def missed(booked: Booked) -> Bools:
    """Which inferences ended well and missed a target of the SLA that there is."""
    rows: Bools = booked.ok & ~booked.within & (booked.limits_ns[0] >= 0)
    return rows


def missed_stages_ns(booked: Booked, parts: Iterable[PartColumn], rows: Ints) -> Ints:
    """Of the inferences `rows`, the time in each of STAGES, and in none, that is in the signals which they missed; shape (5, rows).

    Where the whole duration is late, or the first token and those after it, that is all of it. A late first token has the queue, which is
    before it, and what else was until then: of each stage at least what is more of it than there was time after the first token, and
    compute's part `prefill`. Late tokens after it likewise, without the queue, with `decode`. What this leaves open is in none.
    """
    stages_ns = booked.stages_ns.take(rows, axis=1)
    too_long, late_first, late_after = booked.signals_ns.take(rows, axis=1) > booked.limits_ns.take(rows, axis=1)
    first, after = (np.flatnonzero(only & ~too_long) for only in (late_first & ~late_after, late_after & ~late_first))
    if len(first):
        before_ns, after_ns = _around_first_token(booked, rows[first])
        waited_ns = np.minimum(booked.stages_ns[_QUEUE, rows[first]], booked.signals_ns[_TTFT, rows[first]])
        stages_ns[:, first] = _within(stages_ns[:, first], before_ns, after_ns, _part_ns(booked, parts, _BEFORE)[rows[first]])
        stages_ns[_QUEUE, first] = waited_ns
    if len(after):
        before_ns, after_ns = _around_first_token(booked, rows[after])
        stages_ns[:, after] = _within(stages_ns[:, after], after_ns, before_ns, _part_ns(booked, parts, _AFTER)[rows[after]])
    return stages_ns


def _around_first_token(booked: Booked, rows: Ints) -> tuple[Ints, Ints]:
    """Time without the queue before the first token, and from it on; where nothing tells them apart both are at most all of it."""
    stages_ns = booked.stages_ns.take(rows, axis=1)
    queue_ns, all_ns = stages_ns[_QUEUE], np.add.reduce(stages_ns[_QUEUE + 1 :])
    _, first_ns, each_ns = booked.signals_ns.take(rows, axis=1)
    tokens_after = booked.tokens_output[rows] - 1
    counted_ns = np.minimum(each_ns * tokens_after, all_ns)
    has_first, is_counted = first_ns >= 0, (each_ns >= 0) & (tokens_after > 0)
    before_ns = np.where(has_first, np.clip(first_ns - queue_ns, 0, all_ns), np.where(is_counted, all_ns - counted_ns, all_ns))
    after_ns = np.where(has_first | is_counted, all_ns - before_ns, all_ns)
    return before_ns, after_ns


def _within(stages_ns: Ints, inside_ns: Ints, outside_ns: Ints, computed_ns: Ints) -> Ints:
    """The least of each stage but the queue in the time inside; `computed_ns` of it are known to be compute. What is left is in none.

    Source: what is outside takes at most all of the time there is outside.
    """
    least_ns: Ints = np.maximum(stages_ns - outside_ns, 0)
    least_ns[[_QUEUE, _OTHER]] = 0
    others_ns = np.add.reduce(least_ns) - least_ns[_COMPUTE]
    least_ns[_COMPUTE] = np.maximum(least_ns[_COMPUTE], np.minimum(computed_ns, inside_ns - others_ns))
    least_ns[_OTHER] = inside_ns - np.add.reduce(least_ns)
    return least_ns


def _part_ns(booked: Booked, parts: Iterable[PartColumn], name: str) -> Ints:
    """Time in a part of compute of each inference, 0 where it isn't told."""
    told_ns = np.zeros(len(booked.codes), np.int64)
    for part in parts:
        if (part.stage, part.part) == (STAGES[_COMPUTE], name):
            np.add.at(told_ns, part.rows, part.ns)
    return told_ns
