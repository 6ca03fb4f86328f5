"""The servers for which an overlay is shipped: how each is started with its spans switched on, and what Infermeter is told of it.

Flags and variables are those of the mapping's `tracing.enable`, ports and paths those of its `metrics.endpoint`
(exporter/infermeter/mapping/servers); a test compares. Images are names without a registry: a kustomization's
`images` says where yours are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from deploy.src.written import Json

Form = Literal["Deployment", "InferenceService", "LLMInferenceService"]

OTLP_GRPC: Final = "http://127.0.0.1:4317"
OTLP_HTTP: Final = "http://127.0.0.1:4318/v1/traces"

LLM_TARGETS: Final = {"quantile": 0.99, "duration_seconds": 10, "ttft_seconds": 0.5, "tpot_seconds": 0.05}
TARGETS: Final = {"quantile": 0.99, "duration_seconds": 0.25}


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """One overlay. `files` are written beside it and mounted at `mounted_at`; `metrics_url` None: nobody knows how its page is reached.

    `image` and `args` are empty where a preset of KServe's says what runs.
    """

    folder: str
    name: str
    kind: str
    args: Sequence[str]
    port: int
    ready: str
    metrics_url: str | None
    notes: Sequence[str]
    form: Form = "Deployment"
    image: str = ""
    command: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    sampled: bool | None = None
    model: str | None = None
    targets: Mapping[str, float] = field(default_factory=lambda: TARGETS)
    start_seconds: int = 600
    files: Mapping[str, str] = field(default_factory=dict)
    mounted_at: str = "/app"


VLLM: Final[Json] = {
    "kind": "vllm",
    "args": ["--model=example/llama-3-8b", "--served-model-name=llama-3-8b", "--port=8000", "--otlp-traces-endpoint=http://127.0.0.1:4317"],
    "env": {"OTEL_EXPORTER_OTLP_TRACES_INSECURE": "true"},
    "port": 8000,
    "ready": "/health",
    "model": "llama-3-8b",
    "targets": LLM_TARGETS,
}

BENTOML_SERVICE: Final = '''\
"""A service whose spans go to the sidecar: the decorator's `tracing` is what has to be in your own."""

import bentoml


@bentoml.service(
    tracing={
        "exporter_type": "otlp",
        "sample_rate": 1.0,
        "otlp": {"protocol": "http", "endpoint": "http://127.0.0.1:4318/v1/traces"},
    }
)
class Words:
    """Counts words."""

    @bentoml.api
    def count(self, text: str) -> int:
        """How many there are."""
        return len(text.split())
'''

RAY_SPANS: Final = '''\
"""Where Ray Serve's spans go: RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH names `processors`."""

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def processors():
    """One that sends them to the sidecar."""
    return [BatchSpanProcessor(OTLPSpanExporter(endpoint="http://127.0.0.1:4318/v1/traces"))]
'''

RAY_SERVICE: Final = '''\
"""A deployment to begin with: yours takes its place."""

from ray import serve


@serve.deployment
class Words:
    """Counts words."""

    async def __call__(self, request):
        """How many there are in the body."""
        return len((await request.body()).split())


