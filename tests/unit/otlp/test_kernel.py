"""What the compiled decoder takes, remembers and puts together; that it reads what protobuf reads is in property/test_otlp_kernel.py."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from infermeter.model import Layout, Names, SpanBatch
from infermeter.otlp.kernel import JOINED_BYTES, RESOURCE_BYTES, RESOURCES_REMEMBERED, Kernel, load
from infermeter.otlp.kernel_library import INTERFACE, MOST_KEYS, MOST_LAYOUTS, MOST_NEW, NEW_NAMES, USUAL, State
from infermeter.otlp.messages import RAW_EXPORT_REQUEST
from infermeter.otlp.protobuf import decode_protobuf
from support.compiled_kernel import FLAGS, SOURCES, compiled, library
from support.span_rows import attributes, rows
from unit.otlp.exports import SPAN, TRACE, Wanted, body, span, wants


def kernel(*keys: str, resource_keys: tuple[str, ...] = ()) -> Kernel:
    return Kernel(library(), Wanted({"llm_request": Layout(keys, events=False)}, resource_keys=resource_keys))


def spans_of(batches: Sequence[SpanBatch]) -> list[list[int]]:
    """The last byte of each span's id, by batch."""
    return [[one.tobytes()[-1] for one in batch.span_id] for batch in batches]


# --- whether there is one ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a package is imported from, in place of one that may be installed; it names the file beside it."""
    (tmp_path / "infermeter_kernel.py").write_text('from pathlib import Path\nLIBRARY = Path(__file__).with_name("kernel.so")\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "infermeter_kernel", raising=False)
    yield tmp_path
    sys.modules.pop("infermeter_kernel", None)


def test_without_the_package_there_is_none_and_nothing_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "infermeter_kernel", None)
    told: list[str] = []
    assert load(wants(), told.append) is None
    assert load(wants()) is None
    assert told == []


def test_what_is_installed_is_used(package: Path) -> None:
    (package / "kernel.so").write_bytes(compiled(SOURCES, flags=FLAGS).read_bytes())
    told: list[str] = []
    loaded = load(wants("key"), told.append)
    assert loaded is not None
    assert told == []
    sent = body(span(1, {"key": "text"}))
    assert loaded.checked(sent) is not None
    (batch,) = loaded.batches([sent])
    assert attributes(batch) == [["text"]]


def test_a_library_of_another_interface_is_not_called(package: Path, tmp_path: Path) -> None:
    sources = tmp_path / "src"
    copytree(SOURCES, sources)
    text = (sources / "kernel.c").read_text()
    (sources / "kernel.c").write_text(text.replace(f"#define INTERFACE {INTERFACE} ", f"#define INTERFACE {INTERFACE + 1} "))
    (package / "kernel.so").write_bytes(compiled(sources, flags=FLAGS).read_bytes())
    told: list[str] = []
    assert load(wants(), told.append) is None
    assert told == [f"infermeter-kernel has interface {INTERFACE + 1}, and {INTERFACE} is needed"]
    assert load(wants()) is None


@pytest.mark.parametrize("content", [b"", b"no library"])
def test_what_is_no_library_is_told_in_one_line(content: bytes, package: Path) -> None:
    (package / "kernel.so").write_bytes(content)
    told: list[str] = []
    assert load(wants(), told.append) is None
    (line,) = told
    assert line.startswith("infermeter-kernel can't be loaded: ")
    assert "\n" not in line


# --- what it takes ----------------------------------------------------------------------------------------------------------------
def test_an_export_without_spans_is_taken_and_makes_no_batch() -> None:
    for sent in (b"", body()):
        one = kernel()
        assert one.checked(sent) == (0, 0, (b"", b""))
        assert one.batches([sent]) == []
    assert kernel().batches([]) == []


def test_malformed_spans_are_counted_and_left_out_and_are_the_outermost_as_sent() -> None:
    one = kernel()
    sent = body(span(span_id=b"short"), span(5), span(6, start_time_unix_nano=0), span(7, trace_id=bytes(16)), span(8, parent_span_id=b"p"))
    assert one.checked(sent) == (5, 4, (b"short", SPAN[:-1] + bytes([SPAN[-1] + 8])))
    assert spans_of(one.batches([sent])) == [[SPAN[-1] + 5]]


@pytest.mark.parametrize(
    "sent",
    [
        body(span(1, {"prompt": "x" * JOINED_BYTES})),
        body(span(1, name="n" * 257)),
        body(span(1), scope="s" * 257),
        body(span(1, name="")),
        body(span(1).FromString(span(1).SerializeToString() + span(2).SerializeToString()[-20:])) + b"\x0b\x0c",
        body(span(1, {"key": 1})).replace(b"\x0a\x03key", b"\x0a\x03\xff\xfe\xfd"),
        body(span(1), scope="ab").replace(b"ab", b"\xff\xfe"),
        body(span(1, name="ab")).replace(b"ab", b"\xff\xfe"),
        body(scope="ab").replace(b"ab", b"\xff\xfe"),
        body(span(1), resource={"r": "ab"}).replace(b"ab", b"\xff\xfe"),
    ],
    ids=["long", "long name", "long scope", "no name", "a group", "key", "scope", "name", "scope without spans", "resource"],
)
def test_what_is_not_usual_is_not_taken(sent: bytes) -> None:
    assert kernel("key", resource_keys=("r",)).checked(sent) is None


VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def field(number: int, wire_type: int, content: bytes) -> bytes:
    """One field; of bytes also their length."""
    return bytes([number << 3 | wire_type]) + (bytes([len(content)]) if wire_type == BYTES else b"") + content


OF_TYPE = {VARINT: b"\x01", FIXED64: bytes(8), BYTES: b"", FIXED32: bytes(4)}
SPAN_FIELDS = {1: BYTES, 2: BYTES, 4: BYTES, 5: BYTES, 6: VARINT, 7: FIXED64, 8: FIXED64, 9: BYTES, 11: BYTES, 15: BYTES}
WHOLE = span(1, {"key": 1}, parent_span_id=SPAN, status=Status(code=1)).SerializeToString()
KEY = field(1, BYTES, b"key")
VALUE = field(2, BYTES, field(3, VARINT, b"\x05"))
UNUSUAL_IN_SPANS = {
    **{f"field {n} twice": field(n, SPAN_FIELDS[n], OF_TYPE[SPAN_FIELDS[n]]) for n in (1, 2, 4, 5, 6, 7, 8, 15)},
    **{f"field {n} of type {t}": field(n, t, OF_TYPE[t]) for n, usual in SPAN_FIELDS.items() for t in OF_TYPE if t != usual},
    "a wanted attribute twice": field(9, BYTES, KEY + VALUE),
    "a value before its key": field(9, BYTES, VALUE + field(1, BYTES, b"k")),
    "a value twice": field(9, BYTES, field(1, BYTES, b"k") + VALUE + VALUE),
    "a key twice": field(9, BYTES, field(1, BYTES, b"k") * 2 + VALUE),
    "a value cut off at once": field(9, BYTES, field(1, BYTES, b"k") + b"\x12\x05"),
    "no key": field(9, BYTES, VALUE),
    "an attribute of nothing": field(9, BYTES, b""),
    "a key that is a number": field(9, BYTES, field(1, VARINT, b"\x01") + VALUE),
    "something in an attribute": field(9, BYTES, field(1, BYTES, b"k") + VALUE + field(3, VARINT, b"\x01")),
    "a name of an event twice": field(11, BYTES, field(2, BYTES, b"e") * 2),
    "a time of an event twice": field(11, BYTES, field(1, FIXED64, bytes(8)) * 2),
    "a time of an event of another type": field(11, BYTES, field(1, VARINT, b"\x01")),
    "a name of an event of another type": field(11, BYTES, field(2, VARINT, b"\x01")),
    "a name of an event that is no text": field(11, BYTES, field(2, BYTES, b"\xff")),
    "an event cut off": field(11, BYTES, field(3, BYTES, b"attribute")[:-1]),
    "a group": b"\xa3\x01\xa4\x01",
    "the end of a group": b"\xa4\x01",
    "wire type 6": b"\xa6\x01",
    "field 0": b"\x02\x00",
    "a tag of five bytes": b"\xd0\x80\x80\x80\x00\x05",
    "a length of five bytes": b"\xa2\x01\x80\x80\x80\x80\x00",
    "a varint of eleven bytes": b"\xa0\x01" + b"\x80" * 10 + b"\x00",
    "a varint of more than 64 bits": b"\xa0\x01" + b"\xff" * 9 + b"\x02",
    "a varint cut off": b"\xa0\x01\x80",
    "four bytes cut off": b"\xa5\x01" + bytes(3),
    "eight bytes cut off": b"\xa1\x01" + bytes(7),
    "bytes cut off": b"\xa2\x01\x05four",
}  # fmt: skip
UNUSUAL_VALUES = {
    "two values": field(3, VARINT, b"\x05") * 2,
    "a text and something": field(1, BYTES, b"text") + b"\x00",
    "a double and something": field(4, FIXED64, bytes(8)) + b"\x00",
    "a truth value and something": field(2, VARINT, b"\x01") + b"\x00",
    "a list and something": field(5, BYTES, b"") + b"\x00",
    "an unknown value": field(8, VARINT, b"\x01"),
    "a text of another type": field(1, VARINT, b"\x01"),
    "a text that is none": field(1, BYTES, b"\xff"),
    "a double cut off": field(4, FIXED64, bytes(7)),
    "an integer of eleven bytes": field(3, VARINT, b"\x80" * 10 + b"\x00"),
    "an integer of more than 64 bits": field(3, VARINT, b"\x80" * 9 + b"\x02"),
    "a text cut off": field(1, BYTES, b"text")[:-1],
    "a double of nothing": field(4, FIXED64, b""),
    "a truth value of nothing": field(2, VARINT, b""),
    "a list cut off at once": field(5, BYTES, b"list")[:2],
}
UNUSUAL_AROUND = {
    "a resource twice": field(1, BYTES, b"") * 2,
    "a resource after its spans": field(2, BYTES, field(2, BYTES, WHOLE)) + field(1, BYTES, b""),
    "a resource of another type": field(1, VARINT, b"\x01"),
    "spans of another type": field(2, VARINT, b"\x01"),
    "a scope twice": field(2, BYTES, field(1, BYTES, b"") * 2),
    "a scope after its spans": field(2, BYTES, field(2, BYTES, WHOLE) + field(1, BYTES, b"")),
    "a scope of another type": field(2, BYTES, field(1, VARINT, b"\x01")),
    "a span of another type": field(2, BYTES, field(2, VARINT, b"\x01")),
    "a name of a scope twice": field(2, BYTES, field(1, BYTES, field(1, BYTES, b"s") * 2)),
    "a name of a scope cut off": field(2, BYTES, field(1, BYTES, b"\x0a\x01")),
    "a resource cut off": b"\x0a\x01",
    "a field of a resource's spans cut off": b"\x18",
    "a field of a scope's spans cut off": field(2, BYTES, b"\x18"),
    "a field of a scope cut off": field(2, BYTES, field(1, BYTES, b"\x10")),
    "a field of a resource cut off": field(1, BYTES, b"\x10"),
    "a name of a scope of another type": field(2, BYTES, field(1, BYTES, field(1, VARINT, b"\x01"))),
    "an attribute of a resource of another type": field(1, BYTES, field(1, VARINT, b"\x01")),
    "a wanted attribute of a resource twice": field(1, BYTES, field(1, BYTES, field(1, BYTES, b"r") + VALUE) * 2),
    "a wanted attribute of a resource that is odd": field(1, BYTES, field(1, BYTES, field(1, BYTES, b"r") + field(2, BYTES, b"\x40\x01"))),
}


