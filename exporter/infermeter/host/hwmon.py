"""Power of the host from hwmon: what a board or a whole machine draws, less what the GPU's own readings tell.

These meters have the GPUs in them. That is right where nothing else reads the GPUs; where the same board's GPU rail is the GPU source, it
is taken off; where a driver tells the GPUs' power, that can't be taken off (read at other instants, at another place) and is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from infermeter.errors import Unavailable
from infermeter.model import HostSample
from infermeter.parsing.rules import beside_hwmon
from infermeter.rails import Rail, board_of, number_in, rails_below

_ACPI_METER: Final = "power_meter"


class HwmonSource:
    """The board's inputs (Jetson), or the machine's ACPI power meter."""

    name = "hwmon"

    def __init__(self, root: Path, *, gpu_source: str) -> None:
        """`root` is where the file system begins; `gpu_source` the name of what reads the GPUs, `none` if nothing does."""
        self._root = root
        self._gpu_source = gpu_source

    def read(self, now_ns: int) -> HostSample:
        """What the host draws now. Raises: Unavailable, also when the GPUs would be counted twice."""
        if problem := beside_hwmon(self._gpu_source):
            raise Unavailable(problem)
        rails = rails_below(self._root)
        watts = self._board(rails)
        if watts is None:
            watts = _machine(rails)
        if watts < 0:
            raise Unavailable("hwmon: the rails tell less than 0 W")
        return HostSample(now_ns, power_watts=watts, source=self.name)

    def _board(self, rails: Sequence[Rail]) -> float | None:
        """The sum of the inputs of a known board; None: it is none."""
        known = board_of(rails)
        if known is None:
            return None
        board, by_label = known
        watts = sum(_watts(by_label[label]) for label in board.inputs)
        return watts - _watts(by_label[board.gpu]) if self._gpu_source == self.name else watts


def _machine(rails: Sequence[Rail]) -> float:
    """What the one ACPI power meter tells."""
    meters = [rail for rail in rails if rail.chip == _ACPI_METER and not _is_battery(rail)]
    if not meters:
        raise Unavailable("hwmon: neither the rails of a known board nor an ACPI power meter")
    if len(meters) > 1:
        raise Unavailable(f"hwmon: {len(meters)} ACPI power meters, and nothing says which of them is the machine")
    return _watts(meters[0])


def _is_battery(rail: Rail) -> bool:
    """Source: Linux kernel documentation, hwmon/acpi_power_meter, `power[1-*]_is_battery`."""
    try:
        return any(number_in(file.with_name(f"{file.name.partition('_')[0]}_is_battery")) for file in rail.factors)
    except Unavailable:
        return False


def _watts(rail: Rail) -> float:
    watts = rail.watts()
    if watts is None:
        raise Unavailable(f"hwmon: {rail.chip} tells energy, but no power")
    return watts
