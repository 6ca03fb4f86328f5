"""Where a capture goes: a file, a packed one, or standard output. What was written can be read from it within a moment."""

from __future__ import annotations

import gzip
import os
import stat
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TextIO

from infermeter.errors import ConfigError

STANDARD_OUTPUT = "-"
FLUSH_SECONDS = 0.5


class CaptureFile:
    """Opened when it is entered. A file that holds something is refused, and one that was made and holds nothing is gone in the end."""

    def __init__(self, name: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`name` is a path, or `-` for standard output; `.gz` at its end packs."""
        self.name = name
        self._monotonic = monotonic
        self._made = False
        self._empty = True
        self._flushed = -FLUSH_SECONDS

    def __enter__(self) -> Self:
        """Raises: ConfigError where it can't be written to."""
        self._file = _standard_output() if self.name == STANDARD_OUTPUT else self._opened()
        self._out: IO[bytes] | gzip.GzipFile = self._file
        if self.name.endswith(".gz"):
            self._out = gzip.GzipFile(filename="", mode="wb", fileobj=self._file, mtime=0)
        return self

    def write(self, text: str) -> None:
        """Takes some lines. Raises: OSError that names the file."""
        self._empty = False
        try:
            self._out.write(text.encode())
            if self._monotonic() - self._flushed >= FLUSH_SECONDS:
                self._out.flush()
                self._flushed = self._monotonic()
        except OSError as error:
            raise self._named(error) from error

    def __exit__(self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Brings everything into the file; after an error what it takes. Raises: OSError that names the file."""
        try:
            self._close()
        except OSError as error_at_the_end:
            if error is None:
                raise self._named(error_at_the_end) from error_at_the_end
        if self._made and self._empty:
            with suppress(OSError):
                Path(self.name).unlink()

    def _opened(self) -> IO[bytes]:
        self._made = not os.path.lexists(self.name)
        try:
            file = os.fdopen(os.open(self.name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644), "wb")
        except OSError as error:
            raise ConfigError("--output", f"{self.name} can't be written: {error.strerror}") from error
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode) and status.st_size:
            file.close()
            raise ConfigError("--output", f"{self.name} is there already; a capture is never written over something else")
        return file

    def _close(self) -> None:
        try:
            if self._out is not self._file:
                self._out.close()
        finally:
            self._file.flush() if self.name == STANDARD_OUTPUT else self._file.close()

    def _named(self, error: OSError) -> OSError:
        if self.name == STANDARD_OUTPUT:
            return error
        return OSError(error.errno, error.strerror, self.name)


def _standard_output() -> IO[bytes]:
    stream: TextIO | None = sys.stdout  # None where whoever started the process has closed it
    if stream is None:
        raise ConfigError("--output", "standard output is closed")
    return stream.buffer
