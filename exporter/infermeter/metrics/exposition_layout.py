"""What of a page stays the same from scrape to scrape: which line has which value, and what stands before it. Pure.

Rows are laid out one by one, each anew when its shape is another, and forgotten with it. Their lines are then put in the page's order,
family by family, anew when a row was, or when other values are absent. What is remembered is as long as the last page.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
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
    """The lines of one row. Its values are `numbers` of them, then sums of histograms, then their counts.

    By line: its family's number, which of the values it has, the value that must be finite for it to be there (of a histogram the sum,
    whatever the line), and what stands before it. Of each histogram how many counts it has, and the line of its first bucket, None if it
    is told without edges.
    """

    shape: Sequence[object]
    numbers: int
    families: Ints
    values: Ints
    gates: Ints
    before: Sequence[bytes]
    lengths: Sequence[int]
    buckets: Sequence[int | None]


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """A page but for its values, and what it was made of: `blocks`, which numbers and sums were finite, how many lines there may be.

    `lines`: what stands before each value, from the end of the line before. `values`: which value each line has. `heads`: families, each
    with its first line. `lengths`: of all histograms, and `firsts` by count the place of its histogram's first. `traced`: the places of the
    histograms that are told with edges, in the page's order, and `buckets` the lines of all of their buckets. `left_out`: lines that were
    too many.
    """

    blocks: Sequence[_Block]
    finite: Bools
    lines_most: int
    lines: Sequence[bytes]
    values: Ints
    heads: Sequence[tuple[int, Header]]
    lengths: Sequence[int]
    firsts: Ints
    traced: Sequence[int]
    buckets: Sequence[int]
    left_out: int


class Sheet(NamedTuple):
    """One page: what is laid out, and all values of its rows: numbers, then sums of histograms, then their counts, cumulative."""

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

    def sheet(self, rows: Sequence[Row[Name]], *, lines_most: int) -> Generator[bytes, None, Sheet]:
        """A page of at most so many lines, if `surplus` gives up as much; other pages may be laid out before it is returned.

        It stops with nothing in its hands after each ROWS_A_PIECE rows that are laid out anew: a first page takes ten times a later one.

        Raises:
            UnicodeEncodeError: a label holds a lone surrogate.
            OverflowError: a whole number is beyond what a float holds.
            ValueError: a histogram has not a count for each of its edges, and one more.
        """
        blocks: list[_Block] = []
        anew = 0
        for row in rows:
            block = self._blocks.get(row.key)
            if block is None or block.shape != row.shape:
                block = self._blocks[row.key] = self._block(row)
                anew += 1
                if anew % ROWS_A_PIECE == 0:
                    yield b""
            blocks.append(block)
        self._blocks = {row.key: block for row, block in zip(rows, blocks, strict=True)}
        histograms = [one for row in rows for one in row.histograms]
        numbers = chain.from_iterable(row.numbers for row in rows)
        single = np.array([*numbers, *(one.sum_seconds for one in histograms)], np.float64)
        layout = self._layout_of(blocks, np.isfinite(single), lines_most)
        if [len(one.counts) for one in histograms] != layout.lengths:
            raise ValueError("a histogram has not a count for each of its edges, and one more")
        totals = np.cumsum(np.array([0, *chain.from_iterable(one.counts for one in histograms)], np.float64))
        return Sheet(layout, np.concatenate((single, totals[1:] - totals[layout.firsts])), histograms)

    def _layout_of(self, blocks: Sequence[_Block], finite: Bools, lines_most: int) -> Layout:
        """That of the page before, if it goes for these, too."""
        known = self._layout
        if known is None or lines_most != known.lines_most or blocks != known.blocks or not np.array_equal(finite, known.finite):
            known = self._layout = self._laid_out(blocks, finite, lines_most)
        return known

    def _laid_out(self, blocks: Sequence[_Block], finite: Bools, lines_most: int) -> Layout:
        """The blocks' lines in the page's order."""
        families = _joined(block.families for block in blocks)
        values, gates = _on_the_page(blocks)
        order = np.argsort(families, kind="stable")
        order = order[finite[gates[order]]]
        whole = len(order)
        if whole > lines_most:
            order = order[self._kept(families[order], gates[order], whole - lines_most)]
        headers, before = list(self._numbers), list(chain.from_iterable(block.before for block in blocks))
        heads = np.flatnonzero(np.diff(families[order], prepend=-1))
        lengths = [length for block in blocks for length in block.lengths]
        traced, buckets = _buckets(blocks, order, len(before))
        return Layout(
            blocks=blocks,
            finite=finite,
            lines_most=lines_most,
            lines=[before[line] for line in order.tolist()],
            values=values[order],
            heads=[(line, headers[families[order[line]]]) for line in heads.tolist()],
            lengths=lengths,
            firsts=np.repeat(np.cumsum((0, *lengths[:-1]))[: len(lengths)], lengths),
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
            told = edges if name.edged else ()
            first, last = last + 1 + len(edges) - len(told), last + 1 + len(edges)
            family = name.header.name
            lines += [(name.header, at, gate, line) for at, line in enumerate(_bucket_lines(family, name.labels, told), first)]
            lines.append((name.header, last, gate, _line(f"{family}_count", name.labels)))
            lines.append((name.header, gate, gate, _line(f"{family}_sum", name.labels)))
        headers, values, gates, before = zip(*lines, strict=True) if lines else ((), (), (), ())
        return _Block(
            shape=row.shape,
            numbers=numbers,
            families=np.array([self._numbers.setdefault(header, len(self._numbers)) for header in headers], np.int64),
            values=np.array(values, np.int64),
            gates=np.array(gates, np.int64),
            before=before,
            lengths=[len(histogram.edges_seconds) + 1 for histogram in row.histograms],
            buckets=buckets,
        )


def _joined(arrays: Iterable[Ints]) -> Ints:
    return np.concatenate((np.zeros(0, np.int64), *arrays))


def _on_the_page(blocks: Sequence[_Block]) -> tuple[Ints, Ints]:
    """By line of these blocks, the place among all values of its own, and of the one that must be finite."""
    widths = np.array([(block.numbers, len(block.lengths), sum(block.lengths)) for block in blocks], np.int64).reshape(-1, 3)
    starts = np.cumsum(widths, axis=0) - widths + np.cumsum((0, *widths.sum(axis=0)[:2]))  # of each block's numbers, sums and counts
    values, gates = [], []
    for block, own, of_page in zip(blocks, np.cumsum(widths, axis=1) - widths, starts, strict=True):
        shifts = of_page - own
        values.append(block.values + shifts[np.searchsorted(own[1:], block.values, side="right")])
        gates.append(block.gates + shifts[np.searchsorted(own[1:], block.gates, side="right")])
    return _joined(values), _joined(gates)


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
    told = ",".join(_told(labels))
    return (f"\n{name}{{{told}}} " if told else f"\n{name} ").encode()


def _bucket_lines(name: str, labels: Mapping[str, str], edges: Sequence[float]) -> list[bytes]:
    """Those of a histogram with these edges, and of what is above the last."""
    below, above = (_told({label: text for label, text in labels.items() if (label < "le") is first}) for first in (True, False))
    begin = "".join(f"{one}," for one in below)
    end = "".join(f",{one}" for one in above)
    return [f'\n{name}_bucket{{{begin}le="{number(edge)}"{end}}} '.encode() for edge in (*edges, inf)]


def _told(labels: Mapping[str, str]) -> list[str]:
    return [f'{label}="{escaped(text)}"' for label, text in sorted(labels.items())]


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
