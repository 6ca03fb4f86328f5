"""Requests over gRPC to MLServer: `mlserver_grpc_load.py ADDRESS MODEL NUMBERS..`. Runs in MLServer's own environment.

One request for each number, one after the other. Writes a line for each: gRPC's status code, and the seconds that it took.
"""

import sys
import time

import grpc
from mlserver.grpc.dataplane_pb2 import InferTensorContents, ModelInferRequest
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub

PATIENCE_SECONDS = 10


def main(address: str, model: str, *numbers: str) -> None:
    """Sends all of it."""
    with grpc.insecure_channel(address) as channel:
        server = GRPCInferenceServiceStub(channel)
        for number in numbers:
            contents = InferTensorContents(fp32_contents=[float(number)])
            tensor = ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 1], contents=contents)
            begin, status = time.monotonic(), grpc.StatusCode.OK
            try:
                server.ModelInfer(ModelInferRequest(model_name=model, inputs=[tensor]), timeout=PATIENCE_SECONDS)
            except grpc.RpcError as error:
                status = error.code()
            sys.stdout.write(f"{status.value[0]} {time.monotonic() - begin}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
