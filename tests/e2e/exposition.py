"""What a page of metrics says, anybody's."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families


def total(page: str, name: str, **labels: str) -> float:
    """The sum of the samples of that name which carry these labels; 0 if there is none.

    A counter without `_total` (Triton's) has one for the parser.
    """
    return sum(
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name in (name, f"{name}_total") and labels.items() <= sample.labels.items()
    )
