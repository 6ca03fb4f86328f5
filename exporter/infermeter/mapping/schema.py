"""How rules are written: from the text of a server's YAML to a `ServerMapping`, strictly. One function for each kind of thing.

Every problem is told, one a line, with its dotted path and, for an unknown key, the nearest known one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Literal, TypeVar, cast, get_args

from infermeter.errors import ConfigError, ConfigErrors, MappingError
from infermeter.mapping.metrics import read_metrics
from infermeter.mapping.origins import ORIGINS
from infermeter.mapping.places import Place, Unreadable, every
from infermeter.mapping.rules import (
    PART_NAME,
    ROLES,
    RUST_DURATION,
    SECONDS,
    Attribute,
    Between,
    Completion,
    Difference,
    Duration,
    Edge,
    Event,
    Inner,
    Label,
    Match,
    Number,
    Part,
    Pick,
    Point,
    Quotient,
    Role,
    Rule,
    Run,
    ServerMapping,
    StageRule,
    Texts,
    Value,
    Values,
    Where,
    operators,
)
from infermeter.mapping.texts import text_match
from infermeter.model import SPAN_KINDS, STAGES, STATUS_CODES, Stage
from infermeter.parsing.strict_yaml import parse_yaml

SERVER_NAME = re.compile(r"[a-z0-9_]{1,32}")

T = TypeVar("T")


def read_mapping(text: str, where: str) -> ServerMapping:
    """The mapping that `text` holds; `where` is the name of its file.

    Raises: ConfigErrors of MappingError, all problems of the file in its order.
    """
    problems: list[ConfigError] = []
    try:
        mapping = _mapping(Place(parse_yaml(text, where), where, problems, file=True))
    except ConfigError as error:
        raise ConfigErrors((MappingError(error.where, error.problem),)) from error
    except Unreadable:
        raise ConfigErrors(tuple(problems)) from None
    if problems:
        raise ConfigErrors(tuple(problems))
    return mapping


def _mapping(place: Place) -> ServerMapping:
    known = "schema server title versions origins runs sources tracing not_told priority role sampled reserves_memory rules ignore metrics"
    at = place.keys(known, required="schema server title versions role rules")
    if at["schema"].text() != "1":
        raise at["schema"].wrong("must be 1")
    rules = at["rules"].each(_rule, empty=True)
    if not rules and "metrics" not in at:
        raise at["rules"].wrong("is empty, and there are no metrics: nothing would be known of this server")
    names = [rule.name for rule in rules]
    for name in sorted({name for name in names if names.count(name) > 1}):
        at["rules"].wrong(f"two rules are called {name}")
    return ServerMapping(
        server=at["server"].text(pattern=SERVER_NAME),
        title=at["title"].text(),
        versions=at["versions"].text(),
        sources=at["sources"].each(Place.text) if "sources" in at else (),
        tracing={key: value.text() for key, value in at["tracing"].keys("enable protocol sampling").items()} if "tracing" in at else {},
        priority=at["priority"].whole() if "priority" in at else 50,
        role=cast("Role", at["role"].choice(ROLES)),
        sampled=_flag(at, "sampled") or not rules,  # where no span comes, their silence says nothing
        reserves_memory=_flag(at, "reserves_memory"),
        rules=rules,
        ignore=at["ignore"].each(_match) if "ignore" in at else (),
        metrics=read_metrics(at["metrics"]) if "metrics" in at else None,
        origins=at["origins"].each(lambda origin: origin.choice(ORIGINS)) if "origins" in at else (),
        runs=at["runs"].each(_run) if "runs" in at else (),
        not_told=at["not_told"].each(Place.text) if "not_told" in at else (),
    )


def _run(place: Place) -> Run:
    at = place.keys("version shows", required="version shows")
    return Run(at["version"].text(), at["shows"].text())


def _flag(at: dict[str, Place], key: str) -> bool:
    if key in at:
        at[key].true()
    return key in at


# --- which spans -------------------------------------------------------------------------------------------------------------------
def _match(place: Place) -> Match:
    match = _conditions(place.keys("span scope kind status resource attrs any"))
    if match == Match():
        raise place.wrong("matches every span: must say which")
    return match


def _where(place: Place) -> Where:
    at = place.keys("rel span scope kind attrs", required="rel")
    match = _conditions(at)
    if match == Match():
        raise place.wrong("selects every span: must say which")
    return Where(cast("Literal['child', 'descendant']", at["rel"].choice(("child", "descendant"))), match)


def _conditions(at: dict[str, Place]) -> Match:
    return Match(
        span=text_match(at["span"]) if "span" in at else None,
        scope=text_match(at["scope"]) if "scope" in at else None,
        kinds=frozenset(at["kind"].each(lambda kind: SPAN_KINDS.index(kind.choice(SPAN_KINDS)))) if "kind" in at else frozenset(),
        status=STATUS_CODES.index(at["status"].choice(STATUS_CODES)) if "status" in at else None,
        resource=_texts(at["resource"]) if "resource" in at else (),
        attributes=_texts(at["attrs"]) if "attrs" in at else (),
        any=at["any"].each(_match) if "any" in at else (),
    )


def _texts(place: Place) -> Texts:
    return every(place.mapping().items(), lambda entry: (entry[0], None if entry[1].is_true else text_match(entry[1])))


# --- instants, values, texts -------------------------------------------------------------------------------------------------------
_POINTS: dict[str, Point] = {
    "span.start": Edge("start"),
    "span.end": Edge("end"),
    "inner.start": Inner("start"),
    "inner.end": Inner("end"),
}


def _point(place: Place) -> Point:
    if not place.is_mapping:
        return _POINTS[place.choice(_POINTS)]
    at = place.keys("event edge pick in")
    if ("event" in at) == ("edge" in at):
        raise place.wrong("must have exactly one of event, edge")
    where = _where(at["in"]) if "in" in at else None
    if "event" in at:
        pick = cast("Pick", at["pick"].choice(("first", "last"))) if "pick" in at else "first"
        return Event(names=at["event"].each(Place.text), pick=pick, where=where)
    if "pick" in at:
        raise at["pick"].wrong("means nothing beside edge: it is the first")
    if where is None:
        raise at["edge"].wrong("of which spans? in is missing (the matched span's are span.start, span.end)")
    return Edge(cast("Literal['start', 'end']", at["edge"].choice(("start", "end"))), where)


def _values(place: Place) -> Values:
    return place.each(_value)


def _value(place: Place) -> Value:
    if not place.is_mapping:
        return Number(place.number())
    operator, at = _operator(place, "")
    return _READ[operator](at)


def _operator(place: Place, also: str) -> tuple[str, dict[str, Place]]:
    """The one operator that stands in a place, and the operands beside it; `also`: further keys that may stand beside any."""
    at = place.keys(f"{' '.join(_READ)} unit valid in minus {also}")
    found = [key for key in _READ if key in at]
    if len(found) != 1:
        raise place.wrong(f"must have exactly one of {', '.join(_READ)}")
    for key in at.keys() - {found[0], *_BESIDE[found[0]], *also.split()}:
        raise at[key].wrong(f"means nothing beside {found[0]}")
    return found[0], at


def _attribute(at: dict[str, Place]) -> Attribute:
    valid = at["valid"].keys("gt max_of") if "valid" in at else {}
    if "max_of" in valid:
        valid["max_of"].choice(("e2e",))
    unit = at["unit"].choice((*SECONDS, RUST_DURATION)) if "unit" in at else None
    return Attribute(
        keys=at["attr"].each(Place.text),
        scale=SECONDS.get(unit or "", 1.0),
        above=valid["gt"].number() if "gt" in valid else None,
        within_duration="max_of" in valid,
        spelt=unit == RUST_DURATION,
        where=_where(at["in"]) if "in" in at else None,
    )


def _between(at: dict[str, Place]) -> Between:
    first, last = _pair(at["between"], _point)
    return Between(first, last)


def _duration(at: dict[str, Place]) -> Duration:
    at["duration"].true()
    for key in at.keys() & {"in", "minus"}:
        raise at[key].wrong("only a stage is made of other spans")
    return Duration(None)


def _durations(at: dict[str, Place]) -> Duration:
    """As a stage takes it: of other spans too."""
    at["duration"].true()
    return Duration(_where(at["in"]) if "in" in at else None, _where(at["minus"]) if "minus" in at else None)


def _difference(at: dict[str, Place]) -> Difference:
    return Difference(_pair(at["sub"], _value))


def _quotient(at: dict[str, Place]) -> Quotient:
    return Quotient(*_pair(at["div"], _value))


_READ: dict[str, Callable[[dict[str, Place]], Value]] = {
    "attr": _attribute,
    "between": _between,
    "duration": _duration,
    "sub": _difference,
    "div": _quotient,
}
_BESIDE: dict[str, tuple[str, ...]] = {
    "attr": ("unit", "valid", "in"),
    "between": (),
    "duration": ("in", "minus"),
    "sub": (),
    "div": (),
}
"""Keys that may stand beside an operator."""


def _pair(place: Place, read: Callable[[Place], T]) -> tuple[T, T]:
    both = place.each(read)
    if len(both) != 2:
        raise place.wrong("must be a list of two")
    return both[0], both[1]


def _label(place: Place) -> Label:
    at = place.keys("attr resource in re")
    if ("attr" in at) == ("resource" in at):
        raise place.wrong("must have exactly one of attr, resource")
    if "resource" in at and "in" in at:
        raise at["in"].wrong("means nothing beside resource")
    pattern = at["re"].pattern() if "re" in at else None
    if pattern is not None and pattern.groups != 1:
        raise at["re"].wrong("must capture one group: the text of the label")
    return Label(
        keys=at["attr" if "attr" in at else "resource"].each(Place.text),
        resource="resource" in at,
        where=_where(at["in"]) if "in" in at else None,
        pattern=pattern,
    )


# --- rules -------------------------------------------------------------------------------------------------------------------------
def _rule(place: Place) -> Rule:
    at = place.keys("id since match complete_when emit", required="id match emit")
    emit = at["emit"].keys("stages labels counts latency error")
    labels = emit["labels"].keys("model") if "labels" in emit else {}
    counts = emit["counts"].keys("tokens_in tokens_out") if "counts" in emit else {}
    latency = emit["latency"].keys("e2e ttft tpot") if "latency" in emit else {}
    rule = Rule(
        name=at["id"].text(pattern=SERVER_NAME),
        match=_match(at["match"]),
        complete_when="subtree",
        stages=_stages(emit["stages"]) if "stages" in emit else (),
        model=labels["model"].each(_label) if "model" in labels else (),
        tokens_input=_values(counts["tokens_in"]) if "tokens_in" in counts else (),
        tokens_output=_values(counts["tokens_out"]) if "tokens_out" in counts else (),
        e2e=_values(latency["e2e"]) if "e2e" in latency else (Duration(None),),
        ttft=_values(latency["ttft"]) if "ttft" in latency else (),
        tpot=_values(latency["tpot"]) if "tpot" in latency else (),
        error=emit["error"].each(_match) if "error" in emit else (),
    )
    if "since" in at:
        at["since"].text()
    if any(isinstance(operator, Attribute) and operator.within_duration for operator in operators(rule.e2e)):
        raise latency["e2e"].wrong("can't be limited by itself (max_of: e2e)")
    elsewhere = any(isinstance(operator, Where) for operator in operators(rule))
    if "complete_when" not in at:
        return replace(rule, complete_when="subtree" if elsewhere else "self")
    complete_when = cast("Completion", at["complete_when"].choice(get_args(Completion)))
    if complete_when == "self" and elsewhere:
        raise at["complete_when"].wrong("self, but the rule reads other spans than its own")
    return replace(rule, complete_when=complete_when)


def _stages(place: Place) -> tuple[StageRule, ...]:
    stages = every(place.keys(" ".join(STAGES)).items(), lambda entry: _stage(cast("Stage", entry[0]), entry[1]))
    if sum(not stage.parts for stage in stages) > 1:
        raise place.wrong("only one stage can be the rest")
    return stages


def _stage(stage: Stage, place: Place) -> StageRule:
    """A stage is the rest, or has named parts, or parts that the sender names, or is told as a whole."""
    form = next(iter(place.mapping()), "") if place.is_mapping else ""
    if form == "rest":
        at = place.keys("rest estimated")
        at["rest"].true()
        if stage == "compute":
            raise place.wrong("compute is never the rest: time that nobody claims is `other`, and counts as computing")
        return StageRule(stage, (), estimated=_flag(at, "estimated"))
    if form == "parts":
        named = place.keys("parts")["parts"].mapping()
        return StageRule(stage, every(named.items(), lambda entry: _named_part(*entry)))
    if form in ("of", "part_attr"):
        at = place.keys("of part_attr", required="of part_attr")
        part = _part(None, at["of"])
        if not all(isinstance(source, Duration) and source.where and not source.minus for source in part.sources):
            raise at["of"].wrong("must be the duration of other spans: they name their parts")
        return StageRule(stage, (replace(part, name_key=at["part_attr"].text()),))
    return StageRule(stage, (_part(None, place),))


def _named_part(name: str, place: Place) -> Part:
    if not PART_NAME.fullmatch(name):
        raise place.wrong(f"the name of a part must match {PART_NAME.pattern}")
    return _part(name, place)


def _part(name: str | None, place: Place) -> Part:
    sources = place.each(_source)
    return Part(name, tuple(source for source, _ in sources), tuple(estimated for _, estimated in sources))


def _source(place: Place) -> tuple[Value, bool]:
    """Where the time of a stage comes from, and whether that is an estimate."""
    operator, at = _operator(place, "estimated")
    value: Value = _durations(at) if operator == "duration" else _READ[operator](at)
    return value, _flag(at, "estimated")
