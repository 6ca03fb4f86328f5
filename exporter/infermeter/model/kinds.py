"""What values may be: kinds by their names, columns, and the orders in which they are told."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

AttributeValue: TypeAlias = str | bool | int | float
Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]

Stage: TypeAlias = Literal["queue", "compute", "transfer", "serialisation", "other"]
Use: TypeAlias = Literal["active", "idle", "unattributed"]
SlaState: TypeAlias = Literal["met", "missed", "insufficient"]
Signal: TypeAlias = Literal["duration", "ttft", "tpot"]
Component: TypeAlias = Literal["instance", "amortisation", "power", "cooling", "host", "licence", "other"]
Quality: TypeAlias = Literal["measured", "estimated", "fallback"]
GpuState: TypeAlias = Literal["active", "held_idle", "idle", "unknown"]
ThrottleReason: TypeAlias = Literal["power", "thermal", "other"]
Workload: TypeAlias = Literal["latency", "batch", "edge"]
Resource: TypeAlias = Literal["memory", "compute", "launch", "queue", "unknown"]
"""What binds the server: memory bandwidth, arithmetic, launching of kernels, scheduling; or nothing tells."""

Outcome: TypeAlias = Literal["ok", "error"]
Direction: TypeAlias = Literal["input", "output"]
EnergyKind: TypeAlias = Literal["counter", "integrated", "modelled"]
"""How a device's energy is known: from its own counter, integrated from its power, or estimated."""

Rejection: TypeAlias = Literal["read", "gap", "reset", "outlier"]
"""Why a reading was rejected: the device didn't answer or the row was out of order (`read`), nothing for too long (`gap`), its counter
fell (`reset`), or its value is absurd (`outlier`)."""

NotForwarded: TypeAlias = Literal["queue_full", "rejected", "expired", "unencodable", "shutdown"]
"""Why spans weren't passed on: no room, their receiver said so, too old, not to be encoded for its protocol, the end of the process."""

STAGES: tuple[Stage, ...] = ("queue", "compute", "transfer", "serialisation")
"""The four stages, in the order of the columns of `InferenceBatch.stages_ns`."""

SIGNALS: tuple[Signal, ...] = ("duration", "ttft", "tpot")
"""In the order of the columns of signal arrays, and of what is told to people."""

STAGE_PRIORITY: tuple[Stage, ...] = ("compute", "transfer", "serialisation", "queue")
"""Where intervals overlap, an instant belongs to the first of these that claims it (law 1)."""

SPAN_KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")

STATUS_CODES = ("unset", "ok", "error")
