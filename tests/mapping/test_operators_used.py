"""The set of operators is closed, and none is there for nothing: each of them is used by a mapping that is shipped."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields, is_dataclass
from typing import get_args

import pytest

from infermeter.mapping import rules, shipped_mappings
from infermeter.mapping.metrics import MetricRules
from infermeter.mapping.rules import Completion, Part, Role, Rule, ServerMapping, StageRule, operators

EVERYTHING = [operator for mapping in shipped_mappings().values() for operator in operators(mapping)]
OPERATORS = sorted(
    (found for found in vars(rules).values() if isinstance(found, type) and is_dataclass(found) and found is not MetricRules),
    key=lambda found: found.__name__,
)
OPTIONS = [(operator, field) for operator in OPERATORS for field in fields(operator) if field.default is not MISSING]


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.__name__)
def test_every_operator_is_used(operator: type) -> None:
    assert any(type(one) is operator for one in EVERYTHING)


@pytest.mark.parametrize(("operator", "option"), OPTIONS, ids=[f"{operator.__name__}.{field.name}" for operator, field in OPTIONS])
def test_every_option_of_an_operator_is_used(operator: type, option: Field[object]) -> None:
    assert any(getattr(one, option.name) != option.default for one in EVERYTHING if type(one) is operator)


def test_every_way_to_be_complete_and_every_role_is_used() -> None:
    assert {rule.complete_when for rule in EVERYTHING if isinstance(rule, Rule)} == set(get_args(Completion))
    assert {mapping.role for mapping in EVERYTHING if isinstance(mapping, ServerMapping)} == set(get_args(Role))


def test_every_form_of_a_stage_is_used() -> None:
    stages = [stage for stage in EVERYTHING if isinstance(stage, StageRule)]
    parts = [part for part in EVERYTHING if isinstance(part, Part)]
    assert any(not stage.parts for stage in stages)
    assert any(len(stage.parts) > 1 for stage in stages)
    assert any(len(part.sources) > 1 for part in parts)
    assert any(any(part.estimated) for part in parts)
