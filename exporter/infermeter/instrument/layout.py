"""The native layout: the names by which its spans and attributes are recognised, and a clock to time them with. No SDK here.

One SERVER span `inference` an inference, status ERROR if it failed, event `first_token`; its INTERNAL children are named after the stages.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

SCOPE: Final = "infermeter"
"""The instrumentation scope by which the layout is recognised."""

INFERENCE: Final = "inference"
FIRST_TOKEN: Final = "first_token"  # noqa: S105 - an event

MODEL: Final = "infermeter.model"
TOKENS_INPUT: Final = "infermeter.tokens.input"
TOKENS_OUTPUT: Final = "infermeter.tokens.output"
BATCH_SIZE: Final = "infermeter.batch.size"
BATCH_ID: Final = "infermeter.batch.id"
PART: Final = "infermeter.part"
ERROR_TYPE: Final = "error.type"
"""Why an inference failed: one of few words, an exception's class or an HTTP status. Source: OpenTelemetry semantic conventions, error."""

Stage: TypeAlias = Literal["queue", "compute", "transfer", "serialisation"]

STAGES: Final[Mapping[Stage, str]] = {
    "queue": "waiting to be executed",
    "compute": "the model runs",
    "transfer": "tensors, weights or KV blocks are copied",
    "serialisation": "parsing, tokenising, detokenising, encoding, and the network's bytes in and out",
}
"""What each stage is the time of."""

STEP_NS = 1_000_000
"""So far may inferences' time and the wall clock drift apart."""


class SteadyClock:
    """Unix nanoseconds that never step: the monotonic clock, and what makes it the wall clock's."""

    def __init__(self, offset_ns: int, monotonic: Callable[[], int]) -> None:
        self.offset_ns = offset_ns
        self._monotonic = monotonic

    def __call__(self) -> int:
        """Now."""
        return self.offset_ns + self._monotonic()


class WallClock:
    """Gives each inference a steady clock, the same as the last one's unless the wall clock was set or has drifted by STEP_NS."""

    def __init__(self, unix: Callable[[], int] = time.time_ns, monotonic: Callable[[], int] = time.perf_counter_ns) -> None:
        self._unix = unix
        self._monotonic = monotonic
        self._steady = SteadyClock(unix() - monotonic(), monotonic)

    def steady(self) -> SteadyClock:
        """For one inference, from its first to its last instant."""
        offset_ns = self._unix() - self._monotonic()
        if abs(offset_ns - self._steady.offset_ns) > STEP_NS:
            self._steady = SteadyClock(offset_ns, self._monotonic)
        return self._steady
