"""Servers whose truth was planted: what must be told of each is told, nothing else is, and nothing unexpected was at any time."""

from __future__ import annotations

import pytest

from advice.planted import lived
from advice.servers import SERVERS


@pytest.mark.parametrize("server", SERVERS)
def test_of_a_server_exactly_what_is_true_is_told(server: str) -> None:
    planted = SERVERS[server]()
    outcome = lived(planted)
    assert outcome.told == planted.expected
    assert outcome.ever <= planted.expected | planted.meanwhile
    if "bound" in planted.says:
        assert outcome.said.bound == planted.says["bound"]
    if "reached" in planted.says:
        capacity = outcome.snapshot.models[0].capacity
        assert capacity is not None
        assert capacity.reached
        assert capacity.modelled_per_second is None
    if "lever" in planted.says:
        assert {finding.evidence["dominant_stage"] for finding in outcome.said.findings if finding.code == "sla_missed"} == {
            planted.says["lever"]
        }
    if "workload" in planted.says:
        assert set(outcome.said.workloads.values()) == {planted.says["workload"]}
