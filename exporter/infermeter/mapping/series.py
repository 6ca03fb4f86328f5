"""Which series of a page of metrics are meant, and how that is written, wherever a reading stands in a mapping file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from infermeter.mapping.places import Place, every
from infermeter.mapping.texts import TextMatch, text_match

METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")

Conditions = tuple[tuple[str, TextMatch], ...]


@dataclass(frozen=True, slots=True)
class SeriesRule:
    """Which series are read: those of the first of `names` that is exposed (others are older ones), whose labels are as `where` says."""

    names: tuple[str, ...]
    where: Conditions = ()

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Whether a series with these labels is meant."""
        return all(match.matches(labels.get(label, "")) for label, match in self.where)


def read_series(place: Place, *, also: str = "") -> SeriesRule:
    """A reading; `also` are the keys that it may have besides. Raises: Unreadable."""
    at = place.keys(f"name older where {also}", required="name")
    return SeriesRule(read_names(at), read_where(at))


def read_names(at: Mapping[str, Place]) -> tuple[str, ...]:
    """The names of a metric, older ones last. Raises: Unreadable."""
    return (read_name(at["name"]), *(at["older"].each(read_name) if "older" in at else ()))


def read_where(at: Mapping[str, Place]) -> Conditions:
    """What a reading says of labels. Raises: Unreadable."""
    return every(at["where"].mapping().items(), lambda entry: (entry[0], text_match(entry[1]))) if "where" in at else ()


def read_name(place: Place) -> str:
    """The name of a metric. Raises: Unreadable."""
    return place.text(pattern=METRIC_NAME)
