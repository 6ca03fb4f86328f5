"""`--what-if gpu=l4,price=0.76`: what was asked, and its answer by the same rules as every other device. Pure."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from infermeter.advice import SizingSettings, right_size
from infermeter.advice.advice_json import Supposed
from infermeter.advice.sizing import present_device
from infermeter.catalogue import PRECISIONS, Catalogue, Device
from infermeter.config import DevicePrice
from infermeter.errors import ConfigError
from infermeter.model import SizingEvidence

OPTION: Final = "--what-if"

KEYS: Final = ("gpu", "price", "precision", "memory")
UNITS: Final = {"GB": 1e9, "MB": 1e6, "TB": 1e12, "GiB": 2.0**30, "MiB": 2.0**20, "TiB": 2.0**40}

PRICE_MOST: Final = 1e6
_NUMBER: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_SHOWN: Final = 64


@dataclass(frozen=True, slots=True)
class Question:
    """One `--what-if`, word by word in `asked`. None: as it is otherwise known."""

    asked: str
    gpu: str
    price_per_hour: float | None = None
    precision: str | None = None
    memory_bytes: int | None = None


def question(text: str) -> Question:
    """What `gpu=l4,price=0.76` asks. Raises: ConfigError."""
    told: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if name not in KEYS:
            near = difflib.get_close_matches(name, KEYS, n=1)
            raise ConfigError(OPTION, f"`{_cut(name)}` is no key: {', '.join(KEYS)}{f'; did you mean {near[0]}?' if near else ''}")
        if not equals or not value:
            raise ConfigError(OPTION, f"{name} has no value; write {name}=... as in gpu=l4,price=0.76")
        if name in told:
            raise ConfigError(OPTION, f"{name} is there twice; ask two questions with two {OPTION}")
        told[name] = value
    if "gpu" not in told:
        raise ConfigError(OPTION, "names no gpu, as in gpu=l4,price=0.76; `infermeter catalogue` lists them")
    return Question(
        asked=_cut(",".join(f"{name}={told[name]}" for name in KEYS if name in told)),
        gpu=told["gpu"],
        price_per_hour=_price(told["price"]) if "price" in told else None,
        precision=known_precision(told["precision"], f"{OPTION} precision") if "precision" in told else None,
        memory_bytes=_memory(told["memory"]) if "memory" in told else None,
    )


def known_precision(text: str, where: str) -> str:
    """A precision that devices are known by. Raises: ConfigError."""
    if text not in PRECISIONS:
        raise ConfigError(where, f"must be one of {', '.join(PRECISIONS)}, not `{_cut(text)}`")
    return text


def asked_device(asked: Question, catalogue: Catalogue) -> Device:
    """The device that a question is about. Raises: ConfigError."""
    device = catalogue.meant(asked.gpu)
    if device is None:
        near = " or ".join(catalogue.nearest(asked.gpu))
        hint = f"did you mean {near}?" if near else "`infermeter catalogue` lists what is; --devices F adds to it"
        raise ConfigError(f"{OPTION} gpu={_cut(asked.gpu)}", f"isn't in the catalogue; {hint}")
    return device


def supposed(
    asked: Question,
    evidence: SizingEvidence | None,
    catalogue: Catalogue,
    prices: Sequence[DevicePrice],
    settings: SizingSettings,
    *,
    now_ns: int,
) -> Supposed:
    """The answer. Raises: ConfigError, where nothing could come of it but an invented one."""
    where, device = f"{OPTION} gpu={_cut(asked.gpu)}", asked_device(asked, catalogue)
    if evidence is None:
        raise ConfigError(where, "nothing says what it would take the place of: no GPU was seen, or advice.enabled is off")
    present = present_device(evidence, catalogue)
    if present is None:
        raise ConfigError(where, "the server's own GPUs are of several kinds or not in the catalogue; --devices F adds to it")
    if device == present:
        raise ConfigError(where, "is what the server runs on")
    evidence = with_precision(evidence, asked.precision, f"{OPTION} precision")
    if asked.memory_bytes is not None:
        evidence = replace(evidence, memory_peak_bytes=asked.memory_bytes, memory_is_reserved=False)
    _facts(device, evidence.precision, where)
    _facts(present, evidence.precision, f"{OPTION}: the present {present.name}")
    if asked.price_per_hour is not None:
        prices = [_own_price(device.name, asked.price_per_hour, evidence.currency, where, now_ns=now_ns)]
    alone = replace(settings, devices=(device.name,))
    (candidate,) = right_size(evidence, catalogue, prices, alone, now_ns=now_ns).candidates
    return Supposed(asked.asked, candidate)


def with_precision(evidence: SizingEvidence, precision: str | None, where: str) -> SizingEvidence:
    """`evidence` of a server that computes in this precision (None: as it is told). Raises: ConfigError, where another one is told."""
    if precision is None or precision == evidence.precision:
        return evidence
    if evidence.precision is not None:
        raise ConfigError(where, f"the server was measured in {evidence.precision}; only a test can tell what it does in {precision}")
    return replace(evidence, precision=precision)


def _facts(device: Device, precision: str | None, where: str) -> None:
    """Raises: ConfigError, where the device lacks a fact that the question hangs on."""
    missing = [name for name in ("memory_bytes", "memory_bandwidth_bytes_per_second", "precisions") if getattr(device, name) is None]
    computes = device.precisions is not None and precision is not None and precision in device.precisions.value
    if computes and precision is not None and device.rate(precision) is None:
        missing.append(f"dense_flops.{precision}")
    if missing:
        raise ConfigError(where, f"{', '.join(missing)} isn't in the catalogue; --devices F adds it")


def _own_price(device: str, per_hour: float, currency: str | None, where: str, *, now_ns: int) -> DevicePrice:
    if currency is None:
        raise ConfigError(where, "has a price, and the server none to hold it against: set its costs first")
    today = datetime.fromtimestamp(now_ns / 1e9, UTC).date()
    return DevicePrice(device=device, provider="what-if", per_hour=per_hour, currency=currency, as_of=today, source="what-if")


def _price(text: str) -> float:
    if not _NUMBER.fullmatch(text) or not (value := float(text)) <= PRICE_MOST:
        raise ConfigError(f"{OPTION} price", f"must be a number from 0 on in the server's currency, as 0.76, not `{_cut(text)}`")
    return value


def _memory(text: str) -> int:
    unit = next((unit for unit in UNITS if text.endswith(unit)), None)
    digits = text[: -len(unit)].strip() if unit else text
    if unit is None or not _NUMBER.fullmatch(digits) or not 0 < (size := float(digits) * UNITS[unit]) < 1e15:
        raise ConfigError(f"{OPTION} memory", f"must be a size such as 20GB or 18.5GiB, not `{_cut(text)}`")
    return math.ceil(size)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
