"""Prometheus' two text formats, written: text 0.0.4, which everything reads, and OpenMetrics 1.0.0, which carries exemplars. Pure.

From one scrape to the next values change, and the rest of a page hardly ever. So the lines of a family are one template, with labels
escaped and edges formatted, into which the values go. It is made anew when the labels or edges of the family's points are others, and
forgotten with the family: what is remembered is as long as the last page. Both formats share it, for they differ in what stands above
the lines and, in exemplars, behind the value.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/, https://prometheus.io/docs/specs/om/open_metrics_spec/; numbers and
the order of labels (by name) are prometheus_client's, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf, isnan
from typing import Final, Literal, NamedTuple, TypeAlias

from infermeter.metrics.families import Point
from infermeter.model import Exemplar, Histogram

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_EXPONENT_FROM: Final = 1e6
"""Positive numbers have an exponent from here on, as Go writes them; Python does from 1e16 on."""


class Header(NamedTuple):
    """What a family says of itself. `name` is that of its samples: a counter's ends in `_total`, a histogram's has no suffix yet."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    unit: str = ""


_Shape: TypeAlias = Sequence[tuple[Mapping[str, str], Sequence[float] | None]]
"""Labels and edges (None: no histogram) of each point: what its lines look like, apart from the values."""


class Writer:
    """Writes pages of the same families again and again."""

    def __init__(self) -> None:
        self._templates: dict[Header, tuple[_Shape, str]] = {}

    def page(self, families: Iterable[tuple[Header, Sequence[Point]]], content_type: str) -> bytes:
        """The families in their order, each of one kind: a histogram's points are histograms, the others' numbers.

        `content_type` is TEXT or OPENMETRICS.

        Raises:
            UnicodeEncodeError: a label holds a lone surrogate.
            OverflowError: a whole number is beyond what a float holds.
        """
        with_exemplars = content_type == OPENMETRICS
        above = _above_in_openmetrics if with_exemplars else _above_in_text
        texts: list[str] = []
        templates: dict[Header, tuple[_Shape, str]] = {}
        for header, points in families:
            shape = [(point.labels, point.value.edges_seconds if isinstance(point.value, Histogram) else None) for point in points]
            known = self._templates.get(header)
            templates[header] = known if known is not None and known[0] == shape else (shape, _template(header.name, shape))
            texts += above(header), templates[header][1] % tuple(_values(points, with_exemplars=with_exemplars))
        self._templates = templates
        return "".join((*texts, "# EOF\n") if with_exemplars else texts).encode()


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


def _template(name: str, shape: _Shape) -> str:
    """The lines of the points, with a place for each value."""
    return "".join(_line(name, labels) if edges is None else _histogram_lines(name, labels, edges) for labels, edges in shape)


def _histogram_lines(name: str, labels: Mapping[str, str], edges: Sequence[float]) -> str:
    buckets = (_line(f"{name}_bucket", {**labels, "le": number(edge)}) for edge in (*edges, inf))
    return "".join((*buckets, _line(f"{name}_count", labels), _line(f"{name}_sum", labels)))


def _line(name: str, labels: Mapping[str, str]) -> str:
    told = ",".join(f'{label}="{_escaped(text)}"' for label, text in sorted(labels.items()))
    return f"{name}{{{told}}} ".replace("%", "%%") + "%s\n" if told else f"{name} %s\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _values(points: Sequence[Point], *, with_exemplars: bool) -> list[str]:
    """What goes into the places of a template: cumulative counts of the buckets, then count and sum, or one number."""
    values: list[str] = []
    for _, value in points:
        if isinstance(value, Histogram):
            cumulative = _cumulative(value.counts)
            told = map(_traced, cumulative, value.exemplars) if with_exemplars and value.exemplars else cumulative
            values += *told, cumulative[-1], number(value.sum_seconds)
        else:
            values.append(number(value))
    return values


def _cumulative(counts: Sequence[int]) -> list[str]:
    told: list[str] = []
    total, text = 0, "0.0"
    for count in counts:
        if count:  # many are empty
            total += count
            text = number(total)
        told.append(text)
    return told


def _traced(count: str, exemplar: Exemplar | None) -> str:
    if exemplar is None:
        return count
    trace_id = exemplar.trace_id if exemplar.trace_id.isalnum() else _escaped(exemplar.trace_id)
    return f'{count} # {{trace_id="{trace_id}"}} {number(exemplar.value_seconds)} {exemplar.time_ns / 1e9}'
