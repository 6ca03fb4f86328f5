"""What of a page stays the same from scrape to scrape: which line has which value, and what stands before it. Pure.

Rows are laid out one by one, each anew when its shape is another, and forgotten with it. Their lines are then put in the page's order,
family by family, anew when a row was, or when other values are absent. What is remembered is as long as the last page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import inf, isnan
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np

from infermeter.metrics.rows import Row
from infermeter.model import Bools, Floats, Histogram, Ints

ROWS_A_PIECE: Final = 12
"""Rows that are laid out in one go: some three milliseconds."""

EXPONENT_FROM: Final = 1e6
"""Positive numbers have an exponent from here on, as Go writes them; Python does from 1e16 on."""


class Header(NamedTuple):
    """What a family says of itself. `name` is that of its samples: a counter's ends in `_total`, a histogram's has no suffix yet."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    unit: str = ""


class Name(NamedTuple):
    """What a value is of: a family and labels. `edged` False: of a histogram its sum and count alone."""

    header: Header
    labels: Mapping[str, str]
    edged: bool = True


Surplus: TypeAlias = Callable[[Mapping[str, Sequence[int]], int], Mapping[str, int]]
"""By name of family: given how many lines each of its points is, and how many lines are too many, how many points it gives up."""


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """The lines of one row. Its values are numbers, then sums of histograms, then their counts, `width` in all.

    By line: its family's number, which of the values it has, the value that must be finite for it to be there (of a histogram the sum,
    whatever the line), and what stands before it. Of each histogram how many counts it has, and the line of its first bucket, None if it
    is told without edges.
    """

    shape: Sequence[object]
    width: int
    families: Ints
    values: Ints
    gates: Ints
    before: Sequence[bytes]
    lengths: Sequence[int]
    buckets: Sequence[int | None]


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """A page but for its values, and what it was made of: `blocks`, which values were finite, and how many lines there may be.

    `lines`: what stands before each value, from the end of the line before. `values`: which value each line has. `heads`: families, each
    with its first line. `counts`: which of the values are counts, and `firsts` by count the place among them of its histogram's first.
    `traced`: the places of the histograms that are told with edges, in the page's order, and `buckets` the lines of all of their buckets.
    `left_out`: lines that were too many.
    """

    blocks: Sequence[_Block]
    finite: Bools
    lines_most: int
    lines: Sequence[bytes]
    values: Ints
    heads: Sequence[tuple[int, Header]]
    counts: Ints
    firsts: Ints
    traced: Sequence[int]
    buckets: Sequence[int]
    left_out: int


class Sheet(NamedTuple):
    """One page: what is laid out, and all values of its rows, one row after the other. The histograms are those of all rows."""

    layout: Layout
    values: Floats
    histograms: Sequence[Histogram]


