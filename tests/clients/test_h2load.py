"""nghttp2's h2load at the shipped command (`make test-clients`): many streams, more than are allowed, in windows of any size.

A connection whose first streams are begun before it has read the settings begins too many, once. One alone always does; of ten that begin
at once all do or none, as it happens.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from clients.accounts import Counted, counted, said
from faults.serving import LISTEN, serving
from unit.otlp.calls import TRACES, message
from unit.otlp.exports import body, span

pytestmark = pytest.mark.clients

CALLS = 10_000
ALLOWED = 16
"""Streams of a connection at a time."""

PATTERNS = {
    "one at a time": ["-c1", "-m1"],
    "as many as are allowed": ["-c10", "-m16"],
    "small windows": ["-c100", "-m10", "-w10", "-W12"],
    "more than are allowed": ["-c1", "-m100"],
    "more than are allowed, on ten connections": ["-c10", "-m100"],
}
REFUSED = {"more than are allowed": {100 - ALLOWED}, "more than are allowed, on ten connections": {n * (100 - ALLOWED) for n in range(11)}}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_call_is_answered_and_counted_once(pattern: str, tmp_path: Path) -> None:
    content = tmp_path / "export"
    content.write_bytes(message(body(span(), span(2))))
    with serving(tmp_path, f"{LISTEN}server: {{kind: infermeter, name: test}}\ngpu: {{source: none}}\n") as sidecar:
        fields = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        url = f"http://{sidecar.addresses['otlp_grpc']}{TRACES}"
        output = said(["h2load", "-n", str(CALLS), *PATTERNS[pattern], "-d", content, *fields, url])
        assert re.search(f"requests: {CALLS} total, {CALLS} started, {CALLS} done, {CALLS} succeeded, 0 failed", output), output
        now = counted(sidecar, "grpc")
        assert now == Counted(2 * (CALLS - now.refused), now.refused)
        assert now.refused in REFUSED.get(pattern, {0})
