"""The simulated servers, each with the truth that it was made by, and with what must therefore be told of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from advice.planted import HOUR, MINUTE, RENT, Card, Codes, Planted, Work, configured, lived
from infermeter.config import Advice, Cost, Rent, Server, Sla
from infermeter.model import ServerReading, ServerTime
from support.ledgers import at
from support.simulated_servers import Floats, Served, arrivals, continuous_batching, one_at_a_time

SECONDS: Final = 75 * MINUTE
SLA: Final = Sla(0.99, 0.5)
TOKENS: Final = Sla(0.99, None, None, 0.05)
METRICS: Final = "http://127.0.0.1:8000/metrics"
BARE: Final = Card(memory_gib=0.4)
DECODES: Final = Card(dram=0.65, tensor=0.12)
"""An LLM that decodes: of 80 % of its bandwidth that can be had, four fifths are used."""


def of(*codes: str, model: str | None = None) -> Codes:
    return frozenset((code, model) for code in codes)


def poisson(per_second: float, *, seconds: int = SECONDS, since: int = 0, seed: int = 1) -> Floats:
    rng = np.random.default_rng(seed)
    return since + np.sort(rng.uniform(0.0, seconds - since, rng.poisson(per_second * (seconds - since))))


def single(arrived: Floats, *, service: float = 0.05, model: str = "m", **stages: float) -> Work:
    """Computes one at a time."""
    return Work(one_at_a_time(arrived, np.full(len(arrived), service)), model, **stages)


def alone(arrived: Floats, *, compute: float, wait: float = 0.0, **stages: float) -> Work:
    """Inferences that don't hold each other up."""
    began = arrived + wait
    return Work(Served(arrived, began, began + compute, np.ones_like(arrived), began + compute), **stages)


def clients(count: int, *, compute: float, at_once: int = 1, seconds: int = SECONDS) -> Work:
    """So many clients, each of which asks anew as soon as it is answered; `at_once` are computed together."""
    turns = count / at_once
    rounds = np.arange(int(seconds / compute)) * compute
    ended = np.repeat(rounds + compute, at_once)
    arrived = np.concatenate((np.zeros(count), ended))[: len(ended)]
    assert turns == int(turns)
    return Work(Served(arrived, ended - compute, ended, np.ones_like(ended), ended))


def text(per_second: float, *, swing: float = 0.3, most: int = 64, seconds: int = SECONDS, seed: int = 3) -> Work:
    """An LLM with continuous batching whose steps cost the same for nearly any batch: bandwidth binds."""
    rng = np.random.default_rng(seed)
    came = arrivals(
        lambda time: per_second * (1 + swing * math.sin(2 * math.pi * time / HOUR)),
        most_per_second=per_second * (1 + swing),
        seconds=seconds,
        rng=rng,
    )
    lengths = np.maximum(1.0, rng.geometric(1 / 150, len(came)).astype(float))
    return Work(continuous_batching(came, lengths, step_seconds=0.02, per_sequence_seconds=0.0004, most=most), tokens=True)


def scraped(
    work: Work,
    *,
    seconds: int = SECONDS,
    every: int = 10,
    histogram_edge: float | None = None,
    kv: float | None = None,
    batch: float | None = None,
) -> list[ServerReading]:
    """What the server itself counts, every ten seconds."""
    times, ended = range(0, seconds + 1, every), np.sort(work.arriving)
    total = np.searchsorted(ended, times, side="right")
    order = np.argsort(work.arriving)
    within = np.cumsum((work.arriving - work.served.arrived)[order] <= (histogram_edge or 0.0))
    readings = []
    for number, time in enumerate(times):
        first, last = int(total[number - 1]) if number else 0, int(total[number])
        more = {math.inf: float(last - first)}
        if histogram_edge is not None:
            fast = within[:last][-1:].sum() - within[:first][-1:].sum()
            more[histogram_edge] = float(fast)
        readings.append(
            ServerReading(
                at(time),
                at(time - every) if number else None,
                {("m", "ok"): float(last - first)},
                batch_size=batch,
                kv_cache_used_ratio=kv,
                times={"m": {"duration": ServerTime(0.0, more)}} if histogram_edge is not None else {},
            )
        )
    return readings


def estimated(work: Work, *, bytes_per_second: float, flops_per_second: float) -> list[ServerReading]:
    """A server that estimates what its GPU did; every ten seconds."""
    return [
        replace(told, flops_per_gpu=10 * flops_per_second, memory_bytes_per_gpu=10 * bytes_per_second) if told.since_ns else told
        for told in scraped(work)
    ]


