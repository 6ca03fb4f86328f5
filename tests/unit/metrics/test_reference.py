from __future__ import annotations

from pathlib import Path

from infermeter.metrics.catalog import CATALOG
from infermeter.metrics.derived import DERIVED
from infermeter.metrics.reference import metrics_markdown
from support.golden import assert_golden

DOCS = Path(__file__).parents[3] / "docs"


def test_the_reference_in_the_docs_is_generated_from_the_catalog() -> None:
    assert_golden(DOCS / "metrics.md", metrics_markdown())


def test_the_reference_names_every_family_and_derived_reading() -> None:
    reference = metrics_markdown()
    assert [name for name in [family.full_name for family in CATALOG] + list(DERIVED) if f"`{name}`" not in reference] == []
