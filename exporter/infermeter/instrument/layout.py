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
"""So far may the steady clock and the wall clock drift apart."""


class SteadyClock:
    """Unix nanoseconds that measure durations right: wall-clock time, moved on by the monotonic clock.

    It follows the wall clock where that was set or has drifted by STEP_NS, and then only from the next inference on: `set_by_wall_clock` is
    called when one begins.
    """

    def __init__(self, unix: Callable[[], int] = time.time_ns, monotonic: Callable[[], int] = time.perf_counter_ns) -> None:
        self._unix = unix
        self._monotonic = monotonic
        self._offset_ns = unix() - monotonic()

    def __call__(self) -> int:
        """Now."""
        return self._offset_ns + self._monotonic()

    def set_by_wall_clock(self) -> int:
        """Now, after a look at the wall clock."""
        monotonic_ns = self._monotonic()
        offset_ns = self._unix() - monotonic_ns
        if abs(offset_ns - self._offset_ns) > STEP_NS:
            self._offset_ns = offset_ns
        return self._offset_ns + monotonic_ns
