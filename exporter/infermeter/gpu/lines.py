"""Lines of a text file that may be damaged: numbered, bounded, and told apart by whether they are complete."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from infermeter.errors import InputError

LONGEST_BYTES = 1 << 16


class Line(NamedTuple):
    """One line without its end. `whole` is False for a last line that nothing ends: the file may have been cut off there."""

    number: int
    text: str
    whole: bool


def lines_of(name: str, chunks: Iterable[bytes]) -> Iterator[Line]:
    """The lines that are not blank, in UTF-8. Raises: InputError for other bytes, or for a line without end."""
    number, rest = 0, b""
    for chunk in chunks:
        *complete, rest = (rest + chunk).split(b"\n")
        for raw in complete:
            number += 1
            if text := _text(name, number, raw):
                yield Line(number, text, whole=True)
        if len(rest) > LONGEST_BYTES:
            raise InputError(f"{name}:{number + 1}", f"a line of more than {LONGEST_BYTES} bytes")
    if text := _text(name, number + 1, rest):
        yield Line(number + 1, text, whole=False)


def _text(name: str, number: int, raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
    except UnicodeDecodeError as error:
        raise InputError(f"{name}:{number}", "is not UTF-8 text") from error
