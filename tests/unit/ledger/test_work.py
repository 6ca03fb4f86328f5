"""What the server estimates that a GPU did, in windows: only where it told of all of the time, and of more than nothing."""

from __future__ import annotations

import pytest

from infermeter.config import Server
from infermeter.model import ServerReading, ServerWindow
from support.ledgers import Inference, config, ledger
from support.server_readings import lived, reading

SERVER = Server(metrics_url="http://127.0.0.1:8000/metrics")


def told(until: int, flops: float | None = 1e12, moved: float | None = 2e9, *, first: int = 0) -> list[ServerReading]:
    """A reading every five seconds."""
    return [
        reading(time, {("chat", "ok"): 5.0}, since=None if time == first else time - 5, flops_per_gpu=flops, memory_bytes_per_gpu=moved)
        for time in range(first, until + 1, 5)
    ]


def window(readings: list[ServerReading], until: int = 400) -> ServerWindow:
    spans = [Inference(second + 0.25, second + 0.75) for second in range(until)]
    book = ledger(config(server=SERVER, windows=(("1m", 60.0),)), gpus=(), offline=False)
    return lived(book, spans, readings, until=until).windows[0]


def test_a_window_holds_what_was_told_of_its_time() -> None:
    one = window(told(400))
    assert one.flops_per_gpu == pytest.approx(12e12)
    assert one.memory_bytes_per_gpu == pytest.approx(24e9)


@pytest.mark.parametrize(("flops", "moved"), [(1e12, None), (None, 2e9), (1e12, 0.0), (0.0, 2e9)])
def test_what_is_not_told_or_nothing_is_absent(flops: float | None, moved: float | None) -> None:
    one = window(told(400, flops, moved))
    assert (one.flops_per_gpu is None, one.memory_bytes_per_gpu is None) == (not flops, not moved)


def test_a_window_of_which_a_part_was_not_told_has_no_sum() -> None:
    assert window([*told(290), *told(400, first=315)]).flops_per_gpu is None
    assert window(told(290) + [reading(time, since=time - 5) for time in range(295, 401, 5)]).flops_per_gpu is None


def test_what_an_outage_made_late_is_in_the_oldest_open_slot_and_its_window_is_not_whole() -> None:
    late = [*told(100), reading(300, {("chat", "ok"): 200.0}, since=100, flops_per_gpu=40e12, memory_bytes_per_gpu=1.0)]
    assert window([*late, *told(700, first=300)[1:]], 330).flops_per_gpu is None
    assert window([*late, *told(700, first=300)[1:]], 700).flops_per_gpu == pytest.approx(12e12)
