"""The server that is measured, and its service levels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from infermeter.config.keys import Duration, key


@dataclass(frozen=True, slots=True)
class GpuChoice:
    """One GPU of the server: a UUID or an NVML index, and the share of it that is this server's."""

    gpu: str | int = key(doc="UUID or NVML index")
    share: float | Literal["process"] = key(
        1.0, "the part of it that is this server's; process: by what the processes of server.pid use", above=0, maximum=1
    )


@dataclass(frozen=True, slots=True)
class Server:
    """Which server this sidecar belongs to."""

    kind: str = key("auto", "auto, or the name of a mapping: a name pins that mapping alone (and those in mappings_dir)")
    name: str | None = key(
        None,
        "the `server` label; default $INFERMETER_SERVER_NAME, else the kind, or `default` under auto",
        pattern=r"[A-Za-z0-9_.:/-]{1,64}",
    )
    model: str | None = key(None, "the model of spans that carry none; the span's own wins")
    gpus: Literal["auto", "all"] | tuple[GpuChoice, ...] = key("auto", "auto, all, or a list of UUIDs, NVML indices or {gpu, share}")
    gpu_count: int | None = key(None, "how many GPUs to price where none can be seen", minimum=1)
    pid: int | None = key(None, "the server's process: its tree tells the GPUs (host pid namespace needed)", minimum=1)
    max_batch: int | None = key(None, "the server's batch limit: modelled capacity stays clear of it", minimum=1)
    sampled: Literal["auto"] | bool = key("auto", "whether spans are a sample; auto: as the mapping says")
    precision: Literal["fp32", "tf32", "bf16", "fp16", "fp8", "int8", "int4"] | None = key(
        None, "what the model computes in, for right-sizing: fp32 on tensor cores is tf32, as frameworks run it unless told otherwise"
    )
    workload: Literal["auto", "latency", "batch", "edge"] = key("auto", "what the ranking of devices looks at", reload=True)
    metrics_url: str | None = key(
        None, "the server's own /metrics: totals, coverage; one server's own address, never that of a Service with several behind it"
    )
    metrics_interval: Duration = key(5.0, "how often metrics_url is read", minimum=0.1)
    metrics_token_file: str | None = key(None, "file with a bearer token for metrics_url")


@dataclass(frozen=True, slots=True)
class Sla:
    """Targets of one model; None: not set here."""

    quantile: float | None = key(None, "share of the inferences that must meet the targets (0.99)", above=0, maximum=1)
    duration_seconds: float | None = key(None, "target for the whole inference", above=0)
    ttft_seconds: float | None = key(None, "target for the time to the first token", above=0)
    tpot_seconds: float | None = key(None, "target for the time per output token after the first", above=0)


@dataclass(frozen=True, slots=True)
class Slas:
    """The SLA of every model: missing keys of a model come from the default, null removes a target."""

    default: Sla | None = key(None, "the targets of every model")
    models: Mapping[str, Annotated[Mapping[str, float | None], Sla]] = key(
        factory=dict, doc="per model: the keys of sla.default; null removes one"
    )
