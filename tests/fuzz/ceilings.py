"""What one input may cost: a second of CPU, and so much memory beyond what the process holds anyway. Linux alone tells the latter."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Final

CPU_SECONDS: Final = 1.0
"""CPU, not elapsed: a busy machine is no hang."""

MEMORY_KIBIBYTES: Final = 64 * 1024

_FORGET_PEAK: Final = b"5"
"""Written there, it makes the most that was held what is held now. Source: proc(5)."""


@cache
def _peak() -> int:
    return os.open("/proc/self/clear_refs", os.O_WRONLY)


class CeilingError(BaseException):
    """An input cost too much. Not an Exception: nothing that is tried may take it for a mistake of the input."""


@contextmanager
def ceilings(*, cpu_seconds: float = CPU_SECONDS) -> Iterator[None]:
    """Whatever runs within it ends in CeilingError if it takes too long or holds too much. Only in the main thread."""
    with suppress(OSError):
        os.pwrite(_peak(), _FORGET_PEAK, 0)
    held = _most_kibibytes()
    before = signal.signal(signal.SIGPROF, _too_long)
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    if _most_kibibytes() - held > MEMORY_KIBIBYTES:
        raise CeilingError(f"more than {MEMORY_KIBIBYTES} KiB of memory")


def _most_kibibytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _too_long(*_: object) -> None:
    raise CeilingError("more seconds of CPU than allowed")
