"""The demo for Compose: own asserts from the Compose specification's published fields, and its sidecar, server and load run for real."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import infermeter
from e2e.processes import running, text_at, wait_until
from infermeter.cli import main
from infermeter.demo.processes import free_ports

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "deploy" / "compose"
STARTED: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
SERVICES: dict[str, Any] = STARTED["services"]

TOP_FIELDS = {"name", "services", "networks", "volumes", "configs", "secrets", "include"}
SERVICE_FIELDS = {
    "image", "user", "entrypoint", "command", "environment", "volumes", "tmpfs", "ports", "networks", "network_mode", "depends_on",
    "healthcheck", "deploy", "restart", "read_only", "cap_drop", "security_opt", "init", "logging",
}  # fmt: skip
HEALTH_FIELDS = {"test", "interval", "timeout", "retries", "start_period", "start_interval", "disable"}
LIMIT_FIELDS = {"cpus", "memory", "pids"}
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}
OURS = ("infermeter", "server", "load")


def test_it_has_the_published_fields_of_the_compose_specification() -> None:
    assert {key for key in STARTED if not key.startswith("x-")} <= TOP_FIELDS
    for name, service in SERVICES.items():
        assert service.keys() <= SERVICE_FIELDS, name
        assert service.get("healthcheck", {}).keys() <= HEALTH_FIELDS, name
        assert service["deploy"]["resources"].keys() == {"limits"}, name
        assert {wanted["condition"] for wanted in service.get("depends_on", {}).values()} <= CONDITIONS, name
        assert service.get("depends_on", {}).keys() <= SERVICES.keys(), name
        assert set(service.get("networks", ())) <= STARTED["networks"].keys(), name
        mode = service.get("network_mode", "service:infermeter")
        assert mode.removeprefix("service:") in SERVICES, name
        assert ("network_mode" in service) != ("networks" in service), name


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_confined_and_limited(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"].partition(":")[0] not in {"0", "root"}
    assert service["deploy"]["resources"]["limits"].keys() == LIMIT_FIELDS
    assert not service.keys() & {"privileged", "cap_add", "pid", "ipc", "devices"}


def test_ports_are_open_on_this_machine_alone_and_otlp_on_none() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert sorted(int(port.split(":")[1]) for port in ports) == [3000, 9090, 9093, 10470]


def test_images_have_versions_and_ours_is_this_one() -> None:
    for name, service in SERVICES.items():
        image, _, tag = service["image"].partition(":")
        assert tag not in {"", "latest"}, name
        assert "." not in image, name
    assert {SERVICES[name]["image"] for name in OURS} == {f"infermeter:{infermeter.__version__}"}


def test_what_is_mounted_is_there_and_named_volumes_are_declared() -> None:
    for service in SERVICES.values():
        for mount in service.get("volumes", ()):
            source, target, *options = mount.split(":")
            if source.startswith("."):
                assert (COMPOSE / source).resolve().exists(), mount
                assert options == ["ro"], mount
            else:
                assert source in STARTED["volumes"], mount
            assert target.startswith("/"), mount


def test_grafana_finds_prometheus_and_the_dashboards_where_its_provisioning_looks() -> None:
    provisioning = ROOT / "deploy" / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "infermeter.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "infermeter.yaml").read_text())["providers"]
    grafana = SERVICES["grafana"]
    assert f"../../dashboards:{provider['options']['path']}:ro" in grafana["volumes"]
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (ROOT / "dashboards" / home.name).is_file()
    scraped = yaml.safe_load((COMPOSE / "prometheus.yml").read_text())
    assert scraped["global"]["scrape_interval"] == source["jsonData"]["timeInterval"]


def test_prometheus_finds_the_rules_the_alertmanager_and_the_sidecar_where_they_are_mounted_and_listen() -> None:
    told = yaml.safe_load((COMPOSE / "prometheus.yml").read_text())
    (pattern,) = told["rule_files"]
    assert f"../../alerts/rules:{Path(pattern).parent}:ro" in SERVICES["prometheus"]["volumes"]
    (alertmanager,) = told["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    (target,) = told["scrape_configs"][0]["static_configs"][0]["targets"]
    for address in (alertmanager, target):
        name, _, port = address.partition(":")
        assert any(opened.endswith(f":{port}") for opened in SERVICES[name]["ports"])


def test_check_config_takes_the_sidecars_configuration() -> None:
    assert main(["check-config", str(COMPOSE / "infermeter.yaml")]) == 0


def command_of(name: str, replaced: dict[str, str]) -> list[str]:
    """What a service is started with, with this Python and other ports and paths."""
    words = [*SERVICES[name]["entrypoint"], *SERVICES[name]["command"]]
    for old, new in replaced.items():
        words = [word.replace(old, new) for word in words]
    program, *rest = words
    return [sys.executable, "-m", "infermeter", *rest] if program == "infermeter" else [sys.executable, *rest]


@contextlib.contextmanager
def demo(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Sidecar, server and load as the containers start them: where the sidecar's web face is, and the load's process."""
    web, otlp, server = free_ports(3)
    config = (COMPOSE / "infermeter.yaml").read_text().replace("/var/lib/infermeter", str(folder))
    listen = f'listen: {{web: "127.0.0.1:{web}", otlp_http: "127.0.0.1:{otlp}", otlp_grpc: null}}\n'
    (folder / "config.yaml").write_text(config + listen)
    replaced = {
        "/etc/infermeter/config.yaml": str(folder / "config.yaml"),
        "/opt/load.py": str(COMPOSE / "load.py"),
        "4318": str(otlp),
        "8000": str(server),
    }
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(running(command_of(name, replaced), log=folder / f"{name}.log")) for name in OURS]
        yield f"http://127.0.0.1:{web}", started[-1]


def observed(url: str) -> float:
    """Inferences that the sidecar has seen; 0 while it doesn't answer."""
    with contextlib.suppress(OSError):
        found = re.search(r'infermeter_inferences_observed_total\{[^}]*outcome="ok"[^}]*\} ([0-9.e+]+)', text_at(f"{url}/metrics"))
        return float(found[1]) if found else 0.0
    return 0.0


@pytest.mark.deploy
def test_the_demos_sidecar_sees_the_inferences_that_its_load_asks_its_server_for(tmp_path: Path) -> None:
    with demo(tmp_path) as (url, load):
        wait_until(lambda: observed(url) > 10, seconds=60, process=load, log=tmp_path / "load.log", what="inferences of the demo")
        assert 'infermeter_cost_per_hour{component="amortisation"' in text_at(f"{url}/metrics")
