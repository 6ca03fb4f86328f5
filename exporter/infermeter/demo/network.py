"""The model that the demo's server serves: a multi-layer perceptron with fixed random weights, truly computed."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Matrix: TypeAlias = npt.NDArray[np.float32]
"""Rows of 32-bit floats, shape (rows, features)."""

MODEL = "demo-mlp"
"""The model's name in spans and metrics."""

INPUTS = 256
"""Features of one inference's input."""

OUTPUTS = 64
"""Features of one inference's output."""

WIDTH = 2048
LAYERS = 8
DISTINCT_LAYERS = 4


class Network:
    """`LAYERS` hidden layers of `WIDTH` neurons; the few distinct ones take turns, which costs a deep model's time but not its memory."""

    def __init__(self, seed: int = 0) -> None:
        """Draws the weights."""
        self._random = np.random.default_rng(seed)
        hidden = [self._weights(WIDTH, WIDTH) for _ in range(DISTINCT_LAYERS)]
        self._layers = [self._weights(INPUTS, WIDTH), *(hidden[i % DISTINCT_LAYERS] for i in range(LAYERS)), self._weights(WIDTH, OUTPUTS)]

    def forward(self, inputs: Matrix) -> Matrix:
        """The outputs, shape (rows, OUTPUTS), of inputs of shape (rows, INPUTS)."""
        activations = inputs
        for weights in self._layers:
            activations = np.maximum(activations @ weights, 0)
        return activations

    def _weights(self, inputs: int, outputs: int) -> Matrix:
        # scaled so that activations neither vanish nor explode (He et al., 2015, "Delving deep into rectifiers")
        return self._random.standard_normal((inputs, outputs), dtype=np.float32) * np.float32((2 / inputs) ** 0.5)
