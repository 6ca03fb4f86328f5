"""The decoder that is compiled, where it is installed: what protobuf and templates read from exports, read in C.

The library takes what inference servers send and leaves everything else to protobuf, so the result is the same, but for the order of rows,
and that few integers are a column of integers too. It learns the layouts of names from here, and writes the columns of those spans that
are put together here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from infermeter.model import AttributeValue, Layout, SpanBatch, SpanEvents, SpanFilter
from infermeter.otlp.decoder import Checked
from infermeter.otlp.kernel_columns import Written
from infermeter.otlp.kernel_library import MOST_LAYOUTS, NEW_NAMES, USUAL, Library, State, UnfitError, installed
from infermeter.otlp.messages import RESOURCE
from infermeter.otlp.protobuf import decode_protobuf, resource_of

JOINED_BYTES: Final = 2**22
"""Of exports that are decoded together; the library takes none that is longer."""

RESOURCES_REMEMBERED: Final = 256
RESOURCE_BYTES: Final = 4096
"""Of a serialised resource that is remembered."""


def load(wanted: SpanFilter, unfit: Callable[[str], None] | None = None) -> Kernel | None:
    """The decoder for what is wanted; None where no library is installed, or one that can't be called: `unfit` is told why."""
    try:
        library = installed()
    except UnfitError as error:
        if unfit is not None:
            unfit(str(error))
        return None
    return None if library is None else Kernel(library, wanted)


