from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from infermeter.ledger.columns import sums_by

NEAR, FAR = st.integers(-3, 3), st.integers(-(2**60), 2**60)


@given(st.lists(st.tuples(NEAR | FAR, st.integers(-(2**40), 2**40), st.integers(0, 9)), min_size=1))
def test_each_key_has_the_sum_of_its_columns_whether_keys_are_near_or_far(rows: list[tuple[int, int, int]]) -> None:
    keys, sums = sums_by(np.array([key for key, _, _ in rows]), np.array([[a for _, a, _ in rows], [b for _, _, b in rows]]))
    first, second = Counter[int](), Counter[int]()
    for key, a, b in rows:
        first[key] += a
        second[key] += b
    assert keys.tolist() == sorted(first)
    assert sums.tolist() == [[first[key], second[key]] for key in sorted(first)]
