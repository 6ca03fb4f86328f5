"""Prometheus' text format, read: the library does it, of the lines whose names are wanted. Pure; used in threads.

The lines are picked by name first, in one pass without copies of the rest: a page of a megabyte costs little where ten of its lines are
wanted. OpenMetrics is read as far as both formats agree: exemplars and `# EOF` are passed over. Names outside of `[a-zA-Z0-9_:]` stand in
quotes within the braces, and are never found.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample, Timestamp

from infermeter.errors import Unavailable
from infermeter.model import Series

LINES_MOST: Final = 50_000
"""Wanted lines of one page; each becomes objects of about a kilobyte."""
LINE_BYTES_MOST: Final = 8_192
"""Of a wanted line: the library's time grows with the square of it."""

_HEAD = re.compile(rb"[ \t]*+([^ \t\r\n{]*+)")
_LINE = re.compile(r"([^{\s]++)[ \t]*+(\{(?:[^\"}]++|\"(?:[^\"\\]++|\\.)*+\")*+\})?+([^#{}\"]*+)(?:(?<=[ \t])# \{.*+)?+")
"""Name, labels, and the value with its time, without the exemplar. No part gives back what it took: linear in the length."""


def series_of(body: bytes, names: Collection[str]) -> list[Series]:
    """The samples whose metric name, as exposed, is one of `names`, in the page's order. NaN and infinite ones are left out.

    Raises: Unavailable (no exposition, cut off within a line, or more of it than LINES_MOST and LINE_BYTES_MOST); never quotes the page.
    """
    return [series for series, _ in timed_series_of(body, names)]


def timed_series_of(body: bytes, names: Collection[str]) -> list[tuple[Series, int | None]]:
    """The same, each with the time that stands on its line (unix nanoseconds; None: none does).

    Raises: Unavailable, as `series_of`.
    """
    wanted = list(_wanted(body, frozenset(name.encode() for name in names)))
    seconds = body[-8:].rstrip().endswith(b"# EOF")  # OpenMetrics counts them, where the older format counts milliseconds
    known: dict[str, Mapping[str, str]] = {}
    try:
        lines = [_parts(line) for line in wanted]
        samples = _samples(lines)
        told = []
        for (_, labels, _), sample in zip(lines, samples, strict=True):
            known.setdefault(labels, sample.labels)
            if math.isfinite(sample.value):
                told.append((Series(sample.name, known[labels], float(sample.value)), _time_ns(sample.timestamp, seconds=seconds)))
        return told
    except (ValueError, OverflowError, IndexError):
        raise Unavailable("a sample on the page is not in Prometheus' text format") from None


def _samples(lines: Sequence[tuple[str, str, str]]) -> Iterator[Sample]:
    """One of each line. The library reads labels letter by letter, so the same ones are shown to it only where they stand first."""
    first: dict[str, int] = {}
    text = "\n".join(f"{name}{labels if first.setdefault(labels, i) == i else ''} {rest}" for i, (name, labels, rest) in enumerate(lines))
    return (sample for family in text_string_to_metric_families(text) for sample in family.samples)


def _wanted(body: bytes, names: frozenset[bytes]) -> Iterator[str]:
    """The lines of these metrics. One line at a time: a page of line ends becomes no list of them."""
    count = 0
    line = b"\n"
    for line in io.BytesIO(body):
        head = _HEAD.match(line)
        if head is None or head[1] not in names:
            if line.startswith(b"<"):
                raise Unavailable("the page is HTML or XML, not Prometheus' text format")
            continue
        count += 1
        if count > LINES_MOST:
            raise Unavailable(f"the page has more than {LINES_MOST} samples of the wanted metrics")
        if len(line) > LINE_BYTES_MOST:
            raise Unavailable(f"a sample on the page is longer than {LINE_BYTES_MOST} bytes")
        try:
            yield line.decode().strip()
        except UnicodeDecodeError:
            raise Unavailable("a sample on the page is not UTF-8") from None
    if not line.endswith(b"\n") and line != b"# EOF":
        raise Unavailable("the page ends within a line: it was cut off")


def _parts(line: str) -> tuple[str, str, str]:
    """Name, labels ("": none), and the value with its time; the exemplar is passed over. Raises: ValueError (no sample)."""
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError
    return match[1], match[2] or "", match[3]


def _time_ns(timestamp: float | Timestamp | None, *, seconds: bool) -> int | None:
    """To the millisecond. The library has divided what stands there by 1000. Raises: ValueError (no time of this world)."""
    if timestamp is None:
        return None
    time_ns = round(float(timestamp) * (1e6 if seconds else 1e3)) * 1_000_000
    if not 0 <= time_ns < 2**63:
        raise ValueError
    return time_ns
