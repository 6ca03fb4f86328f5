"""Conditions on a text, and how they are written, wherever one stands in a mapping file."""

from __future__ import annotations

import re
from dataclasses import dataclass

from infermeter.mapping.places import Place

PART_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
"""Of parts of a stage that a file or a sender names."""


@dataclass(frozen=True, slots=True)
class TextMatch:
    """One of some texts, a beginning, or a pattern that is searched for: the one of the three that is set."""

    exact: frozenset[str] = frozenset()
    prefix: str | None = None
    pattern: re.Pattern[str] | None = None

    def matches(self, text: str) -> bool:
        """Whether `text` is meant."""
        if self.pattern is not None:
            return self.pattern.search(text) is not None
        return text in self.exact or (self.prefix is not None and text.startswith(self.prefix))


def text_match(place: Place) -> TextMatch:
    """A text, `{any: [..]}`, `{prefix: ..}` or `{re: ..}`. Raises: Unreadable."""
    if not place.is_mapping:
        return TextMatch(exact=frozenset((place.text(),)))
    operator, operand = place.only("any prefix re")
    if operator == "any":
        return TextMatch(exact=frozenset(operand.each(Place.text)))
    return TextMatch(prefix=operand.text()) if operator == "prefix" else TextMatch(pattern=operand.pattern())
