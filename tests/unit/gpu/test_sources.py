"""Which source a configuration means."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from infermeter.config import Gpu
from infermeter.errors import ConfigError
from infermeter.gpu.estimate import EstimatedSource
from infermeter.gpu.source import Seen
from infermeter.gpu.sources import gpu_source
from infermeter.model import GpuIdentity
from support.sysfs import ina3221
from unit.gpu.power_files import RECORDINGS


def idle(begin_ns: int, end_ns: int) -> float:  # noqa: ARG001
    return 0.0


def first(seen: Seen) -> tuple[GpuIdentity, ...]:
    return seen.identities[:1]


def test_none_is_no_source() -> None:
    assert gpu_source(Gpu(source="none"), busy_share=idle) is None


def test_auto_without_the_library_is_no_source_and_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert gpu_source(Gpu(), busy_share=idle, library="libnvidia-ml-that-is-not-there.so") is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_auto_with_the_library_is_nvml_and_never_simulated() -> None:
    source = gpu_source(Gpu(), busy_share=idle, library="libc.so.6")
    assert source is not None
    assert source.name == "nvml"


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"source": "nvml"}, "nvml"),
        ({"source": "amd"}, "amd"),
        ({"source": "hwmon"}, "hwmon"),
        ({"source": "dcgm", "url": "http://127.0.0.1:9400/metrics"}, "dcgm"),
        ({"source": "triton", "url": "http://127.0.0.1:8002/metrics"}, "triton"),
        ({"source": "simulated"}, "simulated"),
        ({"source": "replay", "file": str(RECORDINGS / "eight-gpus.csv")}, "replay"),
    ],
)
def test_a_source_is_what_its_name_says(settings: dict[str, Any], name: str) -> None:
    source = gpu_source(Gpu(**settings), busy_share=idle)
    assert source is not None
    assert source.name == name


@pytest.mark.parametrize("settings", [{"source": "simulated"}, {"source": "replay", "file": str(RECORDINGS / "eight-gpus.csv")}])
def test_a_source_opens_the_chosen_devices_only(settings: dict[str, Any]) -> None:
    source = gpu_source(Gpu(**settings), busy_share=idle, choose=first)
    assert source is not None
    assert len(source.open()) == 1


@pytest.mark.parametrize("asked", [True, False])
def test_power_is_estimated_only_where_it_was_asked_for(asked: bool) -> None:
    source = gpu_source(Gpu(source="nvml", estimate_from_tdp=asked), busy_share=idle)
    assert isinstance(source, EstimatedSource) is asked
    assert source is not None
    assert source.name == "nvml"


def test_without_a_source_there_is_nothing_to_estimate_from() -> None:
    assert gpu_source(Gpu(source="none", estimate_from_tdp=True), busy_share=idle) is None


def test_hwmon_is_read_below_the_root_that_is_given(tmp_path: Path) -> None:
    source = gpu_source(Gpu(source="hwmon"), busy_share=idle, root=ina3221(tmp_path, 0, VDD_IN=5, VDD_CPU_GPU_CV=3))
    assert source is not None
    assert [identity.uuid for identity in source.open()] == ["hwmon-ina3221-VDD_CPU_GPU_CV"]


def test_replay_without_a_file_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"gpu\.file: source: replay needs the file to play"):
        gpu_source(Gpu(source="replay"), busy_share=idle)


@pytest.mark.parametrize("source", ["dcgm", "triton"])
@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (None, "needs the address"),
        ("127.0.0.1:9400", "is not an http or https URL"),
        ("http://user:secret@127.0.0.1:9400/metrics", "holds a user or password"),
    ],
)
def test_a_page_without_an_address_that_can_be_asked_is_refused(source: Any, url: str | None, problem: str) -> None:
    with pytest.raises(ConfigError, match=rf"gpu\.url: .*{problem}") as caught:
        gpu_source(Gpu(source=source, url=url), busy_share=idle)
    assert "secret" not in str(caught.value)
