"""A mapping file is read strictly: each problem on its own line, with its dotted path and the nearest key."""

from __future__ import annotations

import pytest

from infermeter.errors import ConfigErrors, MappingError
from infermeter.mapping import load_mappings, shipped_mappings
from infermeter.mapping.rules import ROLES, Attribute, Between, Duration, Edge, Event, Match, Run, Where
from infermeter.mapping.schema import read_mapping
from infermeter.mapping.texts import TextMatch

HEAD = """
schema: 1
server: test
title: a test
versions: "1"
role: engine
"""


def rule(text: str, *, head: str = HEAD) -> str:
    return f"{head}rules:\n  - {text}\n"


def emit(text: str) -> str:
    return rule(f"{{id: a, match: {{span: s}}, emit: {{{text}}}}}")


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        read_mapping(text, "own.yaml")
    assert all(isinstance(problem, MappingError) for problem in caught.value.problems)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (rule("{id: a, match: {span: s}, emit: {}}", head=HEAD.replace("schema: 1", "schema: 2")), "schema: must be 1"),
        (rule("{id: a, match: {span: s}, emit: {}}", head=HEAD.replace("title", "tilte")), "tilte: unknown key; did you mean title?"),
        (
            rule("{id: a, match: {span: s}, emit: {}}", head=HEAD.replace("engine", "motor")),
            "role: unknown; known are engine, router, gateway, generic",
        ),
        (rule("{id: a, match: {span: s}, emit: {}}", head=HEAD.replace("engine", "gatway")), "role: unknown; did you mean gateway?"),
        (
            rule("{id: a, match: {span: s}, emit: {}}", head=HEAD.replace("server: test", "server: My Server")),
            "server: must match [a-z0-9_]{1,32}",
        ),
        (rule("{id: a, match: {span: s}, emit: {}}", head=HEAD + "sampled: yes\n"), "sampled: must be true (or left out)"),
        (rule("{id: a, match: {span: s}, emit: {}}", head=HEAD + "reserves_memory: 1\n"), "reserves_memory: must be true (or left out)"),
        (rule("{id: a, match: {span: s}, emit: {}}", head=HEAD + "priority: high\n"), "priority: must be a whole number"),
        (rule("{id: a, match: {span: s}, emit: {}}", head=HEAD + 'title: ""\n'), "title: given twice"),
        (HEAD + "rules: []\n", "rules: is empty, and there are no metrics: nothing would be known of this server"),
        (rule("{id: a, match: {}, emit: {}}"), "rules[0].match: matches every span: must say which"),
        (rule("{id: a, match: s, emit: {}}"), "rules[0].match: must be a mapping"),
        (
            rule("{id: a, match: {span: {re: '('}}, emit: {}}"),
            "rules[0].match.span.re: not a regular expression: missing ), unterminated subpattern at position 0",
        ),
        (rule("{id: a, match: {span: {re: a, prefix: b}}, emit: {}}"), "rules[0].match.span: must have exactly one of any, prefix, re"),
        (rule("{id: a, match: {kind: [servr]}, emit: {}}"), "rules[0].match.kind[0]: unknown; did you mean server?"),
        (rule("{id: a, match: {attrs: {x: [1]}}, emit: {}}"), "rules[0].match.attrs.x: must be a text"),
        (rule("{id: a, match: {span: ''}, emit: {}}"), "rules[0].match.span: is empty"),
        (emit("stages: {queu: {duration: true}}"), "rules[0].emit.stages.queu: unknown key; did you mean queue?"),
        (emit("stages: {queue: {}}"), "rules[0].emit.stages.queue: must have exactly one of attr, between, duration, sub, div"),
        (emit("stages: {queue: {duration: true, unit: s}}"), "rules[0].emit.stages.queue.unit: means nothing beside duration"),
        (emit("stages: {queue: {duration: false}}"), "rules[0].emit.stages.queue.duration: must be true (or left out)"),
        (emit("stages: {queue: {attr: a, unit: min}}"), "rules[0].emit.stages.queue.unit: unknown; known are s, ms, us, ns, rust_duration"),
        (emit("stages: {queue: {between: [span.start]}}"), "rules[0].emit.stages.queue.between: must be a list of two"),
        (
            emit("stages: {queue: {between: [span.begin, span.end]}}"),
            "rules[0].emit.stages.queue.between[0]: unknown; did you mean span.end?",
        ),
        (emit("stages: {queue: {duration: true, in: {rel: child}}}"), "rules[0].emit.stages.queue.in: selects every span: must say which"),
        (emit("stages: {queue: {rest: true}, transfer: {rest: true}}"), "rules[0].emit.stages: only one stage can be the rest"),
        (
            emit("stages: {compute: {rest: true}}"),
            "rules[0].emit.stages.compute: compute is never the rest: time that nobody claims is `other`, and counts as computing",
        ),
        (
            emit("stages: {queue: {parts: {Net In: {attr: a}}}}"),
            "rules[0].emit.stages.queue.parts.Net In: the name of a part must match [a-z][a-z0-9_]{0,31}",
        ),
        (
            emit("stages: {queue: {of: {attr: a}, part_attr: p}}"),
            "rules[0].emit.stages.queue.of: must be the duration of other spans: they name their parts",
        ),
        (
            emit("latency: {e2e: {duration: true, in: {rel: child, span: x}}}"),
            "rules[0].emit.latency.e2e.in: only a stage is made of other spans",
        ),
        (
            emit("latency: {e2e: {duration: true, minus: {rel: child, span: x}}}"),
            "rules[0].emit.latency.e2e.minus: only a stage is made of other spans",
        ),
        (
            emit("stages: {queue: {of: {duration: true, in: {rel: child, span: x}, minus: {rel: child, span: y}}, part_attr: p}}"),
            "rules[0].emit.stages.queue.of: must be the duration of other spans: they name their parts",
        ),
        (emit("stages: {queue: {attr: a, minus: {rel: child, span: x}}}"), "rules[0].emit.stages.queue.minus: means nothing beside attr"),
        (
            emit("latency: {ttft: {between: [span.start, {pick: last}]}}"),
            "rules[0].emit.latency.ttft.between[1]: must have exactly one of event, edge",
        ),
        (
            emit("latency: {ttft: {between: [span.start, {edge: end, pick: last, in: {rel: child, span: x}}]}}"),
            "rules[0].emit.latency.ttft.between[1].pick: means nothing beside edge: it is the first",
        ),
        (
            emit("latency: {ttft: {between: [span.start, inner.begin]}}"),
            "rules[0].emit.latency.ttft.between[1]: unknown; did you mean inner.end?",
        ),
        (
            emit("latency: {ttft: {between: [span.start, {edge: end}]}}"),
            "rules[0].emit.latency.ttft.between[1].edge: of which spans? in is missing (the matched span's are span.start, span.end)",
        ),
        (
            rule("{id: a, match: {span: s}, complete_when: idle, emit: {}}"),
            "rules[0].complete_when: unknown; known are self, subtree, trace_idle",
        ),
        (
            rule("{id: a, match: {span: s}, emit: {}}", head=HEAD + "origins: [measured]\n"),
            "origins[0]: unknown; did you mean captured?",
        ),
        (rule("{id: a, match: {span: s}, emit: {}}", head=HEAD + "runs: [{version: '1'}]\n"), "runs[0]: shows is missing"),
        (
            rule("{id: a, match: {span: s}, emit: {}}", head=HEAD + "runs: [{version: '1', show: x, shows: y}]\n"),
            "runs[0].show: unknown key; did you mean shows?",
        ),
        (rule("{id: a, match: {span: s}, emit: {}}", head=HEAD + "runs: [{version: '', shows: y}]\n"), "runs[0].version: is empty"),
        (emit("latency: {e2e: {attr: a, valid: {max_of: e2e}}}"), "rules[0].emit.latency.e2e: can't be limited by itself (max_of: e2e)"),
        (emit("latency: {ttft: {attr: a, valid: {max_of: ttft}}}"), "rules[0].emit.latency.ttft.valid.max_of: unknown; known are e2e"),
        (emit("latency: {ttft: {sub: [{attr: a}, b]}}"), "rules[0].emit.latency.ttft.sub[1]: must be a number"),
        (emit("labels: {model: {}}"), "rules[0].emit.labels.model: must have exactly one of attr, resource"),
        (emit("labels: {model: {resource: a, in: {rel: child, span: x}}}"), "rules[0].emit.labels.model.in: means nothing beside resource"),
        (emit("labels: {model: {attr: a, re: 'x'}}"), "rules[0].emit.labels.model.re: must capture one group: the text of the label"),
        (
            rule("{id: a, match: {span: s}, complete_when: self, emit: {stages: {queue: {duration: true, in: {rel: child, span: x}}}}}"),
            "rules[0].complete_when: self, but the rule reads other spans than its own",
        ),
        (rule("{id: a, match: {span: s}, emit: {}}\n  - {id: a, match: {span: t}, emit: {}}"), "rules: two rules are called a"),
    ],
)
def test_a_problem_is_told_with_its_path(text: str, problem: str) -> None:
    assert problems(text)[0] == f"own.yaml: {problem}"


