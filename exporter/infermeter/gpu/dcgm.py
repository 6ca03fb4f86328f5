"""dcgm-exporter's page as a source, for a pod that may not see the device. Names and units are dcgm_names.py's.

The exporter samples every 30 s unless it was told otherwise (`--collect-interval`), and repeats the last values in between: `gpu.interval`
should be the same as its interval. It repeats a whole device's power and energy on the rows of each of its MIG instances: those are
shared out by what the instances do, and said to be modelled.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from infermeter.errors import GpuUnavailable
from infermeter.gpu import dcgm_names
from infermeter.gpu.mig_shares import ACTIVE_RATIO_LEAST, shares_of
from infermeter.gpu.page import OnPage, PageSource
from infermeter.gpu.source import Choose
from infermeter.network.exposition_text import timed_series_of

_UUID = re.compile(r"GPU-[A-Za-z0-9-]{1,76}")
_INSTANCE = re.compile(r"[0-9]{1,3}")
_WORD = re.compile(r"[\w.-]{1,253}", re.ASCII)
_SLICES = re.compile(r"(?:^|\.)([1-8])g\.")
_FOUR_SLICES = re.compile(r"\bA30\b|RTX PRO")
_PRODUCT_LETTERS: Final = 128
_POD: Final = ("exported_pod", "pod", "pod_name")
_NAMESPACE: Final = ("exported_namespace", "namespace", "pod_namespace")
"""The last are those of `--use-old-namespace`."""


@dataclass(slots=True)
class _Row:
    """What the page says of one device or instance: values by metric, as exposed, and the labels of its first line."""

    labels: Mapping[str, str]
    values: dict[str, float] = field(default_factory=dict)
    time_ns: int | None = None
    pods: set[tuple[str, str]] = field(default_factory=set)

    def first(self, names: Sequence[str]) -> float | None:
        """The first of these that is told."""
        return next((self.values[name] for name in names if name in self.values), None)

    @property
    def pod(self) -> tuple[str, str] | None:
        """Namespace and name of the pod that it is allocated to; None: none, several, or not told."""
        return next(iter(self.pods)) if len(self.pods) == 1 else None


@dataclass(slots=True)
class _Shared:
    """A device's energy as it was shared out so far, by instance."""

    joules: float | None = None
    by_instance: dict[str, float] = field(default_factory=dict)


class DcgmSource(PageSource):
    """The devices and MIG instances that a dcgm-exporter tells of."""

    name = "dcgm"

    def __init__(
        self,
        fetch: Callable[[], bytes],
        *,
        choose: Choose,
        hardware: bool,
        interval_seconds: float,
        profiling: bool,
        node: str | None = None,
    ) -> None:
        """As a PageSource. `profiling`: DCGM's profiling fields too. `node`: whose devices count where the page has several hosts'."""
        super().__init__(fetch, choose=choose, hardware=hardware, interval_seconds=interval_seconds)
        self._names = dcgm_names.names(profiling=profiling)
        self._node = node
        self._shared: dict[str, _Shared] = {}

    def _devices(self, page: bytes) -> list[OnPage]:
        rows = _rows(page, self._names, self._node)
        self._shared = {board: shared for board, shared in self._shared.items() if board in rows}
        return [device for board, parts in rows.items() for device in self._of_board(board, parts)]

    def _of_board(self, board: str, parts: dict[str, _Row]) -> Iterator[OnPage]:
        """The device itself, or its instances where there are any."""
        whole = parts.pop("", None)
        if parts or whole is None:
            yield from self._instances(board, parts, whole)
        else:
            fields = _fields(whole)
            yield _on_page(board, whole, fields, fields.get("energy_joules"))

    def _instances(self, board: str, parts: Mapping[str, _Row], whole: _Row | None) -> Iterator[OnPage]:
        told = [_fields(row) for row in (whole, *parts.values()) if row is not None]
        power_watts = next((fields["power_watts"] for fields in told if "power_watts" in fields), None)
        joules = max((fields["energy_joules"] for fields in told if "energy_joules" in fields), default=None)
        shares = _shares(parts)
        energy = self._share_out(board, joules, shares)
        for name, row in parts.items():
            own = {key: value for key, value in _fields(row).items() if key not in ("power_watts", "energy_joules", "power_limit_watts")}
            if power_watts is not None:
                own["power_watts"] = power_watts * shares[name]
            if joules is not None:
                own["energy_joules"] = energy[name]
            yield _on_page(name, row, own, joules, modelled=True)

    def _share_out(self, board: str, joules: float | None, shares: Mapping[str, float]) -> Mapping[str, float]:
        """Counters of the instances, from 0 at first sight: they grow with the device's, whose falls are left out."""
        shared = self._shared.setdefault(board, _Shared())
        if joules is not None:
            grown = 0.0 if shared.joules is None else joules - shared.joules
            if grown < 0:
                self._rejected["reset"] += 1
                grown = 0.0
            shared.joules = joules
            shared.by_instance |= {name: shared.by_instance.get(name, 0.0) + share * grown for name, share in shares.items()}
        return shared.by_instance


