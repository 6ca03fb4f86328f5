"""From the matches of one rule to an `InferenceBatch`, and batches into one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from infermeter.mapping.evaluate import ABSENT, LONGEST_NS, NS_PER_SECOND, Matches
from infermeter.mapping.rules import PART_NAME, Between, Duration, Part, Rule, Values
from infermeter.mapping.stages import Intervals, Told, joined, stage_times, without
from infermeter.model import STAGES, Bools, Floats, InferenceBatch, Ints, Names, PartColumn, PartKey, Quality, Stage

PARTS_LIMIT = 8
"""Names of parts of one stage that senders may introduce; further ones are `other`."""

TOKENS_LIMIT = 1e9
"""No inference has more; what says so is rejected."""

NO_INTERVALS = Intervals(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64))


class PartNames:
    """The names of parts that senders introduced since the start: a bounded set for each stage."""

    def __init__(self) -> None:
        self._known: dict[Stage, set[str]] = {}

    def of(self, stage: Stage, texts: Iterable[str]) -> dict[str, str]:
        """For each text the name of the part it means: itself, or `other`."""
        known = self._known.setdefault(stage, set())
        for text in sorted(set(texts) - known):
            if len(known) < PARTS_LIMIT and PART_NAME.fullmatch(text):
                known.add(text)
        return {text: text if text in known else "other" for text in texts}


def inferences(rule: Rule, matches: Matches, error: Bools, part_names: PartNames, tolerance_ns: int) -> tuple[InferenceBatch, Ints]:
    """What `rule` tells of its matches, and which of them are inferences (indices, in order).

    A match whose duration can't be right is none. `tolerance_ns`: how much later than its span an inference may end.
    """
    start_ns, duration_ns = extent(rule.e2e, matches)
    late_by_ns = duration_ns - (matches.of_column(matches.table.end_ns) - start_ns)
    valid = np.flatnonzero((duration_ns >= 0) & (late_by_ns <= tolerance_ns))
    if len(valid) < len(matches):
        matches = Matches(matches.table, matches.rows[valid])
        start_ns, duration_ns, error = start_ns[valid], duration_ns[valid], error[valid]
    told = told_stages(rule, matches, (start_ns, duration_ns), part_names)
    rest = next((stage.stage for stage in rule.stages if not stage.parts), None)
    times = stage_times(start_ns, duration_ns, told, rest)
    estimates = {one.stage for one in told if one.estimated} | {stage.stage for stage in rule.stages if stage.estimated}
    quality: dict[Stage, Quality] = {
        stage: "estimated" if stage in estimates else "measured"
        for stage, stage_ns in zip(STAGES, times.stages_ns.T, strict=True)
        if (stage_ns >= 0).any()
    }
    output = matches.first_value(rule.tokens_output, duration_ns)
    tokens_output = _tokens(output)
    tpot_seconds = _seconds(matches.first_value(rule.tpot, duration_ns), duration_ns)
    batch = InferenceBatch(
        model=matches.first_label(rule.model),
        start_ns=start_ns,
        end_ns=start_ns + duration_ns,
        stages_ns=times.stages_ns,
        parts=times.parts,
        compute_rows=times.compute.match,
        compute_start_ns=times.compute.start_ns,
        compute_end_ns=times.compute.end_ns,
        compute_estimated=times.compute_estimated,
        ttft_seconds=_seconds(matches.first_value(rule.ttft, duration_ns), duration_ns),
        tpot_seconds=np.where((tokens_output < 0) & ~np.isnan(output), np.nan, tpot_seconds),
        tokens_input=_tokens(matches.first_value(rule.tokens_input, duration_ns)),
        tokens_output=tokens_output,
        error=error,
        trace_id=matches.of_column(matches.table.trace_id).tolist(),
        quality=quality,
    )
    return batch, valid


def extent(e2e: Values, matches: Matches) -> tuple[Ints, Ints]:
    """Start and duration; the duration is -1 where none was told or what was told can't be right."""
    start_ns = matches.of_column(matches.table.start_ns)
    duration_ns = np.full(len(matches), ABSENT)
    for value in e2e:
        if isinstance(value, Between):
            first, last = matches.instants(value.first), matches.instants(value.last)
            told = (duration_ns == ABSENT) & (first != ABSENT) & (last != ABSENT)
            start_ns = np.where(told, first, start_ns)
            duration_ns = np.where(told, _limited(last - np.where(told, first, 0)), duration_ns)
        else:
            seconds = matches.value(value, duration_ns)
            duration_ns = np.where((duration_ns == ABSENT) & ~np.isnan(seconds), _nanoseconds(seconds), duration_ns)
        if not (duration_ns == ABSENT).any():
            break
    return start_ns, np.maximum(duration_ns, -1)


def _limited(ns: Ints) -> Ints:
    return np.where((ns < 0) | (ns > LONGEST_NS), -1, ns)


def _nanoseconds(seconds: Floats) -> Ints:
    """-1 where there are none, or where they can't be right."""
    sane = (seconds >= 0) & (seconds <= LONGEST_NS / NS_PER_SECOND)
    if sane.all():
        return np.rint(seconds * NS_PER_SECOND).astype(np.int64)
    return np.where(sane, np.rint(np.where(sane, seconds, 0) * NS_PER_SECOND), -1).astype(np.int64)


def _seconds(told: Floats, duration_ns: Ints) -> Floats:
    """NaN where there are none, or where they can't be right: nothing takes longer than the inference, to a nanosecond."""
    return np.where((told >= 0) & (told <= (duration_ns + 1) / NS_PER_SECOND), told, np.nan)


