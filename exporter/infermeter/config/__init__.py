"""The whole configuration schema and its defaults, as frozen dataclasses: the YAML's dotted path is the attribute path.

No parsing here (parsing/) and no reading of files. `Duration` fields are seconds; in YAML they are Prometheus strings.
Field metadata says what a key means (`doc`), its range (`minimum`, `above`, `maximum`, `pattern`), and whether a `reload` takes it over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from infermeter.config.cost import Cooling, Cost, DevicePrice, Emissions, Host, Licence, OpenCost, Other, Power, Purchase, Rent
from infermeter.config.judgement import Advice, Assembly, LedgerConfig, Thresholds
from infermeter.config.keys import Duration, Reload, key
from infermeter.config.network import Forward, Limits, Listen, Otlp, OtlpTls, Proxy, Web
from infermeter.config.readings import Gpu, HostPower, SimulatedGpu
from infermeter.config.server import GpuChoice, Server, Sla, Slas
from infermeter.model import Window

__all__ = [
    "Advice",
    "Assembly",
    "Config",
    "Cooling",
    "Cost",
    "DevicePrice",
    "Duration",
    "Emissions",
    "Forward",
    "Gpu",
    "GpuChoice",
    "Host",
    "HostPower",
    "LedgerConfig",
    "Licence",
    "Limits",
    "Listen",
    "Log",
    "OpenCost",
    "Other",
    "Otlp",
    "OtlpTls",
    "Power",
    "Proxy",
    "Purchase",
    "Reload",
    "Rent",
    "Server",
    "SimulatedGpu",
    "Sla",
    "Slas",
    "Thresholds",
    "Web",
    "Window",
    "key",
    "opencost_of",
]


@dataclass(frozen=True, slots=True)
class Log:
    """Logging on standard error."""

    level: Literal["debug", "info", "warning", "error"] = key("info", "least level")
    format: Literal["text", "json"] = key("text", "one line each")


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration file."""

    server: Server = key(factory=Server, doc="the server beside which this runs")
    mappings_dir: str | None = key(None, "own mappings; they win by name")
    sla: Slas | None = key(None, "service levels; no section: no SLA families", reload=True)
    cost: Cost | None = key(None, "prices; no section: no cost families", reload=True)
    emissions: Emissions = key(factory=Emissions, doc="carbon")
    gpu: Gpu = key(factory=Gpu, doc="GPU readings")
    host_power: HostPower = key(factory=HostPower, doc="power of the rest of the machine")
    listen: Listen = key(factory=Listen, doc="addresses")
    web: Web = key(factory=Web, doc="the web face")
    otlp: Otlp = key(factory=Otlp, doc="access to the OTLP listeners")
    forward: Forward = key(factory=Forward, doc="spans passed on")
    windows: tuple[Window, ...] = key((Window("1h", 3600.0),), "0 to 4, ascending, 1m to 24h; the label is the text as written")
    ledger: LedgerConfig = key(factory=LedgerConfig, doc="how the ledger waits and judges")
    assembly: Assembly = key(factory=Assembly, doc="how long traces are waited for")
    state_file: str | None = key(None, "keeps what was learnt (baselines) over restarts")
    advice: Advice = key(factory=Advice, doc="findings", reload=True)
    proxy: Proxy = key(factory=Proxy, doc="infermeter proxy")
    limits: Limits = key(factory=Limits, doc="bounds on what a sender controls")
    log: Log = key(factory=Log, doc="logging")


def opencost_of(config: Config) -> OpenCost:
    """What is asked for prices; without a section, nothing."""
    return OpenCost() if config.cost is None else config.cost.opencost
