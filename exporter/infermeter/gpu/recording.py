"""Recorded power files: opening, unpacking, and telling which of the two formats a file has. Streaming: one line at a time."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from infermeter.errors import ConfigError, InputError
from infermeter.gpu.capture_csv import is_capture, read_capture
from infermeter.gpu.lines import Line, lines_of
from infermeter.gpu.nvidia_smi_csv import is_nvidia_smi, read_nvidia_smi
from infermeter.gpu.rows import Recording

__all__ = ["Recording", "read_recording"]

CHUNK_BYTES = 1 << 16


def read_recording(path: str | Path, *, timezone: str = "UTC") -> Recording:
    """A capture, or what `nvidia-smi --query-gpu=... --format=csv` printed; `.gz` by name, the format by the first line.

    `timezone` is that of nvidia-smi's timestamps, which name none. Raises: InputError with the file's name and the line, ConfigError
    for an unknown time zone.
    """
    zone = _zone(timezone)
    path, name = Path(path), str(path)
    try:
        with path.open("rb") as file:
            chunks = iter(lambda: file.read(CHUNK_BYTES), b"")
            return _parsed(name, lines_of(name, _unpacked(chunks) if path.suffix == ".gz" else chunks), zone)
    except OSError as error:
        raise InputError(name, error.strerror or "can't be read") from error
    except zlib.error as error:
        raise InputError(name, "is no gzip file, or a damaged one") from error


def _parsed(name: str, lines: Iterator[Line], zone: tzinfo) -> Recording:
    first = next(lines, None)
    if first is None:
        raise InputError(name, "is empty")
    if is_capture(first.text):
        return read_capture(name, first, lines)
    if is_nvidia_smi(first.text):
        return read_nvidia_smi(name, first, lines, zone)
    raise InputError(f"{name}:1", "neither a capture (`# infermeter capture: 1`) nor nvidia-smi's CSV (`timestamp, uuid, ...`)")


def _unpacked(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """What gzip holds, member after member, up to where it is cut off. Raises: zlib.error."""
    unpack = zlib.decompressobj(wbits=31)
    for chunk in chunks:
        packed = chunk
        while packed:
            yield unpack.decompress(packed)
            packed = unpack.unused_data
            if unpack.eof:
                unpack = zlib.decompressobj(wbits=31)


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError("--timezone", f"no time zone {name!r} is known here") from error
