"""What is made in steps, for whoever has nothing to do in between. Pure."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

Made = TypeVar("Made")


def at_once(steps: Generator[object, None, Made]) -> Made:
    """What the generator returns, whatever it yields before."""
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            made: Made = ended.value
            return made
