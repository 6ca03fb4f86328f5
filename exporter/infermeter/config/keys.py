"""How a key of the configuration is written down: its default, what it means, its range, and whether a reload takes it over."""

from __future__ import annotations

from dataclasses import MISSING, field
from typing import Annotated, Any, Literal, TypeAlias

Duration = Annotated[float, "duration"]
"""Seconds; written as a Prometheus duration string."""

Reload: TypeAlias = Literal["once"] | bool
"""Whether a running sidecar takes a changed key over; `once`: only where it wasn't set before."""


def key(
    default: Any = MISSING,  # noqa: ANN401 - as dataclasses.field
    doc: str = "",
    *,
    factory: Any = MISSING,  # noqa: ANN401 - likewise
    secret: bool = False,
    reload: Reload | None = None,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    pattern: str | None = None,
) -> Any:  # noqa: ANN401 - likewise
    """A configuration key: `minimum` and `maximum` are inclusive, `above` is exclusive; `reload` None: as the section that it is in.

    What stands under a `secret` key is never shown, also where it is none.
    """
    about = {
        "doc": doc,
        "secret": secret,
        "reload": reload,
        "minimum": minimum,
        "above": above,
        "maximum": maximum,
        "pattern": pattern,
    }
    return field(default=default, default_factory=factory, metadata=about)
