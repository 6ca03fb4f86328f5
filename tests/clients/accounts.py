"""What clients and a sidecar say of the same exports."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from faults.serving import Sidecar

SECONDS = 120.0
"""That a client may take for all that it sends."""


@dataclass(frozen=True)
class Counted:
    """By the sidecar: spans received, and exports refused."""

    spans: int
    refused: int


def counted(sidecar: Sidecar, protocol: str) -> Counted:
    """So far, since it started."""
    spans, refused = (sidecar.value(name, protocol=protocol) or 0 for name in ("spans_received_total", "exports_refused_total"))
    return Counted(int(spans), int(refused))


def said(command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None) -> str:
    """What a client says on its output, once it has ended well."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Told:
    """By grpc-go: how the calls ended by the name of the status, and the spans of those that were answered OK."""

    ended: dict[str, int]
    spans: int

    @classmethod
    def of(cls, output: str) -> Told:
        return cls(**json.loads(output))
