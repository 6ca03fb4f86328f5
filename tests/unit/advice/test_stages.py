from __future__ import annotations

from dataclasses import replace

import pytest

from infermeter.advice.stages import serialisation_bound, transfer_bound
from unit.advice.premised import ledger, model, one, premises, window


@pytest.mark.parametrize(("rule", "stage"), [(transfer_bound, "transfer"), (serialisation_bound, "serialisation")])
def test_a_stage_that_no_gpu_shortens_is_a_finding_above_its_share(rule, stage) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    much = model(window({"compute": 690.0, stage: 310.0}))
    finding = one(rule(premises(ledger(much))))
    assert (finding.code, finding.level, finding.model) == (f"{stage}_bound", "warning", "m")
    assert finding.evidence == {f"{stage}_ratio": 0.31, "window": "1h", "quality": "measured"}
    assert rule(premises(ledger(model(window({"compute": 700.0, stage: 300.0}))))) == ()
    assert rule(premises(ledger(model(window({"compute": 700.0}))))) == ()


def test_the_largest_part_and_how_the_stage_is_known_are_told() -> None:
    parts = {("transfer", "kv"): 40.0, ("transfer", "host_to_device"): 50.0, ("serialisation", "tokenise"): 90.0}
    much = replace(model(window({"compute": 500.0, "transfer": 500.0})), part_seconds=parts)
    finding = one(transfer_bound(premises(ledger(much, stage_quality={"transfer": "estimated"}))))
    assert finding.evidence["largest_part"] == "host_to_device"
    assert finding.evidence["quality"] == "estimated"
