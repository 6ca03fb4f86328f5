"""Files that an operator writes or keeps: whatever is in them, they are taken, or each problem is told."""

from __future__ import annotations

import os
from math import isfinite
from pathlib import Path
from tempfile import gettempdir

import numpy as np

from infermeter.catalogue import shipped_catalogue
from infermeter.catalogue.entries import with_devices
from infermeter.config import Assembly, Limits
from infermeter.errors import ConfigErrors, InputError
from infermeter.gpu.recording import read_recording
from infermeter.mapping import Mapper
from infermeter.mapping.schema import read_mapping
from infermeter.parsing.structure import load_config, notices
from infermeter.parsing.web_file import load_web_file
from infermeter.prices.listing import price_list

MEMORY = Path("/dev/shm")
GZIP = b"\x1f\x8b"
LONGEST_CHARACTERS = 8192
FOLDER = MEMORY if MEMORY.is_dir() else Path(gettempdir())


def mapping(data: bytes) -> None:
    """A mapping file; what is taken makes a mapper that knows what it wants of a span."""
    try:
        read = read_mapping(text_of(data), "m.yaml")
    except ConfigErrors as errors:
        assert_told(errors)
        return
    wanted = Mapper((read,), assembly=Assembly(), limits=Limits()).wanted
    wanted.layout("vllm.llm_engine", "llm_request")


def config(data: bytes) -> None:
    """A configuration, or what its first line says: prices, devices, or the web's own file."""
    text = text_of(data)
    try:
        if text.startswith("# prices"):
            price_list(text, "p.yaml", currency=None)
        elif text.startswith("# devices"):
            with_devices(shipped_catalogue(), text, "d.yaml")
        elif text.startswith("# web"):
            load_web_file(text, "w.yaml")
        else:
            for notice in notices(load_config(text, "c.yaml")):
                assert_line(notice)
    except ConfigErrors as errors:
        assert_told(errors)


def captures(data: bytes) -> None:
    """A recorded power file, packed where it begins as gzip does: what is read ascends in time and is finite or absent."""
    path = FOLDER / f"infermeter-fuzz-{os.getpid()}.csv{'.gz' if data[:2] == GZIP else ''}"
    path.write_bytes(data)
    try:
        recording = read_recording(path)
    except InputError as error:
        assert_line(str(error))
        return
    finally:
        path.unlink()
    times = recording.samples.time_ns
    assert (np.diff(times) >= 0).all()
    assert all(isfinite(sample.power_watts) for sample in recording.host_samples)
    assert all(count >= 0 for count in recording.rejected.values())
    for warning in recording.warnings:
        assert_line(warning)


def text_of(data: bytes) -> str:
    """As files are read: UTF-8, and what isn't becomes half of a surrogate pair."""
    return data.decode("utf-8", "surrogateescape")


def assert_told(errors: ConfigErrors) -> None:
    assert errors.problems
    for problem in errors.problems:
        assert_line(str(problem))


def assert_line(text: str) -> None:
    """Something is said, and not at length. It may quote anything: whoever prints it replaces what can't be printed."""
    assert 0 < len(text) < LONGEST_CHARACTERS
