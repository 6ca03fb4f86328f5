"""What the wheel lays beside the program, the manual page and completion, is what the program itself prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from infermeter import cli

SHARE = Path(__file__).parents[2] / "exporter" / "share"
MADE = {
    "man/man1/infermeter.1": ["reference", "man"],
    "bash-completion/completions/infermeter": ["completion", "bash"],
    "zsh/site-functions/_infermeter": ["completion", "zsh"],
    "fish/vendor_completions.d/infermeter.fish": ["completion", "fish"],
}


@pytest.mark.parametrize("path", MADE)
def test_it_is_up_to_date(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(MADE[path]) == 0
    assert (SHARE / path).read_text() == capsys.readouterr().out, "make docs"


def test_nothing_else_is_there() -> None:
    assert {str(path.relative_to(SHARE)) for path in SHARE.rglob("*") if path.is_file()} == set(MADE)
