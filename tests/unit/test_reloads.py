"""What becomes of a new configuration: taken over as a whole, or not at all, one after the other."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import date

import pytest

from infermeter.config import Config, Cost, DevicePrice, Listen, Power, Rent, Sla, Slas
from infermeter.errors import ConfigError, ConfigErrors
from infermeter.prices.listing import Listed
from infermeter.reloading import RestartNeeded
from infermeter.reloads import TOLD, Offer, Reloads

PRICED = Offer(Config(cost=Cost(currency="USD", rent=Rent(per_hour=3.0))))
CHEAPER = Offer(Config(cost=Cost(currency="USD", rent=Rent(per_hour=2.0))))
STRICTER = Offer(Config(cost=PRICED.config.cost, sla=Slas(default=Sla(duration_seconds=1.0))))


class Desk:
    """What is offered next, what was taken over, and a clock that counts reloads."""

    def __init__(self, *offers: Offer | Exception) -> None:
        self.offers = list(offers)
        self.taken: list[Offer] = []
        self.refusal: Exception | None = None
        self.time_ns = 0

    def now_ns(self) -> int:
        self.time_ns += 1
        return self.time_ns

    def read(self) -> Offer:
        offer = self.offers.pop(0) if len(self.offers) > 1 else self.offers[0]
        if isinstance(offer, Exception):
            raise offer
        return offer

    def take(self, offer: Offer) -> None:
        if self.refusal:
            raise self.refusal
        self.taken.append(offer)


def with_reloads(desk: Desk, scenario: Callable[[Reloads], Awaitable[None]], *, read_seconds: float = 10.0) -> None:
    async def run() -> None:
        await scenario(Reloads(PRICED, read=desk.read, take=desk.take, now_ns=desk.now_ns, read_seconds=read_seconds))

    asyncio.run(run())


def test_what_is_taken_over_is_told_by_its_keys_and_the_time(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(CHEAPER, CHEAPER)

    async def scenario(reloads: Reloads) -> None:
        assert (reloads.successful, reloads.loaded_ns) == (True, 1)
        assert await reloads.reload() == (True, "reloaded: cost.rent.per_hour")
        assert (reloads.successful, reloads.loaded_ns) == (True, 2)
        assert await reloads.reload() == (True, "reloaded: nothing has changed")

    with caplog.at_level(logging.INFO):
        with_reloads(desk, scenario)
    assert desk.taken == [CHEAPER, CHEAPER]
    assert [record.getMessage() for record in caplog.records if record.name == "infermeter.reloads"] == [
        "configuration reloaded: cost.rent.per_hour",
        "configuration reloaded: nothing has changed",
    ]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            ConfigErrors((ConfigError("sla.default", "must be a mapping, not `hush`"), ConfigError("cost.source", "hush"))),
            "sla.default, cost.source",
        ),
        (ConfigError("/etc/infermeter.yaml", "can't be read: No such file or directory"), "/etc/infermeter.yaml"),
    ],
)
def test_what_cannot_be_read_leaves_the_old_one_in_force(
    error: ConfigError | ConfigErrors, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(error, CHEAPER)

    async def scenario(reloads: Reloads) -> None:
        answer = await reloads.reload()
        assert answer == (False, f"not reloaded, the old configuration stays in force: {said} (the log says more)")
        assert (reloads.successful, reloads.loaded_ns, desk.taken) == (False, 1, [])
        assert (await reloads.reload())[0]
        assert (reloads.successful, reloads.loaded_ns) == (True, 2)

    with_reloads(desk, scenario)
    problems = error.problems if isinstance(error, ConfigErrors) else (error,)
    logged = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert logged == [f"configuration not reloaded: {problem}" for problem in problems]


def test_a_key_that_needs_a_restart_refuses_the_whole() -> None:
    desk = Desk(Offer(Config(cost=CHEAPER.config.cost, listen=Listen(web=None))), STRICTER)

    async def scenario(reloads: Reloads) -> None:
        taken, text = await reloads.reload()
        assert not taken
        assert "listen.web: can't be changed without a restart" in text
        assert desk.taken == []
        assert await reloads.reload() == (True, "reloaded: sla.default.duration_seconds")  # held against what is in force

    with_reloads(desk, scenario)


def test_what_only_the_counts_forbid_is_refused_too() -> None:
    desk = Desk(CHEAPER)
    desk.refusal = RestartNeeded("cost.currency", "is another one")

    async def scenario(reloads: Reloads) -> None:
        taken, text = await reloads.reload()
        assert not taken
        assert "cost.currency: is another one" in text
        assert not reloads.successful

    with_reloads(desk, scenario)


def test_another_list_of_prices_is_a_change() -> None:
    price = DevicePrice("l4", "cloud", 0.7, "USD", date(2026, 7, 1), "list")
    desk = Desk(Offer(PRICED.config, Listed({"l4": price})))

    async def scenario(reloads: Reloads) -> None:
        assert await reloads.reload() == (True, "reloaded: cost.prices_file")

    with_reloads(desk, scenario)


def test_problems_beyond_the_bound_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(ConfigErrors(tuple(ConfigError(f"key{i}", "unknown") for i in range(TOLD + 5))))

    async def scenario(reloads: Reloads) -> None:
        _, text = await reloads.reload()
        assert "key19 and 5 more" in text
        assert "key20" not in text

    with_reloads(desk, scenario)
    assert sum(record.levelno == logging.ERROR for record in caplog.records) == TOLD + 1


def test_a_notice_is_told_once_it_is_new(caplog: pytest.LogCaptureFixture) -> None:
    cost = PRICED.config.cost
    assert cost is not None
    measured = Offer(Config(cost=replace(cost, power=Power(host_watts="measured"))))
    desk = Desk(measured, measured)

    async def scenario(reloads: Reloads) -> None:
        await reloads.reload()
        await reloads.reload()

    with_reloads(desk, scenario)
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert told == ["cost.power.host_watts: nothing measures them; host_power.source says what does"]


def test_two_reloads_at_once_are_one_after_the_other() -> None:
    desk = Desk(CHEAPER, STRICTER)

    async def scenario(reloads: Reloads) -> None:
        first, second = await asyncio.gather(reloads.reload(), reloads.reload())
        assert first == (True, "reloaded: cost.rent.per_hour")
        assert second == (True, "reloaded: sla.default.duration_seconds, cost.rent.per_hour")
        assert desk.taken == [CHEAPER, STRICTER]

    with_reloads(desk, scenario)


@pytest.mark.parametrize("late", [CHEAPER, ConfigError("file", "is nonsense")])
def test_a_file_that_hangs_fails_the_reload_and_those_after_it_until_it_is_read(late: Offer | ConfigError) -> None:
    turned, began = threading.Event(), threading.Event()
    ended = threading.Event()

    class Hanging(Desk):
        def read(self) -> Offer:
            began.set()
            turned.wait()
            try:
                return super().read()
            finally:
                ended.set()

    desk = Hanging(late, STRICTER)

    async def scenario(reloads: Reloads) -> None:
        for _ in range(2):
            taken, text = await reloads.reload()
            assert not taken
            assert "configuration file" in text
        assert began.is_set()
        turned.set()
        await asyncio.to_thread(ended.wait)
        while not (await reloads.reload())[0]:
            pass
        assert desk.taken == [STRICTER]

    with_reloads(desk, scenario, read_seconds=0.01)


def test_a_mistake_of_ours_is_nobody_elses() -> None:
    async def scenario(reloads: Reloads) -> None:
        with pytest.raises(ZeroDivisionError):
            await reloads.reload()

    with_reloads(Desk(ZeroDivisionError()), scenario)
