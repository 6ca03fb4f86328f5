"""The overlays: each server's spans are switched on as its mapping says, and Infermeter is told what it needs to know of it."""

from __future__ import annotations

import ast
import re
import runpy
import sys
import types
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from deploy.src.servers import SERVED, Served
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from tests.deploy.kustomize import read
from tests.deploy.rendered import KUBERNETES, OVERLAYS, Json, overlay, pods

from infermeter.cli import main

SERVERS = Path(__file__).resolve().parents[2] / "exporter" / "infermeter" / "mapping" / "servers"
BY_FOLDER = {one.folder: one for one in SERVED}
LONG_STARTS = re.compile(r"--(?!config$)")
INFERENCE_SERVICE_FIELDS = {"minReplicas", "maxReplicas", "labels", "initContainers", "containers", "volumes", "securityContext",
                            "automountServiceAccountToken", "terminationGracePeriodSeconds"}  # fmt: skip
LLM_FIELDS = {"model", "replicas", "labels", "router", "template", "tracing"}
TRACING_FIELDS = {"exporter", "exporterEndpoint", "sampler", "samplerArg"}


def mapping(kind: str) -> Json:
    found: Json = yaml.safe_load((SERVERS / f"{kind}.yaml").read_text())
    return found


def config(folder: str) -> Json:
    found: Json = read((KUBERNETES / "overlays" / folder / "config.yaml").read_text())
    return found


def server_of(folder: str) -> Json:
    """The container of the server itself."""
    (pod,) = (pod for one in overlay(folder) for _, pod in pods(folder, one))
    (container,) = pod["containers"]
    found: Json = container
    return found


def switches(enable: str) -> set[str]:
    """The flags (`--name=value`) and variables (`NAME=value`) by which a mapping's text switches spans on.

    What is in brackets or comes after a semicolon is about other versions or ways of starting.
    """
    plain = re.sub(r"\([^()]*\)", "", enable).partition(";")[0].replace(",", " ,")
    plain = re.sub(r"(opentelemetry) ,(url)", r"\1,\2", plain)
    flags = re.findall(r"(--[a-z][a-z-]*)(?: ([^\s-][^\s]*|-?[^\s-]+=-?\d+))?", plain)
    variables = re.findall(r"\b([A-Z][A-Z_]+=[^\s,:]+(?:://[^\s,]+)?)", plain)
    return {f"{name}={value}".rstrip("=") for name, value in flags if value != ","} | set(variables)


def set_at(container: Json) -> set[str]:
    """What a container is started with, in the same form."""
    return {*container["args"], *(f"{entry['name']}={entry['value']}" for entry in container.get("env", ()))}


def test_the_text_of_a_mapping_is_read_as_flags_and_variables() -> None:
    assert switches(mapping("vllm")["tracing"]["enable"]) == {"--otlp-traces-endpoint=http://127.0.0.1:4317"}
    assert switches(mapping("sglang")["tracing"]["enable"]) == {
        "--enable-trace",
        "--otlp-traces-endpoint=127.0.0.1:4317",
        "SGLANG_TRACE_LEVEL=2",
    }
    assert switches(mapping("triton")["tracing"]["enable"]) == {
        "--trace-config=mode=opentelemetry",
        "--trace-config=opentelemetry,url=http://127.0.0.1:4318/v1/traces",
        "--trace-config=level=TIMESTAMPS",
        "--trace-config=rate=1",
        "--trace-config=count=-1",
    }
    assert switches(mapping("mlserver")["tracing"]["enable"]) == {"MLSERVER_TRACING_SERVER=http://127.0.0.1:4317"}


@pytest.mark.parametrize("folder", ["vllm", "triton", "tgi", "sglang", "mlserver", "kserve"])
def test_a_server_is_started_with_the_flags_and_variables_of_its_mapping(folder: str) -> None:
    wanted = switches(mapping(BY_FOLDER[folder].kind)["tracing"]["enable"])
    assert wanted
    assert wanted <= set_at(server_of(folder))


def test_ray_serve_is_told_where_its_spans_go_and_that_all_of_them_do() -> None:
    enable = mapping("ray_serve")["tracing"]["enable"]
    env = {entry["name"]: entry["value"] for entry in server_of("ray-serve")["env"]}
    assert {name for name in env if name in enable} == {"RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH", "RAY_SERVE_TRACING_SAMPLING_RATIO"}
    assert f"RAY_SERVE_TRACING_SAMPLING_RATIO={env['RAY_SERVE_TRACING_SAMPLING_RATIO']}" in enable
    module, _, name = env["RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH"].partition(":")
    (processor,) = runpy.run_path(str(KUBERNETES / "overlays" / "ray-serve" / f"{module}.py"))[name]()
    assert isinstance(processor, BatchSpanProcessor)
    processor.shutdown()
    serve = read((KUBERNETES / "overlays" / "ray-serve" / "serve.yaml").read_text())
    assert serve["http_options"] == {"host": "0.0.0.0", "port": BY_FOLDER["ray-serve"].port}


