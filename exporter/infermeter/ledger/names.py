"""Which models there are: names to small integers, bounded, because a sender can make names up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from infermeter.model import Ints, Names

OTHER = "other"
UNKNOWN = "unknown"
_LONGEST_NAME = 256


class ModelNames:
    """Codes 0, 1, ... by first sight. Configured names always find room; the senders' own fill up what `limit` leaves, then `other`."""

    def __init__(self, limit: int, *, configured: Iterable[str], unnamed: str | None) -> None:
        self.names: list[str] = []
        self.unnamed = UNKNOWN if unnamed is None else unnamed
        self._is_settled = unnamed is not None
        self._limit = limit
        self._codes: dict[str | None, int] = {}
        self.configure(configured)

    def configure(self, models: Iterable[str]) -> None:
        """These are configured, and no others; whatever is known stays."""
        self._reserved = frozenset((*models, self.unnamed, OTHER))
        self._room = self._limit - len((self._reserved | set(self.names)) - {OTHER, UNKNOWN})

    def served(self, model: str | None) -> None:
        """What carries no model is of this one from now on, the only one that the server serves; None: it doesn't tell, or serves several.

        A configured one stays.
        """
        name = UNKNOWN if model is None else model
        if self._is_settled or name == self.unnamed:
            return
        self.unnamed = name
        self._codes.pop(None, None)
        if name in self._codes:
            self._codes[None] = self._codes[name]

    def __len__(self) -> int:
        return len(self.names)

    def codes(self, models: Sequence[str | None]) -> Ints:
        """The code of each model (n >= 1)."""
        names = Names.of(models)
        try:
            codes = np.array([self._codes[name] for name in names.kinds], np.int64)
        except KeyError:  # a new one, or one of those that are others
            codes = np.zeros(len(names.kinds), np.int64)
            for place, name in names.first_rows():
                codes[place] = self.code(name)
        return codes.take(names.places)

    def code(self, model: str | None) -> int:
        """The code of one model; None is the model of spans that carry none."""
        code = self._codes.get(model)
        return self._seen(self.unnamed if model is None else model) if code is None else code

    def name(self, model: str | None) -> str:
        """The name that a model goes by, or would go by if it came up now; it isn't known by this."""
        name = self.unnamed if model is None else model
        has_room = self._room > 0 and len(name) <= _LONGEST_NAME
        return name if name in self._codes or name in self._reserved or has_room else OTHER

    def find(self, name: str) -> int | None:
        """The code of a name that is known."""
        return self._codes.get(name)

    def _seen(self, model: str) -> int:
        if model not in self._reserved:
            if self._room <= 0 or len(model) > _LONGEST_NAME:
                return self.code(OTHER)
            self._room -= 1
        code = self._codes[model] = len(self.names)
        self.names.append(model)
        if model == self.unnamed:
            self._codes[None] = code
        return code
