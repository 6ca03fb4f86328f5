"""What of a new configuration a running sidecar takes over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from datetime import date
from typing import Any

import pytest

from infermeter.config import Advice, Config, Cost, Gpu, GpuChoice, Listen, OpenCost, Power, Rent, Server, Sla, Slas, Thresholds
from infermeter.errors import ConfigErrors
from infermeter.model import Window
from infermeter.parsing.structure import alternatives, field_kinds, load_config
from infermeter.reloading import RestartNeeded, changed_keys

PRICED = Cost(currency="USD", as_of=date(2026, 7, 20), source="list", rent=Rent(per_hour=3.43))


def refused(old: Config, new: Config) -> list[str]:
    """The problems with which a change is refused."""
    with pytest.raises(ConfigErrors) as refusal:
        changed_keys(old, new)
    assert all(isinstance(problem, RestartNeeded) for problem in refusal.value.problems)
    return [str(problem) for problem in refusal.value.problems]


def test_the_same_configuration_changes_nothing() -> None:
    assert changed_keys(Config(), Config()) == ()
    assert changed_keys(Config(cost=PRICED), Config(cost=replace(PRICED))) == ()


def test_prices_are_taken_over_key_by_key() -> None:
    new = replace(PRICED, as_of=date(2026, 8, 1), rent=Rent(per_hour=2.99), power=Power(pue=1.2))
    assert changed_keys(Config(cost=PRICED), Config(cost=new)) == ("cost.as_of", "cost.rent.per_hour", "cost.power.pue")


def test_a_section_that_was_not_there_is_one_in_which_nothing_was_set() -> None:
    assert changed_keys(Config(), Config(cost=PRICED)) == ("cost.currency", "cost.as_of", "cost.source", "cost.rent.per_hour")
    assert changed_keys(Config(), Config(sla=Slas(default=Sla(duration_seconds=4)))) == ("sla.default.duration_seconds",)
    assert changed_keys(Config(), Config(sla=Slas(), cost=Cost())) == ()


def test_the_currency_is_set_once() -> None:
    once = "cost.currency: can't be changed without a restart once it is set"
    assert refused(Config(cost=PRICED), Config(cost=replace(PRICED, currency="EUR"))) == [once]
    assert refused(Config(cost=PRICED), Config()) == [once]


def test_slas_are_taken_over_model_by_model() -> None:
    old = Config(sla=Slas(Sla(0.99, 4.0), {"a": {"ttft_seconds": 0.3}, "b": {"quantile": 0.9}, "c": {"tpot_seconds": 1.0}}))
    new = Config(sla=Slas(Sla(0.99, 2.0), {"a": {"ttft_seconds": None}, "c": {"tpot_seconds": 1.0}, "d": {"quantile": 0.5}}))
    assert changed_keys(old, new) == ("sla.default.duration_seconds", "sla.models.a.ttft_seconds", "sla.models.b", "sla.models.d")


def test_workload_and_advice_are_taken_over() -> None:
    new = Config(server=Server(workload="batch"), advice=Advice(enabled=False, thresholds=Thresholds(busy_ratio=0.3)))
    assert changed_keys(Config(), new) == ("server.workload", "advice.enabled", "advice.thresholds.busy_ratio")


def test_whatever_else_changes_is_refused_all_of_it_told_at_once() -> None:
    new = Config(
        server=Server(name="other", gpus=(GpuChoice(0),), workload="edge"),
        cost=PRICED,
        gpu=Gpu(baseline_watts={"GPU-0": 50.0}),
        listen=Listen(web=None),
        windows=(Window("5m", 300.0),),
    )
    paths = ("server.name", "server.gpus", "gpu.baseline_watts", "listen.web", "windows")
    assert refused(Config(), new) == [f"{path}: can't be changed without a restart" for path in paths]


def test_a_secret_is_in_no_refusal() -> None:
    old, new = (load_config(f"forward: {{headers: {{authorization: {token}}}}}", "") for token in ("first", "second"))
    assert refused(old, new) == ["forward.headers.authorization: can't be changed without a restart"]


def leaves(section: Any, prefix: str = "") -> Iterator[str]:
    """The dotted path of every key that holds a value."""
    for field in fields(section):
        (first, *others) = alternatives(field_kinds(section)[field.name])
        if is_dataclass(first) and not others:
            yield from leaves(first, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}"


def with_value(config: Any, path: str, value: object) -> Any:
    """The configuration with another value at a path, whatever its type is."""
    name, _, rest = path.partition(".")
    if not rest:
        return replace(config, **{name: value})
    below = getattr(config, name)
    if below is None:
        below = alternatives(field_kinds(type(config))[name])[0]()
    return replace(config, **{name: with_value(below, rest, value)})


@pytest.mark.parametrize("path", list(leaves(Config)))
def test_the_contract_says_of_every_key_whether_a_reload_takes_it_over(path: str) -> None:
    other = object()
    old = Config(cost=Cost(), sla=Slas(default=Sla()))
    new = with_value(old, path, other)
    if path.startswith(("sla.", "cost.", "advice.")) or path == "server.workload":
        assert changed_keys(old, new) == (path,)
    else:
        assert refused(old, new) == [f"{path}: can't be changed without a restart"]


def test_where_prices_are_asked_for_is_taken_over() -> None:
    new = replace(PRICED, rent=Rent(), opencost=OpenCost(prometheus_url="http://prometheus:9090"))
    assert changed_keys(Config(cost=PRICED), Config(cost=new)) == ("cost.rent.per_hour", "cost.opencost.prometheus_url")
