"""A service for BentoML: it doubles one number, or a batch of them. It refuses a negative number, and fails on a large one.

`OTLP`: where its spans go to; `SAMPLE_RATE`: which share of them, BentoML's default where it isn't set.
"""

import os
from typing import Any

import bentoml
import numpy as np

LARGE = 1e6
SIDE, APPLICATIONS = 256, 16
BATCH_MILLISECONDS = 500

TRACING: dict[str, Any] = {"exporter_type": "otlp", "otlp": {"protocol": "http", "endpoint": os.environ["OTLP"]}}
if "SAMPLE_RATE" in os.environ:
    TRACING["sample_rate"] = float(os.environ["SAMPLE_RATE"])


@bentoml.service(tracing=TRACING, workers=1)
class Doubling:
    """What is served."""

    def __init__(self) -> None:
        self.weights = np.random.default_rng(0).standard_normal((SIDE, SIDE)) / SIDE

    @bentoml.api
    def double(self, number: float) -> float:
        """One at a time."""
        if number < 0:
            raise bentoml.exceptions.InvalidArgument("negative")
        if number > LARGE:
            raise ValueError("large")
        self._work()
        return 2 * number

    @bentoml.api(batchable=True, max_batch_size=8, max_latency_ms=BATCH_MILLISECONDS)
    def double_all(self, numbers: np.ndarray) -> np.ndarray:
        """As many at a time as the adaptive batcher hands over."""
        self._work()
        return numbers * 2

    def _work(self) -> None:
        activations = np.ones((SIDE, SIDE))
        for _ in range(APPLICATIONS):
            activations = np.tanh(activations @ self.weights)
