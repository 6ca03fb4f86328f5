"""The command line: which command runs, and how it ends."""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infermeter import __version__, cli
from infermeter.commands import check_config
from infermeter.errors import ConfigError, ConfigErrors, GpuUnavailable, InputError, ListenError


def lines(text: str) -> list[str]:
    return text.splitlines()


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], int]:
    """The exit code when a command ends with an exception."""

    def end(error: BaseException) -> int:
        def run(_: argparse.Namespace) -> int:
            raise error

        monkeypatch.setattr(check_config, "run", run)
        return cli.main(["check-config", "f"])

    return end


def test_a_configuration_that_holds_is_ok(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "infermeter.yaml"
    path.write_text("server: {name: chat}\nforward: {timeout: 5s}\n")
    assert cli.main(["check-config", str(path)]) == 0
    assert lines(capsys.readouterr().out) == ["ok", "forward: passes nothing on without forward.endpoint"]


def test_a_configuration_is_read_from_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"servr: {}")))
    assert cli.main(["check-config", "-"]) == 2
    assert lines(capsys.readouterr().err) == ["servr: unknown key; did you mean server? (line 1)"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("server: {kind: trition}", "server.kind"),
        ("mappings_dir: /nowhere", "mappings_dir"),
        ("gpu: {source: replay, file: /nowhere.csv}", "gpu.file"),
        ('server: {kind: infermeter, metrics_url: "http://127.0.0.1:1/metrics"}', "server.metrics_url"),
        ('server: {metrics_url: "ftp://127.0.0.1/metrics"}', "server.metrics_url"),
        ('server: {metrics_url: "http://127.0.0.1:1/metrics", metrics_token_file: /nowhere}', "server.metrics_token_file"),
    ],
)
@pytest.mark.parametrize("command", [["check-config"], ["serve", "--config"]], ids=["check-config", "serve"])
def test_what_a_configuration_names_must_be_there(
    command: list[str], text: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "infermeter.yaml"
    path.write_text(text)
    assert cli.main([*command, str(path)]) == 2
    (line,) = lines(capsys.readouterr().err)
    assert line.startswith(problem)


@pytest.mark.parametrize("command", [["check-config"], ["serve", "--config"]], ids=["check-config", "serve"])
def test_every_problem_is_told_at_once(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "infermeter.yaml"
    path.write_text("server: {kind: trition}\nwindows: [5s]\ngpu: {source: replay, file: /nowhere.csv}\nlimits: {models: -1}\n")
    assert cli.main([*command, str(path)]) == 2
    said = lines(capsys.readouterr().err)
    assert [line.partition(":")[0] for line in said] == ["server.kind", "windows[0]", "gpu.file", "limits.models"]


@pytest.mark.parametrize("command", [["check-config"], ["serve", "--config"], ["--config"]])
def test_a_configuration_that_is_missing_is_wrong_use(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*command, "/nowhere.yaml"]) == 2
    assert lines(capsys.readouterr().err) == ["/nowhere.yaml: can't be read: No such file or directory"]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("gpu.file", "no such file"), 2, ["gpu.file: no such file"]),
        (ConfigErrors((ConfigError("a", "b"), ConfigError("c", "d"))), 2, ["a: b", "c: d"]),
        (InputError("001.pb", "truncated at byte 7"), 1, ["001.pb: truncated at byte 7"]),
        (ListenError("listen.web", "taken"), 1, ["listen.web: taken"]),
        (ConfigError("a\nb", "c\x1b[2J"), 2, ["a b: c [2J"]),
        (GpuUnavailable("no driver"), 1, ["no driver"]),
        (OSError(28, "No space left on device", "/out"), 1, ["[Errno 28] No space left on device: '/out'"]),
        (KeyboardInterrupt(), 130, []),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    error: BaseException, code: int, said: list[str], ending: Callable[[BaseException], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ending(error) == code
    assert lines(capsys.readouterr().err) == said


def test_an_interrupt_before_the_command_runs_leaves_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: argparse.ArgumentParser) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(check_config, "add_arguments", interrupted)
    assert cli.main(["check-config", "f"]) == 130


def test_a_mistake_of_the_program_escapes(ending: Callable[[BaseException], int]) -> None:
    with pytest.raises(ZeroDivisionError):
        ending(ZeroDivisionError())


@pytest.mark.parametrize("argv", [["fly"], ["check-config"], ["reference", "colours"], ["replay"], ["serve", "--colour"]])
def test_wrong_use_is_one_line(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(argv)
    assert caught.value.code == 2
    assert len(lines(capsys.readouterr().err)) == 1


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert (caught.value.code, capsys.readouterr().out) == (0, f"infermeter {__version__}\n")


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    told = capsys.readouterr().out
    assert all(command in told for command in cli.COMMANDS)


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_every_command_tells_its_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"])
    assert caught.value.code == 0
    assert f"infermeter {command}" in capsys.readouterr().out


def test_a_reader_that_goes_away_leaves_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "infermeter", "reference", "config"]
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (1, b"")


def test_nobody_needs_to_read_what_it_says(tmp_path: Path) -> None:
    file = tmp_path / "infermeter.yaml"
    file.write_text("server: {name: chat}\n")
    command = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "infermeter", "check-config", str(file)]
    done = subprocess.run(command, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("topic", ["config", "findings", "metrics", "servers"])
def test_a_reference_is_printed_as_markdown(topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["reference", topic]) == 0
    assert capsys.readouterr().out.startswith("# ")
