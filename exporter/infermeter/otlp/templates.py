"""Templates: spans of one length and layout, decoded together as a matrix of bytes. Pure.

A server's spans look alike: the same attributes in the same order, in values of the same size. A template is made from one of them. It
knows which bytes are structure (tags, lengths, keys, the span's name), which must be the same in every span that fits it, and where
the values stand, which may be anything. Whether spans fit is one comparison of the matrix; then each value is a slice of it. What fits
no template is read by protobuf's own parser, which is also what the tests compare this with: the result is the same to the bit.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from itertools import chain
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from infermeter.model import SpanFilter
from infermeter.otlp.template import Matrix, Template, matrix_of, template_of

LEAST_ROWS: Final = 16
"""So many spans of one length are worth making a template, and asking every one that there is."""

FEW_ROWS: Final = 6
"""So many are worth asking the first template of their length: by then it reads them in less time than protobuf's parser."""

REST_RATIO: Final = 1 / 16
"""If no more are left of all, that there be none is worth more than each of them: what a batch costs is spared."""

REST_ASKED: Final = 4
"""Templates that the rest is worth asking."""

REST_SPANS: Final = 1024
"""One template for the rest is made in so many spans: that takes as long as parsing some sixty."""

LONGEST_BYTES: Final = 8192
"""Longer spans hold prompts, or something else that makes each of them different."""

MOST_TEMPLATES: Final = 512
"""Kept at a time, and looked for in vain; then all are made anew. A sender controls how many there could be."""

MOST_ALIKE: Final = 16
"""Templates of one scope and length: each is one comparison more for all spans of that length."""

LONGEST_SCOPE: Final = 256
"""Characters of a scope's name; spans of longer ones fit no template."""

MOST_FAILURES: Final = 3
"""So often is a template looked for in vain for spans of one scope and length."""

_Place: TypeAlias = tuple[str, int]
"""A scope, and a length in bytes: where templates are looked for."""


class Alike(NamedTuple):
    """Spans that fit a template, as rows."""

    template: Template
    matrix: Matrix


class Templates:
    """The templates of the spans that were seen, for one filter. `unlike` counts the spans that fitted none."""

    def __init__(self, wanted: SpanFilter) -> None:
        self.unlike = 0
        self._wanted = wanted
        self._known: dict[_Place, list[Template]] = {}
        self._failures: Counter[_Place] = Counter()
        self._since_made = 0
        self._count = 0

    def sorted(self, raws: Sequence[bytes], scope: str) -> tuple[list[Alike], list[bytes]]:
        """Serialised spans of one scope: those that fit templates, and those that don't."""
        if self._count >= MOST_TEMPLATES or len(self._failures) >= MOST_TEMPLATES:
            self._known.clear()
            self._failures.clear()
            self._count = 0
        alike: list[Alike] = []
        others: list[bytes] = []
        for group in _by_length(raws):
            length_bytes = len(group[0])
            if len(group) >= LEAST_ROWS and length_bytes <= LONGEST_BYTES and len(scope) <= LONGEST_SCOPE:
                others += self._of_many(group, (scope, length_bytes), alike)
            elif len(group) >= FEW_ROWS and (known := self._known.get((scope, length_bytes))):
                others += _Left(group, matrix_of(group)).without_fitting(known[0], alike).raws
            else:
                others += group
        self._since_made += len(raws)
        if others and len(others) <= len(raws) * REST_RATIO and len(scope) <= LONGEST_SCOPE:
            others = list(chain.from_iterable(self._of_rest(group, scope, alike) for group in _by_length(others)))
        self.unlike += len(others)
        return alike, others

    def _of_many(self, raws: list[bytes], place: _Place, alike: list[Alike]) -> list[bytes]:
        """Takes the spans (of one length) that fit a template; what is left. New templates are made while that is worth it."""
        left = _Left(raws, matrix_of(raws))
        for template in self._known.get(place, ()):
            left = left.without_fitting(template, alike)
        while len(left.raws) >= LEAST_ROWS and self._failures[place] < MOST_FAILURES and len(self._known.get(place, ())) < MOST_ALIKE:
            made = template_of(left.raws[0], place[0], self._wanted)
            rest = left if made is None else left.without_fitting(made, alike)
            if made is None or rest is left:
                self._failures[place] += 1
                break
            self._keep(place, made)
            left = rest
        return left.raws

    def _of_rest(self, raws: list[bytes], scope: str, alike: list[Alike]) -> list[bytes]:
        """The same for a few that are all that is left. A new template serves those that come after them."""
        place = (scope, len(raws[0]))
        if place[1] > LONGEST_BYTES:
            return raws
        known = self._known.get(place, [])
        left = _Left(raws, matrix_of(raws))
        for template in known[:REST_ASKED]:
            left = left.without_fitting(template, alike, least=1)
        if left.raws and len(known) < REST_ASKED and self._since_made >= REST_SPANS:
            self._since_made = 0
            made = template_of(left.raws[0], scope, self._wanted)
            if made is not None:
                self._keep(place, made)
        return left.raws

    def _keep(self, place: _Place, template: Template) -> None:
        self._known.setdefault(place, []).append(template)
        self._count += 1


def _by_length(raws: Sequence[bytes]) -> Collection[list[bytes]]:
    """Serialised spans, those of one length together."""
    of_length: defaultdict[int, list[bytes]] = defaultdict(list)
    for raw in raws:
        of_length[len(raw)].append(raw)
    return of_length.values()


class _Left(NamedTuple):
    """Spans of one length that fit no template yet: as they came, and as a matrix."""

    raws: list[bytes]
    matrix: Matrix

    def without_fitting(self, template: Template, alike: list[Alike], *, least: int = FEW_ROWS) -> _Left:
        """Those that don't fit; the others are alike. All of them, if fewer than so many fit."""
        if len(self.raws) < least:
            return self
        odd = template.misfits(self.matrix)
        if len(self.raws) - len(odd) < least:
            return self
        if not len(odd):
            alike.append(Alike(template, self.matrix))
            return _Left([], self.matrix[:0])
        alike.append(Alike(template, np.delete(self.matrix, odd, axis=0)))
        return _Left([self.raws[row] for row in odd.tolist()], self.matrix[odd])