class Sheets:
    """Lays out pages of the same rows again and again."""

    def __init__(self, headers: Sequence[Header], surplus: Surplus) -> None:
        """`headers` are families in the order in which they stand; those that come up later follow."""
        self._numbers = {header: number for number, header in enumerate(headers)}
        self._surplus = surplus
        self._blocks: dict[object, _Block] = {}
        self._layout: Layout | None = None

    def ahead(self, rows: Sequence[Row[Name]]) -> Iterator[None]:
        """Lays out what a sheet of these rows will need, ROWS_A_PIECE rows before each stop: the first page takes ten times a later one."""
        anew = 0
        for row in rows:
            block = self._blocks.get(row.key)
            if block is None or block.shape != row.shape:
                self._blocks[row.key] = self._block(row)
                anew += 1
                if anew % ROWS_A_PIECE == 0:
                    yield

    def sheet(self, rows: Sequence[Row[Name]], *, lines_most: int) -> Sheet:
        """A page of at most so many lines, if `surplus` gives up as much.

        Raises:
            UnicodeEncodeError: a label holds a lone surrogate.
            OverflowError: a whole number is beyond what a float holds.
            ValueError: a histogram has not a count for each of its edges, and one more.
        """
        before, self._blocks = self._blocks, {}
        blocks: list[_Block] = []
        values: list[float | None] = []
        histograms: list[Histogram] = []
        for row in rows:
            block = before.get(row.key)
            if block is None or block.shape != row.shape:
                block = self._block(row)
            self._blocks[row.key] = block
            blocks.append(block)
            counts = [one.counts for one in row.histograms]
            if list(map(len, counts)) != block.lengths:
                raise ValueError("a histogram has not a count for each of its edges, and one more")
            values += row.numbers
            values += [one.sum_seconds for one in row.histograms]
            values += chain.from_iterable(counts)
            histograms += row.histograms
        return self._sheet(blocks, np.array(values, np.float64), histograms, lines_most)

    def _sheet(self, blocks: Sequence[_Block], values: Floats, histograms: Sequence[Histogram], lines_most: int) -> Sheet:
        """`values` with NaN for what is absent, and counts that aren't cumulative yet."""
        known = self._layout
        finite = np.isfinite(values)
        if known is None or lines_most != known.lines_most or blocks != known.blocks or not np.array_equal(finite, known.finite):
            known = self._layout = self._laid_out(blocks, finite, lines_most)
        totals = np.cumsum(values[known.counts])
        values[known.counts] = totals - np.concatenate(((0.0,), totals))[known.firsts]
        return Sheet(known, values, histograms)

    def _laid_out(self, blocks: Sequence[_Block], finite: Bools, lines_most: int) -> Layout:
        """The blocks' lines in the page's order."""
        starts = np.cumsum([0, *(block.width for block in blocks)])
        families = _joined(block.families for block in blocks)
        values = _joined(block.values + start for block, start in zip(blocks, starts, strict=False))
        gates = _joined(block.gates + start for block, start in zip(blocks, starts, strict=False))
        order = np.argsort(families, kind="stable")
        order = order[finite[gates[order]]]
        whole = len(order)
        if whole > lines_most:
            order = order[self._kept(families[order], gates[order], whole - lines_most)]
        headers, before = list(self._numbers), list(chain.from_iterable(block.before for block in blocks))
        heads = np.flatnonzero(np.diff(families[order], prepend=-1))
        counts, firsts = _counts(blocks, starts.tolist())
        traced, buckets = _buckets(blocks, order, len(before))
        return Layout(
            blocks=blocks,
            finite=finite,
            lines_most=lines_most,
            lines=[before[line] for line in order.tolist()],
            values=values[order],
            heads=[(line, headers[families[order[line]]]) for line in heads.tolist()],
            counts=counts,
            firsts=firsts,
            traced=traced,
            buckets=buckets,
            left_out=whole - len(order),
        )

    def _kept(self, families: Ints, gates: Ints, excess: int) -> Bools:
        """Which of the lines stay, by family and gate of each: a point, which goes as a whole, is lines with one gate."""
        begins = np.flatnonzero(np.diff(gates, prepend=-1))
        sizes = np.diff(begins, append=len(gates))
        headers = list(self._numbers)
        points: dict[str, list[int]] = {}
        for family, size in zip(families[begins].tolist(), sizes.tolist(), strict=True):
            points.setdefault(headers[family].name, []).append(size)
        given_up = self._surplus(points, excess)
        stays = chain.from_iterable((i < len(of) - given_up.get(name, 0) for i in range(len(of))) for name, of in points.items())
        return np.repeat(np.fromiter(stays, np.bool_, len(sizes)), sizes)

    def _block(self, row: Row[Name]) -> _Block:
        names = row.names()
        numbers, histograms = len(row.numbers), len(row.histograms)
        lines = [(name.header, place, place, _line(name.header.name, name.labels)) for place, name in enumerate(names[:numbers])]
        buckets: list[int | None] = []
        last = numbers + histograms - 1
        for gate, (name, histogram) in enumerate(zip(names[numbers:], row.histograms, strict=True), numbers):
            edges = histogram.edges_seconds
            buckets.append(len(lines) if name.edged else None)
            told = enumerate((*edges, inf), last + 1) if name.edged else ((last + 1 + len(edges), inf),)
            last += len(edges) + 1
            family = name.header.name
            lines += [(name.header, at, gate, _line(f"{family}_bucket", {**name.labels, "le": number(edge)})) for at, edge in told]
            lines.append((name.header, last, gate, _line(f"{family}_count", name.labels)))
            lines.append((name.header, gate, gate, _line(f"{family}_sum", name.labels)))
        headers, values, gates, before = zip(*lines, strict=True) if lines else ((), (), (), ())
        return _Block(
            shape=row.shape,
            width=last + 1,
            families=np.array([self._numbers.setdefault(header, len(self._numbers)) for header in headers], np.int64),
            values=np.array(values, np.int64),
            gates=np.array(gates, np.int64),
            before=before,
            lengths=[len(histogram.edges_seconds) + 1 for histogram in row.histograms],
            buckets=buckets,
        )


def _joined(arrays: Iterable[Ints]) -> Ints:
    return np.concatenate((np.zeros(0, np.int64), *arrays))


def _counts(blocks: Sequence[_Block], starts: Sequence[int]) -> tuple[Ints, Ints]:
    """Which values are counts, and by count the place among them of its histogram's first."""
    counts = _joined(np.arange(end - sum(block.lengths), end) for block, end in zip(blocks, starts[1:], strict=True))
    lengths = np.array([length for block in blocks for length in block.lengths], np.int64)
    return counts, np.repeat(np.cumsum(lengths) - lengths, lengths)


def _buckets(blocks: Sequence[_Block], order: Ints, lines: int) -> tuple[list[int], list[int]]:
    """The places of the histograms that are told with edges, in the page's order, and the lines of all of their buckets."""
    places = np.full(lines, -1)
    places[order] = np.arange(len(order))
    starts = np.cumsum([0, *(len(block.before) for block in blocks)]).tolist()
    firsts = [None if bucket is None else start + bucket for block, start in zip(blocks, starts, strict=False) for bucket in block.buckets]
    lengths = [length for block in blocks for length in block.lengths]
    found = [(int(places[line]), place) for place, line in enumerate(firsts) if line is not None and places[line] >= 0]
    found.sort()
    return [place for _, place in found], [line + i for line, place in found for i in range(lengths[place])]


def _line(name: str, labels: Mapping[str, str]) -> bytes:
    told = ",".join(f'{label}="{escaped(text)}"' for label, text in sorted(labels.items()))
    return (f"\n{name}{{{told}}} " if told else f"\n{name} ").encode()


def escaped(text: str) -> str:
    """As both formats have it within quotes."""
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def number(value: float) -> str:
    """A number as both formats write it. Raises: OverflowError (a whole number that is no float)."""
    text = repr(float(value))
    return text if -inf < value < EXPONENT_FROM else as_go_does(value, text)


def as_go_does(value: float, text: str) -> str:
    """A number that isn't below EXPONENT_FROM, or isn't finite, given as Python writes it."""
    if isnan(value):
        return "NaN"
    if value in (inf, -inf):
        return "+Inf" if value > 0 else "-Inf"
    whole, _, fraction = text.partition(".")
    if not fraction or len(whole) == 1:  # Python has written an exponent
        return text
    return f"{f'{whole[0]}.{whole[1:]}{fraction}'.rstrip('0.')}e+{len(whole) - 1:02d}"
