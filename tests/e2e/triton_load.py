"""Requests to a Triton that serves `mlp`: `triton_load.py HTTP_ADDRESS GRPC_ADDRESS`. Runs in Triton's own environment.

Over HTTP and over gRPC, from 1 and from 4 client threads (more can crash Triton 2.51 while it traces each request), in batches of 1 and
of 4 rows. Prints {"sent": n} when every request was answered; otherwise says what failed, and exits 1.
"""

import json
import random
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tritonclient.grpc
import tritonclient.http

PATIENCE_SECONDS = 10
ROWS = (1, 1, 1, 4)
ROUNDS = ((1, 20), (4, 12))  # client threads, requests of each


def requests_over_http(address, count):
    client = tritonclient.http.InferenceServerClient(address, connection_timeout=PATIENCE_SECONDS, network_timeout=PATIENCE_SECONDS)
    for _ in range(count):
        client.infer("mlp", inputs(tritonclient.http))


def requests_over_grpc(address, count):
    client = tritonclient.grpc.InferenceServerClient(address)
    for _ in range(count):
        client.infer("mlp", inputs(tritonclient.grpc), client_timeout=PATIENCE_SECONDS)


def inputs(protocol):
    rows = np.random.rand(random.choice(ROWS), 512).astype(np.float32)
    tensor = protocol.InferInput("X", rows.shape, "FP32")
    tensor.set_data_from_numpy(rows)
    return [tensor]


def main(http_address, grpc_address):
    sent = 0
    for requests, address in ((requests_over_http, http_address), (requests_over_grpc, grpc_address)):
        for threads, count in ROUNDS:
            with ThreadPoolExecutor(threads) as clients:
                list(clients.map(requests, [address] * threads, [count] * threads))
            sent += threads * count
    print(json.dumps({"sent": sent}))


if __name__ == "__main__":
    main(*sys.argv[1:])
