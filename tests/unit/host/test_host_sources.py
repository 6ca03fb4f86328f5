"""Which source of the host's power a configuration means."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from infermeter.config import HostPower
from infermeter.errors import ConfigError
from infermeter.host.sources import host_source
from support.sysfs import acpi_meter, rapl_zone


def test_none_is_no_source(tmp_path: Path) -> None:
    assert host_source(HostPower(source="none"), root=tmp_path, gpu_source="none") is None


@pytest.mark.parametrize("name", ["rapl", "hwmon"])
def test_a_source_is_what_its_name_says_also_where_there_is_nothing_to_read_yet(name: str, tmp_path: Path) -> None:
    source = host_source(HostPower(source=name), root=tmp_path, gpu_source="none")  # type: ignore[arg-type]
    assert source is not None
    assert source.name == name


def test_auto_is_rapl_where_there_is_rapl(tmp_path: Path) -> None:
    acpi_meter(rapl_zone(tmp_path, "intel-rapl:0", "package-0", 5), 0, 100)
    source = host_source(HostPower(source="auto"), root=tmp_path, gpu_source="none")
    assert source is not None
    assert source.name == "rapl"


def test_auto_remembers_nothing_of_its_first_question(tmp_path: Path) -> None:
    source = host_source(HostPower(source="auto"), root=rapl_zone(tmp_path, "intel-rapl:0", "package-0", 5), gpu_source="none")
    assert source is not None
    assert source.read(1_700_000_000 * 10**9).energy_joules is not None


def test_auto_is_hwmon_where_rapl_cannot_be_read(tmp_path: Path) -> None:
    rapl_zone(acpi_meter(tmp_path, 0, 100), "intel-rapl:0", "package-0", 5)
    (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").unlink()
    source = host_source(HostPower(source="auto"), root=tmp_path, gpu_source="none")
    assert source is not None
    assert source.name == "hwmon"


@pytest.mark.parametrize(("gpus", "reason"), [("none", "nor an ACPI power meter"), ("nvml", "would be counted twice")])
def test_auto_without_either_is_no_source_and_one_warning(gpus: str, reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert host_source(HostPower(source="auto"), root=tmp_path, gpu_source=gpus) is None
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("no host power: RAPL: ")
    assert reason in record.getMessage()


def test_hwmon_beside_gpus_that_are_read_elsewhere_is_an_error_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^host_power\.source: hwmon's meters have the GPUs in them.*nvml.*counted twice"):
        host_source(HostPower(source="hwmon"), root=tmp_path, gpu_source="nvml")
