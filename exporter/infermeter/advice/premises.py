"""What every rule is given, and the questions that several of them ask. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from infermeter.catalogue import Catalogue, Device
from infermeter.config import Config, Thresholds
from infermeter.model import STAGES, HardwareWindow, LedgerSnapshot, ModelFacts, ModelWindow, ServerWindow, Stage

_LEAST_INFERENCES: Final = 30
_FAIRNESS_SECONDS: Final = 900
"""The ledger compares ten minutes of spans with what the server has counted, once these have settled."""

_HALF: Final = 0.5


@dataclass(frozen=True, slots=True)
class Seen:
    """A model in the longest window.

    `ratios`: every stage that is told, and `other`, as a part of the inferences' time; `missed_ratios` the same of those that ended well
    and missed the SLA, as a part of the signals that they missed: empty unless it is proven to be missed, and not by errors, since a few
    late ones say nothing.
    """

    model: ModelFacts
    window: ModelWindow
    ratios: Mapping[Stage, float]
    missed_ratios: Mapping[Stage, float]

    @property
    def queue_ratio(self) -> float | None:
        """The part of the time that is spent waiting; None where the server can't tell."""
        return self.ratios.get("queue")

    @property
    def late_queue_ratio(self) -> float | None:
        """The same of those that are late, who may be few; of all where none is."""
        return self.late_ratios.get("queue")

    @property
    def late_ratios(self) -> Mapping[Stage, float]:
        """Where the time goes that makes those late which are; of all where none is."""
        return self.missed_ratios or self.ratios

    @property
    def mean_duration_seconds(self) -> float | None:
        """Of the inferences that were seen; None where none was."""
        seen = self.window.signal_inferences.get("duration", 0)
        return sum(self.window.stage_seconds.values()) / seen if seen else None


@dataclass(frozen=True, slots=True)
class Premises:
    """The configuration, a snapshot and the devices there are, and what several rules ask of them.

    `window`: the longest, by which everything is judged; None where none is configured. `hardware`: what the GPUs did in it. `device`: what
    they are; None where they aren't told, aren't known, or are of several kinds. `models`: every model of which enough was seen to speak of
    its stages, by spans that are no unfair sample, and not one that may turn out to be. `price_as_of_ns` None: no price is in force.
    `reserves_memory`: the server is known to take the GPU's memory before anybody asks.
    """

    config: Config
    ledger: LedgerSnapshot
    catalogue: Catalogue
    price_as_of_ns: int | None
    window: ServerWindow | None
    hardware: HardwareWindow
    device: Device | None
    models: tuple[Seen, ...]
    reserves_memory: bool

    @property
    def thresholds(self) -> Thresholds:
        """Where findings begin."""
        return self.config.advice.thresholds

    @property
    def utilisation_ratio(self) -> float | None:
        """The part of the window in which something ran on the GPUs: as they tell, where they do."""
        return self.hardware.utilisation_ratio

    @property
    def batch_mean(self) -> float | None:
        """How many inferences are computed at once: as seen in the window, else as the server says right now; None where nothing tells."""
        if self.window is not None and self.window.batch_mean is not None:
            return self.window.batch_mean
        return None if self.ledger.gauges is None else self.ledger.gauges.batch_size

    @property
    def unexplained_ratio(self) -> float | None:
        """The part of the window's time that is neither idle nor any inference's; None without a window."""
        window = self.window
        if window is None or window.accrued_seconds <= 0 or window.idle_seconds is None:
            return None
        return max(0.0, 1 - (window.busy_seconds + window.idle_seconds) / window.accrued_seconds)

    @property
    def cost_per_hour(self) -> float | None:
        """All priced components; None where a configured one can't be told, so that it is no sum of all."""
        return None if self.ledger.unpriced or not self.ledger.cost_per_hour else sum(self.ledger.cost_per_hour.values())


def premises_of(
    config: Config, ledger: LedgerSnapshot, catalogue: Catalogue, *, price_as_of_ns: int | None, reserves_memory: bool = False
) -> Premises:
    """What the rules go by."""
    window = ledger.windows[-1] if ledger.windows else None
    products = {gpu.identity.product for gpu in ledger.gpus if gpu.up}
    devices = {None if product is None else catalogue.device_of(product) for product in products}
    return Premises(
        config=config,
        ledger=ledger,
        catalogue=catalogue,
        price_as_of_ns=price_as_of_ns,
        window=window,
        hardware=HardwareWindow() if window is None or window.hardware is None else window.hardware,
        device=devices.pop() if len(devices) == 1 else None,
        reserves_memory=reserves_memory,
        models=() if is_early_sample(ledger) else tuple(s for one in ledger.models if (s := _seen(one, ledger.stage_quality)) is not None),
    )


def is_early_sample(ledger: LedgerSnapshot) -> bool:
    """Whether spans are a sample that there was no time yet to hold against the server's own histogram: it may be an unfair one."""
    return ledger.thin and ledger.time_ns - ledger.start_ns < _FAIRNESS_SECONDS * 1_000_000_000


def fails(window: ModelWindow) -> bool:
    """Whether errors are most of what misses the SLA."""
    return window.misses is not None and window.misses.errors > _HALF * window.misses.inferences


def dominant(ratios: Mapping[Stage, float]) -> Stage:
    """The largest part, of which there is one."""
    return max(ratios, key=ratios.__getitem__)


def _seen(model: ModelFacts, told: Collection[Stage]) -> Seen | None:
    window = model.windows[-1] if model.windows else None
    if window is None or model.coverage_bias is not None or window.inferences_ok < _LEAST_INFERENCES:
        return None
    ratios = _ratios(window.stage_seconds, told)
    late = window.misses.stage_seconds if window.misses is not None and window.sla_state == "missed" and not fails(window) else {}
    return None if not ratios else Seen(model, window, ratios, _ratios(late, told))


def _ratios(seconds: Mapping[Stage, float], told: Collection[Stage]) -> dict[Stage, float]:
    """Parts of the sum, 0 for a stage that the server tells and in which nobody was; empty where there is no time."""
    if not seconds:
        return {}
    total = sum(seconds.values())
    stages = [stage for stage in (*STAGES, "other") if stage in seconds or (stage in told and stage != "other")]
    return {stage: seconds.get(stage, 0.0) / total for stage in stages} if total > 0 else {}