def healthy_latency() -> Planted:
    """Half busy at all times, nobody waits for long."""
    return Planted(work=[single(poisson(10.0))], config=configured(sla=SLA), says={"workload": "latency"})


def healthy_batch() -> Planted:
    """Sixteen at a time, always; no SLA. Arithmetic binds, as it should."""
    return Planted(
        work=[clients(16, compute=2.0, at_once=16)],
        cards=[Card(dram=0.2, tensor=0.7)],
        config=configured(),
        says={"workload": "batch", "bound": "compute"},
    )


def healthy_llm_without_counters() -> Planted:
    return Planted(
        work=[text(2.8)], config=configured(sla=TOKENS, server=Server(precision="bf16", max_batch=64)), says={"bound": "unknown"}
    )


def idle() -> Planted:
    return Planted(of("idle_gpu"), cards=[BARE], config=configured(sla=SLA))


def held_idle() -> Planted:
    return Planted(of("held_idle_gpu"), config=configured(sla=SLA))


def held_idle_after_work() -> Planted:
    return Planted(of("held_idle_gpu"), work=[single(poisson(10.0, seconds=30 * MINUTE))], config=configured(sla=SLA))


def one_of_two_idle() -> Planted:
    return Planted(
        of("idle_gpu"),
        work=[single(poisson(10.0))],
        cards=[Card("GPU-0"), replace(BARE, uuid="GPU-1", busy=0.0)],
        config=configured(sla=SLA),
    )


def one_of_two_held_idle() -> Planted:
    return Planted(
        of("held_idle_gpu"),
        work=[single(poisson(10.0))],
        cards=[Card("GPU-0"), Card("GPU-1", busy=0.0)],
        config=configured(sla=SLA),
    )


def one_bare_one_held() -> Planted:
    return Planted(of("idle_gpu", "held_idle_gpu"), cards=[BARE, Card("GPU-1")], config=configured())


def over_provisioned_one_at_a_time() -> Planted:
    return Planted(of("over_provisioned"), work=[single(poisson(2.0))], config=configured(sla=SLA))


def over_provisioned_by_what_was_reached() -> Planted:
    """More than it could do was asked of it once, which showed what it can; eight days after that hardly anybody asks."""
    settings = configured(sla=Sla(0.99, 0.3, 10.0), server=Server(max_batch=1))
    settings = replace(settings, ledger=replace(settings.ledger, capacity_horizon=30 * 86_400.0))
    steady = [poisson(5.0, seconds=HOUR), poisson(9.0, since=HOUR, seconds=2 * HOUR, seed=2)]
    work = single(np.concatenate(steady), service=0.05)
    over = clients(20, compute=0.05, seconds=HOUR).served
    full = Work(Served(*(getattr(over, name) + 2 * HOUR for name in ("arrived", "began", "ended")), over.steps, over.first + 2 * HOUR))
    before = lived(Planted(work=[work, full], cards=[], config=settings, seconds=3 * HOUR))
    since = 8 * 86_400
    return Planted(
        of("over_provisioned"),
        work=[single(poisson(0.5, since=since, seconds=since + SECONDS))],
        cards=[],
        config=settings,
        since=since,
        remembered=before.remembered,
        says={"reached": True},
    )


def health_probe() -> Planted:
    """A model on a GPU that only a probe asks, every ten seconds."""
    seconds = 3 * HOUR
    return Planted(of("over_provisioned"), work=[single(np.arange(3.0, seconds, 10.0))], config=configured(sla=SLA), seconds=seconds)


def queue_bound_one_at_a_time() -> Planted:
    """It could batch eight, computes one at a time, and so has a queue on a GPU that looks full."""
    return Planted(
        of("queue_bound", model="m"),
        work=[single(poisson(17.0))],
        config=configured(sla=Sla(0.99, 5.0), server=Server(max_batch=8)),
        says={"bound": "queue"},
    )


def queue_bound_by_delay() -> Planted:
    """Each waits 200 ms for others that seldom come."""
    return Planted(of("queue_bound", model="m"), work=[alone(poisson(8.0), compute=0.02, wait=0.2)], config=configured(sla=SLA))


