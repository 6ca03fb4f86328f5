"""Interactive shells in a terminal of their own, typed at as a person would."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 20.0
PROMPT = "ready>"


class Terminal:
    """What is typed goes in; what is seen comes out, without what moves the cursor and colours."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def types(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def shows(self, wanted: str) -> str:
        """All that is seen from now on, until `wanted` (a pattern) is. Raises: AssertionError."""
        seen, end = "", time.monotonic() + PATIENCE
        while not re.search(wanted, seen):
            ready, _, _ = select.select([self._descriptor], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"{wanted!r} isn't in {seen!r}"
            seen += re.sub(r"\x1b(\[[0-9;?]*[a-zA-Z]|[=>])|[\r\x07]", "", os.read(self._descriptor, 65536).decode(errors="replace"))
            seen = re.sub(r"[^\x08]\x08", "", seen)  # a backspace takes what stands before it
        return seen


@contextmanager
def terminal(command: list[str], folder: Path) -> Iterator[Terminal]:
    """The shell in `folder`, once it shows PROMPT."""
    ours, theirs = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "TERM": "dumb", "PS1": PROMPT, "LC_ALL": "C.UTF-8", "HISTFILE": ""}
    shell = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, close_fds=True
    )
    os.close(theirs)
    try:
        yield Terminal(ours)
    finally:
        shell.kill()
        shell.wait()
        os.close(ours)