@pytest.mark.parametrize("extra", UNUSUAL_IN_SPANS)
def test_what_is_unusual_in_a_span_is_not_taken(extra: str) -> None:
    raws = [bytes(RAW_EXPORT_REQUEST(resource_spans=[{"scope_spans": [{"spans": [WHOLE + more]}]}]).SerializeToString()) for more in
            (b"", UNUSUAL_IN_SPANS[extra])]  # fmt: skip
    one = kernel("key")
    assert [one.checked(raw) is not None for raw in raws] == [True, False]


def sent_of(*raws: bytes, scope: bytes = b"") -> bytes:
    """An export of serialised spans."""
    told = RAW_EXPORT_REQUEST(resource_spans=[{"scope_spans": [{"scope": {"name": scope.decode()}, "spans": raws}]}])
    return bytes(told.SerializeToString())


NAMED = Span(name="llm_request").SerializeToString()


@pytest.mark.parametrize(
    "raw",
    [
        *[NAMED + bytes([number << 3 | BYTES, 1]) for number in (1, 2, 4, 15)],
        *[NAMED + bytes([number << 3 | FIXED64]) for number in (7, 8)],
        b"\x2a\x01",
        NAMED + b"\x30",
        NAMED + field(15, BYTES, b"\x18"),
        NAMED + field(15, BYTES, b"\x18\x01\x18\x01"),
        NAMED + field(15, BYTES, b"\x1a\x00"),
        NAMED + field(11, BYTES, b"\x09"),
        NAMED + field(11, BYTES, b"\x12\x01"),
    ],
    ids=[
        *("trace id", "span id", "parent", "status", "start", "end", "name", "kind"),
        *("code", "code twice", "code of another type", "event's time", "event's name"),
    ],
)
def test_a_span_that_has_little_and_a_field_that_is_cut_off_or_odd_is_not_taken(raw: bytes) -> None:
    one = kernel("key")
    assert one.checked(sent_of(NAMED)) is not None
    assert one.checked(sent_of(raw)) is None


@pytest.mark.parametrize("key", [b"key", b"any"])
def test_an_attribute_that_begins_as_expected_and_is_cut_off_is_not_taken(key: bytes) -> None:
    begin = NAMED + b"\x4a"
    whole, cut = (begin + bytes([len(told)]) + told for told in (field(1, BYTES, key) + VALUE, field(1, BYTES, key) + b"\x12\x05"))
    one = kernel("key")
    assert one.checked(sent_of(whole, whole)) is not None
    assert one.checked(sent_of(whole, cut)) is None


def test_letters_of_each_beginning_are_taken_where_they_are_utf8() -> None:
    one = kernel("key")
    for text in (bytes([first, second, *more]) for first in range(0x80, 0x100) for second in EDGES for more in (b"", b"\x80", b"\x80\x80")):
        taken = one.checked(sent_of(NAMED + field(9, BYTES, field(1, BYTES, text)))) is not None
        assert taken == (text.decode(errors="ignore").encode() == text), text


EDGES = (0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0)
"""Where what may follow the first byte of a letter begins or ends."""