def test_every_problem_has_its_own_line() -> None:
    text = rule(
        "{id: a, match: {spam: s}, emit: {}}\n  - {id: b, emit: {}}\n  - {id: c, match: {span: s}, emit: {stages: {queue: 1, compute: x}}}"
    )
    assert problems(text) == [
        "own.yaml: rules[0].match.spam: unknown key; did you mean span?",
        "own.yaml: rules[0].match: matches every span: must say which",
        "own.yaml: rules[1]: match is missing",
        "own.yaml: rules[2].emit.stages.queue: must be a mapping",
        "own.yaml: rules[2].emit.stages.compute: must be a mapping",
    ]


def test_what_is_no_yaml_is_told_with_its_line() -> None:
    assert problems("schema: [1\n")[0].startswith("own.yaml: line 2: not valid YAML")


def test_a_file_that_is_no_mapping_is_told() -> None:
    assert problems("- a\n") == ["own.yaml: must be a mapping"]


def test_a_rule_that_reads_other_spans_waits_for_its_trace_and_another_does_not() -> None:
    alone, below, asked = (
        read_mapping(text, "own.yaml").rules[0]
        for text in (
            emit("latency: {e2e: {duration: true}}"),
            emit("labels: {model: {attr: a, in: {rel: child, span: x}}}"),
            rule("{id: a, since: '2', match: {span: s}, complete_when: subtree, emit: {}}"),
        )
    )
    assert (alone.complete_when, below.complete_when, asked.complete_when) == ("self", "subtree", "subtree")
    assert alone.e2e == asked.e2e == (Duration(None),)


