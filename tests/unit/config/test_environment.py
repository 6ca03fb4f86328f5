"""Where the configuration comes from: the option, the environment, else the defaults."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from infermeter.commands.configuration import BYTES_LIMIT, configured, own_mappings
from infermeter.config import Config
from infermeter.errors import ConfigError, ConfigErrors


def written(folder: Path, text: str) -> str:
    path = folder / "infermeter.yaml"
    path.write_text(text)
    return str(path)


def test_without_a_file_the_defaults_hold_and_it_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert configured(None, {}) == Config()
    assert "no prices and no SLA" in capsys.readouterr().err


def test_the_option_wins_over_the_environment(tmp_path: Path) -> None:
    path = written(tmp_path, "server: {name: chat}")
    assert configured(path, {"INFERMETER_CONFIG": "/nowhere"}).server.name == "chat"
    assert configured(None, {"INFERMETER_CONFIG": path}).server.name == "chat"


def test_the_environment_names_a_server_that_the_file_leaves_unnamed(tmp_path: Path) -> None:
    environ = {"INFERMETER_SERVER_NAME": "pod-7"}
    assert configured(None, environ).server.name == "pod-7"
    assert configured(written(tmp_path, "server: {name: chat}"), environ).server.name == "chat"


def test_the_environment_sets_the_log_level(tmp_path: Path) -> None:
    assert configured(written(tmp_path, "log: {level: error}"), {"INFERMETER_LOG_LEVEL": "DEBUG"}).log.level == "debug"
    assert logging.getLogger("infermeter").level == logging.DEBUG


def test_a_wrong_environment_is_told_by_the_variables() -> None:
    with pytest.raises(ConfigErrors) as caught:
        configured(None, {"INFERMETER_SERVER_NAME": "two words", "INFERMETER_LOG_LEVEL": "loud"})
    assert [problem.where for problem in caught.value.problems] == ["INFERMETER_SERVER_NAME", "INFERMETER_LOG_LEVEL"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a: \xff", "is no UTF-8 text: byte 3"),
        (b"#" * (BYTES_LIMIT + 1), f"longer than {BYTES_LIMIT} bytes"),
    ],
)
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "infermeter.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        configured(str(path), {})
    assert (caught.value.where, caught.value.problem) == (str(path), problem)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read: Is a directory"):
        configured(str(tmp_path), {})


def test_own_mappings_are_the_yaml_files_of_their_folder(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("name: b")
    (tmp_path / "a.yml").write_text("name: a")
    (tmp_path / "notes.txt").write_text("no mapping")
    texts = {str(tmp_path / "a.yml"): "name: a", str(tmp_path / "b.yaml"): "name: b"}
    assert list(own_mappings(Config(mappings_dir=str(tmp_path))).items()) == list(texts.items())
    assert own_mappings(Config()) == {}


def test_a_folder_of_mappings_that_is_missing_is_refused() -> None:
    with pytest.raises(ConfigError, match="mappings_dir: no such folder: /nowhere"):
        own_mappings(Config(mappings_dir="/nowhere"))


def test_a_folder_of_mappings_without_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "acme.yaml~").write_text("name: a")
    with pytest.raises(ConfigError, match=rf"^mappings_dir: no mapping \(\*.yaml or \*.yml\) in {tmp_path}$"):
        own_mappings(Config(mappings_dir=str(tmp_path)))
