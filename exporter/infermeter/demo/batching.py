"""Dynamic batching: inferences wait for company or for a deadline, then one thread computes them together and times what it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from infermeter.demo.network import INPUTS, Matrix, Network


@dataclass(frozen=True, slots=True)
class Answer:
    """One inference's output (shape (1, OUTPUTS)), and the instants that its batch passed, in unix nanoseconds and ascending."""

    output: Matrix
    batch_id: int
    batch_size: int
    taken_ns: int
    gathered_ns: int
    computed_ns: int
    scattered_ns: int


@dataclass(frozen=True, slots=True)
class _Waiting:
    row: Matrix
    deadline: float
    answer: asyncio.Future[Answer]


class Batcher:
    """One queue in front of one network. `run` must be running for `submit` to be answered."""

    def __init__(self, network: Network, now_ns: Callable[[], int], *, max_batch: int, max_delay_seconds: float) -> None:
        """Batches of at most `max_batch` rows; the oldest row waits for company no longer than `max_delay_seconds`."""
        self._network = network
        self._now_ns = now_ns
        self._max_batch = max_batch
        self._max_delay_seconds = max_delay_seconds
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._buffer = np.empty((max_batch, INPUTS), dtype=np.float32)
        self._batches = 0

    async def submit(self, row: Matrix) -> Answer:
        """The answer for one row of shape (INPUTS,)."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        self._queue.put_nowait(_Waiting(row, loop.time() + self._max_delay_seconds, answer))
        return await answer

    async def run(self) -> NoReturn:
        """Computes batch after batch, one at a time."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as thread:
            while True:
                batch = await self._next_batch()
                try:
                    answers = await loop.run_in_executor(thread, self._computed, [waiting.row for waiting in batch])
                except Exception as error:  # noqa: BLE001 - whatever the model raises is the answer to whoever asked it
                    _fail(batch, error)
                else:
                    _answer(batch, answers)

    async def _next_batch(self) -> list[_Waiting]:
        batch = [await self._queue.get()]
        try:
            async with asyncio.timeout_at(batch[0].deadline):
                while len(batch) < self._max_batch:
                    batch.append(await self._queue.get())
        except TimeoutError:
            pass
        return batch

    def _computed(self, rows: Sequence[Matrix]) -> list[Answer]:
        taken_ns = self._now_ns()
        inputs = self._buffer[: len(rows)]
        for place, row in zip(inputs, rows, strict=True):
            place[:] = row
        gathered_ns = self._now_ns()
        outputs = self._network.forward(inputs)
        computed_ns = self._now_ns()
        copies = [outputs[i : i + 1].copy() for i in range(len(rows))]
        scattered_ns = self._now_ns()
        self._batches += 1
        return [Answer(copy, self._batches, len(rows), taken_ns, gathered_ns, computed_ns, scattered_ns) for copy in copies]


def _answer(batch: Sequence[_Waiting], answers: Sequence[Answer]) -> None:
    for waiting, answer in zip(batch, answers, strict=True):
        if not waiting.answer.done():  # a client that went away cancelled it
            waiting.answer.set_result(answer)


def _fail(batch: Sequence[_Waiting], error: Exception) -> None:
    for waiting in batch:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)
