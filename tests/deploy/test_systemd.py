"""The unit for systemd: systemd itself finds nothing to say, and rates what it still may do."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).resolve().parents[2] / "deploy" / "systemd"
UNIT = SYSTEMD / "infermeter.service"
MOST_EXPOSURE = 3.0


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit, with a program that is there in the place of the installed one."""
    text = UNIT.read_text()
    assert "ExecStart=/opt/infermeter/bin/infermeter serve " in text
    (tmp_path / UNIT.name).write_text(text.replace("/opt/infermeter/bin/infermeter", sys.executable))
    return tmp_path / UNIT.name


def analyze(*arguments: str | Path) -> str:
    done = subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def settings(path: Path) -> dict[str, str]:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(path.read_text())
    return dict(parser["Service"])


def test_systemd_verifies_it_without_a_word(installed: Path) -> None:
    assert analyze("verify", "--man=no", installed) == ""


def test_a_misspelt_setting_would_be_told(installed: Path) -> None:
    installed.write_text(installed.read_text().replace("ProtectHome=", "ProtectHomes="))
    assert "ProtectHomes" in analyze("verify", "--man=no", installed)


def test_its_exposure_stays_under_3(installed: Path) -> None:
    told = re.search(r"Overall exposure level for \S+: ([0-9.]+)", analyze("security", "--offline=yes", "--no-pager", installed))
    assert told
    assert float(told[1]) < MOST_EXPOSURE


def test_with_the_hosts_counters_its_exposure_stays_under_3_too(installed: Path) -> None:
    dropin = installed.with_name("infermeter.service.d")
    dropin.mkdir()
    (dropin / "host-power.conf").write_text((SYSTEMD / "infermeter.service.d" / "host-power.conf").read_text())
    installed.write_text(
        installed.read_text().replace("CapabilityBoundingSet=\n", "CapabilityBoundingSet=CAP_DAC_READ_SEARCH\n")
        .replace("AmbientCapabilities=\n", "AmbientCapabilities=CAP_DAC_READ_SEARCH\n")
    )  # fmt: skip
    assert settings(dropin / "host-power.conf").items() <= settings(installed).items()
    told = re.search(r"Overall exposure level for \S+: ([0-9.]+)", analyze("security", "--offline=yes", "--no-pager", installed))
    assert told
    assert float(told[1]) < MOST_EXPOSURE


def test_it_is_watched_reloaded_and_not_started_again_with_a_wrong_configuration() -> None:
    found = settings(UNIT)
    assert (found["Type"], found["NotifyAccess"], found["ExecReload"]) == ("notify", "main", "/bin/kill -HUP $MAINPID")
    assert int(found["WatchdogSec"]) >= 10
    assert (found["Restart"], found["RestartPreventExitStatus"]) == ("on-failure", "2")
    assert (found["DynamicUser"], found["StateDirectory"]) == ("yes", "infermeter")
    assert found["MemoryMax"]
    assert "User" not in found
