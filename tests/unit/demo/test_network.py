"""The model of the demo is truly computed."""

from __future__ import annotations

import numpy as np
import pytest

from infermeter.demo.network import INPUTS, OUTPUTS, Network


@pytest.fixture(scope="module")
def network() -> Network:
    return Network()


def test_a_row_has_the_same_answer_alone_and_in_a_batch(network: Network) -> None:
    rows = np.random.default_rng(1).standard_normal((3, INPUTS), dtype=np.float32)
    together = network.forward(rows)
    assert together.shape == (3, OUTPUTS)
    assert np.allclose(network.forward(rows[1:2]), together[1:2], rtol=1e-3, atol=1e-5)


def test_different_rows_have_different_answers_of_a_sane_size(network: Network) -> None:
    first, second = network.forward(np.random.default_rng(2).standard_normal((2, INPUTS), dtype=np.float32))
    assert not np.allclose(first, second)
    assert 1e-3 < np.abs(first).max() < 1e3
