"""Law 1: stages >= 0; stages + other = duration, to the nanosecond; an instant belongs to the first stage that claims it.

The oracle walks every nanosecond of inferences that are a few dozen long.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from infermeter.mapping.stages import BLOCK, Intervals, StageTimes, Told, stage_times
from infermeter.model import STAGE_PRIORITY, STAGES, Stage

START_NS = 1_800_000_000_000_000_000
LONG_NS = 40


@dataclass(frozen=True)
class Claim:
    """Part of a stage: for each inference its intervals, a length (None: by no length), and whether it is rejected."""

    stage: Stage
    part: str
    intervals: tuple[tuple[tuple[int, int], ...], ...]
    lengths: tuple[int | None, ...]
    rejected: tuple[bool, ...]

    def told(self) -> Told:
        flat = [(match, a, b) for match, of_one in enumerate(self.intervals) for a, b in of_one]
        columns = np.array(flat, np.int64).reshape(-1, 3).T
        length_ns = np.array([-1 if length is None else length for length in self.lengths], np.int64)
        rejected = np.array(self.rejected, np.bool_)
        return Told(
            self.stage,
            self.part,
            Intervals(columns[0], START_NS + columns[1], START_NS + columns[2]),
            length_ns,
            (length_ns >= 0) | np.isin(np.arange(len(length_ns)), columns[0]) | rejected,
            rejected,
        )

    def known(self, row: int) -> bool:
        return not self.rejected[row] and (self.lengths[row] is not None or bool(self.intervals[row]))


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[int], list[Claim], Stage | None]:
    n = draw(st.integers(1, 4))
    durations = draw(st.lists(st.integers(0, LONG_NS), min_size=n, max_size=n))
    rest = draw(st.sampled_from([None, None, *(stage for stage in STAGES if stage != "compute")]))
    interval = st.tuples(st.integers(-10, LONG_NS + 10), st.integers(0, 30)).map(lambda one: (one[0], one[0] + one[1]))
    intervals = st.lists(interval, max_size=3).map(tuple)
    claims = [
        Claim(
            stage,
            f"part{number}",
            tuple(draw(st.lists(intervals, min_size=n, max_size=n))),
            tuple(draw(st.lists(st.none() | st.integers(0, LONG_NS), min_size=n, max_size=n))),
            tuple(draw(st.lists(st.sampled_from([False] * 5 + [True]), min_size=n, max_size=n))),
        )
        for number, stage in enumerate(draw(st.lists(st.sampled_from([stage for stage in STAGES if stage != rest]), max_size=5)))
    ]
    return durations, claims, rest


def split(row: int, duration: int, claims: list[Claim], rest: Stage | None) -> tuple[dict[str, int], dict[str, int], set[int]]:
    """Stages, parts, and the instants of compute that are told as such, walked nanosecond by nanosecond."""
    rejected = {claim.stage for claim in claims if claim.rejected[row]}
    ordered = [claim for stage in STAGE_PRIORITY for claim in claims if claim.stage == stage and stage not in rejected]
    parts = {claim.part: 0 for claim in ordered}
    computing = set()
    left = 0
    for instant in range(duration):
        owner = next((claim for claim in ordered if any(a <= instant < b for a, b in claim.intervals[row])), None)
        if owner is None:
            left += 1
            continue
        parts[owner.part] += 1
        if owner.stage == "compute":
            computing.add(instant)
    for claim in ordered:
        filled = min(claim.lengths[row] or 0, left)
        parts[claim.part] += filled
        left -= filled
    stages: dict[str, int] = {}
    for claim in ordered:
        if any(one.known(row) for one in ordered if one.stage == claim.stage):
            stages[claim.stage] = stages.get(claim.stage, 0) + parts[claim.part]
    if rest is not None and all(claim.known(row) for claim in claims):
        stages[rest], left = left, 0
    return stages, parts, computing


def result(durations: list[int], claims: list[Claim], rest: Stage | None) -> StageTimes:
    duration_ns = np.array(durations, np.int64)
    return stage_times(np.full(len(durations), START_NS), duration_ns, [claim.told() for claim in claims], rest)


@settings(max_examples=150, deadline=None)
@given(cases())
def test_stages_and_parts_are_what_a_walk_over_every_nanosecond_finds(case: tuple[list[int], list[Claim], Stage | None]) -> None:
    durations, claims, rest = case
    times = result(durations, claims, rest)
    for row, duration in enumerate(durations):
        stages, parts, computing = split(row, duration, claims, rest)
        assert {stage: ns for stage, ns in zip(STAGES, times.stages_ns[row].tolist(), strict=True) if ns >= 0} == stages
        found = {part.part: ns for part in times.parts for at, ns in zip(part.rows.tolist(), part.ns.tolist(), strict=True) if at == row}
        assert found == {part: ns for part, ns in parts.items() if ns}
        assert 0 <= sum(stages.values()) <= duration
        intervals = [
            (int(start) - START_NS, int(end) - START_NS)
            for at, start, end in zip(times.compute.match, times.compute.start_ns, times.compute.end_ns, strict=True)
            if at == row
        ]
        assert all(0 <= start < end <= duration for start, end in intervals)
        assert computing <= {instant for start, end in intervals for instant in range(start, end)}
        assert times.compute_estimated[row] == ("compute" not in stages)
        if "compute" in stages:
            assert sum(end - start for start, end in intervals) == stages["compute"]
        else:
            assert sum(end - start for start, end in intervals) == duration - sum(stages.values())


def test_a_planted_split_is_found_in_every_one_of_more_inferences_than_fit_a_block() -> None:
    n = BLOCK + 100
    rows = np.arange(n)
    start_ns = START_NS + rows * 7
    none = np.full(n, -1)
    told = [
        Told(stage, None, Intervals(rows, start_ns + begin, start_ns + end), none, rows >= 0, rows < 0)
        for stage, begin, end in (("queue", 0, 60), ("compute", 50, 90), ("serialisation", 80, 99))
    ]
    times = stage_times(start_ns, np.full(n, 100), told)  # type: ignore[arg-type]
    assert np.unique(times.stages_ns, axis=0).tolist() == [[50, 40, -1, 9]]
    assert sorted(times.compute.match.tolist()) == rows.tolist()
    assert set((times.compute.start_ns - start_ns[times.compute.match]).tolist()) == {50}
    assert set((times.compute.end_ns - start_ns[times.compute.match]).tolist()) == {90}


def test_inferences_of_a_week_each_do_not_overflow() -> None:
    n, week_ns = BLOCK, 7 * 86_400 * 10**9
    rows = np.arange(n)
    start_ns = np.full(n, START_NS)
    told = Told("compute", None, Intervals(rows, start_ns + 1, start_ns + week_ns), np.full(n, -1), rows >= 0, rows < 0)
    assert set(stage_times(start_ns, np.full(n, week_ns), [told]).stages_ns[:, 1].tolist()) == {week_ns - 1}