def test_a_mapping_is_what_its_file_says() -> None:
    text = HEAD + "priority: 7\nsampled: true\nsources: [a, b]\ntracing: {enable: --trace, protocol: grpc}\nignore: [{span: x}]\n"
    mapping = read_mapping(
        text + "rules: [{id: r, match: {span: s}, emit: {latency: {ttft: {between: [span.start, {event: E, pick: last}]}}}}]\n", "f.yaml"
    )
    assert (mapping.server, mapping.role, mapping.priority, mapping.sampled) == ("test", "engine", 7, True)
    assert (mapping.sources, mapping.tracing) == (("a", "b"), {"enable": "--trace", "protocol": "grpc"})
    assert mapping.rules[0].ttft == (Between(Edge("start"), Event(("E",), "last", None)),)
    assert len(mapping.ignore) == 1


def test_instants_and_values_of_other_spans_are_what_their_file_says() -> None:
    below = "{rel: child, span: x}"
    ttft = f"{{between: [span.start, {{edge: end, in: {below}}}]}}"
    text = emit(f"latency: {{ttft: {ttft}}}, counts: {{tokens_in: {{attr: n, in: {below}}}}}")
    (read,) = read_mapping(text, "f.yaml").rules
    where = Where("child", Match(span=TextMatch(exact=frozenset({"x"}))))
    assert read.ttft == (Between(Edge("start"), Edge("end", where)),)
    assert read.tokens_input == (Attribute(("n",), where=where),)
    assert read.complete_when == "subtree"


RUNS = "runs: [{version: 1.4.38, shows: one a request}, {version: '2', shows: two}]\n"


def test_what_is_for_people_is_kept() -> None:
    text = rule("{id: a, match: {span: s}, emit: {}}", head=HEAD + "origins: [captured, published]\nnot_told: [tokens]\n" + RUNS)
    mapping = read_mapping(text, "f.yaml")
    assert (mapping.origins, mapping.not_told) == (("captured", "published"), ("tokens",))
    assert mapping.runs == (Run("1.4.38", "one a request"), Run("2", "two"))


# --- which mappings apply ------------------------------------------------------------------------------------------------------------
OWN = rule("{id: a, match: {span: s}, emit: {}}")


def servers(kind: str, texts: dict[str, str]) -> list[str]:
    return [mapping.server for mapping in load_mappings(kind, texts)]


def test_under_auto_every_shipped_mapping_applies_engines_first_then_by_priority() -> None:
    applying = load_mappings("auto", {})
    assert {mapping.server for mapping in applying} == set(shipped_mappings())
    order = [(ROLES.index(mapping.role), -mapping.priority, mapping.server) for mapping in applying]
    assert order == sorted(order)
    assert [mapping.server for mapping in applying][:3] == ["infermeter", "triton", "vllm"]


def test_a_kind_pins_one_mapping() -> None:
    assert servers("triton", {}) == ["triton"]


def test_own_mappings_apply_beside_the_pinned_one() -> None:
    assert servers("triton", {"own.yaml": OWN}) == ["triton", "test"]
    assert servers("test", {"own.yaml": OWN}) == ["test"]


def test_an_own_mapping_takes_the_place_of_the_shipped_one_of_its_server() -> None:
    own = OWN.replace("server: test", "server: triton")
    (mapping,) = load_mappings("triton", {"own.yaml": own})
    assert mapping.title == "a test"
    assert len(load_mappings("auto", {"own.yaml": own})) == len(shipped_mappings())


def test_a_kind_that_nothing_maps_is_told() -> None:
    with pytest.raises(ConfigErrors, match=r"^server.kind: no mapping is called vlm; did you mean vllm\?$"):
        load_mappings("vlm", {})
    known = ", ".join(sorted(shipped_mappings()))
    with pytest.raises(ConfigErrors, match=f"^server.kind: no mapping is called X; known are auto, {known}$"):
        load_mappings("X", {})


def test_the_problems_of_all_own_files_are_told() -> None:
    texts = {"b.yaml": OWN.replace("schema: 1", "schema: 3"), "a.yaml": "- 1\n", "c.yaml": OWN, "d.yaml": OWN}
    with pytest.raises(ConfigErrors) as caught:
        load_mappings("auto", texts)
    assert [str(problem) for problem in caught.value.problems] == [
        "a.yaml: must be a mapping",
        "b.yaml: schema: must be 1",
        "d.yaml: server: another file is the mapping of test too",
    ]
