"""What can't be said at once, and what is said in vain."""

from __future__ import annotations

from pathlib import Path

import pytest

from infermeter.config import Config
from infermeter.errors import ConfigErrors
from infermeter.parsing.currencies import CURRENCIES
from infermeter.parsing.rules import contradictions, notices
from infermeter.parsing.structure import load_config

DATED = "currency: USD, as_of: 2026-07-20, source: list"


def paths(text: str) -> list[str]:
    try:
        load_config(text, "f")
    except ConfigErrors as errors:
        return [problem.where for problem in errors.problems]
    return []


@pytest.mark.parametrize(
    "cost",
    [
        "rent: {per_hour: 3.43}",
        "rent: {per_hour: 1, per: instance, instance_gpus: 8, upfront: 1000, term: 365d}",
        "rent: {per_hour: 0, upfront: 1000, term: 365d}",
        "purchase: {price: 30000, residual: 3000, lifetime_years: 4}, power: {price_per_kwh: 0.12, pue: 1.3}",
        "purchase: {price: 30000, lifetime_years: 4}, power: {price_per_kwh: 0.12}, cooling: {per_hour: 1}",
        "purchase: {price: 9, lifetime_years: 4}, rent: {per_hour: 1, rent_includes_power: false}, power: {price_per_kwh: 0.1, pue: 1.3}",
        "power: {price_per_kwh: 0.12}, host: {per_hour: 0.1}, licence: {per_hour: 1}, other: {per_hour: 0}",
        "prices_file: f, host: {per_hour: 1}",
        "prices_file: f, rent: {rent_includes_power: false}, power: {price_per_kwh: 0.1, pue: 1.3}",
        "opencost: {prometheus_url: 'http://p:9090', selector: 'node=\"a\", cluster=~\"b|c\",'}",
    ],
)
def test_costs_that_are_disjoint_are_taken(cost: str) -> None:
    assert paths(f"cost: {{{DATED}, {cost}}}") == []


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        ("rent: {per_hour: 3}, power: {price_per_kwh: 0.1}", ["cost.power.price_per_kwh"]),
        ("rent: {per_hour: 3}, power: {pue: 1.3}", ["cost.power.pue"]),
        ("rent: {per_hour: 3}, cooling: {per_hour: 1}", ["cost.cooling.per_hour"]),
        ("rent: {per_hour: 3}, purchase: {price: 9, lifetime_years: 4}", ["cost.purchase.price"]),
        ("power: {price_per_kwh: 0.1, pue: 1.3}, cooling: {per_hour: 1}", ["cost.cooling.per_hour"]),
        ("rent: {per_hour: 3}, prices_file: f", ["cost.prices_file"]),
        ("rent: {per_hour: 3}, opencost: {prometheus_url: 'http://p'}", ["cost.opencost"]),
        ("prices_file: f, opencost: {prometheus_url: 'http://p'}", ["cost.opencost"]),
        ("prices_file: f, power: {price_per_kwh: 0.1}", ["cost.power.price_per_kwh"]),
        ("opencost: {prometheus_url: 'http://p'}, purchase: {price: 9, lifetime_years: 4}", ["cost.purchase.price"]),
    ],
)
def test_nothing_is_counted_twice(cost: str, expected: list[str]) -> None:
    assert paths(f"cost: {{{DATED}, {cost}}}") == expected


def test_power_usage_effectiveness_beside_rent_is_for_emissions_only() -> None:
    assert paths(f"cost: {{{DATED}, rent: {{per_hour: 3}}, power: {{pue: 1.3}}}}\nemissions: {{grams_per_kwh: 380}}") == []


@pytest.mark.parametrize(
    "price",
    [
        "rent: {per_hour: 0}",
        "purchase: {price: 1, lifetime_years: 1}",
        "power: {price_per_kwh: 1}",
        "cooling: {per_hour: 1}",
        "host: {per_hour: 1}",
        "licence: {per_hour: 1}",
        "other: {per_hour: 1}",
    ],
)
def test_each_price_needs_currency_date_and_source(price: str) -> None:
    assert paths(f"cost: {{{price}}}") == ["cost.currency", "cost.as_of", "cost.source"]


