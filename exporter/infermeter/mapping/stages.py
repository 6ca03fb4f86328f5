"""From what was told about inferences' time to stages that are disjoint and add up (law 1): arithmetic only, no rules, no spans.

Where intervals overlap, an instant belongs to the first stage of STAGE_PRIORITY that claims it, and within a stage to the part that
comes first. Lengths that are told without instants take what the intervals left, in the same order. All in whole nanoseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from infermeter.model import STAGE_PRIORITY, STAGES, Bools, Ints, PartColumn, Stage

BLOCK = 8192
"""Inferences that are laid end to end on one axis: so many of a week each fit 64 bits."""

COMPUTE = STAGES.index("compute")
QUEUE = STAGES.index("queue")


@dataclass(frozen=True, slots=True, eq=False)
class Intervals:
    """The inference `match[i]` was at something from `start_ns[i]` to `end_ns[i]`; any number an inference, in any order."""

    match: Ints
    start_ns: Ints
    end_ns: Ints

    def take(self, kept: Bools) -> Intervals:
        """Some of them."""
        return Intervals(self.match[kept], self.start_ns[kept], self.end_ns[kept])


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """One stage, or one named part of it, as it was told of n inferences: by intervals, or by `length_ns` (-1: not by length).

    `known`: it was told at all, by these or by others of its stage; `rejected`: what was told can't be right.
    """

    stage: Stage
    part: str | None
    intervals: Intervals
    length_ns: Ints
    known: Bools
    rejected: Bools
    estimated: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class StageTimes:
    """The columns of InferenceBatch that come from stages; `compute` are its compute intervals, by inference."""

    stages_ns: Ints
    parts: tuple[PartColumn, ...]
    compute: Intervals
    compute_estimated: Bools


def stage_times(start_ns: Ints, duration_ns: Ints, told: Sequence[Told], rest: Stage | None = None) -> StageTimes:
    """The stages of n inferences.

    `told` has the parts of a stage in order of precedence. A stage with a rejected part is absent. `rest` is the stage (not
    compute) that is all the time which the others leave; it is absent where one of them isn't known.
    """
    told = _without_rejected(sorted(told, key=lambda one: STAGE_PRIORITY.index(one.stage)))
    segments, owner = disjoint(start_ns, duration_ns, [one.intervals for one in told])
    n, gaps = len(start_ns), len(told)
    by_interval = np.zeros((gaps + 1, n), np.int64)
    np.add.at(by_interval.reshape(-1), owner * n + segments.match, segments.end_ns - segments.start_ns)
    by_length = np.zeros_like(by_interval)
    left = by_interval[gaps]
    for code, one in enumerate(told):
        by_length[code] = np.minimum(np.maximum(one.length_ns, 0), left)
        left = left - by_length[code]
    times = by_interval + by_length
    stages_ns = _summed(told, times)
    if rest is not None:
        complete = np.logical_and.reduce([one.known for one in told], axis=0) if told else np.ones(n, np.bool_)
        stages_ns[:, STAGES.index(rest)] = np.where(complete, left, -1)
        left = np.where(complete, 0, left)
    parts = tuple(
        PartColumn(one.stage, one.part, rows, times[code, rows])
        for code, one in enumerate(told)
        if one.part is not None and len(rows := np.flatnonzero(times[code]))
    )

    # compute is where its segments are, or where it isn't known where nobody's are; what has no instants begins when the queue ends
    stage_of = np.array([STAGES.index(one.stage) for one in told] + [len(STAGES)])[owner]
    of_compute = [code for code, one in enumerate(told) if one.stage == "compute"]
    unknown = stages_ns[:, COMPUTE] < 0
    in_gaps = unknown & (left == by_interval[gaps])
    compute = segments.take((stage_of == COMPUTE) | ((owner == gaps) & in_gaps[segments.match]))
    length_ns = np.where(unknown, np.where(in_gaps, 0, left), by_length[of_compute].sum(axis=0))
    queue = segments.take(stage_of == QUEUE)
    queue_end_ns = start_ns + np.maximum(stages_ns[:, QUEUE], 0)
    np.maximum.at(queue_end_ns, queue.match, queue.end_ns)
    begin_ns = np.minimum(queue_end_ns, start_ns + duration_ns - length_ns)
    rows = np.flatnonzero(length_ns)
    placed = Intervals(rows, begin_ns[rows], (begin_ns + length_ns)[rows])
    return StageTimes(stages_ns, parts, joined((compute, placed)), unknown)


def _without_rejected(told: Sequence[Told]) -> list[Told]:
    rejected = {one.stage: np.zeros_like(one.rejected) for one in told}
    for one in told:
        rejected[one.stage] |= one.rejected
    return [
        replace(
            one,
            intervals=one.intervals.take(~wrong[one.intervals.match]),
            length_ns=np.where(wrong, -1, one.length_ns),
            known=one.known & ~wrong,
        )
        if (wrong := rejected[one.stage]).any()
        else one
        for one in told
    ]


def _summed(told: Sequence[Told], times: Ints) -> Ints:
    """The time of each stage, -1 where no part of it is known; shape (n, 4). `times` has a row for each that was told."""
    stages_ns = np.full((len(STAGES), times.shape[1]), -1, np.int64)
    for code, one in enumerate(told):
        stage = stages_ns[STAGES.index(one.stage)]
        stage[:] = np.where(one.known, np.maximum(stage, 0) + times[code], stage)
    return stages_ns.T  # whoever reads it does so stage by stage


def joined(intervals: Sequence[Intervals]) -> Intervals:
    """All of them."""
    return Intervals(
        np.concatenate([one.match for one in intervals]),
        np.concatenate([one.start_ns for one in intervals]),
        np.concatenate([one.end_ns for one in intervals]),
    )


def without(start_ns: Ints, duration_ns: Ints, intervals: Intervals, taken: Intervals) -> Intervals:
    """What is left of the intervals of n inferences (as far as they lie within them) where the `taken` ones are taken away."""
    segments, owner = disjoint(start_ns, duration_ns, [taken, intervals])
    return segments.take(owner == 1)


def disjoint(start_ns: Ints, duration_ns: Ints, claims: Sequence[Intervals]) -> tuple[Intervals, Ints]:
    """Segments that cover each of n inferences exactly, and for each the first of the `claims` that covers it (their number: none).

    Those of one inference are in order.
    """
    if not any(len(claim.match) for claim in claims):
        whole = np.flatnonzero(duration_ns)
        return Intervals(whole, start_ns[whole], (start_ns + duration_ns)[whole]), np.full(len(whole), len(claims))
    tidy, *laid = _laid_out(start_ns, duration_ns, claims)
    if tidy.all():
        return _neighbours(tidy, *laid)
    place = np.cumsum(~tidy) - 1
    untidy = [Intervals(place[one.match], one.start_ns, one.end_ns) for one in (claim.take(~tidy[claim.match]) for claim in claims)]
    rows = np.flatnonzero(~tidy)
    blocks = [_neighbours(tidy, *laid)] if tidy.any() else []
    for first in range(0, len(rows), BLOCK):
        segments, owner = _swept(start_ns[rows], duration_ns[rows], untidy, first, min(first + BLOCK, len(rows)))
        blocks.append((Intervals(rows[segments.match], segments.start_ns, segments.end_ns), owner))
    return joined([segments for segments, _ in blocks]), np.concatenate([owner for _, owner in blocks])


def _laid_out(start_ns: Ints, duration_ns: Ints, claims: Sequence[Intervals]) -> tuple[Bools, Ints, Ints, Ints, Ints, Ints]:
    """Which inferences are tidy: no claim has two intervals of theirs, and none overlaps another's. Most are; for these no sweep is needed.

    Then for all of them when they start and how long they take, and, a column a claim, when the claim begins and ends after that, in
    order, and whose it is. Where one has nothing it begins and ends with the inference.
    """
    n = len(start_ns)
    begins, ends = np.tile(duration_ns[:, None], (2, 1, len(claims)))
    tidy = np.ones(n, np.bool_)
    for code, claim in enumerate(claims):
        match = claim.match
        limit_ns = duration_ns[match]
        begin = np.minimum(np.maximum(claim.start_ns - start_ns[match], 0), limit_ns)
        end = np.minimum(np.maximum(claim.end_ns - start_ns[match], 0), limit_ns)
        some = end > begin
        begins[match, code], ends[match, code] = np.where(some, begin, limit_ns), np.where(some, end, limit_ns)
        tidy &= np.bincount(match, minlength=n) <= 1
    order = np.argsort(begins, axis=1, kind="stable")
    begins, ends = np.take_along_axis(begins, order, 1), np.take_along_axis(ends, order, 1)
    tidy &= (ends[:, :-1] <= begins[:, 1:]).all(axis=1)
    return tidy, start_ns, duration_ns, begins, ends, order


def _neighbours(tidy: Bools, start_ns: Ints, duration_ns: Ints, begins: Ints, ends: Ints, order: Ints) -> tuple[Intervals, Ints]:
    """`disjoint` of the tidy inferences, as they were laid out: claims and the gaps between them take turns."""
    n, claims = begins.shape
    edges = np.zeros((n, 2 * claims + 2), np.int64)
    edges[:, 1:-1:2], edges[:, 2:-1:2], edges[:, -1] = begins, ends, duration_ns
    owner = np.full((n, 2 * claims + 1), claims)
    owner[:, 1::2] = order
    match, place = np.nonzero((edges[:, 1:] > edges[:, :-1]) & tidy[:, None])
    segments = Intervals(match, start_ns[match] + edges[match, place], start_ns[match] + edges[match, place + 1])
    return segments, owner[match, place]


def _swept(start_ns: Ints, duration_ns: Ints, claims: Sequence[Intervals], first: int, last: int) -> tuple[Intervals, Ints]:
    """`disjoint` of the inferences from `first` to `last`: they lie end to end on one axis, with gaps, and one sweep passes over it."""
    start_ns, duration_ns = start_ns[first:last], duration_ns[first:last]
    offset = np.cumsum(duration_ns + 1) - duration_ns - 1
    edges, codes = [offset, offset + duration_ns], [np.full(len(offset), len(claims))] * 2
    for code, claim in enumerate(claims):
        mine = claim.take((claim.match >= first) & (claim.match < last)) if len(offset) == BLOCK or first else claim
        match = mine.match - first
        for instant_ns in (mine.start_ns, mine.end_ns):
            edges.append(offset[match] + np.clip(instant_ns - start_ns[match], 0, duration_ns[match]))
            codes.append(np.full(len(match), code))
    opens = np.concatenate([np.full(len(edge), 1 - 2 * (i % 2), np.int32) for i, edge in enumerate(edges)])
    order = np.argsort(np.concatenate(edges), kind="stable")
    at = np.concatenate(edges)[order]
    open_claims = np.zeros((len(at), len(claims) + 1), np.int32)
    open_claims[np.arange(len(at)), np.concatenate(codes)[order]] = opens[order]
    np.cumsum(open_claims, axis=0, out=open_claims)

    # stretches between neighbouring edges, within an inference, of some length; then those of one owner that touch become one
    here = np.flatnonzero((open_claims[:-1, -1] > 0) & (at[1:] > at[:-1]))
    owner = np.argmax(open_claims[here] > 0, axis=1)
    match = np.searchsorted(offset, at[here], side="right") - 1
    begins = np.ones(len(here), np.bool_)
    begins[1:] = (owner[1:] != owner[:-1]) | (match[1:] != match[:-1])
    ends = np.append(begins[1:], True)[: len(here)]
    to_unix = start_ns - offset
    segments = Intervals(match[begins] + first, at[here[begins]] + to_unix[match[begins]], at[here[ends] + 1] + to_unix[match[ends]])
    return segments, owner[begins]
