"""The configuration with which the demo starts the sidecar: everything in it is an example, and says so."""

from __future__ import annotations

from datetime import date

from infermeter.demo.scenarios import Scenario

CURRENCY = "USD"
WINDOW = "1m"

SLA_SECONDS = 0.25
"""The demo's target for an inference, at the quantile 0.99."""


def configuration(scenario: Scenario, *, web_port: int, otlp_http_port: int, today: date) -> str:
    """The sidecar's configuration file. Only the server's name tells the scenario: a label, read by nobody but people."""
    return f"""\
# The demo's configuration. Prices are examples, not offers. The GPU is simulated: its power follows the measured busy time.
server: {{kind: infermeter, name: demo-{scenario.name}, sampled: false}}
sla:
  default: {{quantile: 0.99, duration_seconds: {SLA_SECONDS}}}
cost:
  currency: {CURRENCY}
  as_of: {today.isoformat()}
  source: example prices of the demo
  purchase: {{price: 30000, residual: 3000, lifetime_years: 4, per: gpu}}
  power: {{price_per_kwh: 0.12, pue: 1.3}}
  host: {{per_hour: 0.35}}
gpu:
  source: simulated
  simulated: {{gpus: 1, idle_watts: 70, peak_watts: 350}}
listen: {{web: "127.0.0.1:{web_port}", otlp_http: "127.0.0.1:{otlp_http_port}", otlp_grpc: null}}
windows: [{WINDOW}]
ledger: {{span_delay: 1s}}
assembly: {{grace: 200ms, idle: 5s}}
log: {{level: warning}}
"""
