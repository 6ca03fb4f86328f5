"""What a mapping sees in recorded spans, as text: stages of each inference, and what there is in spans that it has no rule for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from infermeter.config import Assembly, Limits
from infermeter.mapping import Mapper, ServerMapping
from infermeter.model import SPAN_KINDS, STAGES, InferenceBatch, Ints
from infermeter.otlp.answers import Encoding
from infermeter.otlp.columns import Outline
from infermeter.otlp.json import decode_json, outlined_json
from infermeter.otlp.protobuf import decode_protobuf, outlined_protobuf

INFERENCES_SHOWN, NAMES_SHOWN, WORDS_SHOWN = 20, 40, 60
"""Lines of inferences, lines of spans without a rule, and attribute keys (or events) of each."""

_NS_PER_MS = 1e6
_MEANING = {
    "mapped": "are inferences or parts of them",
    "no_rule": "have no rule",
    "incomplete": "are read for another span, but belong to no inference",
    "invalid": "are inferences whose duration can't be right",
    "suppressed": "lie below an inference, or around a better one",
    "duplicate": "came twice",
    "malformed": "have no valid ids or times",
}


@dataclass(slots=True)
class _Unread:
    """Spans of one scope, name and kind that no rule has a use for."""

    spans: int = 0
    keys: set[str] = field(default_factory=set)
    events: set[str] = field(default_factory=set)


class Trial:
    """One mapping over recorded exports: give it those, then ask what it told."""

    def __init__(self, mapping: ServerMapping) -> None:
        self._mapping = mapping
        self._mapper = Mapper([mapping], assembly=Assembly(), limits=Limits(), bounded=False)
        self._malformed = 0
        self._unread: dict[tuple[str, str, int], _Unread] = {}

    def export(self, body: bytes, encoding: Encoding, _protocol: Literal["file"], /) -> None:
        """Takes one export. Raises: DecodeError."""
        wanted = self._mapper.wanted
        export = decode_json(body, wanted) if encoding == "json" else decode_protobuf(body, wanted)
        self._malformed += export.malformed
        unread: set[tuple[bytes, bytes]] = set()
        for batch in export.batches:
            rows = np.flatnonzero(self._mapper.unread(batch)).tolist()
            unread.update((batch.trace_id[row].tobytes(), batch.span_id[row].tobytes()) for row in rows)
        for outline in outlined_json(body) if encoding == "json" else outlined_protobuf(body):
            if (outline.trace_id, outline.span_id) in unread:
                self._add(outline)
        self._mapper.add(export.batches, 0)

    def _add(self, outline: Outline) -> None:
        found = self._unread.setdefault((outline.scope, outline.name, outline.kind), _Unread())
        found.spans += 1
        found.keys.update(outline.keys)
        found.events.update(outline.events)

    def told(self) -> Iterator[str]:
        """All lines. Of spans without a rule names and keys only, never a value."""
        batch = self._mapper.finish()
        yield f"{self._mapping.server}: {self._mapping.title}"
        fates = {"mapped": self._mapper.spans_mapped, **self._mapper.spans_unmapped, **self._mapper.spans_dropped}
        fates["malformed"] = self._malformed
        yield f"{sum(fates.values())} spans"
        yield from (f"  {count} {_MEANING[fate]}" for fate, count in fates.items() if count)
        yield ""
        yield from ["no inference"] if batch is None else _inferences(batch)
        if self._unread:
            yield from self._without_rule()

    def _without_rule(self) -> Iterator[str]:
        ordered = sorted(self._unread.items(), key=lambda entry: (-entry[1].spans, entry[0]))
        yield "\nspans without a rule, by scope, name and kind; what there is in them:"
        for (scope, name, kind), found in ordered[:NAMES_SHOWN]:
            known = SPAN_KINDS[kind] if 0 <= kind < len(SPAN_KINDS) else SPAN_KINDS[0]
            yield _clean(f"  {found.spans} x scope {scope or '(none)'}, span {name or '(none)'}, kind {known}")
            for what, words in (("attrs", found.keys), ("events", found.events)):
                if words:
                    yield _clean(f"      {what}: {_words(sorted(words))}")
        if len(ordered) > NAMES_SHOWN:
            yield f"  and {len(ordered) - NAMES_SHOWN} more names"


def _inferences(batch: InferenceBatch) -> Iterator[str]:
    """The first of them, and the sums over all."""
    duration_ns = batch.end_ns - batch.start_ns
    other_ns = duration_ns - np.maximum(batch.stages_ns, 0).sum(axis=1)
    times = np.column_stack((duration_ns, batch.stages_ns, other_ns))
    errors = int(batch.error.sum())
    yield f"{len(batch)} inferences{f', {errors} with an error' if errors else ''}; milliseconds, - is what isn't told"
    head = ("duration", *STAGES, "other", "ttft", "tpot", "tokens", "model")
    yield "  " + " ".join(f"{word:>13}" for word in head[:-1]) + "  " + head[-1]
    for row in np.argsort(batch.start_ns, kind="stable")[:INFERENCES_SHOWN].tolist():
        latency = [_ms(None if np.isnan(column[row]) else column[row] * 1e3) for column in (batch.ttft_seconds, batch.tpot_seconds)]
        tokens = "/".join("-" if column[row] < 0 else str(column[row]) for column in (batch.tokens_input, batch.tokens_output))
        about = f"{batch.model[row] or '-'}{' (error)' if batch.error[row] else ''}"
        cells = [*(_ms(None if told < 0 else told / _NS_PER_MS) for told in times[row].tolist()), *latency, tokens]
        yield _clean("  " + " ".join(f"{cell:>13}" for cell in cells) + "  " + about)
    if len(batch) > INFERENCES_SHOWN:
        yield f"  and {len(batch) - INFERENCES_SHOWN} more"
    yield from _sums(batch, times)


def _sums(batch: InferenceBatch, times: Ints) -> Iterator[str]:
    known = [("duration", times[:, 0]), *zip(STAGES, times[:, 1:-1].T, strict=True), ("other", times[:, -1])]
    total_ns = max(int(times[:, 0].sum()), 1)
    yield "sums over all of them:"
    for name, column in known:
        told = column[column >= 0]
        if len(told):
            quality = batch.quality.get(name) if name in STAGES else None
            note = "" if quality in (None, "measured") else f", {quality}"
            yield f"  {name:<16}{_ms(int(told.sum()) / _NS_PER_MS):>16} ms {int(told.sum()) / total_ns:>7.1%}{note}"
        else:
            yield f"  {name:<16}{'-':>16}"
    parts = {f"{part.stage}.{part.part}": int(part.ns.sum()) for part in batch.parts}
    yield from (f"  {name:<32}{_ms(ns / _NS_PER_MS):>16} ms" for name, ns in sorted(parts.items()))
    if batch.compute_estimated.any():
        yield f"  {int(batch.compute_estimated.sum())} tell no compute: what no stage claims counts as computing, estimated"


def _ms(milliseconds: float | None) -> str:
    return "-" if milliseconds is None else f"{milliseconds:.3f}"


def _words(words: Sequence[str]) -> str:
    shown = ", ".join(words[:WORDS_SHOWN])
    return f"{shown} and {len(words) - WORDS_SHOWN} more" if len(words) > WORDS_SHOWN else shown


def _clean(line: str) -> str:
    """The line without what a terminal would take for a command: names are the sender's."""
    return "".join(letter if letter.isprintable() else " " for letter in line[:2000])
