"""What the host's sources tell, in the ledger: every joule that is known, and none that isn't."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from infermeter.errors import Unavailable
from infermeter.host.rapl import RaplSource
from support.ledgers import at, ledger
from support.sysfs import rapl_zone

RANGE = 65_712_999_613


def test_wraps_are_unwrapped_and_what_is_unknown_is_left_out(tmp_path: Path) -> None:
    book = ledger(gpus=())
    source = RaplSource(rapl_zone(tmp_path, "intel-rapl:0", "package-0", RANGE - 5_000_000_000, RANGE))
    counter, known = RANGE - 5_000_000_000, 0.0
    for second in range(1, 101):
        watts = 100 + second % 7
        counter = 7_000_000 if second == 60 else (counter + watts * 1_000_000) % RANGE  # at 60 the counter begins anew
        rapl_zone(tmp_path, "intel-rapl:0", "package-0", counter, RANGE)
        known += watts if second > 1 and second not in (60, 61) else 0
        with suppress(Unavailable):
            book.add_host_samples([source.read(at(second))])
    assert book.snapshot(at(101)).host_energy_joules == {"rapl": pytest.approx(known)}
