"""`model.Names`: what it holds is what was put in, however it was put together."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from infermeter.model import Names

texts = st.lists(st.sampled_from([None, "", "a", "b", "c"]), max_size=8)


@given(names=texts)
def test_names_are_the_same_in_this_form(names: list[str | None]) -> None:
    told = Names.of(names)
    assert list(told) == names
    assert len(told) == len(names)
    assert len(set(told.kinds)) == len(told.kinds)
    assert Names.of(told) is told


@given(columns=st.lists(texts, min_size=1, max_size=3))
def test_columns_are_joined_end_to_end(columns: list[list[str | None]]) -> None:
    joined = Names.joined([Names.of(names) for names in columns])
    assert list(joined) == [name for names in columns for name in names]
    if len(columns) > 1:
        assert len(set(joined.kinds)) == len(joined.kinds)


def test_one_column_alone_is_itself() -> None:
    names = Names.of(["a"])
    assert Names.joined([names]) is names


def test_one_name_some_names_and_some_rows_can_be_asked_for() -> None:
    names = Names.of(["a", "b", None, "a"])
    assert (names[1], names[2], names[-1]) == ("b", None, "a")
    assert list(names[1:3]) == ["b", None]
    assert list(names.rows(np.array([3, 1]))) == ["a", "b"]


def test_kinds_are_told_by_their_first_rows_and_those_of_nobody_are_not() -> None:
    names = Names(("nobody's", "a", None, "b"), np.array([3, 1, 3, 2, 1]))
    assert names.first_rows() == [(3, "b"), (1, "a"), (2, None)]
    assert Names((), np.empty(0, np.int64)).first_rows() == []


@given(names=texts, data=st.data())
def test_there_are_no_more_kinds_than_rows_left(names: list[str | None], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(names) - 1), max_size=4)) if names else []
    left = Names((*names, "nobody's"), np.arange(len(names))).rows(np.array(rows, np.int64))
    assert list(left) == [names[row] for row in rows]
    assert len(left.kinds) <= len(left)


@given(pairs=st.lists(st.tuples(st.sampled_from([None, "", "a", "b"]), st.sampled_from([None, "c", "a"])), max_size=8))
def test_where_there_is_none_there_may_be_one_of_others(pairs: list[tuple[str | None, str | None]]) -> None:
    names, others = Names.of([name for name, _ in pairs]), Names.of([other for _, other in pairs])
    assert names.missing().tolist() == [name is None for name, _ in pairs]
    assert list(names.filled(others)) == [other if name is None else name for name, other in pairs]


def test_nothing_is_so_many_rows_without_a_text() -> None:
    assert list(Names.nothing(2)) == [None, None]
    assert Names.nothing(0).tolist() == []


@given(names=texts)
def test_what_becomes_of_names_is_asked_once_for_each_kind(names: list[str | None]) -> None:
    asked: list[str | None] = []

    def changed(name: str | None) -> str | None:
        asked.append(name)
        return None if name == "a" else f"{name}!"

    assert Names.of(names).mapped(changed).tolist() == [None if name == "a" else f"{name}!" for name in names]
    assert len(asked) == len(set(names))


@given(names=texts)
def test_as_objects_they_are_the_same(names: list[str | None]) -> None:
    column = Names.of(names).objects()
    assert column.dtype == np.object_
    assert column.tolist() == names
