"""nghttp2's h2load at the shipped command (`make test-clients`): many streams, more than are allowed, in windows of any size."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from clients.accounts import Counted, counted, said
from faults.serving import LISTEN, serving
from unit.otlp.calls import TRACES, message
from unit.otlp.exports import body, span

pytestmark = pytest.mark.clients

CALLS = 10_000
PATTERNS = {
    "one at a time": ["-c1", "-m1"],
    "as many as are allowed": ["-c10", "-m16"],
    "small windows": ["-c100", "-m10", "-w10", "-W12"],
    "more than are allowed": ["-c10", "-m100"],
}


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS.keys())
def test_every_call_is_answered_and_counted_once(pattern: Sequence[str], tmp_path: Path) -> None:
    content = tmp_path / "export"
    content.write_bytes(message(body(span(), span(2))))
    with serving(tmp_path, f"{LISTEN}server: {{kind: infermeter, name: test}}\ngpu: {{source: none}}\n") as sidecar:
        fields = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        url = f"http://{sidecar.addresses['otlp_grpc']}{TRACES}"
        output = said(["h2load", "-n", str(CALLS), *pattern, "-d", content, *fields, url])
        assert re.search(f"requests: {CALLS} total, {CALLS} started, {CALLS} done, {CALLS} succeeded, 0 failed", output), output
        now = counted(sidecar, "grpc")
        assert now == Counted(2 * (CALLS - now.refused), now.refused)
        assert not now.refused or "-m100" in pattern  # a client that has read the settings in time asks for no more than is allowed
