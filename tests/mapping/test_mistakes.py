"""Mistakes in a user's own mapping: each is refused at start, on a line of its own, with file, dotted path and reason."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from infermeter import cli

GOOD = """\
schema: 1
server: acme
title: Acme
versions: "1"
role: engine
rules:
  - id: request
    match: {scope: acme.tracer, span: handle}
    emit:
      stages:
        queue: {attr: acme.wait_ms, unit: ms}
        compute: {duration: true, in: {rel: child, span: run}}
"""
QUEUE = "{attr: acme.wait_ms, unit: ms}"
BOMB = "ignore:\n  - &a {any: [{span: x}, {span: y}]}\n" + "".join(
    f"  - &{name} {{any: [{', '.join(['*' + before] * 9)}]}}\n" for before, name in ("ab", "bc", "cd", "de", "ef")
)
MISTAKES = {
    "an entry that is not indented": (GOOD.replace("    match", "   match"), ": line 8: not valid YAML: expected <block end>, but found"),
    "a tab": (GOOD.replace("    match", "\tmatch"), ": line 8: not valid YAML: found character '\\t'"),
    "an operator that there isn't": (GOOD.replace("{attr", "{atr"), ": rules[0].emit.stages.queue.atr: unknown key; did you mean attr?"),
    "a unit that there isn't": (GOOD.replace("unit: ms", "unit: msec"), ": rules[0].emit.stages.queue.unit: unknown; did you mean ms?"),
    "two rules of one name": (f"{GOOD}  - id: request\n    match: {{span: x}}\n    emit: {{}}\n", ": rules: two rules are called request"),
    "a key given twice": (f"{GOOD}role: router\n", ": role: given twice"),
    "aliases of aliases": (GOOD + BOMB, ": line 18: more than 10000 values"),
    "an alias within itself": (f"{GOOD}ignore: &x [*x]\n", ": line 13: an alias without an anchor before it"),
    "too many characters": (GOOD + "#" * 300_000, ": longer than 262144 characters"),
    "too many bytes": (GOOD + "#" * 2_000_000, ": longer than 1048576 bytes"),
    "a program": (b"\x7fELF\x02\x01\x80\xff", ": is no UTF-8 text: byte 6"),
    "another encoding": (GOOD.replace("Acme", "Acmé").encode("latin-1"), ": is no UTF-8 text: byte 33"),
    "a zero byte": (f"{GOOD}\x00", ": not valid YAML: unacceptable character #x0000"),
    "nothing": ("", ": is empty"),
    "a list": ("- a\n", ": must be a mapping"),
    "two documents": (f"{GOOD}---\n{GOOD}", ": line 13: a second document; one is expected"),
    "a tag": (GOOD.replace("title: Acme", "title: !!python/object/apply:os.system [id]"), ": line 3: tags (`!...`) are not taken"),
    "a merge key": (f"{GOOD}ignore: [{{<<: {{span: x}}}}]\n", ": line 13: merge keys (`<<`) are not taken"),
    "too deep": (f"{GOOD}ignore: {'[' * 40}{']' * 40}\n", ": line 13: nested deeper than 16 levels"),
    "half a pattern": (
        GOOD.replace("span: handle", "span: {re: '(handle'}"),
        ": rules[0].match.span.re: not a regular expression: missing )",
    ),
    "a pattern without a group": (
        f"{GOOD}      labels: {{model: {{attr: m, re: x}}}}\n",
        ": rules[0].emit.labels.model.re: must capture one group: the text of the label",
    ),
    "another schema": (GOOD.replace("schema: 1", "schema: 2"), ": schema: must be 1"),
    "a name with blanks": (GOOD.replace("server: acme", "server: Acme Infer"), ": server: must match [a-z0-9_]{1,32}"),
    "a stage that there isn't": (GOOD.replace("queue:", "comput:"), ": rules[0].emit.stages.comput: unknown key; did you mean compute?"),
    "a role that there isn't": (GOOD.replace("role: engine", "role: engin"), ": role: unknown; did you mean engine?"),
    "no match": (GOOD.replace("    match: {scope: acme.tracer, span: handle}\n", ""), ": rules[0]: match is missing"),
    "a match of everything": (
        GOOD.replace("{scope: acme.tracer, span: handle}", "{}"),
        ": rules[0].match: matches every span: must say which",
    ),
    "a kind in capitals": (
        GOOD.replace("span: handle}", "span: handle, kind: [SERVER]}"),
        ": rules[0].match.kind[0]: unknown; did you mean server?",
    ),
    "a relation that there isn't": (
        GOOD.replace("rel: child", "rel: parent"),
        ": rules[0].emit.stages.compute.in.rel: unknown; known are child, descendant",
    ),
    "a point that there isn't": (
        GOOD.replace(QUEUE, "{between: [span.begin, span.end]}"),
        ": rules[0].emit.stages.queue.between[0]: unknown; did you mean",
    ),
    "no number": (f"{GOOD}priority: high\n", ": priority: must be a whole number"),
    "half a priority": (f"{GOOD}priority: 1.5\n", ": priority: must be a whole number"),
    "a priority without end": (f"{GOOD}priority: {'9' * 400}\n", ": priority: must be a whole number"),
    "a number without end": (
        GOOD.replace(QUEUE, "{sub: [{attr: a}, 1e999]}"),
        ": rules[0].emit.stages.queue.sub[1]: is too large",
    ),
    "yes": (f"{GOOD}sampled: yes\n", ": sampled: must be true (or left out)"),
    "no rules": (GOOD[: GOOD.index("  - id")], ": rules: is empty"),
    "the rest as compute": (
        GOOD.replace("{duration: true, in: {rel: child, span: run}}", "{rest: true}"),
        ": rules[0].emit.stages.compute: compute is never the rest",
    ),
    "a part with a blank": (
        GOOD.replace(QUEUE, "{parts: {net in: {attr: x}}}"),
        ": rules[0].emit.stages.queue.parts.net in: the name of a part must match",
    ),
    "a key of metrics that there isn't": (
        f"{GOOD}metrics: {{counters: {{inferences: {{nam: x}}}}}}\n",
        ": metrics.counters.inferences.nam: unknown key; did you mean name?",
    ),
    "a command for a terminal": (f'{GOOD}"\\e[31mred": 1\n', ":  [31mred: unknown key"),
}


def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], *command: str) -> list[str]:
    """What is said of a configuration with this folder of mappings, line by line."""
    config = tmp_path / "config"
    config.write_text(f"mappings_dir: {tmp_path / 'mappings'}\nlisten: {{web: null, otlp_grpc: null, otlp_http: null}}\n")
    assert cli.main([*command, str(config)]) == 2
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return (out + err).splitlines()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mappings").mkdir()
    return tmp_path / "mappings"


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_file_path_and_reason(
    mistake: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, problem = MISTAKES[mistake]
    (folder / "acme.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    lines = refused(tmp_path, capsys, "check-config")
    assert lines[0].startswith(f"{folder}/acme.yaml{problem}")
    assert all(line.startswith(f"{folder}/acme.yaml") and line.isprintable() for line in lines)


def test_the_good_one_is_taken(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "acme.yml").write_text("\ufeff" + GOOD)
    (tmp_path / "config").write_text(f"mappings_dir: {folder}\nserver: {{kind: acme}}\n")
    assert cli.main(["check-config", str(tmp_path / "config")]) == 0
    assert capsys.readouterr().out == "ok\n"


@pytest.mark.parametrize("command", [("serve", "--config"), ("replay", "--spans", os.devnull, "--config"), ("mappings", "--config")])
def test_every_command_that_maps_refuses_a_mistake(
    command: tuple[str, ...], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "acme.yaml").write_text(GOOD.replace("role: engine", "role: motor"))
    assert refused(tmp_path, capsys, *command) == [f"{folder}/acme.yaml: role: unknown; known are engine, router, gateway, generic"]


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: path.mkdir(), "is no file"),
        (os.mkfifo, "is no file"),
        (lambda path: path.symlink_to("/dev/zero"), "is no file"),
        (lambda path: path.symlink_to(path.parent / "gone"), "can't be read: No such file or directory"),
        (lambda path: path.symlink_to(path), "can't be read: Too many levels of symbolic links"),
    ],
    ids=["a folder", "a pipe", "a device", "a link to nothing", "a link to itself"],
)
def test_what_is_no_file_is_told_and_not_waited_for(
    make: Callable[[Path], None], problem: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(folder / "acme.yaml")
    assert refused(tmp_path, capsys, "check-config") == [f"{folder}/acme.yaml: {problem}"]


def test_two_files_of_one_server_are_told(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.yaml", "b.yml"):
        (folder / name).write_text(GOOD)
    assert refused(tmp_path, capsys, "check-config") == [f"{folder}/b.yml: server: another file is the mapping of acme too"]


def test_a_folder_without_a_mapping_is_told(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "acme.yaml~").write_text(GOOD)
    (line,) = refused(tmp_path, capsys, "check-config")
    assert "mappings_dir: no mapping (*.yaml or *.yml) in " in line
