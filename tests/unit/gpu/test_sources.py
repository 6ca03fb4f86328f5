"""Which source a configuration means."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from infermeter.config import Gpu
from infermeter.errors import ConfigError
from infermeter.gpu.source import Seen
from infermeter.gpu.sources import gpu_source
from infermeter.model import GpuIdentity
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


@pytest.mark.parametrize("source", ["amd", "hwmon"])
def test_a_source_of_a_later_version_is_refused(source: Any) -> None:
    with pytest.raises(
        ConfigError, match=rf"gpu\.source: {source} is not in this version; there are auto, nvml, dcgm, triton, replay, simulated, none"
    ):
        gpu_source(Gpu(source=source), busy_share=idle)


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
