"""A full server of whose inferences one in a hundred leaves a span: nothing may make it look idle."""

from __future__ import annotations

import numpy as np
import pytest

from infermeter.config import Server, Sla
from infermeter.ledger import Ledger
from infermeter.model import LedgerSnapshot
from support.ledgers import GPU, at, config, ledger, of_model
from support.simulated_lives import Device, Spans, counted, device, live
from support.simulated_servers import Served, continuous_batching

SECONDS = 900
IDLE_WATTS = 80.0


def full(seed: int = 1) -> Served:
    """Half as much again is asked for as the server can do: its batch is never empty."""
    rng = np.random.default_rng(seed)
    arrived = np.cumsum(rng.exponential(1 / 6.0, 6 * SECONDS))
    tokens = np.maximum(1.0, rng.geometric(1 / 100, len(arrived)).astype(float))
    return continuous_batching(arrived, tokens, step_seconds=0.02, per_sequence_seconds=0.0004, most=16)


@pytest.fixture(scope="module")
def served() -> Served:
    return full()


@pytest.fixture(scope="module")
def gpu(served: Served) -> Device:
    return device(served, seconds=SECONDS, idle_watts=IDLE_WATTS, step_watts=220.0, per_sequence_watts=4.0)


def book_of(*, scraped: bool, gpus: tuple[str, ...] = (GPU,)) -> Ledger:
    """Where the server is scraped, nobody has said that spans are sampled; else it is known."""
    server = Server(metrics_url="http://127.0.0.1:8000/metrics" if scraped else None, max_batch=16)
    return ledger(config(sla=Sla(0.99, 60.0), server=server, baseline_watts=IDLE_WATTS), gpus=gpus, sampled=not scraped, offline=False)


def lived(book: Ledger, served: Served, *, gpu: Device | None, utilisation: bool = True, scraped: bool) -> LedgerSnapshot:
    """A life in which every hundredth inference leaves a span."""
    hundredth = np.arange(0, len(served.arrived), 100)
    told = Served(*(getattr(served, column)[hundredth] for column in ("arrived", "began", "ended", "steps", "first")))
    live(
        book,
        Spans(told, ["m"] * len(hundredth)),
        told.ended,
        seconds=SECONDS,
        step_seconds=1,
        samples=[] if gpu is None else gpu.samples(utilisation=utilisation),
        readings=counted(served, seconds=SECONDS) if scraped else (),
    )
    return book.snapshot(at(SECONDS))


def idle_share(snapshot: LedgerSnapshot) -> float:
    by_use = {use: sum(facts.cost[use] for facts in snapshot.models) for use in ("active", "idle", "unattributed")}
    assert sum(by_use.values()) > 500
    return by_use["idle"] / sum(by_use.values())


@pytest.mark.parametrize("scraped", [True, False], ids=["with the server's counters", "without"])
def test_one_span_in_a_hundred_does_not_make_a_full_gpu_look_idle(served: Served, gpu: Device, *, scraped: bool) -> None:
    snapshot = lived(book_of(scraped=scraped), served, gpu=gpu, scraped=scraped)
    assert gpu.busy.mean() > 0.99
    assert snapshot.thin
    assert idle_share(snapshot) < 0.01
    assert snapshot.windows[0].waterfall_cost["idle"] < 0.01 * snapshot.windows[0].cost
    assert snapshot.gpus[0].state_seconds["idle"] + snapshot.gpus[0].state_seconds["held_idle"] < 0.01 * SECONDS
    assert sum(facts.energy_joules["idle"] for facts in snapshot.models) < 0.01 * gpu.joules.sum()


def test_where_the_server_counts_what_is_active_is_the_models_and_its_rate_is_the_servers(served: Served, gpu: Device) -> None:
    book = book_of(scraped=True)
    lived(book, served, gpu=gpu, scraped=True)
    book.finish(at(SECONDS))
    snapshot = book.snapshot(at(SECONDS))
    facts = of_model(snapshot, "m")
    assert snapshot.totals is not None
    assert snapshot.totals["m"]["ok"] == pytest.approx((served.ended <= SECONDS).sum(), rel=0.01)
    assert snapshot.coverage_ratio == pytest.approx(0.01, rel=0.3)
    assert facts.energy_joules["active"] == pytest.approx(gpu.joules.sum(), rel=0.02)
    booked = sum(sum(one.energy_joules.values()) for one in snapshot.models)
    assert booked == pytest.approx(gpu.joules.sum(), rel=1e-9)
    assert facts.capacity is not None
    assert facts.capacity.modelled_per_second is None, "a hundredth of the spans tells no batch"


@pytest.mark.parametrize("gpus", [(GPU,), ()], ids=["a GPU without utilisation", "no GPU"])
def test_without_utilisation_the_servers_own_gauge_keeps_it_from_looking_idle(served: Served, gpu: Device, gpus: tuple[str, ...]) -> None:
    snapshot = lived(book_of(scraped=True, gpus=gpus), served, gpu=gpu if gpus else None, utilisation=False, scraped=True)
    assert idle_share(snapshot) < 0.02


@pytest.mark.parametrize("gpus", [(GPU,), ()], ids=["a GPU without utilisation", "no GPU"])
def test_where_nothing_but_a_sample_speaks_nothing_is_idle(served: Served, gpu: Device, gpus: tuple[str, ...]) -> None:
    snapshot = lived(book_of(scraped=False, gpus=gpus), served, gpu=gpu if gpus else None, utilisation=False, scraped=False)
    assert idle_share(snapshot) == 0