app = Words.bind()
'''

RAY_CONFIG: Final = """\
# What Ray Serve serves. By default it listens on loopback alone.
proxy_location: EveryNode
http_options: {host: 0.0.0.0, port: 8000}
applications:
  - {name: words, route_prefix: /, import_path: "service:app"}
"""

RAY_START: Final = "ray start --head --metrics-export-port=8080 && exec serve run /app/serve.yaml"

SERVED: Final[Sequence[Served]] = (
    Served(
        folder="vllm",
        name="chat",
        image="vllm-openai:v0.11.2",
        metrics_url="http://127.0.0.1:8000/metrics",
        notes=("Don't add --disable-log-stats: vLLM ends at the first request where it also traces.",),
        **VLLM,
    ),
    Served(
        folder="triton",
        name="vision",
        kind="triton",
        image="tritonserver:25.10-py3",
        command=["tritonserver"],
        args=[
            "--model-repository=/models",
            "--trace-config=mode=opentelemetry",
            f"--trace-config=opentelemetry,url={OTLP_HTTP}",
            "--trace-config=level=TIMESTAMPS",
            "--trace-config=rate=1",
            "--trace-config=count=-1",
        ],
        port=8000,
        ready="/v2/health/ready",
        metrics_url="http://127.0.0.1:8002/metrics",
        sampled=False,
        notes=(
            "Before 2.57 (25.05) Triton may crash under load while it traces every request: there set rate=100, and leave `sampled` out of",
            "config.yaml. Totals come from its metrics in either case.",
        ),
    ),
    Served(
        folder="tgi",
        name="chat",
        kind="tgi",
        image="text-generation-inference:3.3.5",
        args=["--model-id=example/llama-3-8b", "--port=8080", f"--otlp-endpoint={OTLP_GRPC}"],
        port=8080,
        ready="/health",
        metrics_url="http://127.0.0.1:8080/metrics",
        model="llama-3-8b",
        targets=LLM_TARGETS,
        notes=("Without http:// before the address the spans of TGI's router vanish.",),
    ),
    Served(
        folder="sglang",
        name="chat",
        kind="sglang",
        image="sglang:v0.5.9",
        command=["python3", "-m", "sglang.launch_server"],
        args=[
            "--model-path=example/llama-3-8b",
            "--served-model-name=llama-3-8b",
            "--host=0.0.0.0",
            "--port=30000",
            "--enable-metrics",
            "--enable-trace",
            "--otlp-traces-endpoint=127.0.0.1:4317",
        ],
        env={"SGLANG_TRACE_LEVEL": "2"},
        port=30000,
        ready="/health",
        metrics_url="http://127.0.0.1:30000/metrics",
        model="llama-3-8b",
        targets=LLM_TARGETS,
        notes=("At SGLang's default level, 3, every token of every request is a span.",),
    ),
    Served(
        folder="ray-serve",
        name="words",
        kind="ray_serve",
        image="ray:2.60.0-py311",
        command=["/bin/sh", "-c"],
        args=[RAY_START],
        env={
            "PYTHONPATH": "/app",
            "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH": "infermeter_spans:processors",
            "RAY_SERVE_TRACING_SAMPLING_RATIO": "1.0",
        },
        port=8000,
        ready="/-/healthz",
        metrics_url="http://127.0.0.1:8080/metrics",
        sampled=False,
        files={"serve.yaml": RAY_CONFIG, "service.py": RAY_SERVICE, "infermeter_spans.py": RAY_SPANS},
        notes=(
            "One node in one pod. With KubeRay, put the sidecar into the pod template of each group: a node's metrics are its own, and",
            "the proxy, whose spans are the requests, runs on each of them.",
        ),
    ),
    Served(
        folder="bentoml",
        name="words",
        kind="bentoml",
        image="bentoml-service:1.4.39",
        command=["bentoml"],
        args=["serve", "service:Words", "--port=3000"],
        env={"PYTHONPATH": "/app"},
        port=3000,
        ready="/readyz",
        metrics_url="http://127.0.0.1:3000/metrics",
        sampled=False,
        files={"service.py": BENTOML_SERVICE},
        notes=(
            "Spans are switched on in the service's own code: service.py shows how. A configuration file with `tracing:` samples nothing.",
        ),
    ),
    Served(
        folder="mlserver",
        name="scoring",
        kind="mlserver",
        image="mlserver:1.7.1",
        command=["mlserver"],
        args=["start", "/models"],
        env={"MLSERVER_TRACING_SERVER": OTLP_GRPC},
        port=8080,
        ready="/v2/health/ready",
        metrics_url="http://127.0.0.1:8082/metrics",
        notes=("Leave `server_name` out of settings.json: MLServer's spans are known by it.",),
    ),
    Served(
        folder="kserve",
        name="chat",
        form="InferenceService",
        image="vllm-openai:v0.11.2",
        metrics_url="http://127.0.0.1:8080/metrics",
        notes=(
            "vLLM as a container of KServe's. With predictor.model and a ServingRuntime in its place, tracing flags go to",
            "predictor.model.args; the sidecar stays what it is. KServe's own Python servers emit no spans: server.kind kserve reads their",
            "metrics alone.",
        ),
        **(VLLM | {"port": 8080, "args": [*VLLM["args"][:2], "--port=8080", VLLM["args"][3]]}),
    ),
    Served(
        folder="llminferenceservice",
        name="chat",
        form="LLMInferenceService",
        metrics_url=None,
        notes=(
            "spec.tracing sets vLLM's flags and variables; KServe's own default is one request in 20. Its preset decides whether vLLM",
            "speaks TLS; where it doesn't, set server.metrics_url to http://127.0.0.1:8000/metrics.",
        ),
        **(VLLM | {"args": []}),
    ),
)


def tracing() -> dict[str, Any]:
    """An LLMInferenceService's `spec.tracing`, for every request. Source: kserve/kserve, config/llmisvcconfig/config-llm-tracing.yaml."""
    return {"exporter": "otlp", "exporterEndpoint": OTLP_GRPC, "sampler": "parentbased_traceidratio", "samplerArg": "1.0"}
