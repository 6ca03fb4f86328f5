"""Dynamic batching: who waits for whom, and what is timed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

import numpy as np
import pytest

from infermeter.demo.batching import Answer, Batcher
from infermeter.demo.network import INPUTS, OUTPUTS, Matrix

LONG_SECONDS = 60.0


class Doubling:
    """A network whose output is twice the input's first values; remembers the sizes of its batches."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def forward(self, inputs: Matrix) -> Matrix:
        self.batches.append(len(inputs))
        if np.isnan(inputs).any():
            raise ArithmeticError("not a number")
        return 2 * inputs[:, :OUTPUTS]


@contextlib.asynccontextmanager
async def running(network: Doubling, *, max_batch: int, max_delay_seconds: float) -> AsyncIterator[Batcher]:
    instants = itertools.count(0, 10)
    batcher = Batcher(network, lambda: next(instants), max_batch=max_batch, max_delay_seconds=max_delay_seconds)  # type: ignore[arg-type]
    batches = asyncio.create_task(batcher.run())
    yield batcher
    batches.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await batches


def row(value: float) -> Matrix:
    return np.full(INPUTS, value, dtype=np.float32)


def answers(network: Doubling, values: list[float], *, max_batch: int, max_delay_seconds: float) -> list[Answer]:
    async def ask() -> list[Answer]:
        async with running(network, max_batch=max_batch, max_delay_seconds=max_delay_seconds) as batcher:
            return await asyncio.gather(*(batcher.submit(row(value)) for value in values))

    return asyncio.run(ask())


def test_a_full_batch_waits_for_nobody() -> None:
    network = Doubling()
    answers(network, [1, 2, 3, 4], max_batch=2, max_delay_seconds=LONG_SECONDS)
    assert network.batches == [2, 2]


def test_a_batch_that_nobody_joins_starts_at_the_deadline() -> None:
    network = Doubling()
    answers(network, [1, 2, 3], max_batch=8, max_delay_seconds=0.001)
    assert network.batches == [3]


def test_everybody_gets_the_answer_to_what_they_asked() -> None:
    results = answers(Doubling(), [1, 2, 3], max_batch=3, max_delay_seconds=LONG_SECONDS)
    assert [float(answer.output[0, 0]) for answer in results] == [2, 4, 6]
    assert {answer.output.shape for answer in results} == {(1, OUTPUTS)}


def test_those_of_one_batch_share_its_number_size_and_instants() -> None:
    first, second, third = answers(Doubling(), [1, 2, 3], max_batch=2, max_delay_seconds=0.001)
    assert first.batch_id == second.batch_id != third.batch_id
    assert (first.batch_size, third.batch_size) == (2, 1)
    assert (first.taken_ns, first.gathered_ns, first.computed_ns, first.scattered_ns) == (0, 10, 20, 30)
    assert third.taken_ns == 40


def test_a_failing_batch_fails_its_own_inferences_and_no_others() -> None:
    async def ask() -> None:
        async with running(Doubling(), max_batch=1, max_delay_seconds=0) as batcher:
            with pytest.raises(ArithmeticError):
                await batcher.submit(row(np.nan))
            assert (await batcher.submit(row(1))).batch_size == 1

    asyncio.run(ask())


async def joined_by_one_who_leaves(value: float) -> Answer:
    """The answer to a client in whose batch another one asked for `value` and went away."""
    async with running(Doubling(), max_batch=2, max_delay_seconds=0.001) as batcher:
        leaving = asyncio.create_task(batcher.submit(row(value)))
        await asyncio.sleep(0)
        leaving.cancel()
        return await batcher.submit(row(2))


def test_a_client_that_went_away_disturbs_nobody() -> None:
    answer = asyncio.run(joined_by_one_who_leaves(1))
    assert (answer.batch_size, answer.output[0, 0]) == (2, 4)


def test_a_client_that_went_away_fails_its_batch_like_any_other() -> None:
    with pytest.raises(ArithmeticError):
        asyncio.run(joined_by_one_who_leaves(np.nan))