def test_prices_of_others_need_a_currency_only_where_nobody_else_tells_it() -> None:
    assert paths("cost: {opencost: {prometheus_url: 'http://p'}}") == ["cost.currency"]
    assert paths("cost: {currency: EUR, opencost: {prometheus_url: 'http://p'}}") == []
    assert paths("cost: {prices_file: f}") == []
    assert paths("cost: {prices_file: f, host: {per_hour: 1}}") == ["cost.currency", "cost.as_of", "cost.source"]


@pytest.mark.parametrize(
    "price",
    [
        "rent: {per_hour: -1}",
        "rent: {per_hour: 1, upfront: -1, term: 365d}",
        "purchase: {price: -1, lifetime_years: 1}",
        "purchase: {price: 1, lifetime_years: -1}",
        "purchase: {price: 1, lifetime_years: 1, residual: -1}",
        "purchase: {price: 1, lifetime_years: 1, finance_rate_per_year: -0.1}",
        "power: {price_per_kwh: -1}",
        "power: {price_per_kwh: 1, pue: 0.9}",
        "power: {price_per_kwh: 1, host_watts: -1}",
        "cooling: {per_hour: -1}",
        "host: {per_hour: -1}",
        "licence: {per_hour: -1}",
        "other: {per_hour: -1}",
        "rent: {per_hour: .inf}",
    ],
)
def test_no_price_is_negative_or_endless(price: str) -> None:
    assert len(paths(f"cost: {{{DATED}, {price}}}")) == 1


def test_every_currency_of_today_is_known_and_others_are_taken_and_told() -> None:
    for code in ("USD", "EUR", "GBP", "CNY", "JPY", "INR", "CHF", "XOF", "ZWG"):
        assert notices(load_config(f"cost: {{currency: {code}}}", "f")) == ()
    assert len(CURRENCIES) > 150
    assert all(len(code) == 3 and code.isupper() for code in CURRENCIES)


def test_an_empty_source_is_none() -> None:
    assert paths("cost: {currency: USD, as_of: 2026-07-20, source: '', rent: {per_hour: 1}}") == ["cost.source"]


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        ("rent: {per_hour: 1, upfront: 5}", ["cost.rent.term"]),
        ("rent: {upfront: 5, term: 365d}", ["cost.rent.per_hour"]),
        ("purchase: {price: 5}", ["cost.purchase.lifetime_years"]),
        ("purchase: {price: 5, residual: 6, lifetime_years: 1}", ["cost.purchase.residual"]),
        ("purchase: {residual: 6}", ["cost.purchase.price"]),
        ("purchase: {lifetime_years: 4}", ["cost.purchase.price"]),
        ("purchase: {finance_rate_per_year: 0.1}", ["cost.purchase.price"]),
        ("rent: {per_hour: 1, term: 365d}", ["cost.rent.upfront"]),
        ("rent: {per_hour: 1, instance_gpus: 8}", ["cost.rent.instance_gpus"]),
        ("prices_file: f, rent: {per: instance}", ["cost.rent.per"]),
        ("prices_file: f, rent: {upfront: 5, term: 365d}", ["cost.rent.upfront", "cost.rent.term"]),
        ("opencost: {selector: 'a=\"b\"'}", ["cost.opencost.prometheus_url"]),
        ("opencost: {token_file: f}", ["cost.opencost.prometheus_url"]),
        ("opencost: {prometheus_url: 'http://p', selector: '{a=\"b\"}'}", ["cost.opencost.selector"]),
        ("opencost: {prometheus_url: 'http://p', selector: 'a=b'}", ["cost.opencost.selector"]),
        ("opencost: {prometheus_url: 'http://p', selector: 'a=\"b\"} or x{'}", ["cost.opencost.selector"]),
    ],
)
def test_prices_are_complete(cost: str, expected: list[str]) -> None:
    assert paths(f"cost: {{{DATED}, {cost}}}") == expected


