"""Exports that were answered and are still to be decoded: together they cost less. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from infermeter.model import Export
from infermeter.otlp.decoder import Checked, Decoder

MOST_SPANS: Final = 8192
"""So many are decoded as cheaply as more would be, and while they are, nothing else is done."""

MOST_BYTES: Final = 2**22
"""Beside the last export, which may be as large as any."""


class Backlog:
    """Keeps what its decoder has judged, until whoever owns it drains it: as soon as it `is_full` at the latest."""

    def __init__(self, decoder: Decoder, kept: Callable[[], None]) -> None:
        """`kept` is called after each export that came, for the owner to see to it."""
        self.decoder = decoder
        self.checked = decoder.checked
        self._kept = kept
        self._bodies: list[bytes] = []
        self._bytes = 0
        self._spans = 0
        self._malformed = 0

    @property
    def is_full(self) -> bool:
        """Whether it should be drained at once."""
        return self._spans >= MOST_SPANS or self._bytes >= MOST_BYTES

    def keep(self, body: bytes, checked: Checked) -> None:
        """Takes an export that was `checked` with this result."""
        self._bodies.append(body)
        self._bytes += len(body)
        self._spans += checked.spans
        self._malformed += checked.malformed
        self._kept()

    def drained(self) -> Export | None:
        """All that it holds as one export, `outermost` of which are nobody's; None if there is nothing. It is empty then."""
        if not self._bodies:
            return None
        bodies, spans, malformed = self._bodies, self._spans, self._malformed
        self._bodies, self._bytes, self._spans, self._malformed = [], 0, 0, 0
        return Export(tuple(self.decoder.batches(bodies)), spans, malformed, (b"", b""))
