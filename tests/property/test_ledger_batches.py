"""A batch is booked by columns: the same as its inferences one by one, and as a plain loop over them says."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from infermeter.config import Config, Limits, Sla, Slas
from infermeter.ledger.histogram import STAGE_EDGES_SECONDS
from infermeter.model import STAGES, LedgerSnapshot, ModelFacts
from support.ledgers import Inference, at, batch, config, ledger

END = 60
LAWS = settings(max_examples=20, deadline=None)
SLAS = Slas(default=Sla(0.9, 0.5, 0.2, 0.01), models={"embed": {"duration_seconds": 0.04, "ttft_seconds": None, "tpot_seconds": None}})
ONE_MODEL = Slas(models={"chat": {"duration_seconds": 0.3}})

seconds = st.sampled_from((0.0, 0.01, 0.04, 0.3, 0.64)) | st.integers(0, 3000).map(lambda ms: ms / 1000)
stage = st.none() | st.integers(0, 250)


@st.composite
def inferences(draw: st.DrawFn) -> Inference:
    """The stages take at most all of the time; ends are apart, so that one is the last."""
    duration = draw(seconds)
    shares = draw(st.tuples(stage, stage, stage, stage))
    end = draw(st.integers(0, END * 1000 - 1)) / 1000
    return Inference(
        end - duration,
        end,
        model=draw(st.sampled_from(("chat", "embed", None, "one", "too many"))),
        stages=tuple(None if share is None else round(duration * share / 1000, 6) for share in shares),  # type: ignore[arg-type]
        ttft=draw(st.none() | seconds),
        tpot=draw(st.none() | st.integers(0, 40).map(lambda ms: ms / 1000)),
        tokens=draw(st.sampled_from(((-1, -1), (3, 1), (3, 5), (-1, 100), (0, 0)))),
        error=draw(st.sampled_from((False, False, False, True))),
        trace_id=draw(st.integers(0, 2**63)).to_bytes(16, "big"),
    )


works = st.lists(inferences(), min_size=1, max_size=12, unique_by=lambda one: one.end)
configs = st.sampled_from((SLAS, ONE_MODEL, None)).map(lambda slas: config(sla=slas, limits=Limits(models=3)))


def booked(work: list[Inference], config_: Config, *, at_once: bool) -> LedgerSnapshot:
    book = ledger(config_)
    for some in [work] if at_once else [[one] for one in work]:
        book.add(batch(some), at(END))
    book.finish(at(END))
    snapshot = book.snapshot(at(END))
    return replace(snapshot, slots=tuple(snapshot.slots), windows=())  # sums over models differ by a rounding with the room there is


@LAWS
@given(works, configs)
def test_a_batch_says_the_same_as_its_inferences_one_by_one(work: list[Inference], config_: Config) -> None:
    assert booked(work, config_, at_once=True) == booked(work, config_, at_once=False)


@LAWS
@example([Inference(0.0, 0.0, model="chat"), Inference(0.001, 0.001, model="chat")])  # the first slot has both
@given(works)
def test_what_is_booked_is_what_a_plain_loop_counts(work: list[Inference]) -> None:
    config_ = config(sla=SLAS)
    told: dict[str, list[Inference]] = defaultdict(list)
    for one in work:
        told[one.model or "unknown"].append(one)
    snapshot = booked(work, config_, at_once=True)
    counted = {facts.model: facts.observed_ok + facts.observed_error for facts in snapshot.models}
    assert {model: n for model, n in counted.items() if n} == {model: len(of_model) for model, of_model in told.items()}
    for facts in snapshot.models:
        assert_told(facts, [one for one in told[facts.model] if not one.error])


def assert_told(facts: ModelFacts, ok: list[Inference]) -> None:
    """What the inferences that ended well come to."""
    assert facts.observed_ok == len(ok)
    assert facts.within_sla == sum(map(is_within, ok))
    durations = [(ns(one.end - one.start), one) for one in ok]
    counts = Counter(bisect_left([ns(edge) for edge in facts.duration.edges_seconds], value) for value, _ in durations)
    assert list(facts.duration.counts) == [counts[i] for i in range(len(facts.duration.counts))]
    by_bucket: dict[int, list[tuple[int, Inference]]] = defaultdict(list)
    for value, one in durations:
        by_bucket[bisect_left([ns(edge) for edge in facts.duration.edges_seconds], value)].append((value, one))
    exemplars = {i: exemplar for i, exemplar in enumerate(facts.duration.exemplars) if exemplar is not None}
    assert exemplars.keys() == by_bucket.keys()
    for bucket, exemplar in exemplars.items():
        last_slot = max(slot(one) for _, one in by_bucket[bucket])
        newest = [(one.trace_id.hex(), value / 1e9, at(one.end)) for value, one in by_bucket[bucket] if slot(one) == last_slot]
        assert tuple(exemplar) in newest
    ttft = [ns(one.ttft) for one in ok if one.ttft is not None]
    assert (facts.ttft is None) == (not ttft)
    if facts.ttft is not None:
        assert round(facts.ttft.sum_seconds * 1e9) == sum(ttft)
        assert sum(facts.ttft.counts) == len(ttft)
    for place, name in enumerate(STAGES):
        stage_ns = [ns(share) for one in ok if (share := one.stages[place]) is not None]
        assert (name in facts.stages) == bool(stage_ns)
        if stage_ns:
            counts = Counter(bisect_left([ns(edge) for edge in STAGE_EDGES_SECONDS], value) for value in stage_ns)
            assert list(facts.stages[name].counts) == [counts[i] for i in range(len(STAGE_EDGES_SECONDS) + 1)]
            assert round(facts.stages[name].sum_seconds * 1e9) == sum(stage_ns)
    tokens = [one.tokens[1] for one in ok if one.tokens[1] >= 0]
    assert facts.tokens_output == (sum(tokens) if tokens else None)


def is_within(one: Inference) -> bool:
    limits = (0.04, None, None) if one.model == "embed" else (0.5, 0.2, 0.01)
    values = (one.end - one.start, one.ttft, one.tpot)
    return all(value is None or limit is None or ns(value) <= ns(limit) for value, limit in zip(values, limits, strict=True))


def slot(one: Inference) -> int:
    """By its end; what ended just as the ledger started is in the first."""
    return max(-(-at(one.end) // 10**10), at(0) // 10**10 + 1)


def ns(value: float) -> int:
    return round(value * 1e9)
