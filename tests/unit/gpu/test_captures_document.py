"""docs/captures.md says what the reader does."""

from __future__ import annotations

from pathlib import Path

import pytest

from infermeter.gpu.columns import COLUMNS, DEVICE, HOST_POWER, TIME
from infermeter.gpu.nvidia_smi_csv import QUERIES
from infermeter.gpu.recording import read_recording
from unit.gpu.power_files import written

DOCUMENT = (Path(__file__).parents[3] / "docs" / "captures.md").read_text()


@pytest.mark.parametrize("name", [TIME, DEVICE, HOST_POWER, *(column.name for column in COLUMNS)])
def test_each_column_of_a_capture_is_described(name: str) -> None:
    assert f"`{name}`" in DOCUMENT


@pytest.mark.parametrize("name", [query.name for query in QUERIES])
def test_each_value_of_nvidia_smi_that_is_read_is_named(name: str) -> None:
    assert f"`{name}`" in DOCUMENT


def test_the_example_is_a_whole_capture(tmp_path: Path) -> None:
    example = DOCUMENT.split("```\n")[1].splitlines()
    recording = read_recording(written(tmp_path, *example))
    assert len(recording.samples) == 2
    assert recording.warnings == ()
    assert recording.samples[1].energy_joules == (recording.samples[0].energy_joules or 0.0) + (112.0 + 640.5) / 2
