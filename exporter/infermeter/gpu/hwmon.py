"""The GPU of a board that has no management library for it (Jetson): the power rail that feeds it, and the driver's load.

Not run on hardware: laid out from NVIDIA's and the kernel's documentation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from infermeter.errors import GpuUnavailable, Unavailable
from infermeter.gpu.columns import BY_NAME
from infermeter.gpu.source import Choose, Seen
from infermeter.model import GpuIdentity, GpuSample, Rejection
from infermeter.rails import Board, Rail, board_of, entries_of, number_in, rails_below, text_in

LOADS: Final = ("sys/devices/gpu.0/load", "sys/devices/platform/gpu.0/load", "sys/devices/platform/17000000.gpu/load")
"""Per mille of the last moments in which the GPU was busy. Source: NVIDIA Jetson Linux Developer Guide, "To check the GPU load"; the
address is Orin's under JetPack 6."""

DEVFREQ: Final = "sys/class/devfreq"
_GPU_NODES: Final = ("gpu", "gm20b", "gp10b", "gv11b", "ga10b")
"""What the nodes of Tegra's GPUs are called in /sys/class/devfreq, each with its `load`, on the releases between."""

MODEL: Final = "proc/device-tree/model"


class HwmonSource:
    """One device: the GPU rail of a known board. Where that rail feeds more than the GPU, its power scope says so."""

    name = "hwmon"

    def __init__(self, root: Path, *, choose: Choose) -> None:
        """`root` is where the file system begins."""
        self.asking: str | None = None
        self._root = root
        self._choose = choose
        self._rail: Rail | None = None
        self._load: Path | None = None
        self._uuid: str | None = None
        self._rejected: Counter[Rejection] = Counter()

    @property
    def rejected(self) -> Mapping[Rejection, int]:
        """Readings that failed, and values that are absurd."""
        return self._rejected

    def open(self) -> tuple[GpuIdentity, ...]:
        """The GPU. Raises: GpuUnavailable (no known board), ConfigError."""
        rails = rails_below(self._root)
        known = board_of(rails)
        if known is None:
            chips = ", ".join(sorted({rail.chip for rail in rails})) or "none"
            raise GpuUnavailable(f"hwmon: no board whose GPU rail is known; chips that tell power: {chips}")
        board, by_label = known
        rail = by_label[board.gpu]
        identities = self._choose(Seen((self._identity(board, rail),)))
        self._rail, self._load = rail, self._load_file()
        self._uuid = identities[0].uuid if identities else None
        return identities

    def read(self, now_ns: int, *, without: Collection[str] = ()) -> Sequence[GpuSample]:
        """One sample, if the GPU is chosen and to be asked. Raises: GpuUnavailable."""
        uuid, rail = self._uuid, self._rail
        if uuid is None or rail is None or uuid in without:
            return ()
        self.asking = uuid
        try:
            told = {"power_watts": rail.watts(), "energy_joules": rail.joules(), "utilisation_ratio": self._utilisation()}
        except Unavailable as error:
            self._rejected["read"] += 1
            raise GpuUnavailable(f"hwmon: {error}") from error
        finally:
            self.asking = None
        known = {name: value for name, value in told.items() if value is not None}
        sane: dict[str, Any] = {name: value for name, value in known.items() if BY_NAME[name].holds(value)}
        if absurd := len(known) - len(sane):
            self._rejected["outlier"] += absurd
        return (GpuSample(uuid, now_ns, **sane),)

    def close(self) -> None:
        """Nothing to let go of."""
        self._uuid = self._rail = self._load = None

    def _identity(self, board: Board, rail: Rail) -> GpuIdentity:
        product = None
        with suppress(Unavailable):
            product = text_in(self._root / MODEL) or None
        return GpuIdentity(
            f"hwmon-{rail.chip}-{rail.label}",
            index=0,
            product=product,
            source=self.name,
            energy="integrated" if rail.energy is None else "counter",
            power_kind="instant",
            power_scope="gpu" if board.gpu_alone else "module",
        )

    def _load_file(self) -> Path | None:
        """Where the GPU's load can be read; None: nowhere."""
        nodes = [node for node in entries_of(self._root / DEVFREQ) if any(part in _GPU_NODES for part in node.name.split("."))]
        candidates = [*(self._root / load for load in LOADS), *(node / "device/load" for node in nodes)]
        return next((file for file in candidates if file.exists()), None)

    def _utilisation(self) -> float | None:
        """Absent where it can't be read: power is told all the same."""
        if self._load is None:
            return None
        with suppress(Unavailable):
            return number_in(self._load) / 1000
        return None
