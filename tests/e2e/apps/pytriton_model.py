"""A model for PyTriton: `pytriton_model.py HTTP_PORT GRPC_PORT METRICS_PORT OTLP_URL TRACE_RATE EXPORT_MILLISECONDS`.

It doubles numbers, batched over requests, and fails on a large one.
"""

import sys

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

LARGE = 1e6
WIDTH = 4
SIDE, APPLICATIONS = 256, 32
WEIGHTS = np.random.default_rng(0).standard_normal((SIDE, SIDE)) / SIDE


@batch
def doubled(x: np.ndarray) -> dict[str, np.ndarray]:
    """One answer for all rows."""
    if (x > LARGE).any():
        raise ValueError("large")
    activations = np.ones((SIDE, SIDE))
    for _ in range(APPLICATIONS):
        activations = np.tanh(activations @ WEIGHTS)
    return {"y": x * 2}


def main(http_port: int, grpc_port: int, metrics_port: int, otlp_url: str, rate: int, every_milliseconds: int) -> None:
    """Serves until it is told to stop."""
    configuration = TritonConfig(
        http_address="127.0.0.1",
        http_port=http_port,
        grpc_address="127.0.0.1",
        grpc_port=grpc_port,
        metrics_port=metrics_port,
        trace_config=[
            *("mode=opentelemetry", "level=TIMESTAMPS", f"rate={rate}", "count=-1"),
            f"opentelemetry,url={otlp_url}/v1/traces",
            f"opentelemetry,bsp_schedule_delay={every_milliseconds}",
        ],
    )
    with Triton(config=configuration) as triton:
        triton.bind(
            model_name="doubling",
            infer_func=doubled,
            inputs=[Tensor(name="x", dtype=np.float32, shape=(WIDTH,))],
            outputs=[Tensor(name="y", dtype=np.float32, shape=(WIDTH,))],
            config=ModelConfig(max_batch_size=16, batcher=DynamicBatcher(max_queue_delay_microseconds=5000)),
        )
        triton.serve()


if __name__ == "__main__":
    ports = [int(port) for port in sys.argv[1:4]]
    main(ports[0], ports[1], ports[2], sys.argv[4], int(sys.argv[5]), int(sys.argv[6]))
