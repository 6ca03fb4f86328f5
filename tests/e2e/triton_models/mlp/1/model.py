"""A small model for Triton's Python backend: a perceptron whose hidden layer is applied several times, batched over requests."""

from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # the backend's own module

APPLICATIONS = 32


class TritonPythonModel:
    """The class that the backend looks for."""

    def initialize(self, _args: Any) -> None:
        """Draws fixed weights."""
        rng = np.random.default_rng(0)
        self.inward, self.hidden, self.outward = (
            rng.standard_normal(shape, dtype=np.float32) * 0.03 for shape in ((512, 1024), (1024, 1024), (1024, 128))
        )

    def execute(self, requests: Any) -> list[Any]:
        """One response a request, all rows computed together."""
        rows = [pb_utils.get_input_tensor_by_name(request, "X").as_numpy() for request in requests]
        activations = np.maximum(np.concatenate(rows) @ self.inward, 0)
        for _ in range(APPLICATIONS):
            activations = np.maximum(activations @ self.hidden, 0)
        outputs = np.split(activations @ self.outward, np.cumsum([len(r) for r in rows])[:-1])
        return [pb_utils.InferenceResponse([pb_utils.Tensor("Y", output)]) for output in outputs]