@pytest.mark.parametrize("server", ["gpu_count: 9", "gpus: [0, 1, 2, 3, 4, 5, 6, 7, 8]"])
def test_a_server_uses_no_more_gpus_than_its_instance_has(server: str) -> None:
    cost = f"cost: {{{DATED}, rent: {{per_hour: 9, per: instance, instance_gpus: 8}}}}"
    assert paths(f"server: {{{server}}}\n{cost}") == ["cost.rent.instance_gpus"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sla: {default: {quantile: 0.99}}", ["sla"]),
        ("sla: {models: {m: {quantile: 0.9, ttft_seconds: null}}}", ["sla"]),
        ("sla: {default: {quantile: 0.9}, models: {m: {ttft_seconds: 1}}}", []),
        ("sla: {default: null, models: {}}", []),
        ("server: {gpus: [0, 1, 0]}", ["server.gpus[2]"]),
        ("server: {gpus: [GPU-a, {gpu: GPU-a, share: 0.5}]}", ["server.gpus[1]"]),
        ("server: {gpus: [{gpu: -1}]}", ["server.gpus[0]"]),
        ("server: {gpus: []}", []),
        ("server: {pid: 7, gpus: [{gpu: 0, share: process}, {gpu: 1, share: 0.5}]}", []),
        ("server: {gpus: [0, {gpu: 1, share: process}]}", ["server.gpus[1].share"]),
        ("server: {pid: 7, gpus: [{gpu: 0, share: process}]}\ngpu: {source: simulated}", ["server.gpus[0].share"]),
        ("gpu: {source: dcgm}", ["gpu.url"]),
        ("gpu: {source: triton}", ["gpu.url"]),
        ("gpu: {source: dcgm, url: 'http://127.0.0.1:9400/metrics'}", []),
        ("gpu: {url: 'http://127.0.0.1:9400/metrics'}", ["gpu.url"]),
        ("gpu: {source: replay}", ["gpu.file"]),
        ("gpu: {file: a.csv}", ["gpu.file"]),
        ("gpu: {source: replay, file: a.csv}", []),
        ("gpu: {interval: 10s, stale_after: 5s}", ["gpu.stale_after"]),
        ("gpu: {simulated: {idle_watts: 400}}", ["gpu.simulated.idle_watts"]),
        ("host_power: {source: hwmon}\ngpu: {source: nvml}", ["host_power.source"]),
        ("host_power: {source: hwmon}\ngpu: {source: hwmon}", []),
        ("host_power: {source: hwmon}\ngpu: {source: none}", []),
        ("host_power: {source: hwmon}", []),
        ("host_power: {source: rapl}\ngpu: {source: nvml}", []),
        ("listen: {web: ':10470'}", ["listen.web"]),
        ("listen: {web: 'localhost'}", ["listen.web"]),
        ("listen: {web: 'http://localhost:80'}", ["listen.web"]),
        ("listen: {web: 'localhost:99999'}", ["listen.web"]),
        ("listen: {web: '127.0.0.1:4317'}", ["listen.otlp_grpc"]),
        ("listen: {web: '[::1]:0', otlp_grpc: '[::1]:0', otlp_http: null}", []),
        ("windows: []", []),
        ("windows: [1m, 5m, 1h, 24h]", []),
        ("windows: [1m, 2m, 3m, 4m, 5m]", ["windows"]),
        ("windows: [59s, 25h]", ["windows[0]", "windows[1]"]),
        ("windows: [1h, 60m]", ["windows[1]"]),
        ("forward: {endpoint: tempo}", ["forward.endpoint"]),
        ("forward: {endpoint: tempo, protocol: grpc}", ["forward.endpoint"]),
        ("forward: {endpoint: 'http://127.0.0.1:4318'}", ["forward.endpoint"]),
        ("forward: {endpoint: 'http://localhost:4317', protocol: grpc}", ["forward.endpoint"]),
        ("forward: {endpoint: 'http://127.0.0.1:4319'}", []),
        ("forward: {endpoint: 'http://127.0.0.1:4318'}\nlisten: {otlp_http: null}", []),
        ("forward: {endpoint: 'http://127.0.0.1:70000'}", ["forward.endpoint"]),
        ("forward: {headers: {host: a, b: '${C}', d: '${env:E}'}}", ["forward.headers.host", "forward.headers.b"]),
        ("limits: {body_bytes: 200000000}", ["limits.decompressed_bytes", "limits.in_flight_bytes"]),
    ],
)
def test_what_cannot_hold_together_is_refused(text: str, expected: list[str]) -> None:
    assert paths(text) == expected


