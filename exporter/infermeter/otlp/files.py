"""Recorded spans: files and folders of OTLP exports, read in a fixed order.

A `.json` file is one ExportTraceServiceRequest or TracesData, a `.jsonl` file one a line, a `.pb` file one serialised request; each may
be gzipped (`.gz`). Wire limits don't apply. Whatever is damaged is an InputError with the file's name and where in it.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

import orjson
from google.protobuf.message import DecodeError as WireError

from infermeter.errors import DecodeError, InputError
from infermeter.otlp.answers import Encoding
from infermeter.otlp.messages import EXPORT_REQUEST

SUFFIXES = (".json", ".jsonl", ".pb")
NOT_SPANS = frozenset({"index.jsonl", "client.jsonl"})
"""Names that recordings use for what came along with the spans."""

_ROOTS = (b"resourceSpans", b"resource_spans", b"batches")


def recorded_files(paths: Sequence[Path]) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """The span files that `paths` name, a folder's in byte order of names, and a line for each file of a folder that is left out.

    Raises:
        InputError: a path isn't there, a file has another suffix, or a folder holds no span file.
    """
    files: list[Path] = []
    skipped: list[str] = []
    for path in paths:
        if path.is_dir():
            found = [f for f in sorted(path.iterdir(), key=lambda f: f.name.encode()) if f.is_file() and _suffix(f) in SUFFIXES]
            kept = [f for f in found if not _is_something_else(f)]
            skipped += [f"{f}: skipped, no spans" for f in found if f not in kept]
            if not kept:
                raise InputError(str(path), "no span file in this folder (*.json, *.jsonl, *.pb, each also .gz)")
            files += kept
        elif not path.is_file():
            raise InputError(str(path), "no such file")
        elif _suffix(path) not in SUFFIXES:
            raise InputError(str(path), "neither .json, .jsonl nor .pb (each also .gz)")
        else:
            files.append(path)
    return tuple(files), tuple(skipped)


class Taker(Protocol):
    """Takes exports as they lie in files: a `Receiver`, or something that only looks at them."""

    def export(self, body: bytes, encoding: Encoding, protocol: Literal["file"], /) -> object:
        """Takes one export, unpacked. Raises: DecodeError."""
        ...


def receive_file(path: Path, receiver: Taker) -> None:
    """Hands the exports of one file to the receiver, in the file's order, under the protocol `file`.

    Raises:
        InputError: the file can't be read or is damaged; name, and offset in bytes.
    """
    body = _content(path)
    suffix = _suffix(path)
    if suffix == ".pb":
        _receive_protobuf(path, body, receiver)
    elif suffix == ".json":
        _receive_json(path, body, receiver, offset=0)
    else:
        offset = 0
        for line in body.splitlines(keepends=True):
            if line.strip():
                _receive_json(path, line, receiver, offset=offset)
            offset += len(line)


def _suffix(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix


def _is_something_else(path: Path) -> bool:
    """Whether a file that lies in a folder of spans holds something else, told by its name, or by JSON that is no export."""
    if path.name.removesuffix(".gz") in NOT_SPANS:
        return True
    return _suffix(path) == ".json" and not any(root in _content(path) for root in _ROOTS)


def _content(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if path.suffix == ".gz" else raw
    except OSError as error:
        raise InputError(str(path), error.strerror or "not gzip") from error
    except (EOFError, zlib.error) as error:
        raise InputError(f"{path}, offset {len(raw)}", "the gzip stream is damaged or cut off") from error


def _receive_json(path: Path, body: bytes, receiver: Taker, *, offset: int) -> None:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InputError(f"{path}, offset {offset + len(body.decode(errors='replace')[: error.pos].encode())}", "not JSON") from error
    if not isinstance(document, dict) or not any(root.decode() in document for root in _ROOTS):
        raise InputError(f"{path}, offset {offset}", "no resourceSpans: not an export of spans")
    try:
        receiver.export(body, "json", "file")
    except DecodeError as error:
        raise InputError(f"{path}, offset {offset}", str(error)) from error


def _receive_protobuf(path: Path, body: bytes, receiver: Taker) -> None:
    try:
        receiver.export(body, "protobuf", "file")
    except DecodeError as error:
        raise InputError(f"{path}, offset {_offset_of_damage(body)}", str(error)) from error


def _offset_of_damage(body: bytes) -> int:
    """Where the first field of the request begins that is cut off or doesn't decode by itself."""
    at = 0
    while at < len(body):
        end = _field_end(body, at)
        if end is None or not _parses(body[at:end]):
            return at
        at = end
    return at


def _parses(body: bytes) -> bool:
    try:
        EXPORT_REQUEST.FromString(body)
    except WireError:
        return False
    return True


def _field_end(body: bytes, at: int) -> int | None:
    """The end of the length-delimited field that begins at `at`; None where there is no whole one.

    Source: protobuf encoding, wire type 2 (all fields of ExportTraceServiceRequest have it).
    """
    if body[at] & 7 != 2:
        return None
    length = shift = 0
    for position in range(at + 1, min(at + 6, len(body))):
        length |= (body[position] & 0x7F) << shift
        shift += 7
        if body[position] < 0x80:
            end = position + 1 + length
            return end if end <= len(body) else None
    return None
