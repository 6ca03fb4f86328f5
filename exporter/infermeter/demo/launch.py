"""What the demo's processes are told: the sidecar's configuration, in which everything is an example and says so, and the server's command.

Of a scenario only load and batching are used; its name is a label, read by nobody but people.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import date

from infermeter.demo.network import MODEL
from infermeter.demo.scenarios import Scenario

SERVER_ENVIRONMENT: Mapping[str, str] = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
"""One core for the model, so that the others can do their part."""

SLA_SECONDS = 0.25
"""The demo's target for an inference, at the quantile 0.99."""


def configuration(scenario: Scenario, *, web_port: int, otlp_http_port: int, today: date) -> str:
    """The sidecar's configuration file."""
    return f"""\
# The demo's configuration. Prices are examples, not offers. The GPU is simulated: its power follows the measured busy time.
server: {{kind: infermeter, name: demo-{scenario.name}, model: {MODEL}, sampled: false}}
sla:
  default: {{quantile: 0.99, duration_seconds: {SLA_SECONDS}}}
cost:
  currency: USD
  as_of: {today.isoformat()}
  source: example prices of the demo
  purchase: {{price: 30000, residual: 3000, lifetime_years: 4, per: gpu}}
  power: {{price_per_kwh: 0.12, pue: 1.3}}
  host: {{per_hour: 0.35}}
gpu:
  source: simulated
  simulated: {{gpus: 1, idle_watts: 70, peak_watts: 350}}
  baseline_watts: 70
listen: {{web: "127.0.0.1:{web_port}", otlp_http: "127.0.0.1:{otlp_http_port}", otlp_grpc: null}}
windows: [1m]
ledger: {{span_delay: 1s}}
advice: {{minimum_history: 1m, idle_after: 15s, hold: 5s}}
assembly: {{grace: 200ms, idle: 5s}}
log: {{level: warning}}
"""


def server_command(scenario: Scenario, *, port: int, otlp_http_port: int | None = None) -> list[str]:
    """The command that starts the server; without a port for OTLP its spans go nowhere."""
    options: dict[str, object] = {"--port": port, "--max-batch": scenario.max_batch, "--max-delay-seconds": scenario.max_delay_seconds}
    if otlp_http_port is not None:
        options["--otlp"] = f"http://127.0.0.1:{otlp_http_port}"
    return [sys.executable, "-m", "infermeter.demo.server", *(str(word) for option in options.items() for word in option)]