TIME = field(1, FIXED64, (7).to_bytes(8, "little"))
EVENTS = {
    "usual": (TIME + field(2, BYTES, b"event"), [("event", 7)]),
    "a length in two bytes that is as if it were the rest in one": (
        TIME + b"\x12\x85\x00event" + field(3, BYTES, bytes(125)), [("event", 7)],
    ),
    "eight bytes of something else before its name": (field(6, FIXED64, bytes([9] * 8)) + field(2, BYTES, b"event"), []),
    "a name before its time": (field(2, BYTES, b"event") + TIME, [("event", 7)]),
    "no name": (TIME, [("", 7)]),
}  # fmt: skip


@pytest.mark.parametrize("event", EVENTS)
def test_events_are_read_wherever_their_fields_are(event: str) -> None:
    raw, expected = EVENTS[event]
    content = field(11, BYTES, b"")[:1] + bytes([len(raw) & 0x7F | 0x80, len(raw) >> 7]) + raw
    one = Kernel(library(), wants(events=True))
    sent = sent_of(span(1).SerializeToString() + content)
    assert one.checked(sent) is not None
    (batch,) = one.batches([sent])
    assert batch.events is not None
    names = [batch.events.names[name] for name in batch.events.name.tolist()]
    assert list(zip(names, batch.events.time_ns.tolist(), strict=True)) == expected


@pytest.mark.parametrize("value", UNUSUAL_VALUES)
def test_a_wanted_value_that_is_unusual_is_not_taken_and_one_that_nobody_wants_is(value: str) -> None:
    raws = [
        span(1).SerializeToString() + field(9, BYTES, field(1, BYTES, key) + field(2, BYTES, UNUSUAL_VALUES[value]))
        for key in (b"key", b"any")
    ]
    sent = [bytes(RAW_EXPORT_REQUEST(resource_spans=[{"scope_spans": [{"spans": [raw]}]}]).SerializeToString()) for raw in raws]
    one = kernel("key")
    assert [one.checked(raw) is not None for raw in sent] == [False, True]


@pytest.mark.parametrize("around", UNUSUAL_AROUND)
def test_what_is_unusual_around_spans_is_not_taken(around: str) -> None:
    content = UNUSUAL_AROUND[around]
    one = kernel("key", resource_keys=("r",))
    assert one.checked(body(span(1))) is not None
    assert one.checked(body(span(1)) + b"\x0a" + bytes([len(content) & 0x7F | 0x80, len(content) >> 7]) + content) is None


@pytest.mark.parametrize("after", [b"\x08\x01", b"\x0a\x05", b"\x0b\x0c", b"\x00", b"\x12\x05"])
def test_what_is_unusual_beside_resources_is_not_taken(after: bytes) -> None:
    one = kernel("key")
    assert one.checked(body(span(1)) + b"\x12\x02ab\x1d1234\x21" + bytes(8) + b"\x28\x01") is not None
    assert one.checked(body(span(1)) + after) is None


@pytest.mark.parametrize(
    "keys",
    [tuple(f"key {number}" for number in range(MOST_KEYS + 1)), ("k" * 256,), tuple(f"{number:255}" for number in range(40))],
    ids=["many", "long", "long in all"],
)
def test_spans_of_a_layout_beyond_limits_are_not_taken_and_others_are(keys: tuple[str, ...]) -> None:
    one = kernel(*keys)
    assert one.checked(body(span(1))) is None
    assert one.checked(body(span(1, name="other"))) is not None
    assert one.checked(body(span(1))) is None
    assert Kernel(library(), Wanted(resource_keys=keys)).checked(body(span(1))) is None


def test_of_very_many_layouts_the_first_are_taken() -> None:
    layouts = {f"name {number}": Layout(("key",), events=False) for number in range(MOST_LAYOUTS + 1)}
    one = Kernel(library(), Wanted(layouts))
    taken = [one.checked(body(span(1, name=name))) is not None for name in layouts]
    assert taken == [True] * (MOST_LAYOUTS - 1) + [False] * 2  # what is wanted of resources is one


# --- names ------------------------------------------------------------------------------------------------------------------------
def test_layouts_are_asked_for_once_a_name_and_scope() -> None:
    wanted = wants("key")
    one = Kernel(library(), wanted)
    for scope in ("a", "b", "a"):
        assert one.checked(body(span(1), span(2, name="other"), span(3), scope=scope)) is not None
    assert wanted.asked == [("a", "llm_request"), ("a", "other"), ("b", "llm_request"), ("b", "other")]


@pytest.mark.parametrize("name", ["model {:04}", "{:04} of a longer name", "{}", "{:x}{:x}", "a name of sixteen {:04} letters"])
def test_thousands_of_names_stay_known(name: str) -> None:
    wanted = wants("key")
    one = Kernel(library(), wanted)
    names = [name.format(number, number * 7) for number in range(3000)]
    for _ in range(2):
        for at in range(0, len(names), MOST_NEW):
            assert one.checked(body(*[span(1, name=name) for name in names[at : at + MOST_NEW]])) is not None
    assert len(wanted.asked) == len(names)


