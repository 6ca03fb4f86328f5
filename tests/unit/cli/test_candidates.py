"""`advice.candidates` must name devices, shipped or one's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from infermeter import cli


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ("[l4, a100-sxm4-40]", "advice.candidates[1]: no device is called `a100-sxm4-40`; did you mean a100-sxm4-40gb?"),
        ("[zzz]", "advice.candidates[0]: no device is called `zzz`; `infermeter catalogue` lists what is"),
    ],
)
def test_an_unknown_candidate_is_one_line_and_wrong_use(
    names: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "infermeter.yaml"
    path.write_text(f"advice: {{candidates: {names}}}")
    assert cli.main(["check-config", str(path)]) == 2
    assert capsys.readouterr().err.splitlines() == [problem]


def test_own_devices_may_be_candidates(tmp_path: Path) -> None:
    (tmp_path / "devices.yaml").write_text(
        "- {name: acme-1, source: us, memory_bytes: 32e9, memory_bandwidth_bytes_per_second: 1e12, "
        "dense_flops: {bf16: 200e12}, precisions: [bf16]}"
    )
    path = tmp_path / "infermeter.yaml"
    path.write_text(f"advice: {{candidates: [acme-1, t4], devices_file: {tmp_path / 'devices.yaml'}}}")
    assert cli.main(["check-config", str(path)]) == 0
