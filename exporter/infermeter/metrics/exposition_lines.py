"""Prometheus' two text formats, written: text 0.0.4, which everything reads, and OpenMetrics 1.0.0, which carries exemplars. Pure.

From one scrape to the next values change, and the rest of a page hardly ever. So the lines of a family are one template, with labels
escaped and edges formatted, into which the values go. It is made anew when the labels or edges of the family's points are others, and
forgotten with the family: what is remembered is as long as the last page. Both formats share it, for they differ in what stands above
the lines and, in exemplars, behind the value. Of a histogram its values as texts are remembered too: one in which nothing was counted is
the same object as before, and so are exemplars that none has replaced.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/, https://prometheus.io/docs/specs/om/open_metrics_spec/; numbers and
the order of labels (by name) are prometheus_client's, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from math import inf, isnan
from operator import add
from typing import Final, Literal, NamedTuple

from infermeter.metrics.families import Point
from infermeter.model import Exemplar, Histogram

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

LINES_A_PIECE: Final = 2_000
"""Lines that are written in one go, and the rest of their family: some two milliseconds."""

_EXPONENT_FROM: Final = 1e6
"""Positive numbers have an exponent from here on, as Go writes them; Python does from 1e16 on."""


class Header(NamedTuple):
    """What a family says of itself. `name` is that of its samples: a counter's ends in `_total`, a histogram's has no suffix yet."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    unit: str = ""


class _Written(NamedTuple):
    """A histogram and what was written of it: the values of its lines, and what stands behind those of its buckets."""

    histogram: Histogram
    values: Sequence[str]
    behind: Sequence[str]


class _Lines(NamedTuple):
    """What is remembered of a family: labels (and edges) of its points, the template of their lines, and its histograms."""

    shape: Sequence[object]
    template: str
    written: Sequence[_Written]


class Writer:
    """Writes pages of the same families again and again."""

    def __init__(self) -> None:
        self._lines: dict[Header, _Lines] = {}
        self._content_type = TEXT

    def page(self, families: Iterable[tuple[Header, Sequence[Point]]], content_type: str) -> bytes:
        """The families in their order, each of one kind: a histogram's points are histograms, the others' numbers.

        `content_type` is TEXT or OPENMETRICS.

        Raises:
            UnicodeEncodeError: a label holds a lone surrogate.
            OverflowError: a whole number is beyond what a float holds.
        """
        return b"".join(self.pieces(families, content_type))

    def pieces(self, families: Iterable[tuple[Header, Sequence[Point]]], content_type: str) -> Iterator[bytes]:
        """The page in pieces, of some LINES_A_PIECE lines each; other pages may be written before it is at its end."""
        with_exemplars, before = content_type == OPENMETRICS, self._lines
        above = _above_in_openmetrics if with_exemplars else _above_in_text
        is_like_before = content_type == self._content_type
        texts: list[str] = []
        remembered: dict[Header, _Lines] = {}
        room = LINES_A_PIECE
        for header, points in families:
            if room <= 0:
                yield "".join(texts).encode()
                texts, room = [], LINES_A_PIECE
            lines = _lines(header, points, before.get(header))
            if header.kind == "histogram":
                known = lines.written if is_like_before else ()
                lines = lines._replace(written=_histograms(points, known, with_exemplars=with_exemplars))
                values = [text for one in lines.written for text in one.values]
            else:
                values = _numbers(points)
            texts += above(header), lines.template % tuple(values)
            remembered[header] = lines
            room -= len(values)
        self._lines, self._content_type = remembered, content_type
        yield "".join((*texts, "# EOF\n") if with_exemplars else texts).encode()


def number(value: float) -> str:
    """A number as both formats write it. Raises: OverflowError (a whole number that is no float)."""
    text = repr(float(value))
    return text if -inf < value < _EXPONENT_FROM else _as_go_does(value, text)


def _as_go_does(value: float, text: str) -> str:
    if isnan(value):
        return "NaN"
    if value in (inf, -inf):
        return "+Inf" if value > 0 else "-Inf"
    whole, _, fraction = text.partition(".")
    if not fraction or len(whole) == 1:  # Python has written an exponent
        return text
    return f"{f'{whole[0]}.{whole[1:]}{fraction}'.rstrip('0.')}e+{len(whole) - 1:02d}"


