"""What `infermeter mappings` prints, typed as a person would."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from infermeter import cli
from infermeter.mapping import shipped_mappings
from infermeter.otlp.json import outlined_json
from infermeter.otlp.protobuf import outlined_protobuf
from unit.otlp.exports import START_NS, request, span

TESTS = Path(__file__).parents[2]
CASES = TESTS / "mapping" / "cases"

OWN = """
schema: 1
server: mine
title: a server of my own
versions: "1"
role: engine
rules:
  - id: request
    match: {span: generate}
    emit: {stages: {queue: {attr: waited, unit: ms}}}
"""


def printed(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> str:
    assert cli.main(["mappings", *map(str, argv)]) == 0
    return capsys.readouterr().out


def spans(path: Path, *described: dict[str, object], scope: str = "mine") -> Path:
    written = [
        {"traceId": f"{n:032x}", "spanId": f"{n:016x}", "startTimeUnixNano": "1000000000", "endTimeUnixNano": "1100000000", **one}
        for n, one in enumerate(described, 1)
    ]
    path.write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"scope": {"name": scope}, "spans": written}]}]}))
    return path


def text(**attributes: str) -> list[dict[str, object]]:
    return [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()]


def test_every_shipped_mapping_is_listed_with_what_it_was_tried_with(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys).splitlines()
    assert [line.split()[0] for line in lines[1:]][:3] == ["infermeter", "triton", "vllm"]
    assert {line.split()[0] for line in lines[1:]} == set(shipped_mappings())
    (ray,) = (line for line in lines if line.startswith("ray_serve "))
    assert " router " in ray
    assert " captured, derived from source " in ray


def test_own_mappings_are_listed_beside_the_shipped_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.yaml").write_text(OWN)
    (tmp_path / "config.yml").write_text(f"mappings_dir: {tmp_path / 'own'}")
    (mine,) = (line for line in printed(capsys, "--config", tmp_path / "config.yml").splitlines() if line.startswith("mine "))
    assert "your own file" in mine


def test_what_a_shipped_mapping_sees_is_told_by_stages_and_parts(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "test", "ray_serve", "--spans", TESTS / "captures" / "ray-serve")
    assert "4 inferences; milliseconds" in out
    assert "20 are inferences or parts of them" in out
    assert "         94.080        29.466        57.502             -         7.112         0.000" in out
    assert "serialisation             19.228 ms    7.2%, estimated" in out
    assert cli.main(["mappings", "test", "vllm", "--spans", str(TESTS / "captures" / "vllm" / "pooling")]) == 0
    assert "index.jsonl: skipped, no spans" in capsys.readouterr().err
    out = printed(capsys, "test", "vllm", "--spans", TESTS / "captures" / "vllm" / "grpc" / "005.pb")
    assert "compute.prefill" in out
    assert "more\nsums over all" in out


def test_a_mapping_of_ones_own_sees_what_fits_and_tells_what_else_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text(OWN)
    of = spans(
        tmp_path / "spans.json",
        {"name": "generate", "kind": 2, "attributes": text(waited="25")},
        {"name": "generate", "kind": 2, "status": {"code": 2}, "endTimeUnixNano": "999"},
        {"name": "embed", "kind": 3, "attributes": text(prompt="my secret", model="m"), "events": [{"name": "first", "timeUnixNano": "1"}]},
        {"name": "embed", "kind": 3, "attributes": text(other="my secret")},
    )
    out = printed(capsys, "test", tmp_path / "mine.yaml", "--spans", of)
    assert out.startswith("mine: a server of my own\n4 spans\n  1 are inferences or parts of them\n  2 have no rule\n  1 have no valid ids")
    assert "2 x scope mine, span embed, kind client\n      attrs: model, other, prompt\n      events: first\n" in out
    assert "queue                     25.000 ms   25.0%" in out
    assert "1 tell no compute: what no stage claims counts as computing, estimated" in out
    assert "secret" not in out


@pytest.mark.parametrize("name", ["envoy_ai_gateway/openinference.json", "litellm/proxy.json"])
def test_values_of_spans_without_a_rule_are_never_told(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text(OWN)
    out = printed(capsys, "test", tmp_path / "mine.yaml", "--spans", CASES / name)
    assert "no inference\n" in out
    assert "gen_ai.prompt.0.content" in out or "llm.input_messages.0.message.content" in out
    assert [value for value in ("SECRET", "Hello!", "gpt-4o-mini") if value in out] == []


def test_names_without_end_are_told_as_far_as_there_is_room_and_without_commands_for_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text(OWN)
    many = [{"name": f"s{n:02}\x1b[31m", "kind": 99, "attributes": text(**{f"k{i:03}": "v" for i in range(70)})} for n in range(45)]
    out = printed(capsys, "test", tmp_path / "mine.yaml", "--spans", spans(tmp_path / "spans.json", *many, scope=""))
    assert "1 x scope (none), span s00 [31m, kind unspecified" in out
    assert "k059 and 10 more" in out
    assert "and 5 more names" in out
    assert "\x1b" not in out


def test_an_error_and_a_model_of_an_inference_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "test", "litellm", "--spans", CASES / "litellm" / "proxy.json")
    assert "4 inferences, 1 with an error" in out
    assert "30/12  gpt-4o-mini-2024-07-18\n" in out
    assert "-  - (error)\n" in out


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (OWN.replace("queue:", "queu:"), "rules[0].emit.stages.queu: unknown key; did you mean queue?"),
        (None, "no such file, nor is a mapping"),
    ],
)
def test_a_mapping_with_a_mistake_is_refused_with_file_path_and_reason(
    text: str | None, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (tmp_path / "mine.yaml").write_text(text)
    assert cli.main(["mappings", "test", str(tmp_path / "mine.yaml"), "--spans", str(TESTS / "captures" / "bentoml")]) == 2
    error = capsys.readouterr().err
    assert "mine.yaml" in error
    assert problem in error


def test_a_name_that_is_nearly_one_of_a_shipped_mapping_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["mappings", "test", "vLMM", "--spans", str(TESTS / "captures" / "bentoml")]) == 2
    assert capsys.readouterr().err == "vLMM: no such file; did you mean vllm?\n"


def test_spans_that_are_not_there_are_an_error_at_run_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["mappings", "test", "vllm", "--spans", str(tmp_path / "none.json")]) == 1
    assert "no such file" in capsys.readouterr().err


def test_outlines_are_the_same_in_both_encodings() -> None:
    events = [Span.Event(name="first", time_unix_nano=START_NS)]
    sent = request(span(0, {"a": 1, "b": "x"}, events=events), span(1, name="other", kind=3), scope="s")
    written = json.loads(MessageToJson(sent))
    for one in written["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        one |= {key: b64decode(one[key]).hex() for key in ("traceId", "spanId")}
    told = [(*outline[:5], sorted(outline.keys), outline.events) for outline in outlined_protobuf(sent.SerializeToString())]
    assert [(name, kind, keys, events) for _, _, _, name, kind, keys, events in told] == [
        ("llm_request", 2, ["a", "b"], ("first",)),
        ("other", 3, [], ()),
    ]
    assert told == [(*outline[:5], sorted(outline.keys), outline.events) for outline in outlined_json(json.dumps(written).encode())]