def _tokens(told: Floats) -> Ints:
    sane = (told >= 0) & (told <= TOKENS_LIMIT)
    if sane.all():
        return np.rint(told).astype(np.int64)
    return np.where(sane, np.rint(np.where(sane, told, 0)), -1).astype(np.int64)


def told_stages(rule: Rule, matches: Matches, lasting: tuple[Ints, Ints], part_names: PartNames) -> list[Told]:
    """What a rule tells of the stages of its matches; `lasting`: when they began and how long they took."""
    return [one for stage in rule.stages for part in stage.parts for one in _told(stage.stage, part, matches, lasting, part_names)]


def _told(stage: Stage, part: Part, matches: Matches, lasting: tuple[Ints, Ints], part_names: PartNames) -> list[Told]:
    """What a part's sources tell: one `Told`, or one for each name if the sender names the parts."""
    n = len(matches)
    _, duration_ns = lasting
    known, rejected = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    length_ns = np.full(n, -1, np.int64)
    found: list[Intervals] = []
    rows: list[Ints] = []
    estimated = False
    for source, is_estimate in zip(part.sources, part.estimated, strict=True):
        if isinstance(source, Between | Duration):
            intervals, row = matches.intervals(source)
            fresh = ~known[intervals.match]
            found.append(intervals.take(fresh))
            rows.append(row[fresh])
            here = np.zeros(n, np.bool_)
            here[found[-1].match] = True
            if isinstance(source, Duration) and source.minus is not None:
                found[-1] = without(*lasting, found[-1], matches.selected(source.minus))
        else:
            value = matches.value(source, duration_ns)
            here = ~known & ~np.isnan(value)
            ns = _nanoseconds(value)
            length_ns = np.where(here, ns, length_ns)
            rejected |= here & (ns < 0)
        known |= here
        estimated |= is_estimate and bool((here & ~rejected).any())
        if known.all():
            break
    intervals = joined(found) if found else NO_INTERVALS
    if part.name_key is None:
        return [Told(stage, part.name, intervals, length_ns, known, rejected, estimated)]
    texts = matches.table.texts(part.name_key).rows(np.concatenate(rows))
    names = part_names.of(stage, {text for _, text in texts.first_rows() if text is not None})
    name_of = np.array([names.get(text, "") if text is not None else "" for text in texts.kinds], np.str_).take(texts.places)
    return [
        Told(stage, name or None, intervals.take(name_of == name), length_ns, known, rejected, estimated)
        for name in sorted({*name_of.tolist()}, key=lambda name: (not name, name)) or [""]
    ]


def concatenated(batches: Sequence[InferenceBatch]) -> InferenceBatch:
    """All inferences of several batches (at least one), in their order."""
    if len(batches) == 1:
        return batches[0]
    before = np.cumsum([0, *map(len, batches)])
    quality: dict[Stage, Quality] = {}
    for batch in batches:
        quality.update({stage: one for stage, one in batch.quality.items() if quality.get(stage) != "estimated"})
    around_ns: Counter[PartKey] = Counter()
    for batch in batches:
        around_ns.update(batch.around_ns)
    return InferenceBatch(
        model=Names.joined([Names.of(batch.model) for batch in batches]),
        start_ns=np.concatenate([batch.start_ns for batch in batches]),
        end_ns=np.concatenate([batch.end_ns for batch in batches]),
        stages_ns=np.concatenate([batch.stages_ns for batch in batches]),
        parts=_parts(batches, before),
        compute_rows=np.concatenate([batch.compute_rows + rows for batch, rows in zip(batches, before, strict=False)]),
        compute_start_ns=np.concatenate([batch.compute_start_ns for batch in batches]),
        compute_end_ns=np.concatenate([batch.compute_end_ns for batch in batches]),
        compute_estimated=np.concatenate([batch.compute_estimated for batch in batches]),
        ttft_seconds=np.concatenate([batch.ttft_seconds for batch in batches]),
        tpot_seconds=np.concatenate([batch.tpot_seconds for batch in batches]),
        tokens_input=np.concatenate([batch.tokens_input for batch in batches]),
        tokens_output=np.concatenate([batch.tokens_output for batch in batches]),
        error=np.concatenate([batch.error for batch in batches]),
        trace_id=[trace_id for batch in batches for trace_id in batch.trace_id],
        quality=quality,
        around_ns=around_ns,
    )


def nothing_but(around_ns: Mapping[PartKey, int]) -> InferenceBatch:
    """No inferences, but time around some."""
    none, nothing = np.empty(0, np.int64), np.empty(0, np.float64)
    return InferenceBatch(
        model=Names.nothing(0),
        start_ns=none,
        end_ns=none,
        stages_ns=np.empty((0, len(STAGES)), np.int64),
        parts=(),
        compute_rows=none,
        compute_start_ns=none,
        compute_end_ns=none,
        compute_estimated=np.empty(0, np.bool_),
        ttft_seconds=nothing,
        tpot_seconds=nothing,
        tokens_input=none,
        tokens_output=none,
        error=np.empty(0, np.bool_),
        trace_id=(),
        quality={},
        around_ns=around_ns,
    )


def _parts(batches: Sequence[InferenceBatch], before: Ints) -> tuple[PartColumn, ...]:
    """One column for each part that any of the batches has."""
    columns: dict[tuple[Stage, str], list[tuple[Ints, Ints]]] = {}
    for batch, rows in zip(batches, before, strict=False):
        for part in batch.parts:
            columns.setdefault((part.stage, part.part), []).append((part.rows + rows, part.ns))
    return tuple(
        PartColumn(stage, part, np.concatenate([rows for rows, _ in found]), np.concatenate([ns for _, ns in found]))
        for (stage, part), found in columns.items()
    )