def _above_in_text(header: Header) -> str:
    told = header.help.replace("\\", r"\\").replace("\n", r"\n")
    return f"# HELP {header.name} {told}\n# TYPE {header.name} {header.kind}\n"


def _above_in_openmetrics(header: Header) -> str:
    """A counter's own name is without `_total`."""
    name = header.name.removesuffix("_total") if header.kind == "counter" else header.name
    unit = f"# UNIT {name} {header.unit}\n" if header.unit else ""
    return f"# HELP {name} {_escaped(header.help)}\n# TYPE {name} {header.kind}\n{unit}"


def _lines(header: Header, points: Sequence[Point], known: _Lines | None) -> _Lines:
    """The lines of the points, with a place for each value: those that are known, if nothing else has changed."""
    if header.kind == "histogram":
        shape: Sequence[object] = [(labels, value.edges_seconds) for labels, value in points if isinstance(value, Histogram)]
    else:
        shape = [labels for labels, _ in points]
    if known is not None and known.shape == shape:
        return known
    return _Lines(shape, "".join(_template(header.name, point) for point in points), ())


def _template(name: str, point: Point) -> str:
    if isinstance(point.value, Histogram):
        return _histogram_lines(name, point.labels, point.value.edges_seconds)
    return _line(name, point.labels)


def _histogram_lines(name: str, labels: Mapping[str, str], edges: Sequence[float]) -> str:
    buckets = (_line(f"{name}_bucket", {**labels, "le": number(edge)}) for edge in (*edges, inf))
    return "".join((*buckets, _line(f"{name}_count", labels), _line(f"{name}_sum", labels)))


def _line(name: str, labels: Mapping[str, str]) -> str:
    told = ",".join(f'{label}="{_escaped(text)}"' for label, text in sorted(labels.items()))
    return f"{name}{{{told}}} ".replace("%", "%%") + "%s\n" if told else f"{name} %s\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _numbers(points: Sequence[Point]) -> list[str]:
    """What goes into the places of a template, one number a point. Nearly all are short ones, which need no function."""
    return [
        repr(value) if value.__class__ is float and -inf < value < _EXPONENT_FROM else number(value)
        for _, value in points
        if not isinstance(value, Histogram)
    ]


def _histograms(points: Sequence[Point], known: Sequence[_Written], *, with_exemplars: bool) -> list[_Written]:
    """`known`: what was written of the points before, in their order, as far as that is known."""
    histograms = (value for _, value in points if isinstance(value, Histogram))
    return [
        before if before is not None and before.histogram is histogram else _written(histogram, before, with_exemplars=with_exemplars)
        for histogram, before in zip(histograms, chain(known, repeat(None)), strict=False)
    ]


def _written(histogram: Histogram, before: _Written | None, *, with_exemplars: bool) -> _Written:
    """Cumulative counts of the buckets, then count and sum."""
    cumulative = _cumulative(histogram.counts)
    behind: Sequence[str] = ()
    values = cumulative
    if with_exemplars and histogram.exemplars:
        known = () if before is None else zip(before.histogram.exemplars, before.behind, strict=False)
        behind = [
            text if of is exemplar else _behind(exemplar)
            for exemplar, (of, text) in zip(histogram.exemplars, chain(known, repeat((None, ""))), strict=False)
        ]
        values = list(map(add, cumulative, behind))
    return _Written(histogram, (*values, cumulative[-1], number(histogram.sum_seconds)), behind)


def _cumulative(counts: Sequence[int]) -> list[str]:
    told: list[str] = []
    total, text = 0, "0.0"
    for count in counts:
        if count:  # many are empty
            total += count
            text = f"{total}.0" if total < _EXPONENT_FROM else number(total)
        told.append(text)
    return told


def _behind(exemplar: Exemplar | None) -> str:
    """An exemplar as it stands behind the value of its bucket."""
    if exemplar is None:
        return ""
    trace_id = exemplar.trace_id if exemplar.trace_id.isalnum() else _escaped(exemplar.trace_id)
    return f' # {{trace_id="{trace_id}"}} {number(exemplar.value_seconds)} {exemplar.time_ns / 1e9}'
