from __future__ import annotations

import re

from infermeter.metrics import catalog
from infermeter.metrics.catalog import CATALOG, OPTIONAL, UNITS, Family


def test_every_family_that_is_defined_is_in_the_catalog_once() -> None:
    defined = [value for value in vars(catalog).values() if isinstance(value, Family)]
    assert len(CATALOG) == len(set(CATALOG))
    assert set(CATALOG) == set(defined)


def test_names_are_unique_and_of_lower_case_words() -> None:
    names = [family.name for family in CATALOG]
    assert len(names) == len(set(names))
    assert [name for name in names if not re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", name)] == []


def test_counters_alone_end_in_total() -> None:
    assert [family.name for family in CATALOG if family.name.endswith("_total") != (family.kind == "counter")] == []


def test_the_unit_is_the_last_word_of_the_name() -> None:
    assert catalog.GPU_POWER.unit == "watts"
    assert catalog.GPU_ENERGY.unit == "joules"
    assert catalog.COST.unit == ""
    assert {family.unit for family in CATALOG} == {"", *UNITS}


def test_help_and_absence_are_sentences() -> None:
    assert [family.name for family in CATALOG if not re.fullmatch(r"[A-Z1].*[^.]\.", family.help)] == []
    assert [family.name for family in CATALOG if family.absent.endswith(".")] == []


def test_histograms_and_labels_never_use_reserved_names() -> None:
    labels = {label.name for family in CATALOG for label in family.labels}
    assert labels.isdisjoint({"le", "quantile", "instance", "job", "pod", "namespace", "cluster", "server"})


def test_money_always_carries_its_currency() -> None:
    money = [family for family in CATALOG if re.search(r"cost|saving", family.name)]
    assert len(money) == 8
    assert all(catalog.CURRENCY in family.labels for family in money)


def test_gpu_energy_and_cost_families_are_never_optional() -> None:
    assert [family.name for family in OPTIONAL if re.search(r"gpu|energy|^cost|window_cost|emissions", family.name)] == []


def test_closed_sets_are_those_of_the_contract() -> None:
    assert catalog.STAGE.values == ("queue", "compute", "transfer", "serialisation", "other")
    assert catalog.USE.values == ("active", "idle", "unattributed")
    assert catalog.SLA_STATE.values == ("met", "missed", "insufficient")
    assert catalog.COMPONENT.values == ("instance", "amortisation", "power", "cooling", "host", "licence", "other")
    assert catalog.SIGNAL.values == ("duration", "ttft", "tpot")
    assert catalog.GPU_STATE.values == ("active", "held_idle", "idle", "unknown")
