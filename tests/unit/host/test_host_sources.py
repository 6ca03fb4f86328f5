"""Which source of the host's power a configuration means."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from infermeter.config import HostPower
from infermeter.errors import ConfigError, Unavailable
from infermeter.host.source import HostSource
from infermeter.host.sources import host_source, present
from support.sysfs import acpi_meter, rapl_zone

NOW_NS = 1_800_000_000 * 10**9


def test_none_is_no_source(tmp_path: Path) -> None:
    assert host_source(HostPower(source="none"), root=tmp_path, gpu_source="none") is None


@pytest.mark.parametrize("name", ["rapl", "hwmon"])
def test_a_source_is_what_its_name_says_also_where_there_is_nothing_to_read_yet(name: str, tmp_path: Path) -> None:
    source = host_source(HostPower(source=name), root=tmp_path, gpu_source="none")  # type: ignore[arg-type]
    assert source is not None
    assert source.name == name


def automatic(root: Path, gpu_source: str = "none") -> HostSource:
    source = host_source(HostPower(source="auto"), root=root, gpu_source=gpu_source)
    assert source is not None
    assert source.name == "auto"
    return source


def test_auto_is_rapl_where_there_is_rapl(tmp_path: Path) -> None:
    acpi_meter(rapl_zone(tmp_path, "intel-rapl:0", "package-0", 5), 0, 100)
    source = automatic(tmp_path)
    assert source.read(NOW_NS).energy_joules is not None
    assert source.name == "rapl"


def test_auto_is_hwmon_where_rapl_cannot_be_read(tmp_path: Path) -> None:
    rapl_zone(acpi_meter(tmp_path, 0, 100), "intel-rapl:0", "package-0", 5)
    (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").unlink()
    source = automatic(tmp_path)
    assert (source.read(NOW_NS).power_watts, source.name) == (100, "hwmon")


def test_auto_stays_with_the_source_that_answered_first(tmp_path: Path) -> None:
    source = automatic(acpi_meter(tmp_path, 0, 100))
    source.read(NOW_NS)
    rapl_zone(tmp_path, "intel-rapl:0", "package-0", 5)
    assert source.read(NOW_NS + 1).source == "hwmon"
    shutil.rmtree(tmp_path / "sys/class/hwmon")
    with pytest.raises(Unavailable, match=r"^hwmon: "):
        source.read(NOW_NS + 2)


def test_auto_asks_nothing_before_it_is_read(tmp_path: Path) -> None:
    name = rapl_zone(tmp_path, "intel-rapl:0", "package-0", 5) / "sys/class/powercap/intel-rapl:0/name"
    name.unlink()
    os.mkfifo(name)  # whoever opens it hangs
    assert automatic(tmp_path).name == "auto"


@pytest.mark.parametrize(("gpus", "reason"), [("none", "nor an ACPI power meter"), ("nvml", "would be counted twice")])
def test_auto_says_of_each_why_it_gives_no_answer(gpus: str, reason: str, tmp_path: Path) -> None:
    source = automatic(tmp_path, gpus)
    with pytest.raises(Unavailable, match=f"^RAPL: .*; .*{reason}"):
        source.read(NOW_NS)
    acpi_meter(rapl_zone(tmp_path, "intel-rapl:0", "package-0", 5), 0, 100)
    assert source.read(NOW_NS).source == "rapl"


def test_a_source_that_auto_finds_is_present_and_one_that_is_named_always(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert present(automatic(tmp_path), NOW_NS) is None
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith("no host power: RAPL: ")
    named = host_source(HostPower(source="rapl"), root=tmp_path, gpu_source="none")
    assert present(named, NOW_NS) is named
    assert present(None, NOW_NS) is None
    found = present(automatic(rapl_zone(tmp_path, "intel-rapl:0", "package-0", 5)), NOW_NS)
    assert found is not None
    assert (found.name, found.read(NOW_NS + 1).source) == ("rapl", "rapl")


def test_hwmon_beside_gpus_that_are_read_elsewhere_is_an_error_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^host_power\.source: hwmon's meters have the GPUs in them.*nvml.*counted twice"):
        host_source(HostPower(source="hwmon"), root=tmp_path, gpu_source="nvml")


def test_the_hosts_counters_are_read_below_the_configured_root(tmp_path: Path) -> None:
    rapl_zone(tmp_path / "host", "intel-rapl:0", "package-0", 5)
    source = host_source(HostPower(source="rapl", root="/host"), root=tmp_path, gpu_source="none")
    assert source is not None
    assert source.read(NOW_NS).source == "rapl"
    own = host_source(HostPower(source="rapl"), root=tmp_path, gpu_source="none")
    assert own is not None
    with pytest.raises(Unavailable, match="no zones"):
        own.read(NOW_NS)
