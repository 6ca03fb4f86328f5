"""Recorded exports, decoded and mapped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from infermeter.config import Assembly, Limits
from infermeter.mapping import Mapper, load_mappings
from infermeter.model import Export, InferenceBatch
from infermeter.otlp.json import decode_json
from infermeter.otlp.protobuf import decode_protobuf

TESTS = Path(__file__).parents[1]


def decoded(path: Path, mapper: Mapper) -> Export:
    """One export body, JSON or protobuf by its name."""
    decode = decode_json if path.suffix == ".json" else decode_protobuf
    return decode(path.read_bytes(), mapper.wanted)


def unbounded(kind: str) -> Mapper:
    return Mapper(load_mappings(kind, {}), assembly=Assembly(), limits=Limits(), bounded=False)


def bodies(paths: Sequence[Path]) -> list[Path]:
    """The files themselves, and those of folders in byte order of their names."""
    return [one for path in paths for one in (sorted((*path.glob("*.pb"), *path.glob("*.json"))) if path.is_dir() else [path])]


def mapped(kind: str, paths: Sequence[Path]) -> tuple[Mapper, InferenceBatch, int]:
    """The mapper after all files, the inferences, and how many spans the files hold."""
    mapper = unbounded(kind)
    spans = 0
    for path in bodies(paths):
        export = decoded(path, mapper)
        assert export.malformed == 0
        spans += export.spans
        mapper.add(export.batches, 0)
    batch = mapper.finish()
    assert batch is not None
    return mapper, batch, spans
