"""Whether two stretches were asked alike: hourly cost is held constant, so that more work alone makes each piece of it cheaper. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from infermeter.comparison.stretch import Column, Slots, Stretch
from infermeter.model import SlaTarget

ALIKE_RATIO: Final = 1.5
"""Up to so many times, and down to one in so many, loads can be compared."""

STEADY_RATIO: Final = 1.1
"""Within it a load is the same where nothing accounts for what it does, as for the share within the SLA."""

WORK_RATIO: Final = 1.25
"""Of tokens an inference: beyond, the inferences aren't the same work."""

MIX_RATIO: Final = 0.1
"""So much of all inferences may have moved from one model to another."""

LIMIT_BUSY_RATIO: Final = 0.9
LIMIT_QUEUE_RATIO: Final = 0.5


@dataclass(frozen=True, slots=True)
class Load:
    """What one model, or the server, was asked on both sides. None: not known.

    `tokens_ratio`: AFTER's tokens an inference over BEFORE's, of the direction that changed most. `limit_before`, `limit_after`: it was at
    its limit, so that it served what it could and not what was asked: busy for LIMIT_BUSY_RATIO of the time, and either the SLA was missed,
    or inferences spent more than LIMIT_QUEUE_RATIO of their time waiting.
    """

    before_per_second: float | None
    after_per_second: float | None
    limit_before: bool
    limit_after: bool
    tokens_ratio: float | None

    @property
    def ratio(self) -> float | None:
        """AFTER's rate over BEFORE's; None where one isn't known, or is 0."""
        if not self.before_per_second or not self.after_per_second:
            return None
        return self.after_per_second / self.before_per_second

    @property
    def is_limits(self) -> bool:
        """Whether a limit accounts for the change: whoever served less could not serve more."""
        ratio = self.ratio
        return ratio is not None and ((ratio > 1 and self.limit_before) or (ratio < 1 and self.limit_after))

    @property
    def is_alike(self) -> bool:
        """Whether what was asked can be compared."""
        ratio = self.ratio
        return ratio is not None and (1 / ALIKE_RATIO <= ratio <= ALIKE_RATIO or self.is_limits)

    @property
    def is_same_work(self) -> bool:
        """Whether an inference is the same work on both sides, as far as tokens tell."""
        return self.tokens_ratio is None or 1 / WORK_RATIO <= self.tokens_ratio <= WORK_RATIO


def load_of(model: str, before: Stretch, after: Stretch) -> Load:
    """The load of a model that both have."""
    return _load((before.slots[model], _at_limit(before, model)), (after.slots[model], _at_limit(after, model)))


def load_of_server(before: Stretch, after: Stretch) -> Load:
    """The load of the servers; one is at its limit if every one of its models that has any is."""
    return _load((before.whole, _all_at_limit(before)), (after.whole, _all_at_limit(after)))


def is_same_mix(before: Stretch, after: Stretch) -> bool:
    """Whether the models have the same shares of the inferences, within MIX_RATIO; True where a share isn't known."""
    mixes = [_mix(side) for side in (before, after)]
    if mixes[0] is None or mixes[1] is None:
        return True
    return all(abs(mixes[0].get(model, 0.0) - mixes[1].get(model, 0.0)) <= MIX_RATIO for model in mixes[0] | mixes[1])


def _mix(side: Stretch) -> dict[str, float] | None:
    counts = {model: slots.total("inferences") for model, slots in side.slots.items()}
    known = {model: count for model, count in counts.items() if count is not None}
    total = sum(known.values())
    return {model: count / total for model, count in known.items()} if len(known) == len(counts) and total else None


def _load(before: tuple[Slots, bool], after: tuple[Slots, bool]) -> Load:
    (slots_before, limit_before), (slots_after, limit_after) = before, after
    return Load(_rate(slots_before), _rate(slots_after), limit_before, limit_after, _tokens_ratio(slots_before, slots_after))


def _tokens_ratio(before: Slots, after: Slots) -> float | None:
    """Of the direction that changed most."""
    directions: tuple[Column, ...] = ("tokens_input", "tokens_output")
    each = [(_each(before, direction), _each(after, direction)) for direction in directions]
    ratios = [new / old for old, new in each if old and new]
    return max(ratios, key=lambda ratio: abs(math.log(ratio)), default=None)


def _rate(slots: Slots) -> float | None:
    inferences, seconds = slots.total("inferences"), slots.total("seconds")
    return None if inferences is None or not seconds else inferences / seconds


def _each(slots: Slots, column: Column) -> float | None:
    amount, inferences = slots.total(column), slots.total("inferences")
    return None if amount is None or not inferences else amount / inferences


def _all_at_limit(side: Stretch) -> bool:
    return all(_at_limit(side, model) for model, slots in side.slots.items() if slots.has_traffic)


def _at_limit(side: Stretch, model: str) -> bool:
    if side.busy_ratio is None or side.busy_ratio < LIMIT_BUSY_RATIO:
        return False
    return _misses(side.slots[model], side.slas.get(model)) or side.queue_share_ratio.get(model, 0.0) >= LIMIT_QUEUE_RATIO


def _misses(slots: Slots, sla: SlaTarget | None) -> bool:
    judged, within = slots.total("judged"), slots.total("within")
    return sla is not None and judged is not None and within is not None and within < sla.quantile_ratio * judged
