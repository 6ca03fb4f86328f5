"""Who may connect where, with how much, and where this connects to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from infermeter.config.keys import Duration, key


@dataclass(frozen=True, slots=True)
class Listen:
    """Addresses; null: off; port 0: any, told in the log."""

    web: str | None = key("0.0.0.0:10470", "/metrics, the API and the page")
    otlp_grpc: str | None = key("127.0.0.1:4317", "OTLP over gRPC")
    otlp_http: str | None = key("127.0.0.1:4318", "OTLP over HTTP")


@dataclass(frozen=True, slots=True)
class Web:
    """The web face."""

    config_file: str | None = key(
        None, "exporter-toolkit's web configuration: TLS, client certificates, basic authentication; its keys are below"
    )
    lifecycle: bool = key(default=False, doc="POST /-/reload reads the configuration anew, as SIGHUP does")
    page: bool = key(default=True, doc="the status page at /; false: links alone")
    auth_failures_per_minute: int = key(30, "wrong passwords from one address (of IPv6: one /64); then 429", minimum=1)


@dataclass(frozen=True, slots=True)
class OtlpTls:
    """TLS of the OTLP listeners."""

    cert_file: str | None = key(None, "PEM certificate chain, of both listeners; read anew when it changes, as all of these files are")
    key_file: str | None = key(None, "PEM private key, not encrypted")
    client_ca_file: str | None = key(None, "PEM: senders must show a certificate that one of these has signed")


@dataclass(frozen=True, slots=True)
class Otlp:
    """Access to the OTLP listeners."""

    tls: OtlpTls = key(factory=OtlpTls, doc="TLS")
    token_file: str | None = key(None, "file with the bearer token that senders must show: `Authorization: Bearer ...`")


@dataclass(frozen=True, slots=True)
class Forward:
    """Spans passed on."""

    endpoint: str | None = key(
        None,
        "each export that was taken goes on to it once, as it came: such as http://tempo:4318, /v1/traces being appended where there is "
        "no path; for grpc http://tempo:4317 or tempo:4317; https: TLS",
    )
    protocol: Literal["http", "grpc"] = key("http", "of the end point; only JSON that goes on over gRPC is encoded anew")
    headers: Mapping[str, str] = key(
        factory=dict, doc="sent with each export; ${env:NAME} is taken from the environment, as secrets are", secret=True
    )
    queue_bytes: int = key(67108864, "of exports that wait, or are under way; further ones are dropped and counted", minimum=1)
    timeout: Duration = key(10.0, "of one attempt", above=0)
    retry_for: Duration = key(300.0, "an export is tried again until it is this old, then dropped and counted", minimum=0)


@dataclass(frozen=True, slots=True)
class Proxy:
    """`infermeter proxy`."""

    upstream: str | None = key(None, "URL of the server, such as http://127.0.0.1:8000")
    listen: str = key("127.0.0.1:8080", "where it listens")
    in_flight: int | None = key(None, "inferences at a time that the server gets; others wait, in order", minimum=1)
    queue_timeout: Duration = key(30.0, "so long they wait; then 503", above=0)
    paths: tuple[str, ...] = key((), "how the paths of inferences begin; none: whatever isn't GET, HEAD, OPTIONS or TRACE is one")
    endpoint: str = key("http://127.0.0.1:4318", "where its spans go: OTLP over HTTP")
    model: str | None = key(None, "the model's name; bodies aren't looked into")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on everything that a sender controls."""

    models: int = key(20, 'then model="other"', minimum=1)
    series: int = key(5000, "hard stop; optional families go first", minimum=100)
    pending_traces: int = key(10000, "traces under assembly; then the oldest is complete early, or evicted if no inference yet", minimum=1)
    pending_bytes: int = key(67108864, "of spans under assembly", minimum=1024)
    body_bytes: int = key(16777216, "of an export, as sent", minimum=1)
    decompressed_bytes: int = key(67108864, "of an export, unpacked", minimum=1)
    in_flight_bytes: int = key(134217728, "of exports being received; then 503 / UNAVAILABLE", minimum=1)
    connections: int = key(1024, "of senders, by each protocol; then the one that has rested longest makes room", minimum=1)
    request_time: Duration = key(10.0, "for header and body, each", above=0)
    age: Duration = key(3600.0, "older spans are dropped and counted", above=0)
    future: Duration = key(5.0, "spans that end later than this from now are dropped and counted", minimum=0)
    memory_bytes: int | None = key(None, "exports are refused above this resident size; default 90 % of the cgroup's limit", minimum=1)
