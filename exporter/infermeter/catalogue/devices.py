"""What is known of a kind of device: each fact with its source, and whether it was verified. Pure: no files, no text formats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeAlias, TypeVar, get_args

from infermeter.config import key

Value_co = TypeVar("Value_co", covariant=True)

Precision: TypeAlias = Literal["fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "fp6", "int8", "int4", "fp4"]

PRECISIONS: tuple[Precision, ...] = get_args(Precision)

_EMBEDDED = frozenset({"module", "usb"})
"""Form factors."""


@dataclass(frozen=True, slots=True)
class Fact(Generic[Value_co]):
    """A value, who says so, and whether it was read there. What isn't verified may be shown as such, and never decides alone."""

    value: Value_co
    source: str
    verified: bool


@dataclass(frozen=True, slots=True)
class MigProfile:
    """A part of a device that MIG can cut: its memory, and its part of the compute units and of the bandwidth of the device without MIG."""

    name: str = key(doc="as nvidia-smi prints it", pattern=r"[0-9]+g\.[0-9]+gb")
    memory_bytes: float = key(doc="its memory", minimum=1e8, maximum=1e13)
    compute_ratio: float = key(doc="its part of the compute units", above=0, maximum=1)
    bandwidth_ratio: float = key(doc="its part of the bandwidth", above=0, maximum=1)


@dataclass(frozen=True, slots=True)
class Device:
    """One kind of device, as a management library shows it. `match`: products as the library prints them, `*` standing for anything.

    None: not known, or not published. `dense_flops`: operations a second by precision, peak, without sparsity. `precisions`: what its units
    compute natively; a precision may be there without a rate. `power_limit_watts`: as it ships. `memory_bytes`: as advertised.
    `source`: of the facts as a whole.
    """

    name: str
    match: tuple[str, ...]
    architecture: str | None
    form_factor: str | None
    memory_bytes: Fact[float] | None
    memory_bandwidth_bytes_per_second: Fact[float] | None
    dense_flops: Mapping[Precision, Fact[float]] = field(hash=False)
    power_limit_watts: Fact[float] | None
    precisions: Fact[tuple[Precision, ...]] | None
    mig_profiles: Fact[tuple[MigProfile, ...]] | None
    source: str
    note: str | None = None

    @property
    def is_embedded(self) -> bool:
        """Whether it is part of a board or hangs at a port, and isn't a data centre's or a workstation's."""
        return self.form_factor in _EMBEDDED

    def rate(self, precision: str | None) -> Fact[float] | None:
        """Its peak in a precision, in operations a second; None: not known, or in none."""
        return next((fact for name, fact in self.dense_flops.items() if name == precision), None)

    @property
    def facts(self) -> Mapping[str, Fact[Any]]:
        """Every fact that is known, by its dotted name, such as `dense_flops.fp8`."""
        return dict(self._facts())

    @property
    def verified(self) -> bool:
        """Whether every fact that is known was verified."""
        return all(fact.verified for fact in self.facts.values())

    def _facts(self) -> Iterator[tuple[str, Fact[Any]]]:
        for name in SINGLE_FACTS:
            if (fact := getattr(self, name)) is not None:
                yield name, fact
        for precision in PRECISIONS:
            if precision in self.dense_flops:
                yield f"dense_flops.{precision}", self.dense_flops[precision]


SINGLE_FACTS = ("memory_bytes", "memory_bandwidth_bytes_per_second", "power_limit_watts", "precisions", "mig_profiles")
"""The facts of which a device has one each: all but its rates."""
