"""The subset of YAML that is taken, and what is refused before any key is looked at."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.errors import ConfigError
from infermeter.parsing.strict_yaml import DEPTH_LIMIT, NODES_LIMIT, SIZE_LIMIT_CHARACTERS, Entry, Mapping, Scalar, Sequence, parse_yaml


def problem(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "f.yaml")
    assert caught.value.where == "f.yaml"
    return caught.value.problem


def test_a_tree_remembers_lines_and_quotes() -> None:
    tree = parse_yaml("a: 1\nb:\n- x\n- 'y'\n", "f.yaml")
    items = (Scalar(3, "x", plain=True), Scalar(4, "y", plain=False))
    assert tree == Mapping(1, (Entry("a", 1, Scalar(1, "1", plain=True)), Entry("b", 2, Sequence(3, items))))


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n"])
def test_an_empty_document_is_nothing(text: str) -> None:
    assert parse_yaml(text, "f.yaml") == Scalar(1, "", plain=True)


def test_a_key_given_twice_stays_twice() -> None:
    tree = parse_yaml("a: 1\na: 2", "f.yaml")
    assert isinstance(tree, Mapping)
    assert [(entry.key, entry.line) for entry in tree.entries] == [("a", 1), ("a", 2)]


def test_an_alias_is_what_its_anchor_holds() -> None:
    tree = parse_yaml("a: &fast [1]\nb: *fast", "f.yaml")
    assert isinstance(tree, Mapping)
    assert tree.entries[0].node == tree.entries[1].node


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [", "line 1: not valid YAML: expected the node content, but found '<stream end>'"),
        ("a: 1\n\tb: 2", "line 2: not valid YAML: found character '\\t' that cannot start any token"),
        ("a: b: c", "line 1: not valid YAML: mapping values are not allowed here"),
        ("a: \x00", "not valid YAML: unacceptable character #x0000: special characters are not allowed"),
        ("a: 1\n---\nb: 2", "line 2: a second document; one is expected"),
        ("a: !!python/object/apply:os.system [ls]", "line 1: tags (`!...`) are not taken"),
        ("a: !secret b", "line 1: tags (`!...`) are not taken"),
        ("? [a]\n: 1", "line 1: a key must be a word"),
        ('a: 1\nb: "\\ud800"', "line 2: holds half of a surrogate pair, which is no character"),
        ('{"\\udfff": 1}', "line 1: holds half of a surrogate pair, which is no character"),
        ('a: 1\nb: "/etc/a\\0b"', "line 2: holds a NUL"),
        ("a: &a {b: 1}\nc:\n  <<: *a", "line 3: merge keys (`<<`) are not taken"),
        ("a: *nowhere", "line 1: an alias without an anchor before it"),
        ("a: &a [*a]", "line 1: an alias without an anchor before it"),
    ],
)
def test_what_could_surprise_is_refused_with_its_line(text: str, expected: str) -> None:
    assert problem(text) == expected


def test_a_long_text_is_refused_unread() -> None:
    assert problem("#" * (SIZE_LIMIT_CHARACTERS + 1)) == f"longer than {SIZE_LIMIT_CHARACTERS} characters"


def test_deep_nesting_is_refused() -> None:
    assert problem("[" * 5000) == f"line 1: nested deeper than {DEPTH_LIMIT} levels"


def test_nesting_by_aliases_counts_like_nesting() -> None:
    chain = "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, DEPTH_LIMIT + 1))
    assert problem(chain).endswith(f"nested deeper than {DEPTH_LIMIT} levels")


def test_aliases_of_aliases_cannot_grow_without_bound() -> None:
    bomb = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n" + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10))
    assert problem(bomb).endswith(f"more than {NODES_LIMIT} values")


@given(st.text(alphabet="ab:-[]{}&*!#'\"|>%@`, \n\t0", max_size=60))
def test_any_text_is_a_tree_or_a_problem(text: str) -> None:
    with contextlib.suppress(ConfigError):
        parse_yaml(text, "f.yaml")
