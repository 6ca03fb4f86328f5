"""Two models behind one LitServe, in pure Python: `two_models.py PORT ACCOUNT WIDTH BATCH_SECONDS`. Runs in LitServe's own environment.

`/predict` scores vectors, up to MOST of them in one batch; `/write` streams one line a step. Each step is written into the file ACCOUNT
as a JSON line: the model, its rows, and the seconds that computing it took. A vector with a negative number is refused (422); an
empty one fails.
"""

import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import litserve as ls
from fastapi import HTTPException

MOST = 8
"""Vectors in a batch."""

ROUNDS = 20
PORT, ACCOUNT, WIDTH, BATCH_SECONDS = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])

WEIGHTS = [[math.sin(row * WIDTH + column) for column in range(WIDTH)] for row in range(WIDTH)]


def layers(vector: list[float]) -> list[float]:
    """Two dense layers, often enough to take some milliseconds."""
    for _ in range(ROUNDS):
        vector = [math.tanh(sum(weight * value for weight, value in zip(weights, vector, strict=True))) for weights in WEIGHTS]
    return vector


class Accounted(ls.LitAPI):
    """A model that says what it computed."""

    def setup(self, device: str) -> None:
        """Nothing to load."""

    def decode_request(self, request: dict[str, Any]) -> list[float]:
        """The vector; one that is refused fails all of its batch."""
        vector: list[float] = request["vector"]
        if any(value < 0 for value in vector):
            raise HTTPException(422, "negative")
        return vector

    def wrote(self, model: str, rows: int, begin: float) -> None:
        """Adds a line to the account."""
        with ACCOUNT.open("a") as account:
            account.write(json.dumps({"model": model, "rows": rows, "seconds": time.perf_counter() - begin}) + "\n")


class Scorer(Accounted):
    """Scores in batches."""

    def batch(self, inputs: list[list[float]]) -> list[list[float]]:
        """As they are."""
        return list(inputs)

    def predict(self, x: list[list[float]]) -> list[float]:
        """One score a vector."""
        begin = time.perf_counter()
        scores = [sum(layers(vector)) for vector in x]
        self.wrote("scorer", len(x), begin)
        return scores

    def unbatch(self, output: list[float]) -> list[float]:
        """As they are."""
        return output

    def encode_response(self, output: float) -> dict[str, float]:
        """The answer to one."""
        return {"score": output}


class Writer(Accounted):
    """Streams a line a step."""

    def predict(self, x: list[float]) -> Iterator[float]:
        """As many steps as the vector's first number says."""
        vector = [1.0] * WIDTH
        for _ in range(int(x[0])):
            begin = time.perf_counter()
            vector = layers(vector)
            self.wrote("writer", 1, begin)
            yield vector[0]

    def encode_response(self, output: Iterator[float]) -> Any:  # LitServe takes the annotation for the form of the answer
        """A line each."""
        for value in output:
            yield f"{value:.6f}\n"


if __name__ == "__main__":
    server = ls.LitServer(
        [Scorer(max_batch_size=MOST, batch_timeout=BATCH_SECONDS, api_path="/predict"), Writer(stream=True, api_path="/write")],
        accelerator="cpu",
        workers_per_device=1,
    )
    server.run(host="127.0.0.1", port=PORT, generate_client_file=False)