def _rows(page: bytes, names: frozenset[str], node: str | None) -> dict[str, dict[str, _Row]]:
    """By device, then by instance ("": the device itself). Raises: Unavailable."""
    series = timed_series_of(page, names)
    if not series:
        raise GpuUnavailable("no DCGM_FI_DEV_* there: is this dcgm-exporter's /metrics?")
    hosts = {_host(each.labels) for each, _ in series} - {""}
    host = node.casefold() if node and len(hosts) > 1 else None
    if host is not None and host not in hosts:
        raise GpuUnavailable(f"GPUs of {len(hosts)} hosts there, none of them $NODE_NAME")
    rows: dict[str, dict[str, _Row]] = {}
    for each, time_ns in series:
        labels = each.labels
        uuid = labels.get("UUID") or labels.get("uuid") or ""
        if not _UUID.fullmatch(uuid) or (host is not None and _host(labels) != host):
            continue
        instance = labels.get("GPU_I_ID", "")
        row = rows.setdefault(uuid, {}).setdefault(f"{uuid}/{instance}" if _INSTANCE.fullmatch(instance) else "", _Row(labels))
        if not dcgm_names.is_blank(each.name, each.value):
            row.values.setdefault(each.name, each.value)
        if time_ns is not None:
            row.time_ns = max(row.time_ns or 0, time_ns)
        row.pods |= _pods(labels)
    if not rows:
        raise GpuUnavailable("no GPU's UUID on the page")
    return rows


def _host(labels: Mapping[str, str]) -> str:
    return (labels.get("Hostname") or labels.get("hostname") or "").casefold()


def _pods(labels: Mapping[str, str]) -> set[tuple[str, str]]:
    """Namespace and name, or none; a Prometheus between us has put its own labels there, and moved these aside."""
    name, namespace = (next((labels[key] for key in keys if labels.get(key)), "") for keys in (_POD, _NAMESPACE))
    return {(namespace, name)} if _WORD.fullmatch(name) and _WORD.fullmatch(namespace) else set()


def _fields(row: _Row) -> dict[str, float]:
    """What is told, as GpuSample's fields."""
    fields: dict[str, float] = {}
    for name, meaning in {**dcgm_names.VALUES, **dcgm_names.PROFILING}.items():
        if (value := row.first(meaning.names)) is not None:
            fields[name] = value * meaning.factor
    memory = [row.values[name] for name in dcgm_names.MEMORY_PARTS if name in row.values]
    if set(dcgm_names.MEMORY_PARTS[:2]) <= row.values.keys():
        fields.setdefault("memory_total_bytes", sum(memory) * dcgm_names.MIB)
    engine = row.first(dcgm_names.ENGINE)
    if engine is not None:
        fields.setdefault("utilisation_ratio", engine if engine >= ACTIVE_RATIO_LEAST else 0.0)
    for name, reasons in dcgm_names.THROTTLING.items():
        told = [row.values[reason] for reason in reasons if reason in row.values]
        if told:
            fields[name] = sum(told) / 1e9
    return fields


def _shares(parts: Mapping[str, _Row]) -> dict[str, float]:
    """Each instance's share of its device. Activity is compared by one metric: the engine's if any instance tells it, else the SMs'."""
    engines: dict[str, float | None] = {name: row.first(dcgm_names.ENGINE) for name, row in parts.items()}
    if all(ratio is None for ratio in engines.values()):
        engines = {name: row.first(dcgm_names.PROFILING["sm_active_ratio"].names) for name, row in parts.items()}
    slices = {name: _slices(row.labels.get("GPU_I_PROFILE", "")) for name, row in parts.items()}
    product = next(iter(parts.values())).labels.get("modelName", "")
    return shares_of(slices, engines, 4 if _FOUR_SLICES.search(product) else 7)


def _slices(profile: str) -> int:
    """Of the compute slices; 1 where a profile can't be read. Source: NVIDIA, MIG User Guide, "Device names" and "Supported profiles"."""
    match = _SLICES.search(profile[:_PRODUCT_LETTERS])
    return 1 if match is None else int(match[1])


def _on_page(uuid: str, row: _Row, fields: Mapping[str, float], counter: float | None, *, modelled: bool = False) -> OnPage:
    labels = row.labels
    index = labels.get("gpu", "")
    product = " MIG ".join(part for part in (labels.get("modelName", ""), labels.get("GPU_I_PROFILE", "")) if part)
    driver = next((labels[name] for name in dcgm_names.DRIVER_VERSION if name in labels), "")
    return OnPage(
        uuid,
        fields,
        counter,
        row.time_ns,
        index=int(index) if _INSTANCE.fullmatch(index) else None,
        product=product if product.isprintable() and 0 < len(product) <= _PRODUCT_LETTERS else None,
        driver_version=driver if _WORD.fullmatch(driver) else None,
        pod=row.pod,
        modelled=modelled,
    )
