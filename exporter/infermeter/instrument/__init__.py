"""For one's own Python server: spans in the native layout, through OpenTelemetry, to any OTLP back end.

    with inference("resnet"):                 # or @inference("resnet"), or the ASGI middleware InferenceMiddleware
        with stage("serialisation", "decode"):
            ...
        with stage("compute"):
            ...

Imports nothing of the rest of the program. What is asked and answered never reaches a span: neither bodies nor messages of exceptions.
"""

from infermeter.instrument.asgi import InferenceMiddleware
from infermeter.instrument.batch import Batch, Waiting, waiting
from infermeter.instrument.export import export_spans
from infermeter.instrument.inference import Inference, current, first_token, inference, stage, tokens
from infermeter.instrument.layout import SCOPE, STAGES, Stage, WallClock
from infermeter.instrument.recorded import StageInterval, TimedInference, emit

__all__ = [
    "SCOPE",
    "STAGES",
    "Batch",
    "Inference",
    "InferenceMiddleware",
    "Stage",
    "StageInterval",
    "TimedInference",
    "Waiting",
    "WallClock",
    "current",
    "emit",
    "export_spans",
    "first_token",
    "inference",
    "stage",
    "tokens",
    "waiting",
]
