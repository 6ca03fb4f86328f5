"""Columns of texts of which there are few kinds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from infermeter.model.kinds import Bools, Ints


def numbering() -> dict[Any, int]:
    """Numbers for whatever it is asked for: 0, 1, ... in the order in which that is asked for first."""
    numbers: defaultdict[Any, int] = defaultdict()
    numbers.default_factory = numbers.__len__
    return numbers


@dataclass(frozen=True, slots=True, eq=False)
class Names(Sequence[str | None]):
    """A column of texts: `places` has for each row the place of its text in `kinds`. Some kinds may be nobody's, or stand there twice.

    What is done with a text is done once for each kind, so that it costs a row the same whether there is one name or there are hundreds.
    """

    kinds: Sequence[str | None]
    places: Ints

    @classmethod
    def of(cls, names: Sequence[str | None]) -> Names:
        """The same names, in this form."""
        if isinstance(names, Names):
            return names
        if not names or names.count(names[0]) == len(names):
            return cls(names[:1], np.zeros(len(names), np.int64))
        number_of = numbering()
        places = np.fromiter(map(number_of.__getitem__, names), np.int64, len(names))
        return cls(tuple(number_of), places)

    @classmethod
    def nothing(cls, count: int) -> Names:
        """So many rows without a text."""
        return cls((None,), np.zeros(count, np.int64))

    @classmethod
    def joined(cls, columns: Sequence[Names]) -> Names:
        """Several (at least one) end to end."""
        if len(columns) == 1:
            return columns[0]
        number_of = numbering()
        numbers = [np.fromiter(map(number_of.__getitem__, column.kinds), np.int64, len(column.kinds)) for column in columns]
        places = [number.take(column.places) for number, column in zip(numbers, columns, strict=True)]
        return cls(tuple(number_of), np.concatenate(places))

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[str | None]:
        return map(self.kinds.__getitem__, self.places.tolist())

    @overload
    def __getitem__(self, index: int) -> str | None: ...

    @overload
    def __getitem__(self, index: slice) -> Names: ...

    def __getitem__(self, index: int | slice) -> str | Names | None:
        return Names(self.kinds, self.places[index]) if isinstance(index, slice) else self.kinds[int(self.places[index])]

    def tolist(self) -> list[str | None]:
        """All of them, as the columns of numpy tell theirs."""
        return list(self)

    def objects(self) -> npt.NDArray[np.object_]:
        """The same as a column of objects, which keeps nothing alive but its own."""
        return np.fromiter(self.kinds, np.object_, len(self.kinds)).take(self.places)

    def rows(self, rows: Ints) -> Names:
        """Those of some of the rows."""
        return Names(self.kinds, self.places[rows]).needed()

    def needed(self) -> Names:
        """The same with no more kinds than rows: the work that they make is bounded by these."""
        if len(self.kinds) <= len(self.places):
            return self
        used, places = np.unique(self.places, return_inverse=True)
        return Names([self.kinds[place] for place in used.tolist()], places)

    def mapped(self, change: Callable[[str | None], str | None]) -> Names:
        """What becomes of each of them."""
        return Names([change(kind) for kind in self.kinds], self.places)

    def missing(self) -> Bools:
        """Which rows have none."""
        return np.array([kind is None for kind in self.kinds], np.bool_).take(self.places)

    def filled(self, others: Names) -> Names:
        """The same, and where there is none that of the others."""
        return Names((*self.kinds, *others.kinds), np.where(self.missing(), others.places + len(self.kinds), self.places))

    def first_rows(self) -> list[tuple[int, str | None]]:
        """The kinds that there are, each with its place, in the order of their first rows."""
        places, firsts = np.unique(self.places, return_index=True)
        return [(place, self.kinds[place]) for place in places[firsts.argsort()].tolist()]
