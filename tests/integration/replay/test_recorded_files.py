"""Files and folders of recorded spans: what is read, in which order, and what is said about damage."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from infermeter.config import Limits
from infermeter.errors import InputError
from infermeter.model import Layout
from infermeter.otlp.files import receive_file, recorded_files
from infermeter.otlp.receiver import Receiver

CAPTURES = Path(__file__).parents[2] / "captures"


@dataclass(frozen=True)
class Everything:
    """Wants each span, and none of its attributes."""

    resource_keys: frozenset[str] = frozenset()
    every: Layout = field(default_factory=lambda: Layout((), events=False))

    def layout(self, _scope: str, _name: str, /) -> Layout:
        return self.every


def spans(files: Sequence[Path]) -> int:
    receiver = Receiver(Everything(), lambda _: None, Limits(), overloaded=lambda: False)
    for file in files:
        receive_file(file, receiver)
    return receiver.spans_received["file"]


def test_a_folder_is_read_in_byte_order_of_names_without_what_came_along() -> None:
    files, skipped = recorded_files([CAPTURES / "triton"])

    assert [f.name for f in files] == ["001.json", "002.json", "003.json", "004.json"]
    assert spans(files) == 990
    assert {Path(line.split(":")[0]).name for line in skipped} == {"index.jsonl", "model_stats.json", "trace_setting.json"}


def test_a_mixture_of_encodings_is_read_whole() -> None:
    assert spans(recorded_files([CAPTURES / "pytriton"])[0]) == 2124


def test_gzipped_files_say_the_same(tmp_path: Path) -> None:
    for name in ("001.json", "003.json"):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress((CAPTURES / "triton" / name).read_bytes()))
    (tmp_path / "009.pb.gz").write_bytes(gzip.compress((CAPTURES / "vllm/pooling/021.pb").read_bytes()))

    assert spans(recorded_files([tmp_path])[0]) == 36 + 4 + 6


def test_lines_of_a_jsonl_file_are_exports(tmp_path: Path) -> None:
    lines = [(CAPTURES / "triton" / name).read_bytes().strip() for name in ("001.json", "003.json")]
    file = tmp_path / "spans.jsonl"
    file.write_bytes(b"\n\n".join(lines))

    assert spans([file]) == 40


def test_a_truncated_protobuf_file_is_told_with_name_and_offset(tmp_path: Path) -> None:
    whole = (CAPTURES / "vllm/http/007.pb").read_bytes()
    file = tmp_path / "cut.pb"
    file.write_bytes(whole + whole[:-5])

    with pytest.raises(InputError, match=rf"cut\.pb, offset {len(whole)}: "):
        spans([file])


def test_damaged_json_is_told_with_name_and_offset(tmp_path: Path) -> None:
    first = b'{"resourceSpans": []}\n'
    file = tmp_path / "cut.jsonl"
    file.write_bytes(first + b'{"resourceSpans": [')

    with pytest.raises(InputError, match=rf"cut\.jsonl, offset {len(first) + 19}: not JSON"):
        spans([file])


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"model_stats": 1}', b"null"])
def test_json_that_is_no_export_is_an_error_when_named(tmp_path: Path, body: bytes) -> None:
    file = tmp_path / "other.json"
    file.write_bytes(body)

    with pytest.raises(InputError, match="no resourceSpans"):
        spans(recorded_files([file])[0])


def test_json_with_the_right_key_and_a_wrong_shape_is_damaged(tmp_path: Path) -> None:
    file = tmp_path / "odd.json"
    file.write_bytes(b'{"resourceSpans": 7}')

    with pytest.raises(InputError, match=r"odd\.json, offset 0"):
        spans([file])


def test_a_gzip_stream_that_is_cut_off_is_told(tmp_path: Path) -> None:
    file = tmp_path / "001.json.gz"
    file.write_bytes(gzip.compress((CAPTURES / "triton/001.json").read_bytes())[:-20])

    with pytest.raises(InputError, match=r"001\.json\.gz, offset \d+: the gzip stream"):
        spans([file])


def test_what_is_not_gzip_is_told(tmp_path: Path) -> None:
    file = tmp_path / "001.pb.gz"
    shutil.copy(CAPTURES / "vllm/pooling/021.pb", file)

    with pytest.raises(InputError, match=r"001\.pb\.gz: not gzip"):
        spans([file])


def test_a_folder_without_spans_a_missing_file_and_another_suffix_are_errors(tmp_path: Path) -> None:
    text = tmp_path / "spans.txt"
    text.write_text("x")

    for path, problem in ((tmp_path, "no span file"), (tmp_path / "missing.pb", "no such file"), (text, r"neither \.json")):
        with pytest.raises(InputError, match=problem):
            recorded_files([path])


@pytest.mark.parametrize("body", [b"\x0a", b"\x0a\xff\xff\xff\xff\xff\xff", b"\x0a\x05abcde"])
def test_bytes_that_are_no_request_are_told_where_they_begin(tmp_path: Path, body: bytes) -> None:
    file = tmp_path / "bytes.pb"
    file.write_bytes(body)

    with pytest.raises(InputError, match=r"bytes\.pb, offset 0"):
        spans([file])
