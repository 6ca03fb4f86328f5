"""What a server's YAML says, as frozen values: the closed set of operators. Nothing is read or computed here.

A rule matches spans, each of which is one inference, and tells from which instants and lengths its stages come. Operators are data:
a new one is learnt here, in schema.py (how it is written) and in evaluate.py (what it yields), once for all servers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Literal, TypeAlias

from infermeter.mapping import texts
from infermeter.mapping.metrics import MetricRules
from infermeter.mapping.texts import TextMatch
from infermeter.model import Stage

Role: TypeAlias = Literal["engine", "router", "gateway", "generic"]
ROLES: tuple[Role, ...] = ("engine", "router", "gateway", "generic")
"""Best first: once a role has matched, the ones after it count no inference any more."""

PART_NAME = texts.PART_NAME
"""Of parts that a file or a sender names."""

SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
"""Units of attributes that hold a time."""

RUST_DURATION = "rust_duration"
"""In place of a unit: a text that holds it, as Rust writes a Duration for debugging ("1.5ms", "80µs")."""

Pick: TypeAlias = Literal["first", "last"]
Completion: TypeAlias = Literal["self", "subtree", "trace_idle"]


# --- which spans -------------------------------------------------------------------------------------------------------------------
Texts: TypeAlias = tuple[tuple[str, TextMatch | None], ...]
"""Attribute keys, each with what its value must match; None: present is enough."""


@dataclass(frozen=True, slots=True)
class Match:
    """A condition on one span: everything that is set holds, and one of `any` if there are some. `kinds` index SPAN_KINDS."""

    span: TextMatch | None = None
    scope: TextMatch | None = None
    kinds: frozenset[int] = frozenset()
    status: int | None = None
    resource: Texts = ()
    attributes: Texts = ()
    any: tuple[Match, ...] = ()


@dataclass(frozen=True, slots=True)
class Where:
    """Spans below the matched one, of its trace: its children or all of its descendants, as far as they fit `match`."""

    relation: Literal["child", "descendant"]
    match: Match


# --- instants, intervals, values, texts --------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Edge:
    """The start or the end of the matched span; or the first start, or end, of those `where` selects."""

    edge: Literal["start", "end"]
    where: Where | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """The first or last event of a name, of the matched span or of those `where` selects; of several names the first that exists."""

    names: tuple[str, ...]
    pick: Pick
    where: Where | None


@dataclass(frozen=True, slots=True)
class Inner:
    """Where the inferences of a better role begin, or end, that lie within the matched span; there are none if it counts itself."""

    edge: Literal["start", "end"]


Point: TypeAlias = Edge | Event | Inner


@dataclass(frozen=True, slots=True)
class Between:
    """From one instant to another; empty if they are the wrong way round, nothing if one of them is missing."""

    first: Point
    last: Point


@dataclass(frozen=True, slots=True)
class Duration:
    """From start to end: of the matched span, or of each that `where` selects, but for the time of those that `minus` selects."""

    where: Where | None
    minus: Where | None = None


@dataclass(frozen=True, slots=True)
class Number:
    """A constant."""

    value: float


@dataclass(frozen=True, slots=True)
class Attribute:
    """The number in the first of `keys` that the span holds (or the earliest span that `where` selects and that holds one), times `scale`.

    It is refused unless > `above` and <= the duration. `spelt`: a text tells number and unit, as RUST_DURATION says.
    """

    keys: tuple[str, ...]
    scale: float = 1.0
    above: float | None = None
    within_duration: bool = False
    spelt: bool = False
    where: Where | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """The first value less the others."""

    terms: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Quotient:
    """One value by another; nothing unless the divisor is above 0."""

    dividend: Value
    divisor: Value


Value: TypeAlias = Number | Attribute | Difference | Quotient | Between | Duration
Values: TypeAlias = tuple[Value, ...]
"""Alternatives: the first that yields."""


@dataclass(frozen=True, slots=True)
class Label:
    """A text: of the resource, or of the first of `keys` that the span holds (or the earliest span that `where` selects).

    With a `pattern` its first group is the text; where it isn't found, there is none.
    """

    keys: tuple[str, ...]
    resource: bool = False
    where: Where | None = None
    pattern: re.Pattern[str] | None = None


# --- rules -------------------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Part:
    """Where the time of a stage, or of one named part of it, comes from: the first of `sources` that yields.

    With `name_key` the sender names the parts: each selected span belongs to the part that this attribute of it tells.
    `estimated` has an entry for each source.
    """

    name: str | None
    sources: Values
    estimated: tuple[bool, ...]
    name_key: str | None = None


@dataclass(frozen=True, slots=True)
class StageRule:
    """One stage: its parts in order of precedence. No parts: the rest of the duration, once all other stages are known."""

    stage: Stage
    parts: tuple[Part, ...]
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """Spans that fit `match` are inferences.

    `complete_when`: `self`, on arrival; `subtree`, once their trace has had no new span for a grace; `trace_idle`, for the longer time
    that traces take which come from several processes.
    """

    name: str
    match: Match
    complete_when: Completion
    stages: tuple[StageRule, ...]
    model: tuple[Label, ...]
    tokens_input: Values
    tokens_output: Values
    e2e: Values
    ttft: Values
    tpot: Values
    error: tuple[Match, ...]

    @property
    def subtree(self) -> bool:
        """Whether it waits for other spans of its trace."""
        return self.complete_when != "self"


@dataclass(frozen=True, slots=True)
class Run:
    """What was shown by a real server of some version."""

    version: str
    shows: str


@dataclass(frozen=True, slots=True)
class ServerMapping:
    """One server's file. `rules` in order of precedence; spans that fit `ignore` are none of its inferences.

    `reserves_memory`: it takes the GPU's memory before anybody asks, so that what is in use isn't what it needs. `metrics`: what its own
    /metrics says; None: nothing that is read. `origins` of the recorded spans that it was tried with, what real
    `runs` showed, and what it can't tell (`not_told`), are for people.
    """

    server: str
    title: str
    versions: str
    sources: tuple[str, ...]
    tracing: Mapping[str, str]
    priority: int
    role: Role
    sampled: bool
    reserves_memory: bool
    rules: tuple[Rule, ...]
    ignore: tuple[Match, ...]
    metrics: MetricRules | None
    origins: tuple[str, ...] = ()
    runs: tuple[Run, ...] = ()
    not_told: tuple[str, ...] = ()


def operators(node: object) -> Iterator[object]:
    """Every value in the tree below and including `node`, in the order of the file."""
    if isinstance(node, tuple):
        for item in node:
            yield from operators(item)
    elif is_dataclass(node):
        yield node
        for field in fields(node):
            yield from operators(getattr(node, field.name))
