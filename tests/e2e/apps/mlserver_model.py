"""A model for MLServer: twice what it is given, after some arithmetic. It refuses a negative number, and fails on a large one."""

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse

LARGE = 1e6
SIDE, APPLICATIONS = 256, 16


class Doubling(MLModel):
    """The class that `implementation` names."""

    async def load(self) -> bool:
        """Draws fixed weights."""
        self.weights = np.random.default_rng(0).standard_normal((SIDE, SIDE)) / SIDE
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """One answer for a request, or for the batch that MLServer made of several."""
        given = NumpyCodec.decode_input(payload.inputs[0])
        if (given < 0).any():
            raise InferenceError("negative")
        if (given > LARGE).any():
            raise ValueError("large")
        activations = np.ones((SIDE, SIDE))
        for _ in range(APPLICATIONS):
            activations = np.tanh(activations @ self.weights)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("doubled", given * 2)])