@pytest.mark.parametrize("scopes", [("aa", "bb"), ("ab", "a"), ("a", "ab")])
def test_one_name_in_several_scopes_is_learnt_of_all_at_once(scopes: tuple[str, ...]) -> None:
    wanted = wants("key")
    assert Kernel(library(), wanted).checked(b"".join(body(span(1), scope=scope) for scope in scopes)) is not None
    assert wanted.asked == [(scope, "llm_request") for scope in scopes]


@pytest.mark.parametrize(("scope", "name", "room"), [(257, 1, 0), (1, 257, 0), (256, 256, 1024), (0, 8, 4096)])
def test_there_is_room_for_so_many_names_and_no_longer_ones(scope: int, name: int, room: int) -> None:
    state = State(library())
    names = [(b"s" * scope, b"%0*d" % (name, number)) for number in range(room + 1)]
    kept = [library().name(state.at, one, len(one), other, len(other), 0) for one, other in names]
    assert kept == [1] * room + [0]
    library().forget(state.at)
    assert library().name(state.at, b"s", 1, b"n", 1, 0) == 1


SEED = 42
MOST_PROBES = 32
"""As src/state.h has it."""


def mixed(number: int) -> int:
    """As src/hash.h does it, to make names that lie at the same place."""
    number = (number ^ number >> 32) * 0x9E3779B97F4A7C15 & 2**64 - 1
    return number ^ number >> 32


def hashed(text: bytes, before: int, size: int | None = None) -> int:
    """Of whole words, which begin a text of that size."""
    told = mixed(before ^ (len(text) if size is None else size))
    for at in range(0, len(text), 8):
        told = mixed(told ^ int.from_bytes(text[at : at + 8], "little"))
    return told


def of_equal_hash(text: bytes, begin: bytes, before: int) -> bytes:
    """What begins like that, and goes on so that its hash is that of the text."""
    known = hashed(text[:-8], before, len(text)) ^ int.from_bytes(text[-8:], "little")
    return begin + (known ^ hashed(begin, before, len(begin) + 8)).to_bytes(8, "little")


def twins(before: int, known: bytes, begin: bytes) -> tuple[bytes, bytes]:
    """Two texts of equal hash, of which the other is no shorter, made of the known one's end and the other one's beginning."""
    for number in range(10_000):
        text = b"%08d" % number + known
        other = of_equal_hash(text, begin or text[:8], before)
        if other.decode(errors="ignore").encode() == other:
            return text, other
    raise AssertionError


@pytest.mark.parametrize(("known", "begin"), [(b" or more", b"another "), (b"", b"")], ids=["as long", "begins like it"])
@pytest.mark.parametrize("differs", ["scope", "name"])
def test_names_of_equal_hash_are_different_names(differs: str, known: bytes, begin: bytes) -> None:
    scopes = twins(SEED, known, begin) if differs == "scope" else (b"a scope.", b"a scope.")
    names = twins(hashed(scopes[0], SEED), known, begin) if differs == "name" else (b"the name", b"the name")
    assert len({hashed(name, hashed(scope, SEED)) for scope, name in zip(scopes, names, strict=True)}) == 1
    state = State(library())
    library().begin(state.at, SEED)
    assert library().layout(state.at, b"", b"", 0, 0) == 0
    assert library().name(state.at, scopes[0], len(scopes[0]), names[0], len(names[0]), 0) == 1
    sent = [sent_of(field(5, BYTES, name), scope=scope) for scope, name in zip(scopes, names, strict=True)]
    assert [library().check(state.at, each, len(each)) for each in sent] == [USUAL, NEW_NAMES]


def test_a_name_whose_places_are_all_taken_is_not_kept_and_stays_new() -> None:
    state = State(library())
    library().begin(state.at, SEED)
    assert library().layout(state.at, b"", b"", 0, 0) == 0
    scope = b"a scope."
    names = [of_equal_hash(b"the name", b"%08d" % number, hashed(scope, SEED)) for number in range(MOST_PROBES + 1)]
    assert [library().name(state.at, scope, len(scope), name, len(name), 0) for name in names] == [1] * MOST_PROBES + [0]
    sent = [sent_of(field(5, BYTES, name), scope=scope) for name in names]
    assert [library().check(state.at, each, len(each)) for each in sent] == [USUAL] * MOST_PROBES + [NEW_NAMES]


def test_very_many_new_names_are_learnt_from_several_exports() -> None:
    one = kernel("key")
    sent = body(*[span(number, name=f"name {number}") for number in range(2 * MOST_NEW + 1)])
    taken = [one.checked(sent) is not None for _ in range(4)]
    assert taken == [False, False, True, True]


