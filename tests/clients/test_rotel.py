"""Rotel, a collector in Rust (tonic, hyper), that passes on to the shipped command what it gets (`make test-clients`)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from clients.accounts import Counted, counted
from e2e.environments import environment, pip, site_packages
from e2e.processes import running
from faults.serving import LISTEN, export, serving
from infermeter.demo.processes import free_ports

VERSION = "0.0.1a15"
EXPORTS, SPANS = 400, 50

pytestmark = pytest.mark.clients


@contextmanager
def forwarding(folder: Path, protocol: str, compression: str, endpoint: str) -> Iterator[str]:
    """A collector that passes on to this address; where it takes OTLP over HTTP."""
    agent = site_packages(environment("rotel", lambda made: pip(made, "install", "--quiet", f"rotel=={VERSION}"))) / "rotel" / "rotel-agent"
    grpc, http = (f"127.0.0.1:{port}" for port in free_ports(2))
    options = {
        "otlp-grpc-endpoint": grpc,
        "otlp-http-endpoint": http,
        "exporter": "otlp",
        "otlp-exporter-endpoint": f"http://{endpoint}",
        "otlp-exporter-protocol": protocol,
        "otlp-exporter-compression": compression,
        "otlp-exporter-retry-initial-backoff": "100ms",
        "batch-max-size": "512",
        "batch-timeout": "200ms",
    }
    command = [agent, "start", *(word for key, value in options.items() for word in (f"--{key}", value))]
    with running(command, log=folder / "rotel.log"):
        yield http


def listens(address: str) -> bool:
    """Raises: OSError, as long as it doesn't."""
    host, _, port = address.partition(":")
    socket.create_connection((host, int(port))).close()
    return True


def send(address: str, first: int) -> None:
    """Exports to it, from span `first` on."""
    for number in range(EXPORTS):
        request = Request(f"http://{address}/v1/traces", export(first + number * SPANS, SPANS), {"Content-Type": "application/json"})
        with urlopen(request, timeout=30) as answer:
            assert answer.status == 200


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_every_span_is_passed_on_once_also_across_a_restart(protocol: str, compression: str, tmp_path: Path) -> None:
    web, grpc, http = free_ports(3)
    listen = LISTEN
    for key, port in (("web", web), ("otlp_grpc", grpc), ("otlp_http", http)):
        listen = listen.replace(f'{key}: "127.0.0.1:0"', f'{key}: "127.0.0.1:{port}"')
    config = f"{listen}server: {{kind: infermeter, name: test}}\ngpu: {{source: none}}\n"
    endpoint = f"127.0.0.1:{grpc if protocol == 'grpc' else http}"
    all_spans = Counted(EXPORTS * SPANS, 0)
    with forwarding(tmp_path, protocol, compression, endpoint) as address:
        for first in (1, 1 + EXPORTS * SPANS):
            with serving(tmp_path, config) as sidecar:
                sidecar.until(lambda: listens(address))
                send(address, first)
                sidecar.until(lambda sidecar=sidecar: counted(sidecar, protocol).spans >= all_spans.spans)
                assert counted(sidecar, protocol) == all_spans
                assert sidecar.stopped()[0] == 0