def full_at_its_batch() -> Planted:
    """Waits at the largest batch that there is: no room for a larger one, and within the SLA."""
    return Planted(
        work=[clients(40, compute=1.0, at_once=8)], config=configured(sla=Sla(0.99, 10.0), server=Server(max_batch=8, workload="batch"))
    )


def batch_too_large() -> Planted:
    """Steps grow with every sequence, nobody waits, and what is late is late by the batch."""
    rng = np.random.default_rng(5)
    came = arrivals(lambda time: 2.3 * (1 + 0.45 * math.sin(2 * math.pi * time / HOUR)), most_per_second=3.4, seconds=SECONDS, rng=rng)
    lengths = np.maximum(1.0, rng.geometric(1 / 150, len(came)).astype(float))
    served = continuous_batching(came, lengths, step_seconds=0.004, per_sequence_seconds=0.002, most=256)
    return Planted(
        of("sla_missed", "batch_too_large", model="m"), work=[Work(served, tokens=True)], config=configured(sla=Sla(0.99, None, None, 0.03))
    )


def memory_bound() -> Planted:
    return Planted(
        of("memory_bound_try_lower_precision"),
        work=[text(2.8)],
        cards=[DECODES],
        config=configured(sla=TOKENS, server=Server(precision="bf16", max_batch=64)),
        says={"bound": "memory"},
    )


def memory_bound_of_unknown_precision() -> Planted:
    return Planted(work=[text(2.8)], cards=[DECODES], config=configured(sla=TOKENS), says={"bound": "memory"})


def memory_bound_by_estimates() -> Planted:
    work = text(2.8)
    return Planted(
        of("memory_bound_try_lower_precision"),
        work=[work],
        readings=estimated(work, bytes_per_second=2.2e12, flops_per_second=5e13),
        config=configured(sla=TOKENS, server=Server(precision="bf16", metrics_url=METRICS, metrics_interval=10.0)),
        says={"bound": "memory"},
    )


def compute_bound() -> Planted:
    return Planted(
        of("compute_bound_no_latency_gain_from_quantisation"),
        work=[single(poisson(10.0))],
        cards=[Card(dram=0.25, tensor=0.65)],
        config=configured(sla=SLA, server=Server(precision="bf16")),
        says={"bound": "compute"},
    )


def launch_bound() -> Planted:
    return Planted(
        work=[clients(1, compute=0.02)],
        cards=[Card(dram=0.1, tensor=0.05)],
        config=configured(sla=Sla(0.99, 2.0)),
        says={"bound": "launch"},
    )


def transfer_bound() -> Planted:
    """KV blocks move between workers."""
    return Planted(of("transfer_bound", model="m"), work=[single(poisson(10.0), transfer=0.06)], config=configured(sla=SLA))


def serialisation_bound() -> Planted:
    return Planted(of("serialisation_bound", model="m"), work=[single(poisson(10.0), serialisation=0.06)], config=configured(sla=SLA))


def missed_and_full() -> Planted:
    return Planted(of("sla_missed", "scale_out", model="m"), work=[clients(40, compute=0.05)], config=configured(sla=SLA))


def missed_with_a_full_cache() -> Planted:
    """Half of the limit is never reached, since the KV cache is full before: more replicas, not more batch."""
    work = clients(40, compute=1.0, at_once=8)
    return Planted(
        of("sla_missed", "scale_out", model="m"),
        work=[work],
        readings=scraped(work, kv=0.98),
        config=configured(sla=Sla(0.99, 2.0), server=Server(max_batch=64, metrics_url=METRICS, metrics_interval=10.0)),
    )


def missed_at_15_per_cent() -> Planted:
    """The article's tier: each is too slow by itself."""
    return Planted(of("sla_missed", "scale_out_useless", model="m"), work=[single(poisson(0.25), service=0.6)], config=configured(sla=SLA))


def chat(rate: Callable[[float], float], *, seconds_a_token: float = 0.05, most: int = 16, prefill: float = 0.1) -> Work:
    """Answers of a hundred tokens on the mean, so many at once."""
    rng = np.random.default_rng(7)
    came = arrivals(rate, most_per_second=6.0, seconds=SECONDS, rng=rng)
    lengths = 50.0 + rng.integers(0, 100, len(came))
    return Work(
        continuous_batching(came, lengths, step_seconds=seconds_a_token, per_sequence_seconds=0.0, most=most, prefill_seconds=prefill),
        tokens=True,
    )


