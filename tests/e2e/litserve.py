"""A real LitServe 0.2.19 with two models in pure Python: one that scores in batches, one that streams. 70 MB of disk.

It emits nothing: what is known of it comes from `infermeter proxy`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from e2e.environments import environment, pip
from e2e.processes import answers, free_ports, running, wait_until

REQUIREMENTS = ("litserve==0.2.19", "fastapi==0.165.0", "starlette==1.10.0", "uvicorn==0.54.0")
WIDTH = 64
BATCH_SECONDS = 0.02
"""How long a batch may wait to be filled."""

APP = Path(__file__).parent / "apps" / "two_models.py"  # a folder of its own: e2e.litserve would hide litserve from it
START_SECONDS = 60


@dataclass(frozen=True)
class Step:
    """What the server computed at one time: a batch of `rows`, or a step of a stream."""

    model: str
    rows: int
    seconds: float


@dataclass(frozen=True)
class LitServe:
    """A running server."""

    url: str
    account: Path

    def steps(self, model: str) -> list[Step]:
        """All that it computed, by its own clock."""
        return [step for line in self.account.read_text().splitlines() if (step := Step(**json.loads(line))).model == model]


@contextlib.contextmanager
def litserve(folder: Path) -> Iterator[LitServe]:
    """A ready server that keeps its log and its account in `folder`."""
    home = environment("litserve", lambda made: pip(made, "install", *REQUIREMENTS))
    (port,) = free_ports(1)
    account, log = folder / "account.jsonl", folder / "litserve.log"
    account.touch()
    url = f"http://127.0.0.1:{port}"
    with running([home / "bin" / "python", APP, str(port), account, str(WIDTH), str(BATCH_SECONDS)], log=log) as process:
        wait_until(lambda: answers(f"{url}/health"), seconds=START_SECONDS, process=process, log=log, what="ready LitServe")
        yield LitServe(url, account)
