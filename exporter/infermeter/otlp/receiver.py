"""An export on its way from a transport to the mapping: admitted, judged, counted and consumed, as a whole or not at all.

What is judged without being decoded goes into the backlog, from where it comes a little later: to its sender and all counters it is taken.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from secrets import token_hex
from typing import Literal, TypeAlias

from infermeter.config import Limits
from infermeter.errors import Overloaded, TooLarge
from infermeter.model import Accepted, Export, SpanFilter
from infermeter.otlp.answers import Encoding
from infermeter.otlp.backlog import Backlog
from infermeter.otlp.decoder import Checked
from infermeter.otlp.inflate import gunzip
from infermeter.otlp.json import decode_json
from infermeter.otlp.parts import check_parts
from infermeter.otlp.protobuf import decode_protobuf
from infermeter.otlp.refusals import REFUSALS, Reason, Refusal
from infermeter.otlp.templates import Templates
from infermeter.otlp.turns import Turns

Protocol: TypeAlias = Literal["grpc", "http", "file"]
Packing: TypeAlias = Literal["identity", "gzip"]

REMEMBERED_EXPORTS = 4096
"""How many exports a retried one is looked for among."""


class Receiver:
    """What both transports share; it belongs to the event loop. It knows nothing of sockets.

    `spans_received` is by protocol and includes what is dropped here; `exports_refused` is by protocol and reason;
    `connections_displaced`, by protocol, rested and had to make room for others. `turns` is where the transports wait before they hand
    an export over.
    """

    def __init__(
        self,
        wanted: SpanFilter,
        consume: Callable[[Export], None],
        limits: Limits,
        *,
        overloaded: Callable[[], bool],
        accepted: Callable[[Accepted], None] | None = None,
        turns: Turns | None = None,
        backlog: Backlog | None = None,
    ) -> None:
        """`accepted` gets, as it was sent, what of the transports was taken; None: nobody wants it.

        Whoever gives a `backlog` drains it, too; without one every export is decoded at once.
        """
        self.limits = limits
        self.spans_received: Counter[Protocol] = Counter({"grpc": 0, "http": 0})
        self.exports_refused: Counter[tuple[Protocol, Reason]] = Counter()
        self.connections_displaced: Counter[Protocol] = Counter({"grpc": 0, "http": 0})
        self.spans_dropped: Counter[Literal["malformed", "duplicate"]] = Counter({"malformed": 0, "duplicate": 0})
        self.turns = turns or Turns()
        self._wanted = wanted
        self._templates = Templates(wanted)
        self._consume = consume
        self._overloaded = overloaded
        self._accepted = accepted
        self._backlog = backlog
        self._held_bytes = 0
        self._remembered: OrderedDict[tuple[int, bytes, bytes], None] = OrderedDict()  # which finds its first at once, as a dict doesn't
        self._name = token_hex(8)

    def export(self, body: bytes, encoding: Encoding, protocol: Protocol) -> Export | Checked:
        """Takes one export, unpacked, and returns what is known of it. One that was taken before is answered alike and dropped.

        Raises:
            Overloaded: nothing was read; the sender shall try again.
            DecodeError: nothing was taken.
        """
        self._admit()
        return self._export(body, encoding, protocol)[0]

    def take(
        self, body: bytes, encoding: Encoding, packing: Packing, protocol: Protocol, *, passed_by: Sequence[str] = ()
    ) -> Export | Checked:
        """Takes one export as a transport got it, within the limits of what it unpacks to; otherwise as `export` does.

        `passed_by` names the sidecars that it has come through; with this one among them, it was taken before.
        """
        self._admit()
        unpacked = gunzip(body, self.limits.decompressed_bytes) if packing == "gzip" else body
        if len(unpacked) > self.limits.decompressed_bytes:
            raise TooLarge("more than limits.decompressed_bytes")
        check_parts(unpacked, encoding)
        export, is_new = self._export(unpacked, encoding, protocol, is_own=self._name in passed_by)
        if is_new and self._accepted is not None:
            self._accepted(Accepted(body, encoding, packing, export.spans, len(unpacked), (*passed_by, self._name)))
        return export

    def refuse(self, error: Exception, protocol: Protocol) -> Refusal:
        """Counts an export that was refused with this error (a key of REFUSALS), and says how to answer it."""
        refusal = REFUSALS[type(error)]
        self.exports_refused[protocol, refusal.reason] += 1
        return refusal

    def check_room(self, count_bytes: int) -> None:
        """What `receiving` would say of an export that is here with all its bytes. Raises: Overloaded."""
        if self.turns.full():
            raise Overloaded("too many exports wait")
        if self._held_bytes + count_bytes > self.limits.in_flight_bytes:
            raise Overloaded("too many bytes of exports in flight")

    @contextmanager
    def receiving(self) -> Iterator[Callable[[int], None]]:
        """Within it, the given function takes bytes of an export out of what may be in flight; they are returned at the end.

        Raises:
            Overloaded: at once, or by the function.
        """
        self._admit()
        self.check_room(0)
        held_bytes = 0

        def hold(count_bytes: int) -> None:
            nonlocal held_bytes
            if self._held_bytes + count_bytes > self.limits.in_flight_bytes:
                raise Overloaded("too many bytes of exports in flight")
            self._held_bytes += count_bytes
            held_bytes += count_bytes

        try:
            yield hold
        finally:
            self._held_bytes -= held_bytes

    def _export(self, body: bytes, encoding: Encoding, protocol: Protocol, *, is_own: bool = False) -> tuple[Export | Checked, bool]:
        """The export, and whether it was taken: it holds something that wasn't taken before."""
        checked = self._backlog.checked(body) if self._backlog is not None and encoding == "protobuf" else None
        export = checked or self._decoded(body, encoding)
        self.spans_received[protocol] += export.spans
        if export.malformed:
            self.spans_dropped["malformed"] += export.malformed
        if export.spans == export.malformed:
            return export, False
        if is_own or self._is_repeated((len(body), *export.outermost)):
            self.spans_dropped["duplicate"] += export.spans - export.malformed
            return export, False
        if isinstance(export, Export):
            self._consume(export)
        else:
            assert self._backlog is not None  # noqa: S101 - it has judged the export
            self._backlog.keep(body, export)
        return export, True

    def _decoded(self, body: bytes, encoding: Encoding) -> Export:
        """Raises: DecodeError."""
        return decode_json(body, self._wanted) if encoding == "json" else decode_protobuf(body, self._wanted, self._templates)

    def _admit(self) -> None:
        if self._overloaded():
            raise Overloaded("overloaded")

    def _is_repeated(self, mark: tuple[int, bytes, bytes]) -> bool:
        """Whether an export of this length, first and last span id was among the last; it is now."""
        repeated = mark in self._remembered
        self._remembered[mark] = None
        if len(self._remembered) > REMEMBERED_EXPORTS:
            self._remembered.popitem(last=False)
        return repeated
