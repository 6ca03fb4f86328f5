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
    assert list(Names.joined([Names.of(names) for names in columns])) == [name for names in columns for name in names]


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
