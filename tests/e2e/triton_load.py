"""Requests to a Triton that serves `mlp`: `triton_load.py HTTP_ADDRESS GRPC_ADDRESS`. Runs in Triton's own environment.

Over HTTP and over gRPC, from 1 and from 4 client threads (more can crash Triton 2.51 while it traces each request), in batches of 1 and
of 4 rows. Writes {"sent": n} when every request was answered; otherwise says what failed, and exits 1.
"""

import json
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.http

PATIENCE_SECONDS = 10
ROWS = (1, 1, 1, 4)
ROUNDS = ((1, 20), (4, 12))
"""Client threads, and how many requests each of them sends."""

numbers = np.random.default_rng()


def requests_over_http(address: str, count: int) -> None:
    """Sends so many requests, one after the other."""
    client = tritonclient.http.InferenceServerClient(address, connection_timeout=PATIENCE_SECONDS, network_timeout=PATIENCE_SECONDS)
    for _ in range(count):
        client.infer("mlp", inputs(tritonclient.http))


def requests_over_grpc(address: str, count: int) -> None:
    """Sends so many requests, one after the other."""
    client = tritonclient.grpc.InferenceServerClient(address)
    for _ in range(count):
        client.infer("mlp", inputs(tritonclient.grpc), client_timeout=PATIENCE_SECONDS)


def inputs(protocol: Any) -> list[Any]:
    """A batch of random rows, as the protocol's module wants it."""
    rows = numbers.random((random.choice(ROWS), 512), dtype=np.float32)
    tensor = protocol.InferInput("X", rows.shape, "FP32")
    tensor.set_data_from_numpy(rows)
    return [tensor]


def main(http_address: str, grpc_address: str) -> None:
    """Sends all of it."""
    sent = 0
    for requests, address in ((requests_over_http, http_address), (requests_over_grpc, grpc_address)):
        for threads, count in ROUNDS:
            with ThreadPoolExecutor(threads) as clients:
                list(clients.map(requests, [address] * threads, [count] * threads))
            sent += threads * count
    sys.stdout.write(json.dumps({"sent": sent}))


if __name__ == "__main__":
    main(*sys.argv[1:])