def test_bentomls_service_has_the_decorator_of_its_mapping(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    fake = types.SimpleNamespace(service=lambda **given: told.append(given) or (lambda kind: kind), api=lambda method: method)
    monkeypatch.setitem(sys.modules, "bentoml", fake)  # type: ignore[arg-type]
    made = runpy.run_path(str(KUBERNETES / "overlays" / "bentoml" / "service.py"))
    literal = re.search(r"tracing=(\{.*?\}\})\)", mapping("bentoml")["tracing"]["enable"])
    assert literal
    assert told == [{"tracing": ast.literal_eval(literal[1])}]
    module, _, name = server_of("bentoml")["args"][1].partition(":")
    assert (module, made[name]().count("one two three")) == ("service", 3)


def test_kserves_own_tracing_sends_every_request_to_the_sidecar_by_its_published_fields() -> None:
    (service,) = (one for one in overlay("llminferenceservice") if one["kind"] == "LLMInferenceService")
    assert service["spec"].keys() == LLM_FIELDS
    assert service["spec"]["tracing"].keys() == TRACING_FIELDS
    assert service["spec"]["tracing"]["exporterEndpoint"] in mapping("vllm")["tracing"]["enable"]
    assert service["spec"]["tracing"]["samplerArg"] == "1.0"
    assert "spec.tracing" in mapping("kserve")["tracing"]["enable"]
    assert [container["name"] for container in service["spec"]["template"]["containers"]] == ["main"]


def test_an_inference_service_has_kserves_published_fields_and_runs_without_knative() -> None:
    (service,) = (one for one in overlay("kserve") if one["kind"] == "InferenceService")
    assert service["spec"].keys() == {"predictor"}
    assert service["spec"]["predictor"].keys() == INFERENCE_SERVICE_FIELDS
    assert service["metadata"]["annotations"] == {"serving.kserve.io/deploymentMode": "RawDeployment"}
    assert [container["name"] for container in service["spec"]["predictor"]["containers"]] == ["kserve-container"]


@pytest.mark.parametrize("one", SERVED, ids=lambda one: one.folder)
def test_its_own_metrics_are_asked_at_the_port_and_path_of_its_mapping(one: Served) -> None:
    url = config(one.folder)["server"].get("metrics_url")
    assert url == one.metrics_url
    if url is None:
        assert one.form == "LLMInferenceService"
        return
    parts = urlsplit(url)
    assert parts.hostname == "127.0.0.1"
    endpoint = mapping(one.kind)["metrics"]["endpoint"]
    assert parts.path == "/metrics"
    assert "/metrics" in endpoint
    said = re.match(r"port (\d+)", endpoint)
    chosen = re.search(rf"(--port=|--metrics-export-port=){parts.port}\b", " ".join(one.args))
    assert chosen or (said and int(said[1]) == parts.port), endpoint
    if "(--" in endpoint and "not with" not in endpoint:
        assert re.findall(r"\((--[a-z-]+)\)", endpoint)[0] in one.args


@pytest.mark.parametrize("folder", OVERLAYS)
def test_check_config_takes_what_the_sidecar_is_given(folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (given,) = (one for one in overlay(folder) if one["kind"] == "ConfigMap" and one["metadata"]["name"] == "infermeter")
    (tmp_path / "config.yaml").write_text(given["data"]["config.yaml"])
    assert main(["check-config", str(tmp_path / "config.yaml")]) == 0
    assert capsys.readouterr().out == "ok\n"
    priced = re.sub(r"(?m)^# (cost:|  )", r"\1", given["data"]["config.yaml"])
    assert read(priced)["cost"]["rent"] == {"per_hour": 3.43, "per": "gpu"}
    (tmp_path / "priced.yaml").write_text(priced)
    assert main(["check-config", str(tmp_path / "priced.yaml")]) == 0


@pytest.mark.parametrize("folder", OVERLAYS)
def test_the_state_lies_where_the_sidecar_may_write(folder: str) -> None:
    (pod,) = (pod for one in overlay(folder) for _, pod in pods(folder, one))
    (sidecar,) = pod["initContainers"]
    writable = {mount["mountPath"] for mount in sidecar["volumeMounts"] if not mount.get("readOnly")}
    assert writable == {str(Path(config(folder)["state_file"]).parent)}
    assert sidecar["args"][-1] == "/etc/infermeter/config.yaml"


@pytest.mark.parametrize("folder", OVERLAYS)
def test_what_a_server_that_traces_a_share_by_default_is_told_to_send_is_said_to_be_all(folder: str) -> None:
    by_default = bool(mapping(BY_FOLDER[folder].kind).get("sampled"))
    assert config(folder)["server"].get("sampled") is (False if by_default else None)


@pytest.mark.parametrize("folder", ["node"])
def test_check_config_takes_what_a_node_is_given_and_each_way_to_its_gpus(folder: str, tmp_path: Path) -> None:
    text = (KUBERNETES / folder / "config.yaml").read_text()
    ways = [text, *(text.replace("gpu: {source: none}\n", f"{line[2:]}\n") for line in text.splitlines() if line.startswith("# gpu:"))]
    assert len(set(ways)) == 3
    for way in ways:
        (tmp_path / "config.yaml").write_text(way)
        assert main(["check-config", str(tmp_path / "config.yaml")]) == 0
