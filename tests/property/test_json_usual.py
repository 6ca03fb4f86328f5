"""Whatever a sender writes in JSON: what is read together is what would be read one by one."""

from copy import deepcopy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from support.json_scopes import KEYS, body_of, read_one_by_one, read_together

START_NS = 1_790_000_000_000_000_000

names = st.sampled_from(("InferRequest", "model", "again", "and again", "compute"))
times = st.integers(START_NS, START_NS + 50).map(str)
values = st.one_of(
    st.text(max_size=3).map(lambda text: {"stringValue": text}),
    st.integers(-(2**63), 2**63 - 1).map(lambda number: {"intValue": str(number)}),
    st.integers(-5, 5).map(lambda number: {"intValue": number}),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda number: {"doubleValue": number}),
    st.booleans().map(lambda flag: {"boolValue": flag}),
)
usual = st.fixed_dictionaries(
    {
        "traceId": st.binary(min_size=16, max_size=16).filter(any).map(bytes.hex),
        "spanId": st.binary(min_size=8, max_size=8).filter(any).map(bytes.hex),
        "name": names,
        "startTimeUnixNano": times,
        "endTimeUnixNano": st.just(str(START_NS + 50)),
    },
    optional={
        "parentSpanId": st.just("") | st.binary(min_size=8, max_size=8).map(bytes.hex),
        "kind": st.integers(0, 9) | st.sampled_from(("SPAN_KIND_SERVER", "OTHER")),
        "status": st.fixed_dictionaries({}, optional={"code": st.integers(0, 4)}),
        "attributes": st.lists(st.fixed_dictionaries({"key": st.sampled_from((*KEYS, "prompt"))}, optional={"value": values}), max_size=4),
        "events": st.lists(st.fixed_dictionaries({"name": st.text(max_size=3), "timeUnixNano": times}), max_size=4),
    },
)
odd = st.sampled_from(
    (
        *(None, True, False, 0, 1, -1, 2.0, 1.5, 1e300, 2**63 - 1, 2**63, 2**64 - 1, START_NS, float(START_NS)),
        *(
            "",
            " ",
            "1",
            "-1",
            "1_0",
            "1e3",
            "NaN",
            "Infinity",
            "many",
            "STATUS_CODE_OK",
            "SPAN_KIND_CLIENT",
            "9" * 19,
            "9" * 5000,
            "0" * 19,
        ),
        *(f" {START_NS}", f"+{START_NS}", f"{START_NS}"[:-1], f"{START_NS},{START_NS}", f"{START_NS // 10}_0", f"{START_NS:,}", "٣" * 19),
        *(
            "0" * 16,
            "0" * 32,
            "a" * 15,
            "A" * 16,
            "b" * 17,
            "c" * 30,
            "D" * 32,
            "e" * 34,
            "a " * 8,
            " ab" * 5 + " ",
            "ab " * 10 + "ab",
            "g" * 16,
        ),
        *("\uff11" * 16, "\uff11" * 32, "\u2003" * 16, "\N{GRINNING FACE}"),
        *([], [[]], [None], [5], ["key"], [{}], {}, {"key": 5}, {"code": None}, {"code": True}, {"code": 2.0}, {"code": "2"}),
        *([{"key": None}], [{"key": "model", "value": {"stringValue": None, "intValue": 3}}], [{"name": "e", "time_unix_nano": "5"}]),
        *({"intValue": 2**64 - 1}, {"int_value": "7"}, {"doubleValue": "NaN"}, {"doubleValue": True}, {"arrayValue": {"values": []}}),
    )
)
SNAKE = {
    "traceId": "trace_id",
    "spanId": "span_id",
    "parentSpanId": "parent_span_id",
    "startTimeUnixNano": "start_time_unix_nano",
    "timeUnixNano": "time_unix_nano",
    "stringValue": "string_value",
}
WRITTEN = (
    *(b"0", b"-", b"-0", b".5", b"e9", b"1e999", b"9" * 19, b"9" * 400, b"01", b"NaN", b"null", b"true"),
    *(b'"', b"\\", b"\\u0061", b"\\ud800", b"\\ud83d\\ude00", b"\xff", b"\xed\xa0\x80", b"\xc3\xa9", b"\x00", b"\t", b" ", b"\n"),
    *(b",", b":", b"{", b"}", b"[", b"]", b"[" * 1500, b'"name":"model",', b'"kind":null,', b'"attributes":[],', b'{"key":"model"},'),
)
changes = st.tuples(st.integers(0, 63), st.integers(0, 63), st.sampled_from(("put", "drop", "rename", "copy")), odd)


def objects_of(value: Any) -> list[dict[str, Any]]:
    """Every object in a parsed document."""
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return ([value] if isinstance(value, dict) else []) + [each for one in inner for each in objects_of(one)]


def changed(spans: list[dict[str, Any]], change: tuple[int, int, str, Any]) -> None:
    """One member of one object becomes something else."""
    at, which, how, put = change
    every = [one for one in objects_of(spans) if one]
    one = every[at % len(every)]
    key = list(one)[which % len(one)]
    match how:
        case "put":
            one[key] = deepcopy(put)
        case "drop" if not any(one is span and len(span) == 1 for span in spans):
            del one[key]
        case "rename":
            one[SNAKE.get(key, key)] = one.pop(key)
        case "copy":
            one[SNAKE.get(key, key)] = one[key]


changes_of_bytes = st.tuples(st.integers(0, 10_000), st.integers(0, 3), st.sampled_from(WRITTEN) | st.binary(max_size=2))


@settings(max_examples=200, deadline=None)
@given(spans=st.lists(usual, min_size=1, max_size=5))
def test_what_is_usual_is_read_together(spans: list[dict[str, Any]]) -> None:
    body = body_of(spans)
    assert read_together(body) == read_one_by_one(body) is not None


@settings(max_examples=600, deadline=None)
@given(spans=st.lists(usual, min_size=1, max_size=4), some=st.lists(changes, min_size=1, max_size=4))
def test_whatever_is_read_together_is_what_is_read_one_by_one(spans: list[dict[str, Any]], some: list[tuple[int, int, str, Any]]) -> None:
    for change in some:
        changed(spans, change)
    body = body_of(spans)
    together = read_together(body)
    assert together is None or together == read_one_by_one(body)


@settings(max_examples=300, deadline=None)
@given(spans=st.lists(usual, min_size=1, max_size=2), some=st.lists(changes_of_bytes, min_size=1, max_size=3))
def test_whatever_the_bytes_are_nothing_is_read_together_that_is_refused_or_another_one_by_one(
    spans: list[dict[str, Any]], some: list[tuple[int, int, bytes]]
) -> None:
    body = body_of(spans)
    for place, dropped, put in some:
        at = place % (len(body) + 1)
        body = body[:at] + put + body[at + dropped :]
    together = read_together(body)
    assert together is None or together == read_one_by_one(body)
