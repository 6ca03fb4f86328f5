"""The committed inputs of every target, and neighbours of each that are the same at every run: nothing fails, nothing is slow or large."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from fuzz.ceilings import MEMORY_KIBIBYTES, CeilingError, ceilings
from fuzz.targets import CORPUS, TARGETS, corpus

NEIGHBOURS = 4
"""Of each input, made with a generator of their own."""

LONGEST_BYTES = 1536
"""Of an input that has neighbours in the fast suite."""


def neighbours(data: bytes, name: str) -> Iterator[bytes]:
    """Inputs like this one: a byte changed, a piece lost, a piece twice, cut off."""
    random = Random(f"{name} {data.hex()}")
    for _ in range(NEIGHBOURS if 0 < len(data) <= LONGEST_BYTES else 0):
        at, end = sorted(random.choices(range(len(data) + 1), k=2))
        changed = bytes([random.randrange(256)])
        yield random.choice((data[:at] + changed + data[at + 1 :], data[:at] + data[end:], data[:end] + data[at:], data[:end]))


def test_every_target_has_inputs_and_every_input_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    assert all(any(corpus(name)) for name in TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_and_their_neighbours_break_nothing(name: str) -> None:
    for data in corpus(name):
        TARGETS[name](data)
        for other in neighbours(data, name):
            TARGETS[name](other)


def forever() -> None:
    while True:
        pass


def test_an_input_that_takes_too_long_fails() -> None:
    with pytest.raises(CeilingError, match="CPU"), ceilings(cpu_seconds=0.01):
        forever()


@pytest.mark.parametrize("times", [1, 2])
def test_an_input_that_holds_too_much_fails_each_time(times: int) -> None:
    for _ in range(times):
        with pytest.raises(CeilingError, match="memory"), ceilings():
            bytes(range(256)) * (6 * MEMORY_KIBIBYTES)


def test_an_input_of_moderate_cost_passes() -> None:
    with ceilings():
        assert len(bytes(1 << 20)) == 1 << 20
