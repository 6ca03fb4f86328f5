"""What the rules want of a span, by its scope and name: resolved once for each layout, so that no rule looks at a name again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from infermeter.mapping.rules import Attribute, Duration, Edge, Event, Label, Match, Part, Rule, ServerMapping, Where, operators
from infermeter.model import Layout

NAMES_REMEMBERED = 4096
"""Scopes and names with a known layout; a sender that invents more of them costs time, not memory."""

NAME_CHARACTERS = 256
"""Of a scope or a name; what comes after isn't looked at."""

Condition: TypeAlias = Match | bool
"""What is left of a match once scope and name are known."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A rule that spans of a layout may fit; `number` is its place in the order of precedence."""

    number: int
    condition: Condition
    ignore: tuple[Condition, ...]
    subtree: bool
    patient: bool
    errors: tuple[Condition, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What to do with the spans of one layout: the rules that they may fit, best first, and what may select them for another's.

    `event_numbers`: the names of events that some rule reads, numbered; of all layouts alike. `waits`: such spans may wait for others.
    """

    layout: Layout
    candidates: tuple[Candidate, ...]
    selections: Mapping[Where, Condition]
    event_numbers: Mapping[str, int]
    waits: bool

    @property
    def on_arrival(self) -> int | None:
        """The number of the rule that all such spans fit, and that needs no other span; None if there is no such rule."""
        certain = len(self.candidates) == 1 and self.candidates[0].condition is True and not self.candidates[0].ignore
        return self.candidates[0].number if certain and not self.candidates[0].subtree else None

    @property
    def patient(self) -> frozenset[int]:
        """The rules whose traces are complete only after the longer time."""
        return frozenset(candidate.number for candidate in self.candidates if candidate.patient)


@dataclass(slots=True)
class _Reads:
    """What is read of a span."""

    keys: set[str] = field(default_factory=set)
    events: bool = False


class Layouts:
    """The `SpanFilter` of some mappings, and the plan behind each layout that it gave out."""

    def __init__(self, mappings: Sequence[ServerMapping]) -> None:
        """`mappings` in order of precedence."""
        self.rules: tuple[tuple[ServerMapping, Rule], ...] = tuple((mapping, rule) for mapping in mappings for rule in mapping.rules)
        self._reads = [_reads(rule) for _, rule in self.rules]
        self._wheres = tuple(dict.fromkeys(where for reads in self._reads for where in reads if where is not None))
        self._owned = [where.match for number, reads in enumerate(self._reads) for where in reads if where and self._is_own(number, where)]
        everything = list(operators(tuple(mappings)))
        matches = [match for match in everything if isinstance(match, Match)]
        labels = [label for label in everything if isinstance(label, Label) and label.resource]
        self._resource_keys = frozenset([key for m in matches for key, _ in m.resource] + [key for label in labels for key in label.keys])
        names = dict.fromkeys(name for event in everything if isinstance(event, Event) for name in event.names)
        self._event_numbers = {name: number for number, name in enumerate(names)}
        self.links = any(rule.subtree for _, rule in self.rules)
        self._by_name: dict[tuple[str, str], Layout] = {}
        self._by_meaning: dict[object, Layout] = {}
        self._plans: dict[Layout, Plan] = {}

    def _is_own(self, number: int, where: Where) -> bool:
        """Whether spans that a rule reads beside its own are its server's by name or scope: nobody else's requests."""
        mapping, rule = self.rules[number]
        return mapping.role != "generic" and bool(where.match.span or (where.match.scope and where.match.scope == rule.match.scope))

    @property
    def resource_keys(self) -> frozenset[str]:
        """Resource attributes that some rule reads."""
        return self._resource_keys

    def layout(self, scope: str, name: str, /) -> Layout:
        """The layout of spans of this scope and name. Two names that no rule tells apart have the same: a small closed set."""
        names = scope[:NAME_CHARACTERS], name[:NAME_CHARACTERS]
        layout = self._by_name.get(names)
        if layout is None:
            layout = self._resolved(*names)
            if len(self._by_name) == NAMES_REMEMBERED:
                self._by_name.clear()
            self._by_name[names] = layout
        return layout

    def plan(self, layout: Layout) -> Plan:
        """What to do with spans of a layout that `layout` gave out."""
        return self._plans[layout]

    def _resolved(self, scope: str, name: str) -> Layout:
        candidates = tuple(self._candidates(scope, name))
        selections = {where: condition for where in self._wheres if (condition := remaining(where.match, scope, name)) is not False}
        if candidates and candidates[-1].condition is True and not any(candidate.subtree for candidate in candidates):
            selections = {}  # always an inference of its own, known on arrival: part of no other
        meaning = candidates, tuple(selections.items())
        if meaning not in self._by_meaning:
            layout = self._new_layout(candidates, selections)
            self._by_meaning[meaning] = layout
            waits = bool(selections) or any(candidate.subtree for candidate in candidates)
            self._plans[layout] = Plan(layout, candidates, selections, self._event_numbers, waits)
        return self._by_meaning[meaning]

    def _candidates(self, scope: str, name: str) -> Iterable[Candidate]:
        owned = any(remaining(match, scope, name) is True for match in self._owned)
        for number, (mapping, rule) in enumerate(self.rules):
            if owned and mapping.role == "generic":
                continue
            condition = remaining(rule.match, scope, name)
            ignore = tuple(rest for match in mapping.ignore if (rest := remaining(match, scope, name)) is not False)
            if condition is False or True in ignore:
                continue
            errors = tuple(remaining(match, scope, name) for match in rule.error)
            yield Candidate(number, condition, ignore, rule.subtree, rule.complete_when == "trace_idle", errors)
            if condition is True and not ignore:
                return

    def _new_layout(self, candidates: Sequence[Candidate], selections: Mapping[Where, Condition]) -> Layout:
        reads = [self._reads[candidate.number].get(None, _Reads()) for candidate in candidates]
        reads += [of_rule[where] for where in selections for of_rule in self._reads if where in of_rule]
        conditions = (candidates, tuple(selections.values()))
        keys = {key for match in operators(conditions) if isinstance(match, Match) for key, _ in match.attributes}
        keys.update(*(read.keys for read in reads))
        return Layout(tuple(sorted(keys)), any(read.events for read in reads))


def remaining(match: Match, scope: str, name: str) -> Condition:
    """What of `match` still depends on the single span, if anything does."""
    if (match.span and not match.span.matches(name)) or (match.scope and not match.scope.matches(scope)):
        return False
    alternatives = [rest for one in match.any if (rest := remaining(one, scope, name)) is not False]
    if match.any and not alternatives:
        return False
    rest = Match(
        kinds=match.kinds,
        status=match.status,
        resource=match.resource,
        attributes=match.attributes,
        any=() if True in alternatives else tuple(one for one in alternatives if isinstance(one, Match)),
    )
    return True if rest == Match() else rest


def _reads(rule: Rule) -> dict[Where | None, _Reads]:
    """What a rule reads, by the relation of the span to the matched one (None: the matched one itself)."""
    reads: dict[Where | None, _Reads] = {}
    for operator in operators(rule):
        match operator:
            case Attribute(keys=keys, where=where):
                reads.setdefault(where, _Reads()).keys.update(keys)
            case Label(keys=keys, resource=False, where=where):
                reads.setdefault(where, _Reads()).keys.update(keys)
            case Event(where=where):
                reads.setdefault(where, _Reads()).events = True
            case Edge(where=where):
                reads.setdefault(where, _Reads())
            case Duration(where=where, minus=minus):
                reads.setdefault(where, _Reads())
                reads.setdefault(minus, _Reads())
            case Part(name_key=str(key), sources=sources):
                for below in operators(sources):
                    if isinstance(below, Where):
                        reads.setdefault(below, _Reads()).keys.add(key)
            case _:
                pass
    return reads
