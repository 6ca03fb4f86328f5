"""Prometheus' two text formats, written: text 0.0.4, which everything reads, and OpenMetrics 1.0.0, which carries exemplars. Pure.

From one scrape to the next values change, and the rest of a page hardly ever. So what stands before the values, names, labels and edges,
is laid out once (`exposition_layout`), and a page is a column of numbers in the order of its lines, written in one go and set between
what is laid out. Both formats share that, for they differ in what stands above the lines of a family and, in exemplars, behind values.

orjson writes floats, ten times as fast as `repr`, and by the same rule: the fewest digits that tell the number from its neighbours. It
differs in where exponents begin; what lies beyond is written here. Text is bytes all the way.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/, https://prometheus.io/docs/specs/om/open_metrics_spec/; numbers and
the order of labels (by name) are prometheus_client's, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, compress, pairwise
from operator import is_not
from typing import Final, NamedTuple

import numpy as np
import orjson

from infermeter.metrics.exposition_layout import EXPONENT_FROM, Header, Layout, Sheet, escaped, number
from infermeter.model import Exemplar, Floats, Histogram, Ints

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

LINES_A_PIECE: Final = 4_000
"""At most that many lines are written in one go: some millisecond and a half, with packing."""

_POINT_FROM: Final = 1e-4
"""What is nearer to 0, and isn't 0, has an exponent in Python, and in orjson often none."""

_POINT_UP_TO: Final = 1e16
"""From here on both have an exponent, and write it in different ways."""

_WHOLE_UP_TO: Final = 2.0**53
"""Whole numbers below are told apart as floats."""


class _Traced(NamedTuple):
    """The exemplars of a page, one or None for each of its layout's buckets; and by line what stands behind its value."""

    layout: Layout | None = None
    exemplars: Sequence[Exemplar | None] = ()
    behind: Sequence[bytes] = ()


class Writer:
    """Writes pages, one after the other. It remembers the exemplars of the last one, as hardly all of them are replaced by the next."""

    def __init__(self) -> None:
        self._last = _Traced()

    def pieces(self, sheet: Sheet, content_type: str) -> Iterator[bytes]:
        """The page in pieces of LINES_A_PIECE lines at most; other pages may be written before it is at its end.

        `content_type` is TEXT or OPENMETRICS.

        Raises:
            ValueError: a histogram has exemplars, and not one for each of its buckets.
        """
        is_openmetrics = content_type == OPENMETRICS
        above = _above_in_openmetrics if is_openmetrics else _above_in_text
        layout, values = sheet.layout, sheet.values[sheet.layout.values]
        behind = self._behind(sheet) if is_openmetrics else None
        pieces = max(1, -(-len(values) // LINES_A_PIECE))
        for begin, end in pairwise(len(values) * piece // pieces for piece in range(pieces + 1)):
            before = list(layout.lines[begin:end])
            for line, header in layout.heads:
                if begin <= line < end:
                    before[line - begin] = above(header).encode() + before[line - begin]
            if begin == 0 < end:
                before[0] = before[0][1:]  # which ends the line before
            columns: list[Sequence[bytes]] = [before, _texts(values[begin:end])]
            if behind is not None:
                columns.append(behind[begin:end])
            lines = [b""] * (len(columns) * len(before))
            for place, column in enumerate(columns):
                lines[place :: len(columns)] = column
            if end == len(values):
                lines.append((b"\n" if lines else b"") + (b"# EOF\n" if is_openmetrics else b""))
            yield b"".join(lines)

    def _behind(self, sheet: Sheet) -> Sequence[bytes]:
        """By line what stands behind its value: of a bucket its exemplar, if it has one."""
        layout, last = sheet.layout, self._last
        exemplars = list(chain.from_iterable(_exemplars(sheet.histograms[place]) for place in layout.traced))
        if layout is last.layout:
            known, behind, texts = last.exemplars, [*last.behind], {}
        else:
            known, behind = (None,) * len(exemplars), [b""] * len(layout.lines)
            lines = () if last.layout is None else last.layout.buckets
            texts = {id(exemplar): last.behind[line] for exemplar, line in zip(last.exemplars, lines, strict=True)}
        others = list(compress(range(len(exemplars)), map(is_not, exemplars, known)))
        unknown = [exemplar for exemplar in map(exemplars.__getitem__, others) if exemplar is not None and id(exemplar) not in texts]
        texts |= zip(map(id, unknown), _behind(unknown), strict=True)
        for place in others:
            behind[layout.buckets[place]] = texts.get(id(exemplars[place]), b"")
        self._last = _Traced(layout, exemplars, behind)
        return behind


def _above_in_text(header: Header) -> str:
    told = header.help.replace("\\", r"\\").replace("\n", r"\n")
    return f"\n# HELP {header.name} {told}\n# TYPE {header.name} {header.kind}"


def _above_in_openmetrics(header: Header) -> str:
    """A counter's own name is without `_total`."""
    name = header.name.removesuffix("_total") if header.kind == "counter" else header.name
    unit = f"\n# UNIT {name} {header.unit}" if header.unit else ""
    return f"\n# HELP {name} {escaped(header.help)}\n# TYPE {name} {header.kind}{unit}"


def _texts(values: Floats) -> list[bytes]:
    """Numbers as both formats write them; all are finite."""
    texts = _digits(values)
    nearness = np.abs(values)
    large, whole = values >= EXPONENT_FROM, (values < _WHOLE_UP_TO) & (values == np.floor(values))
    if large.any():
        counts = np.flatnonzero(large & whole)
        for place, digits in zip(counts.tolist(), _digits(values[counts].astype(np.int64)), strict=True):
            texts[place] = b"%be+%02d" % ((digits[:1] + b"." + digits[1:]).rstrip(b"0."), len(digits) - 1)
    others = (large & ~whole) | (nearness >= _POINT_UP_TO) | ((nearness < _POINT_FROM) & (values != 0))
    for place in np.flatnonzero(others).tolist():
        texts[place] = number(values[place]).encode()
    return texts


def _digits(values: Floats | Ints) -> list[bytes]:
    """As orjson writes them."""
    return orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",") if len(values) else []


def _exemplars(histogram: Histogram) -> Sequence[Exemplar | None]:
    """One for each bucket."""
    if len(histogram.exemplars) == len(histogram.counts):
        return histogram.exemplars
    if histogram.exemplars:
        raise ValueError("a histogram has exemplars, and not one for each of its buckets")
    return (None,) * len(histogram.counts)


def _behind(exemplars: Sequence[Exemplar]) -> list[bytes]:
    """Exemplars as they stand behind the values of their buckets. The time is written as Python does."""
    if not exemplars:
        return []
    trace_ids, values, times_ns = zip(*exemplars, strict=True)
    if not "".join(trace_ids).encode().isalnum():  # which looks at bytes, and is fast
        trace_ids = tuple(map(escaped, trace_ids))
    seconds = np.array(times_ns, np.float64) / 1e9
    times = _digits(seconds)
    for place in np.flatnonzero((seconds >= _POINT_UP_TO) | ((seconds < _POINT_FROM) & (seconds != 0))).tolist():
        times[place] = repr(float(seconds[place])).encode()
    told = zip(trace_ids, _texts(np.array(values, np.float64)), times, strict=True)
    return [b' # {trace_id="%b"} %b %b' % (trace_id.encode(), value, time) for trace_id, value, time in told]