def first_tokens_late_by_waiting() -> Planted:
    """An answer takes five seconds to compute, and most wait for less: still it is the wait alone by which first tokens are late."""
    return Planted(
        of("sla_missed", "scale_out", model="m"),
        work=[chat(lambda time: 2.3 if time % 1200 < 200 else 1.2)],
        cards=[Card(busy=0.95)],
        config=configured(sla=Sla(0.99, None, 1.0, 0.2)),
        says={"lever": "queue", "bound": "unknown"},
    )


def first_tokens_late_by_prefill() -> Planted:
    """Nobody waits for a place, but long prompts take long to read."""
    return Planted(
        of("sla_missed", model="m"),
        work=[chat(lambda _: 0.3, prefill=1.2)],
        cards=[Card(busy=0.5)],
        config=configured(sla=Sla(0.99, None, 1.0, 0.5)),
        says={"lever": "compute"},
    )


def further_tokens_late_behind_a_queue() -> Planted:
    """Nearly all of the time is spent waiting, which nobody minds: batches are slow, and no replica makes them faster."""
    return Planted(
        of("sla_missed", model="m"),
        work=[chat(lambda _: 2.9, seconds_a_token=0.06, prefill=0.0)],
        cards=[Card(busy=0.95)],
        config=configured(sla=Sla(0.99, None, None, 0.05)),
        says={"lever": "compute"},
    )


def missed_by_bursts() -> Planted:
    """Once a minute 16 ask at once, and the last of them are late: most inferences hardly wait, those that are late do nothing else.

    The GPU is a quarter busy, and still more of it would help.
    """
    bursts = np.repeat(np.arange(5.0, SECONDS, 60.0), 16)
    asked = np.sort(np.concatenate((bursts, poisson(4.0))))
    return Planted(of("sla_missed", "queue_bound", model="m"), work=[single(asked)], config=configured(sla=SLA))


def missed_by_errors() -> Planted:
    work = single(poisson(10.0))
    failed = np.random.default_rng(2).uniform(size=len(work)) < 0.1
    return Planted(of("sla_missed", model="m"), work=[replace(work, failed=failed)], config=configured(sla=SLA))


def failing_altogether() -> Planted:
    work = single(poisson(10.0))
    return Planted(of("sla_missed", model="m"), work=[replace(work, failed=np.ones(len(work), np.bool_))], config=configured(sla=SLA))


def sampled() -> Planted:
    """A full server of which one in a hundred leaves a span."""
    work = text(6.0, swing=0.0, most=16)
    hundredth = np.arange(len(work)) % 100 == 0
    return Planted(
        of("low_coverage"),
        work=[work.only(hundredth)],
        cards=[Card(busy=1.0)],
        readings=scraped(work),
        config=configured(sla=Sla(0.99, 3600.0), server=Server(metrics_url=METRICS, metrics_interval=10.0, max_batch=16)),
        sampled=True,
    )


def sampled_and_not_counted() -> Planted:
    work = text(6.0, swing=0.0, most=16)
    return Planted(
        work=[work.only(np.arange(len(work)) % 100 == 0)], cards=[Card(busy=1.0)], config=configured(sla=Sla(0.99, 3600.0)), sampled=True
    )


def biased() -> Planted:
    """Only what took long leaves a span."""
    work = single(poisson(16.0))
    slow = work.arriving - work.served.arrived > 0.25
    return Planted(
        of("low_coverage") | of("coverage_biased", model="m"),
        work=[work.only(slow)],
        cards=[Card(busy=0.8)],
        readings=scraped(work, histogram_edge=0.5),
        config=configured(sla=Sla(0.99, 0.5), server=Server(metrics_url=METRICS, metrics_interval=10.0)),
    )


def another_server_behind_its_metrics() -> Planted:
    """Its gauge says that eight run; by its spans it is one half."""
    work = single(poisson(10.0))
    rng = np.random.default_rng(4)
    running = [replace(told, inferences={}, running=float(rng.poisson(8.0))) for told in scraped(work)]
    return Planted(
        of("telemetry_inconsistent"),
        work=[work],
        readings=running,
        config=configured(sla=SLA, server=Server(metrics_url=METRICS, metrics_interval=10.0)),
    )


def unseen() -> Planted:
    """A working GPU, and no span at all: tracing is broken."""
    return Planted(cards=[Card(busy=0.9)], config=configured(sla=SLA))


