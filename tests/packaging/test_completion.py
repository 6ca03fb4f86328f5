"""`infermeter completion`: what the shells make of the scripts. bash is everywhere; zsh and fish run in `make test-packaging`."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infermeter import cli
from support.shells import PROMPT, terminal

CASES = [
    (["re"], {"replay", "reference"}),
    (["replay", "--fo"], {"--format"}),
    (["replay", "--format", ""], {"text", "json"}),
    (["replay", "--spans", "demo", "--fo"], {"--format"}),
    (["mappings", ""], {"test", "record"}),
    (["mappings", "record", "--d"], {"--duration"}),
    (["completion", ""], {"bash", "fish", "zsh"}),
    (["demo", "--scenario", "q"], {"queue-bound"}),
    (["--c"], {"--config"}),
    (["replay", "--timezone", ""], set()),
    (["fly", "--away", "x"], set()),
]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the three scripts, and two files to complete."""
    folder = tmp_path_factory.mktemp("completion")
    for shell in ("bash", "fish", "zsh"):
        (folder / shell).write_bytes(
            subprocess.run([sys.executable, "-m", "infermeter", "completion", shell], stdout=subprocess.PIPE, check=True).stdout
        )
    (folder / "spans of today.json").touch()
    (folder / "spans-folder").mkdir()
    return folder


@pytest.mark.parametrize(("words", "offered"), CASES, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_bash_offers_what_may_follow(words: list[str], offered: set[str], scripts: Path) -> None:
    text = f'. {scripts}/bash; COMP_WORDS=(infermeter "$@") COMP_CWORD=$#; _infermeter; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-uc", text, "bash", *words], stdout=subprocess.PIPE, text=True, check=True)
    assert set(done.stdout.split()) == offered


def test_bash_completes_what_is_typed(scripts: Path) -> None:
    with terminal(["bash", "--norc", "--noprofile", "-i"], scripts) as bash:
        bash.shows(PROMPT)
        bash.types(". ./bash\n")
        bash.shows(f"{PROMPT}$")
        bash.types("infermeter repl\t--spans spans\\ \t")
        assert "infermeter replay --spans spans\\ of\\ today.json " in bash.shows(r"today\.json ")


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_each_script_knows_every_command(shell: str, command: str, scripts: Path) -> None:
    assert re.search(rf"\b{command}\b", (scripts / shell).read_text())


@pytest.mark.packaging
@pytest.mark.parametrize(("words", "offered"), CASES[:-1], ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_fish_offers_what_may_follow(words: list[str], offered: set[str], scripts: Path) -> None:
    text = f"source {scripts}/fish; complete -C 'infermeter {' '.join(words)}'"
    done = subprocess.run(["fish", "--no-config", "-c", text], capture_output=True, text=True, check=True)
    assert ({line.partition("\t")[0] for line in done.stdout.splitlines()}, done.stderr) == (offered, "")


@pytest.mark.packaging
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("infermeter repl\t", "infermeter replay "),
        ("infermeter replay --form\tj\t", "infermeter replay --format json "),
        ("infermeter mappings rec\t--out\tspans\t", "infermeter mappings record --output spans-folder/"),
        ("infermeter replay --spans x spans\\ \t", "infermeter replay --spans x spans\\ of\\ today.json "),
        ("infermeter check-config spans\\ \t", "infermeter check-config spans\\ of\\ today.json "),
        ("infermeter --conf\t", "infermeter --config "),
    ],
)
@pytest.mark.parametrize("place", ["sourced", "autoloaded"])
def test_zsh_completes_what_is_typed(place: str, typed: str, completed: str, scripts: Path) -> None:
    functions = scripts / "functions"
    functions.mkdir(exist_ok=True)
    shutil.copy(scripts / "zsh", functions / "_infermeter")
    with terminal(["zsh", "-f", "-i"], scripts) as zsh:
        zsh.shows(PROMPT)
        loaded = "" if place == "sourced" else "fpath=(./functions $fpath); "
        zsh.types(f"{loaded}autoload -Uz compinit; compinit -D -u; {'. ./zsh; ' if place == 'sourced' else ''}print loa''ded\n")
        zsh.shows(f"loaded(.|\n)*{PROMPT}")
        zsh.types(typed)
        assert zsh.shows(re.escape(completed))


@pytest.mark.packaging
def test_shellcheck_has_nothing_to_say_about_the_script_for_bash(scripts: Path) -> None:
    subprocess.run(["shellcheck", "--shell=bash", scripts / "bash"], check=True)