def test_what_was_taken_is_decoded_though_its_names_were_forgotten() -> None:
    wanted = Wanted({f"first {number}": Layout(("key",), events=False) for number in range(MOST_NEW)})
    one = Kernel(library(), wanted)
    first = [
        body(*[span(i, {"key": i}, name=f"first {i}") for i in some]) for some in (range(MOST_NEW // 2), range(MOST_NEW // 2, MOST_NEW))
    ]
    first.append(body(*[span(number, name=f"second {number}") for number in range(MOST_NEW)]))
    for sent in first:
        assert one.checked(sent) is not None
    for turn in range(200):
        one.checked(body(*[span(number, name=f"name {turn} {number}" * 5) for number in range(MOST_NEW)]))
    told = sorted(map(repr, chain.from_iterable(map(rows, one.batches(first)))))
    assert told == sorted(map(repr, chain.from_iterable(rows(batch) for sent in first for batch in decode_protobuf(sent, wanted).batches)))


# --- what its caller might get wrong ----------------------------------------------------------------------------------------------
class Outlined:
    """A body whose spans of one layout are found; they are extracted as the caller wishes."""

    def __init__(self, sent: bytes, *keys: bytes, events: bool) -> None:
        self.library, self.body = library(), sent
        self.state = State(self.library)
        sizes = np.array(list(map(len, keys)), np.uint32).tobytes()
        assert self.library.layout(self.state.at, b"".join(keys), sizes, len(keys), events) == 0
        assert self.library.name(self.state.at, b"scope", 5, b"compute", 7, 0) == 1
        assert self.library.outline(self.state.at, sent, len(sent)) == USUAL
        self.keys, self.spans = len(keys), self.state.found().outlined

    def outlined(self, body: bytes) -> int:
        return int(self.library.outline(self.state.at, body, len(body)))

    def extracted(
        self, *order: int, body: bytes | None = None, first: int = 0, count: int | None = None, number: int = 0, left: int = 0
    ) -> int:
        body, count = self.body if body is None else body, self.spans if count is None else count
        self.state.order[: len(order)] = order
        keys = self.keys if number == 0 else 0
        block = np.empty((50 + 9 * keys) * count + left, np.uint8)
        at, size = block.ctypes.data, len(block)
        return int(self.library.extract(self.state.at, body, len(body), first, count, number, at, size))


EVENT_SPAN = span(1, {"key": "text"}, name="compute", events=[Span.Event(name="event", time_unix_nano=5)])
WRONG: dict[str, dict[str, Any]] = {
    "a longer body": {"body": body(EVENT_SPAN, EVENT_SPAN) + b"\x12\x00"},
    "a layout that isn't there": {"number": 1},
    "from beyond the last": {"first": 3, "count": 0},
    "more than there are": {"count": 3},
    "a larger block": {"left": 9},
    "another body without times": {"body": body(EVENT_SPAN, EVENT_SPAN).replace(b"\x39", b"\x31")},
    "another body with a kind of another type": {"body": body(EVENT_SPAN, EVENT_SPAN).replace(b"\x30\x02", b"\x32\x00")},
    "another body with another event": {"body": body(EVENT_SPAN, EVENT_SPAN).replace(b"\x12\x05event", b"\x10\x05event")},
    "another body of spans that aren't fit": {"body": body(EVENT_SPAN, EVENT_SPAN).replace(SPAN[:-1] + bytes([SPAN[-1] + 1]), bytes(8))},
}


def test_what_was_outlined_is_extracted() -> None:
    assert Outlined(body(EVENT_SPAN, EVENT_SPAN), b"key", events=True).extracted(1, 0) == USUAL


@pytest.mark.parametrize("wrong", WRONG)
def test_columns_are_written_only_of_what_was_outlined(wrong: str) -> None:
    outlined = Outlined(body(EVENT_SPAN, EVENT_SPAN), b"key", events=True)
    assert outlined.spans == 2
    assert WRONG[wrong].get("body") != outlined.body
    assert outlined.extracted(0, 1, 0, 0, **WRONG[wrong]) not in (USUAL, NEW_NAMES)


def test_an_event_that_nobody_wants_ends_within_its_span_too() -> None:
    """Else what is in it would be read as fields of its span."""
    whole, cut = (span(1, name="compute").SerializeToString() + b"\x5a" + size + field(3, BYTES, b"state") for size in (b"\x07", b"\x7f"))
    outlined = Outlined(sent_of(whole, scope=b"scope"), b"key", events=False)
    assert outlined.extracted(0) == USUAL
    assert outlined.extracted(0, body=sent_of(cut, scope=b"scope")) not in (USUAL, NEW_NAMES)


@pytest.mark.parametrize("more", [b"\x4a\x7f\x18\x01", b"\x5a\x7f\x18\x01", b"\x32\x00"], ids=["attribute", "event", "kind"])
def test_what_cannot_be_read_on_the_way_to_a_layout_is_refused(more: bytes) -> None:
    raw = Span(trace_id=TRACE, span_id=SPAN, name="compute", start_time_unix_nano=5, end_time_unix_nano=6).SerializeToString()
    outlined = Outlined(sent_of(raw, scope=b"scope"), events=False)
    assert outlined.spans == 1
    assert outlined.outlined(sent_of(raw + more, scope=b"scope")) not in (USUAL, NEW_NAMES)


def test_a_span_is_outlined_by_its_first_fields_where_these_tell_all() -> None:
    """The attributes after them are most of its bytes, and were judged before."""
    raw = span(1, name="compute", parent_span_id=SPAN).SerializeToString()
    outlined = Outlined(sent_of(raw, scope=b"scope"), events=False)
    assert outlined.outlined(sent_of(raw + b"\x4a\x7f", scope=b"scope")) == USUAL
    assert outlined.state.found().outlined == 1


def test_a_span_of_a_layout_beyond_limits_or_of_a_long_name_is_not_outlined() -> None:
    outlined = Outlined(body(EVENT_SPAN), events=False)
    assert outlined.library.name(outlined.state.at, b"scope", 5, b"unread", 6, MOST_LAYOUTS) == 1
    for name in ("unread", "n" * 257):
        assert outlined.outlined(body(EVENT_SPAN, span(2, name=name))) not in (USUAL, NEW_NAMES)
        assert outlined.state.found().outlined == 1


def test_a_number_of_no_span_is_refused() -> None:
    """Also where there was one, and now something else is that reads like a span."""
    both = body(EVENT_SPAN, EVENT_SPAN)
    outlined = Outlined(both, b"key", events=True)
    second = both.rindex(b"\x12", 0, both.rindex(EVENT_SPAN.SerializeToString()))
    one = both[:second] + b"\x1a" + both[second + 1 :]
    assert outlined.outlined(one) == USUAL
    assert outlined.state.found().outlined == 1
    assert outlined.extracted(0, body=one, count=1) == USUAL
    assert outlined.extracted(1, body=one, count=1) not in (USUAL, NEW_NAMES)


def test_no_more_events_are_written_than_a_body_can_hold() -> None:
    event = field(11, BYTES, field(1, FIXED64, (5).to_bytes(8, "little")) + field(2, BYTES, b""))
    whole = EVENT_SPAN.SerializeToString()
    raw = whole + event * ((JOINED_BYTES - 2000) // 2 // len(event))
    sent = bytes(
        RAW_EXPORT_REQUEST(
            resource_spans=[{"scope_spans": [{"scope": {"name": "scope"}, "spans": [raw, whole, whole]}]}]
        ).SerializeToString()
    )
    outlined = Outlined(sent, b"key", events=True)
    assert outlined.extracted(0, 1, 2) == USUAL
    assert outlined.extracted(0, 0, 1) == USUAL
    assert outlined.extracted(0, 0, 0) not in (USUAL, NEW_NAMES)


def test_no_more_texts_are_kept_than_a_body_can_hold() -> None:
    outlined = Outlined(body(*[span(number % 9, {"key": f"{number}"}, name="compute") for number in range(16_000)]), b"key", events=False)
    results = [outlined.extracted(*range(16_000)) for _ in range(60)]
    assert results[0] == USUAL
    assert results[-1] not in (USUAL, NEW_NAMES)
    assert outlined.state.found().texts <= len(outlined.state.texts)


def of_texts(*texts: bytes) -> Outlined:
    """Spans with a text each, extracted, whose places in the table are those of a known seed."""
    outlined = Outlined(body(EVENT_SPAN), b"key", events=False)
    outlined.library.forget(outlined.state.at)
    outlined.library.begin(outlined.state.at, SEED)
    assert outlined.library.name(outlined.state.at, b"", 0, b"compute", 7, 0) == 1
    whole = span(name="compute").SerializeToString()
    outlined.body = sent_of(*[whole + field(9, BYTES, KEY + field(2, BYTES, field(1, BYTES, text))) for text in texts])
    assert outlined.outlined(outlined.body) == USUAL
    outlined.spans = len(texts)
    assert outlined.extracted(*range(len(texts))) == USUAL
    return outlined


def test_a_text_that_begins_like_another_of_equal_hash_is_another() -> None:
    text, longer = twins(SEED, b"", b"")
    assert of_texts(longer, text, longer, text).state.found().texts == 2


def test_an_equal_text_is_looked_for_in_so_many_places_and_no_more() -> None:
    texts = [of_equal_hash(b"the text", b"%08d" % number, SEED) for number in range(MOST_PROBES + 1)]
    assert of_texts(*texts, *texts[:-1]).state.found().texts == MOST_PROBES + 1
    assert of_texts(*texts, *texts).state.found().texts == MOST_PROBES + 2


# --- batches ----------------------------------------------------------------------------------------------------------------------
def test_spans_of_equal_resources_scopes_and_layouts_are_one_batch_in_order_of_the_first() -> None:
    wanted = Wanted({"a": Layout(("key",), events=False), "b": Layout((), events=True)}, resource_keys=("r",))
    one = Kernel(library(), wanted)
    sent = [
        body(span(1, name="b"), span(2, name="a"), span(3, name="b"), resource={"r": 1, "other": 1}),
        body(span(4, name="a"), scope="other", resource={"r": 1}),
        body(span(5, name="a"), resource={"r": True}),
        body(span(6, name="a"), span(7, name="b"), resource={"r": 1, "other": 2}),
        body(span(8, name="a"), resource={"r": 1, "other": "x" * RESOURCE_BYTES}),
    ]
    assert all(one.checked(each) is not None for each in sent)
    batches = one.batches(sent)
    first = SPAN[-1]
    assert spans_of(batches) == [[first + n for n in batch] for batch in ([1, 3, 7], [2, 6], [4], [5], [8])]
    assert [(dict(batch.resource), batch.scope) for batch in batches] == [
        ({"r": 1}, "scope"), ({"r": 1}, "scope"), ({"r": 1}, "other"), ({"r": True}, "scope"), ({"r": 1}, "scope"),
    ]  # fmt: skip


def test_any_number_of_resources_and_scopes_is_put_together() -> None:
    wanted = Wanted(resource_keys=("r",))
    one = Kernel(library(), wanted)
    sent = [body(span(number % 100), scope=f"s{number % 7}", resource={"r": number}) for number in range(5 * RESOURCES_REMEMBERED)]
    assert all(one.checked(each) is not None for each in sent)
    assert [(batch.resource["r"], batch.scope) for batch in one.batches(sent)] == [(n, f"s{n % 7}") for n in range(len(sent))]


def test_more_than_can_be_joined_is_decoded_in_portions() -> None:
    one = kernel("key")
    sent = [body(span(number, {"key": number, "prompt": "x" * (JOINED_BYTES // 3)})) for number in range(7)]
    assert all(one.checked(each) is not None for each in sent)
    batches = one.batches(sent)
    assert [len(batch) for batch in batches] == [2, 2, 2, 1]
    assert list(chain.from_iterable(attributes(batch)[0] for batch in batches)) == list(range(7))


@pytest.mark.parametrize(
    ("told", "dtype"),
    [([1.5, -2.5], np.float64), ([1, -2], np.int64), ([True, False], np.object_), ([1, None], np.object_),
     ([None, 1.5], np.object_), ([1, "a", 2.5, True, None, ""], np.object_)],
    ids=str,
)  # fmt: skip
def test_a_column_is_of_numbers_where_each_span_tells_one_of_one_type(told: list[object], dtype: type[np.generic]) -> None:
    one = kernel("key", "missing")
    sent = body(*[span(number, {} if value is None else {"key": value}) for number, value in enumerate(told)])
    assert one.checked(sent) is not None
    (batch,) = one.batches([sent])
    column, missing = batch.attributes
    assert isinstance(column, np.ndarray)
    assert column.dtype == dtype
    assert [(type(value), value) for value in column.tolist()] == [(type(value), value) for value in told]
    assert missing is None


def test_texts_are_names_of_no_more_kinds_than_rows() -> None:
    one = kernel("a", "b")
    sent = body(*[span(number, {"a": "x" if number % 2 else "y", "b": f"other {number}"}) for number in range(4)])
    assert one.checked(sent) is not None
    (batch,) = one.batches([sent])
    for column, told in zip(batch.attributes, (["y", "x", "y", "x"], [f"other {number}" for number in range(4)]), strict=True):
        assert isinstance(column, Names)
        assert column.tolist() == told
        assert len(column.kinds) <= len(column)


def test_lists_and_what_is_empty_are_no_values() -> None:
    one = kernel("key")
    sent = body(
        *[span(number, {"key": value}) for number, value in enumerate((AnyValue(), AnyValue(array_value={}), AnyValue(bytes_value=b"x")))]
    )
    assert one.checked(sent) is not None
    (batch,) = one.batches([sent])
    assert batch.attributes == (None,)


def test_equal_texts_are_one_object() -> None:
    one = kernel("a", "b")
    sent = [body(*[span(number, {"a": "text", "b": f"text {number % 2}"}) for number in range(4)]) for _ in range(2)]
    assert all(one.checked(each) is not None for each in sent)
    (batch,) = one.batches(sent)
    a, b = attributes(batch)
    assert len(set(map(id, a))) == 1
    assert len(set(map(id, b))) == 2


def test_any_number_of_texts_and_names_of_events_is_told_apart() -> None:
    wanted = Wanted({"compute": Layout(("key",), events=True)})
    one = Kernel(library(), wanted)
    sent = body(
        *[
            span(
                number,
                {"key": f"{number:x}"},
                name="compute",
                events=[Span.Event(name=f"e{number:x}", time_unix_nano=n) for n in (0, 7, 2**63)],
            )
            for number in range(9000)
        ]
    )
    assert one.checked(sent) is not None
    (batch,) = one.batches([sent])
    assert attributes(batch) == [[f"{number:x}" for number in range(9000)]]
    assert batch.events is not None
    assert [batch.events.names[name] for name in batch.events.name.tolist()] == [f"e{number:x}" for number in range(9000)]
    assert batch.events.row.tolist() == list(range(9000))
    assert set(batch.events.time_ns.tolist()) == {7}