class Kernel:
    """A `Decoder`."""

    def __init__(self, library: Library, wanted: SpanFilter) -> None:
        self._library = library
        self._wanted = wanted
        self._state = State(library)
        self._layouts: list[Layout] = []
        self._numbers: dict[Layout, int] = {}
        self._resources: dict[bytes, _Resource] = {}
        self._equal_resources: dict[str, _Resource] = {}
        self._number(Layout(tuple(wanted.resource_keys), events=False))  # the library knows the first as what resources tell

    def checked(self, body: bytes) -> Checked | None:
        """None for what isn't usual, is long, or has very many names that are new."""
        state = self._state
        judged = self._library.check(state.at, body, len(body))
        if judged != USUAL and not (self._learnt(body, judged) and self._library.check(state.at, body, len(body)) == USUAL):
            return None
        found = state.found()
        outermost = body[found.first_begin : found.first_end], body[found.last_begin : found.last_end]
        return Checked(found.spans, found.malformed, outermost)

    def batches(self, bodies: Sequence[bytes]) -> Sequence[SpanBatch]:
        """The spans of bodies that were `checked`."""
        batches: list[SpanBatch] = []
        for some in _joinable(bodies):
            together = self._together(b"".join(some))
            if together is None:  # what was known of their names has been forgotten since
                together = [batch for body in some for batch in decode_protobuf(body, self._wanted).batches]
            batches += together
        return batches

    # --- layouts and names ---------------------------------------------------------------------------------------------------------
    def _learnt(self, body: bytes, judged: int) -> bool:
        """Whether the library knows more names now, and all of this body; of very many it learns some each time."""
        state = self._state
        try:
            for begin, end, name_begin, name_end in state.fresh[: state.found().new_names].tolist():
                scope, name = body[begin:end], body[name_begin:name_end]
                layout = self._number(self._wanted.layout(scope.decode(), name.decode()))
                while not self._library.name(state.at, scope, len(scope), name, len(name), layout):
                    self._library.forget(state.at)
        except UnicodeDecodeError:
            return False
        return judged == NEW_NAMES

    def _number(self, layout: Layout) -> int:
        """The number of a layout, also of one that is beyond limits: spans of that are never usual."""
        number = self._numbers.get(layout)
        if number is None:
            keys = [key.encode() for key in layout.keys]
            sizes = np.array(list(map(len, keys)), np.uint32).tobytes()
            number = self._numbers[layout] = int(self._library.layout(self._state.at, b"".join(keys), sizes, len(keys), layout.events))
            if number < MOST_LAYOUTS:
                self._layouts.append(layout)
        return number

    # --- batches -------------------------------------------------------------------------------------------------------------------
    def _together(self, body: bytes) -> Sequence[SpanBatch] | None:
        """The batches of joined bodies; None where not all of their names are known."""
        at = self._state.at
        outlined = self._library.outline(at, body, len(body))
        if outlined != USUAL and not (self._learnt(body, outlined) and self._library.outline(at, body, len(body)) == USUAL):
            return None
        written = [self._written(body, group) for group in self._groups(body)]
        texts = _decoded(body, self._state.texts[: self._state.found().texts])
        return [one.batch(texts) for one in written]

    def _groups(self, body: bytes) -> Sequence[_Group]:
        """What of the outlined spans is one batch each, in order of the first. It sets `State.order` accordingly."""
        spans, sections = self._state.found()[7:9]
        if not spans:
            return ()
        told, code = self._told(body, self._state.sections[:sections], self._state.layout_of[:spans])
        if (code == code[0]).all():
            order, starts = np.arange(spans), [0]
        else:
            order = np.argsort(code, kind="stable")
            code = code[order]
            starts = [0, *(np.flatnonzero(code[1:] != code[:-1]) + 1).tolist()]
        self._state.order[:spans] = order
        ends = [*starts[1:], spans]
        groups: list[_Group] = []
        for first in np.argsort(order[starts]).tolist():
            of_section, layout = divmod(int(code[starts[first]]), MOST_LAYOUTS)
            groups.append(_Group(*told[of_section], layout, starts[first], ends[first] - starts[first]))
        return groups

    def _told(
        self, body: bytes, sections: npt.NDArray[np.uint32], layout_of: npt.NDArray[np.uint8]
    ) -> tuple[Sequence[tuple[_Resource, str]], npt.NDArray[np.unsignedinteger]]:
        """Different resources and scopes, and of each span the number of its own, times MOST_LAYOUTS, plus that of its layout."""
        numbers: dict[tuple[int, bytes], int] = {}
        told: list[tuple[_Resource, str]] = []
        number_of: list[int] = []
        for begin, end, scope_begin, scope_end, _ in sections.tolist():
            resource, scope = self._resource(body[begin:end]), body[scope_begin:scope_end]
            number = numbers.setdefault((id(resource), scope), len(told))
            if number == len(told):
                told.append((resource, scope.decode()))
            number_of.append(number)
        if len(told) == 1:
            return told, layout_of
        codes = np.array(number_of, np.uint32) * MOST_LAYOUTS
        if len(told) < 2**16 // MOST_LAYOUTS:
            codes = codes.astype(np.uint16)  # which are sorted fast
        return told, np.repeat(codes, sections[:, 4]) + layout_of

    def _resource(self, raw: bytes) -> _Resource:
        """What is wanted of a serialised resource; equal ones are the same, as far as they are remembered."""
        resource = self._resources.get(raw)
        if resource is None:
            resource = _Resource(resource_of(RESOURCE.FromString(raw), self._wanted))
            if len(raw) > RESOURCE_BYTES:
                return resource
            if len(self._resources) == RESOURCES_REMEMBERED:
                self._resources.clear()
                self._equal_resources.clear()
            resource = self._equal_resources.setdefault(repr(sorted(resource.attributes.items())), resource)
            self._resources[raw] = resource
        return resource

    def _written(self, body: bytes, group: _Group) -> Written:
        """The spans of a batch, as the library writes them."""
        state, layout, count = self._state, self._layouts[group.layout], group.spans
        keys = len(layout.keys)
        block = np.empty((50 + 9 * keys) * count, np.uint8)
        extracted = self._library.extract(state.at, body, len(body), group.first, count, group.layout, block.ctypes.data, len(block))
        assert extracted == USUAL  # noqa: S101 - it was checked
        words = np.ndarray((6 + keys, count), np.uint64, block)
        octets = np.ndarray((keys + 2, count), np.uint8, block, words.nbytes)
        events = self._events(body) if layout.events else None
        return Written(group.resource.attributes, group.scope, layout, words, octets, state.told[:keys].tolist(), events)

    def _events(self, body: bytes) -> SpanEvents:
        """Those of the batch that was written last."""
        found = self._state.found()
        row, name, time_ns = (column[: found.events].copy() for column in self._state.events)
        return SpanEvents(tuple(_decoded(body, self._state.event_names[: found.event_names])), row, name, time_ns)


class _Resource(NamedTuple):
    """What is wanted of a resource; compared by identity."""

    attributes: dict[str, AttributeValue]


class _Group(NamedTuple):
    """Spans that will be a batch: the number of their layout, and so many from the first on in `State.order`."""

    resource: _Resource
    scope: str
    layout: int
    first: int
    spans: int


def _joinable(bodies: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """The bodies, so many at a time as can be joined."""
    begin, size = 0, 0
    for i, body in enumerate(bodies):
        if size + len(body) > JOINED_BYTES and i > begin:
            yield bodies[begin:i]
            begin, size = i, 0
        size += len(body)
    yield bodies[begin:]


def _decoded(body: bytes, places: npt.NDArray[np.uint32]) -> list[str]:
    """The texts that stand in the places."""
    return [body[begin:end].decode() for begin, end in places.tolist()]
