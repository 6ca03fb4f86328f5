"""What is fuzzed: each target takes any bytes, and ends unless something is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fuzz import files, http2, otlp, pages, web
from fuzz.ceilings import ceilings

CORPUS: Final = Path(__file__).parent / "corpus"


@dataclass(frozen=True, slots=True)
class Target:
    """`longest_bytes` is of the inputs that are tried; `words` are what inputs are made of."""

    run: Callable[[bytes], None]
    longest_bytes: int
    words: tuple[str, ...] = ()

    def __call__(self, data: bytes) -> None:
        """Tries one input within the ceilings."""
        with ceilings():
            self.run(data)


_YAML = (": ", "- ", "{", "}", "[", "]", "&a ", "*a", "<<: ", "!!str ", "null", "true", "1e9", "5m", "'", '"', "|", ">", "\\n", "? ")
_TEXT_FORMAT = ("# HELP ", "# TYPE ", "# EOF", " counter", "{", "}", '="', '",', "NaN", "+Inf", "1e308", " # {", "\\n", "\\\\")
_HTTP = (
    "GET ",
    "POST ",
    "HEAD ",
    " HTTP/1.1",
    "Host: a",
    "Content-Length: ",
    "Transfer-Encoding: chunked",
    "Connection: ",
    "Expect: 100-continue",
)

TARGETS: Final[Mapping[str, Target]] = {
    "otlp_protobuf": Target(otlp.protobuf, 1024, ("*",)),
    "otlp_json": Target(
        otlp.json,
        2048,
        ('"resourceSpans"', '"scopeSpans"', '"spans"', '"traceId"', '"attributes"', '"stringValue"', '"intValue"', '"events"', '"status"'),
    ),
    "gzip": Target(otlp.packed, 1024, ("*", "\x1f\x8b\x08")),
    "mapping": Target(files.mapping, 900, (*_YAML, "match", "emit", "stages", "attr", "duration", "parts", "rest", "re", "prefix", "any")),
    "config": Target(files.config, 768, (*_YAML, "server", "sla", "cost", "gpu", "limits", "# prices", "# devices", "# web")),
    "captures": Target(files.captures, 2048, ("time_unix_seconds", "gpu_uuid", "# gpu: ", "# end: ", "timestamp", "uuid", "[N/A]", " W")),
    "dcgm": Target(pages.gpus, 2048, (*_TEXT_FORMAT, "DCGM_FI_DEV_POWER_USAGE", "UUID", "GPU_I_ID", "# triton")),
    "server_metrics": Target(
        pages.server, 2048, (*_TEXT_FORMAT, "vllm:request_success_total", "nv_inference_request_success", "_bucket", "le")
    ),
    "web": Target(web.requests, 1024, (*_HTTP, "/metrics", "/-/reload", "/api/v1/report/events", "Accept: ", "Accept-Encoding: ")),
    "otlp_http": Target(web.exports, 2048, (*_HTTP, "/v1/traces", "Content-Type: application/json", "Content-Encoding: gzip")),
    "otlp_grpc": Target(
        http2.exports, 2048, ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "*", ":method", ":path", ":scheme", "content-type", "gzip")
    ),
}


def corpus(name: str) -> Iterator[bytes]:
    """The committed inputs of a target, in a stable order."""
    for path in sorted((CORPUS / name).iterdir()):
        yield path.read_bytes()
