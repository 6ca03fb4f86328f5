"""OpenTelemetry's SDK for Node at the shipped command (`make test-clients`): its three exporters, packed and plain."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from clients.accounts import Counted, counted, said
from e2e.processes import CACHE
from faults.serving import serving
from support.node import installed

HERE = Path(__file__).resolve().parent / "node"
NODE = CACHE / "clients"
"""Where the SDK is installed, and kept between runs."""

SPANS = 20_000

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def client() -> Path:
    """The program, beside the SDK as package-lock.json pins it."""
    return Path(shutil.copy(HERE / "export.mjs", installed(HERE, NODE)))


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize(
    ("kind", "protocol", "path"),
    [("grpc", "grpc", ""), ("proto", "http", "/v1/traces"), ("http", "http", "/v1/traces")],
    ids=["grpc", "http/protobuf", "http/json"],
)
def test_every_span_of_the_sdk_is_taken_and_counted(
    kind: str, protocol: str, path: str, compression: str, client: Path, tmp_path: Path
) -> None:
    with serving(tmp_path) as sidecar:
        url = f"http://{sidecar.addresses[f'otlp_{protocol}']}{path}"
        assert json.loads(said(["node", client, kind, url, str(SPANS), compression])) == {"taken": SPANS, "refused": 0}
        assert counted(sidecar, protocol) == Counted(SPANS, 0)
        sidecar.until(lambda: sidecar.value("inferences_observed_total", model="m", outcome="ok") == SPANS)
