"""Whatever a sender writes into the spans of a known server: no crash, no number that breaks a law, no label that can't be told."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infermeter.mapping import load_mappings
from infermeter.mapping.rules import Attribute, Event, Label, Match, ServerMapping, TextMatch, operators
from infermeter.model import STAGES, InferenceBatch
from unit.mapping.hand_made import Span, batches, mapper, ns

MAPPINGS = load_mappings("auto", {})
KEYS = sorted(
    {key for operator in operators(MAPPINGS) if isinstance(operator, Attribute | Label) for key in operator.keys}
    | {key for match in operators(MAPPINGS) if isinstance(match, Match) for key, _ in match.attributes}
    | {"infermeter.part"}
)
EVENTS = sorted({name for event in operators(MAPPINGS) if isinstance(event, Event) for name in event.names})
VALUES = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(st.characters(), max_size=20),
    st.sampled_from(["12", "nan", "1e999", "http.request", "/v2/models/m/infer", "kv", "\ud800\x00", "1.5ms", "9e9s", "99999999s", "chat"]),
)
INSTANTS = st.one_of(st.floats(0, 1000), st.sampled_from([-1.7e12, -1e9, 5e12]))
LIKE_PATTERNS = [
    "GET /",
    "POST /v2/models/m/infer",
    "/inference.GRPCInferenceService/ModelInfer",
    "Req 1234abcd",
    "proxy_http_request A",
    "mlp",
]


def texts(matches: Iterable[TextMatch | None]) -> list[str]:
    """Texts that these matches take."""
    found = [match for match in matches if match is not None]
    return sorted({text for match in found for text in match.exact} | {f"{match.prefix}x" for match in found if match.prefix})


@cache
def spans_for(server: str) -> st.SearchStrategy[Span]:
    """Spans that have the names and scopes that the mapping of a server asks for, with anything in them."""
    asked = [match for match in operators(applying(server)) if isinstance(match, Match)]
    return st.builds(
        lambda start, length, **others: Span(start=start, end=start + length, **others),
        name=st.sampled_from([*texts(match.span for match in asked), *LIKE_PATTERNS]),
        scope=st.sampled_from([*texts(match.scope for match in asked), "asgi", "trt.llm"]),
        start=INSTANTS,
        length=st.one_of(st.floats(0, 1000), st.sampled_from([0.0, 1e9])),
        id=st.sampled_from("abcdef"),
        parent=st.sampled_from(["", "a", "b", "c", "far"]),
        trace=st.sampled_from("123"),
        kind=st.sampled_from(["server", "internal", "client"]),
        status=st.sampled_from(["unset", "error"]),
        attributes=st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=8),
        events=st.lists(st.tuples(st.sampled_from(EVENTS), INSTANTS), max_size=6),
        resource=st.sampled_from([{}, {"service.name": "mlserver"}, {"service.name": "smg", "service.namespace": "b"}]),
    )


def applying(server: str) -> tuple[ServerMapping, ...]:
    return tuple(mapping for mapping in MAPPINGS if server in ("all", mapping.server))


@pytest.mark.parametrize("server", ["all", *(mapping.server for mapping in MAPPINGS)])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_garbage_in_spans_breaks_no_law(server: str, data: st.DataObject) -> None:
    spans = data.draw(st.lists(spans_for(server), min_size=1, max_size=25))
    of = mapper(*applying(server), bounded=False)
    of.add(batches(spans, of.wanted), ns(0))
    batch = of.finish()
    assert of.spans_mapped + of.spans_unmapped.total() + of.spans_dropped.total() == len(spans)
    if batch is not None:
        assert_lawful(batch)


def assert_lawful(batch: InferenceBatch) -> None:
    duration_ns = batch.end_ns - batch.start_ns
    stages_ns = np.maximum(batch.stages_ns, 0)
    other_ns = duration_ns - stages_ns.sum(axis=1)
    assert (other_ns >= 0).all()
    assert all(ns > 0 for ns in batch.around_ns.values())
    assert (batch.stages_ns >= -1).all()
    parts_ns = np.zeros_like(stages_ns)
    for part in batch.parts:
        np.add.at(parts_ns, (part.rows, STAGES.index(part.stage)), part.ns)
    assert (parts_ns <= stages_ns).all()

    rows = batch.compute_rows
    assert (batch.start_ns[rows] <= batch.compute_start_ns).all()
    assert (batch.compute_start_ns < batch.compute_end_ns).all()
    assert (batch.compute_end_ns <= batch.end_ns[rows]).all()
    computing_ns = np.zeros_like(duration_ns)
    np.add.at(computing_ns, rows, batch.compute_end_ns - batch.compute_start_ns)
    assert (computing_ns == np.where(batch.compute_estimated, other_ns, stages_ns[:, STAGES.index("compute")])).all()

    for seconds in (batch.ttft_seconds, batch.tpot_seconds):
        assert (np.isnan(seconds) | ((seconds >= 0) & np.isfinite(seconds))).all()
    assert (batch.tokens_input >= -1).all()
    assert (batch.tokens_output >= -1).all()
    for model in batch.model:
        assert model is None or (0 < len(model) <= 256 and model.isprintable() and model.encode())