def test_the_defaults_hold_together_and_say_nothing_in_vain() -> None:
    assert list(contradictions(Config())) == []
    assert notices(Config()) == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("forward: {headers: {a: b}}", "forward: passes nothing on without forward.endpoint"),
        ("cost: {currency: USS}", "cost.currency: USS is taken as written, but is no code of ISO 4217 that this version knows"),
        ("cost: {power: {host_watts: measured}}", "cost.power.host_watts: nothing measures them; host_power.source says what does"),
    ],
)
def test_what_has_no_effect_is_taken_and_said(text: str, expected: str) -> None:
    assert notices(load_config(text, "f")) == (expected,)


@pytest.mark.parametrize(
    ("listen", "otlp", "expected"),
    [
        (
            'otlp_grpc: "0.0.0.0:4317"',
            "",
            "listen.otlp_grpc: whoever reaches that can send spans; otlp.",
        ),
        ('otlp_http: "[::]:4318"', "", "listen.otlp_http: whoever reaches that"),
        ('otlp_grpc: "10.0.0.1:4317", otlp_http: "spans.example:4318"', "", "listen.otlp_grpc and listen.otlp_http: whoever reaches that"),
        ('otlp_http: "0.0.0.0:4318"', "tls: {cert_file: c, key_file: k}", "listen.otlp_http: whoever reaches that"),
        ('otlp_http: "0.0.0.0:4318"', "token_file: t", "listen.otlp_http: without otlp.tls the token can be read on its way"),
    ],
)
def test_listeners_that_others_reach_unasked_are_told_in_one_line(listen: str, otlp: str, expected: str) -> None:
    told = notices(load_config(f"listen: {{{listen}}}\notlp: {{{otlp}}}", "f"))
    assert len(told) == 1
    assert told[0].startswith(expected)


@pytest.mark.parametrize(
    ("listen", "otlp"),
    [
        ('otlp_grpc: "localhost:4317", otlp_http: "[::1]:4318"', ""),
        ("otlp_grpc: null, otlp_http: null", ""),
        ('otlp_http: "0.0.0.0:4318"', "token_file: t, tls: {cert_file: c, key_file: k}"),
        ('otlp_http: "0.0.0.0:4318"', "tls: {cert_file: c, key_file: k, client_ca_file: a}"),
        ('otlp_http: "127.0.0.2:4318"', "token_file: t"),
    ],
)
def test_listeners_that_ask_or_that_only_this_machine_reaches_are_nothing_to_tell(listen: str, otlp: str) -> None:
    assert notices(load_config(f"listen: {{{listen}}}\notlp: {{{otlp}}}", "f")) == ()


@pytest.mark.parametrize(
    ("tls", "expected"),
    [
        ("cert_file: a", ["otlp.tls.key_file"]),
        ("key_file: a", ["otlp.tls.cert_file"]),
        ("client_ca_file: a", ["otlp.tls.cert_file", "otlp.tls.key_file"]),
    ],
)
def test_tls_takes_a_certificate_and_its_key(tls: str, expected: list[str]) -> None:
    assert paths(f"otlp: {{tls: {{{tls}}}}}") == expected


@pytest.mark.parametrize("value", ["12345678", "true", "[hunter2]", "{a: hunter2}"])
def test_what_stands_in_place_of_a_secret_is_not_shown(value: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load_config(f"forward: {{headers: {{Authorization: {value}}}}}", "f")
    assert str(caught.value).startswith("forward.headers.Authorization: must be text")
    assert not any(part in str(caught.value) for part in ("12345678", "hunter2", "boolean"))


def test_a_recording_tells_measured_host_watts() -> None:
    text = "cost: {power: {host_watts: measured}}\ngpu: {source: replay, file: a.csv}"
    assert notices(load_config(text, "f")) == ()


def test_the_example_configuration_holds_and_has_an_effect() -> None:
    example = Path(__file__).parents[3] / "deploy" / "config.example.yaml"
    assert notices(load_config(example.read_text(), example.name)) == ()