def mostly_unseen() -> Planted:
    """Few of the requests leave a span, and nothing counts the others."""
    return Planted(work=[single(poisson(1.0))], cards=[Card(busy=0.7)], config=configured(sla=SLA))


def stale() -> Planted:
    """Readings stop after ten minutes."""
    return Planted(cards=[Card(until=600.0)], config=configured(sla=SLA))


def stale_while_found() -> Planted:
    return Planted(cards=[Card(until=40.0 * MINUTE)], config=configured(sla=SLA), meanwhile=of("held_idle_gpu"))


def without_utilisation() -> Planted:
    return Planted(cards=[Card(utilisation=False)], config=configured(sla=SLA))


def works_without_utilisation() -> Planted:
    return Planted(work=[single(poisson(10.0))], cards=[Card(utilisation=False)], config=configured(sla=SLA))


def without_gpu() -> Planted:
    return Planted(work=[single(poisson(10.0))], cards=[], config=configured(sla=SLA))


def unpriced() -> Planted:
    return Planted(of("price_missing"), work=[single(poisson(10.0))], config=configured(sla=SLA, cost=None))


def unpriced_and_idle() -> Planted:
    return Planted(of("price_missing", "held_idle_gpu"), config=configured(sla=SLA, cost=None))


def rented_by_gpus_unknown() -> Planted:
    cost = Cost(currency="USD", rent=Rent(per_hour=4.0, per="gpu"))
    return Planted(of("price_missing"), work=[single(poisson(10.0))], cards=[], config=configured(sla=SLA, cost=cost))


def price_stale() -> Planted:
    return Planted(of("price_stale"), work=[single(poisson(10.0))], config=configured(sla=SLA), price_age_days=100.0)


def edge() -> Planted:
    return Planted(
        work=[single(poisson(10.0))],
        cards=[Card(product="NVIDIA Jetson AGX Orin Developer Kit", memory_gib=12.0)],
        config=configured(sla=SLA, cost=RENT),
        says={"workload": "edge"},
    )


def hourly_burst() -> Planted:
    """Two minutes of every hour are busy, and the capacity is needed for them."""
    seconds = 3 * HOUR
    bursts = [poisson(11.0, since=hour * HOUR + 1800, seconds=hour * HOUR + 1920, seed=hour) for hour in range(3)]
    arrived = np.sort(np.concatenate([poisson(0.2, seconds=seconds), *bursts]))
    return Planted(work=[single(arrived)], config=configured(sla=SLA), seconds=seconds, meanwhile=of("over_provisioned"))


def two_models_of_which_one_idles() -> Planted:
    """The GPU works for the other: nothing of it is idle."""
    return Planted(
        work=[single(poisson(10.0)), single(poisson(1.0, seconds=20 * MINUTE, seed=9), model="b", service=0.01)],
        config=configured(sla=SLA),
    )


def loading() -> Planted:
    """Forty minutes of weights that come over a slow network, and nobody asks meanwhile: no idleness."""
    return Planted(
        cards=[Card(memory_gib=0.4, loaded_gib=1.5, loading_seconds=40 * MINUTE)],
        config=configured(sla=SLA),
        seconds=50 * MINUTE,
    )


def loaded_and_not_asked() -> Planted:
    return Planted(
        of("held_idle_gpu"), cards=[Card(memory_gib=0.4, loaded_gib=1.5, loading_seconds=40 * MINUTE)], config=configured(sla=SLA)
    )


def maintenance() -> Planted:
    """Away for a quarter of an hour less than it takes to be idle."""
    before, after = poisson(10.0, seconds=40 * MINUTE), poisson(10.0, since=54 * MINUTE, seed=2)
    return Planted(work=[single(np.concatenate((before, after)))], config=configured(sla=SLA))


def gpus_assumed() -> Planted:
    return Planted(
        of("gpu_mapping_unknown"),
        work=[single(poisson(10.0))],
        cards=[Card(assumed=True), Card("GPU-1", assumed=True)],
        config=configured(sla=SLA),
    )


def switched_off() -> Planted:
    return Planted(config=configured(sla=SLA, advice=Advice(enabled=False)))


def _made() -> Iterator[tuple[str, Callable[[], Planted]]]:
    for name, made in list(globals().items()):
        if callable(made) and getattr(made, "__annotations__", {}) == {"return": "Planted"}:
            yield name.replace("_", " "), made


SERVERS: Final[Mapping[str, Callable[[], Planted]]] = dict(_made())
