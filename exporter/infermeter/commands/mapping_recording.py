"""What arrives over OTLP into files, as it was sent: the recording that a new mapping is written by and tried with."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from infermeter.config import Assembly, Limits
from infermeter.errors import ConfigError, InputError, ListenError
from infermeter.mapping import Mapper, load_mappings
from infermeter.model import Accepted
from infermeter.otlp.grpc import GrpcReceiver
from infermeter.otlp.http import HttpReceiver
from infermeter.otlp.inflate import gunzip
from infermeter.otlp.receiver import Receiver

FILES_LIMIT = 9999
BYTES_LIMIT = 1 << 30
"""A recording that is larger ends by itself."""

_STOPPING = signal.SIGTERM, signal.SIGINT


class Recording:
    """A folder with a file for each export, in order of arrival: `001.pb`, `002.json`."""

    def __init__(self, folder: Path) -> None:
        """Raises: ConfigError, unless the folder is new or empty."""
        self.exports: Counter[str] = Counter()
        self.spans = 0
        self.malformed = 0
        self.refused = 0
        self.full = asyncio.Event()
        self.problem: InputError | None = None
        self._folder = folder
        self._bytes = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held = next(folder.iterdir(), None)
        except OSError as error:
            raise ConfigError("--output", f"{folder} can't be written: {error.strerror}") from error
        if held is not None:
            raise ConfigError("--output", f"{folder} isn't empty")

    def add(self, sent: Accepted) -> None:
        """Writes an export as it was sent, but unpacked."""
        body = gunzip(sent.body, sent.unpacked_bytes) if sent.packing == "gzip" else sent.body
        name = f"{self.exports.total() + 1:03}.{'json' if sent.encoding == 'json' else 'pb'}"
        try:
            with os.fdopen(os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(body)
        except OSError as error:
            self.problem = InputError(str(self._folder / name), f"can't be written: {error.strerror}")
            self.full.set()
            return
        self.exports[sent.encoding] += 1
        self.spans += sent.spans
        self._bytes += len(body)
        if self.exports.total() == FILES_LIMIT or self._bytes >= BYTES_LIMIT:
            self.full.set()


async def recorded(folder: Path, *, http: str, grpc: str, duration_seconds: float, on_listen: Callable[[str, int], None]) -> Recording:
    """Records until the time is over, until SIGTERM or SIGINT, or until it is full; `on_listen` is told each protocol and its port.

    Raises: ConfigError, ListenError; InputError, if a file can't be written.
    """
    recording = Recording(folder)
    wanted = Mapper(load_mappings("auto", {}), assembly=Assembly(), limits=Limits()).wanted  # of which nothing is read here
    receiver = Receiver(wanted, lambda _export: None, Limits(), overloaded=recording.full.is_set, accepted=recording.add)
    faces: dict[str, tuple[HttpReceiver | GrpcReceiver, str]] = {
        "http": (HttpReceiver(receiver), http),
        "grpc": (GrpcReceiver(receiver), grpc),
    }
    loop = asyncio.get_running_loop()
    for number in _STOPPING:
        loop.add_signal_handler(number, recording.full.set)
    try:
        for protocol, (face, address) in faces.items():
            on_listen(protocol, await _started(face, f"--{protocol}", address))
        with suppress(TimeoutError):
            async with asyncio.timeout(duration_seconds):
                await recording.full.wait()
    finally:
        await asyncio.gather(*(face.stop() for face, _ in faces.values()))
        recording.malformed = receiver.spans_dropped["malformed"]
        recording.refused = receiver.exports_refused.total()
        for number in _STOPPING:
            loop.remove_signal_handler(number)
    if recording.problem is not None:
        raise recording.problem
    return recording


async def _started(face: HttpReceiver | GrpcReceiver, option: str, address: str) -> int:
    try:
        return await face.start(address)
    except (OSError, ValueError) as error:
        raise ListenError(option, f"{address}: {getattr(error, 'strerror', None) or error}") from error


def record(output: str, *, http: str, grpc: str, duration_seconds: float) -> int:
    """Records, and tells on standard error where, and what there is. Raises: as `recorded`."""

    def tell(protocol: str, port: int) -> None:
        print(f"OTLP over {protocol} on port {port}", file=sys.stderr, flush=True)

    recording = asyncio.run(recorded(Path(output), http=http, grpc=grpc, duration_seconds=duration_seconds, on_listen=tell))
    return summed_up(output, recording)


def summed_up(output: str, recording: Recording) -> int:
    """Tells on standard error what there is; the exit code."""
    exports = recording.exports.total()
    if not exports:
        print(f"{output}: {_nothing(recording)}", file=sys.stderr)
        return 1
    print(f"{output}: {exports} exports, {recording.spans} spans; attributes are as sent: prompts may be among them", file=sys.stderr)
    return 0


def _nothing(recording: Recording) -> str:
    """Why there is none."""
    if recording.malformed:
        return f"exports arrived, but all of their {recording.malformed} spans are malformed: none has a valid id, start and end"
    if recording.refused:
        return f"{recording.refused} exports arrived, and all were refused: the sender was told why"
    return "no export arrived: does the server's exporter name one of these ports?"
