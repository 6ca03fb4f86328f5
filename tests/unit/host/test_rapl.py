"""RAPL, on trees laid out as the kernel's documentation says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.errors import Unavailable
from infermeter.host.rapl import RaplSource, disjoint_zones
from support.sysfs import rapl_zone, write

SECOND = 10**9
DRAM_RANGE = 65_712_999_613


def server(root: Path) -> Path:
    """Two sockets with memory of their own, each shown through both registers."""
    for socket in (0, 1):
        rapl_zone(root, f"intel-rapl:{socket}", f"package-{socket}", 1_000_000)
        rapl_zone(root, f"intel-rapl:{socket}:0", "core", 600_000)
        rapl_zone(root, f"intel-rapl:{socket}:1", "dram", 100_000, DRAM_RANGE)
        rapl_zone(root, f"intel-rapl-mmio:{socket}", f"package-{socket}", 5)
    write(root, {"sys/class/powercap/intel-rapl/enabled": 1, "sys/class/powercap/dtpm/enabled": 0})
    return root


def joules(source: RaplSource, now_ns: int) -> float:
    energy = source.read(now_ns).energy_joules
    assert energy is not None
    return energy


def advance(root: Path, zone: str, microjoules: int) -> None:
    counter = root / "sys/class/powercap" / zone / "energy_uj"
    counter.write_text(f"{int(counter.read_text()) + microjoules}\n")


@contextmanager
def as_nobody(*unreadable: Path) -> Iterator[None]:
    """Without the rights of root, where the test has them."""
    for path in unreadable:
        path.chmod(0)
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_packages_and_their_memory_are_counted_once(tmp_path: Path) -> None:
    names = [zone.path.name for zone in disjoint_zones(server(tmp_path))]
    assert names == ["intel-rapl:0", "intel-rapl:1", "intel-rapl:0:1", "intel-rapl:1:1"]


def test_the_dies_of_a_package_are_counted_each(tmp_path: Path) -> None:
    for die in (0, 1):
        rapl_zone(tmp_path, f"intel-rapl:{die}", f"package-0-die-{die}", 0)
    assert len(disjoint_zones(tmp_path)) == 2


def test_a_package_that_only_the_second_registers_show_is_counted(tmp_path: Path) -> None:
    rapl_zone(tmp_path, "intel-rapl-mmio:0", "package-0", 0)
    rapl_zone(tmp_path, "intel-rapl-mmio:0:0", "dram", 0)
    assert [zone.path.name for zone in disjoint_zones(tmp_path)] == ["intel-rapl-mmio:0", "intel-rapl-mmio:0:0"]


def test_a_platform_zone_is_left_out_beside_packages(tmp_path: Path) -> None:
    rapl_zone(server(tmp_path), "intel-rapl:2", "psys", 0)
    assert "intel-rapl:2" not in [zone.path.name for zone in disjoint_zones(tmp_path)]


def test_a_platform_zone_speaks_where_no_package_does(tmp_path: Path) -> None:
    rapl_zone(tmp_path, "intel-rapl:0", "psys", 0)
    assert [zone.name for zone in disjoint_zones(tmp_path)] == ["psys"]


@pytest.mark.parametrize("zones", [{}, {"intel-rapl:0": "core"}])
def test_without_a_zone_of_a_processor_it_is_unavailable(zones: dict[str, str], tmp_path: Path) -> None:
    for zone, name in zones.items():
        rapl_zone(tmp_path, zone, name, 0)
    with pytest.raises(Unavailable, match=r"^RAPL: (this machine shows no zones|no zone of a processor) below .*sys/class/powercap$"):
        RaplSource(tmp_path).read(0)


def test_energy_is_the_sum_of_what_the_zones_counted(tmp_path: Path) -> None:
    source = RaplSource(server(tmp_path))
    first = source.read(0)
    assert (first.source, first.power_watts) == ("rapl", None)
    for zone, microjoules in {"intel-rapl:0": 150_000_000, "intel-rapl:1": 90_000_000, "intel-rapl:1:1": 10_000_000}.items():
        advance(tmp_path, zone, microjoules)
    advance(tmp_path, "intel-rapl:0:0", 77_000_000)
    advance(tmp_path, "intel-rapl-mmio:0", 150_000_000)
    assert joules(source, SECOND) - (first.energy_joules or 0.0) == pytest.approx(250.0)


def test_a_counter_that_wrapped_around_is_unwrapped(tmp_path: Path) -> None:
    source = RaplSource(rapl_zone(tmp_path, "intel-rapl:0", "package-0", DRAM_RANGE - 40_000_000, DRAM_RANGE))
    before = joules(source, 0)
    rapl_zone(tmp_path, "intel-rapl:0", "package-0", 60_000_000, DRAM_RANGE)
    assert joules(source, SECOND) - before == pytest.approx(100.0)


@given(st.lists(st.integers(0, 1_999_000_000), min_size=1, max_size=30), st.integers(0, DRAM_RANGE - 1))
def test_the_unwrapped_counter_follows_the_true_energy(tmp_path_factory: pytest.TempPathFactory, steps: list[int], start: int) -> None:
    root = tmp_path_factory.mktemp("rapl")
    source = RaplSource(rapl_zone(root, "intel-rapl:0", "package-0", start, DRAM_RANGE))
    before, true = joules(source, 0), start
    for second, step in enumerate(steps, 1):
        true += step
        rapl_zone(root, "intel-rapl:0", "package-0", true % DRAM_RANGE, DRAM_RANGE)
        after = joules(source, second * SECOND)
    assert after - before == pytest.approx(sum(steps) / 1e6, rel=1e-9, abs=1e-6)


def interrupted(source: RaplSource, now_ns: int, reason: str) -> None:
    with pytest.raises(Unavailable, match=reason):
        source.read(now_ns)


def test_an_interval_that_could_hold_two_turns_of_the_counter_is_unknown(tmp_path: Path) -> None:
    source = RaplSource(rapl_zone(tmp_path, "intel-rapl:0", "package-0", 0, DRAM_RANGE))
    before = joules(source, 0)
    interrupted(source, 60 * SECOND, "60 s between two reads; the counters may have wrapped around more than once")
    assert joules(source, 61 * SECOND) < before


def test_a_counter_that_began_anew_leaves_an_unknown_interval(tmp_path: Path) -> None:
    source = RaplSource(rapl_zone(tmp_path, "intel-rapl:0", "package-0", 30_000_000_000))
    before = joules(source, 0)
    rapl_zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    interrupted(source, SECOND, "a counter began anew")
    after = joules(source, 2 * SECOND)
    assert after < before
    advance(tmp_path, "intel-rapl:0", 80_000_000)
    assert joules(source, 3 * SECOND) - after == pytest.approx(80.0)


def test_a_counter_above_its_own_range_is_no_energy(tmp_path: Path) -> None:
    source = RaplSource(rapl_zone(tmp_path, "intel-rapl:0", "package-0", 2 * DRAM_RANGE, DRAM_RANGE))
    source.read(0)
    rapl_zone(tmp_path, "intel-rapl:0", "package-0", 1, DRAM_RANGE)
    interrupted(source, SECOND, "a counter began anew")


def test_every_beginning_is_below_all_that_was_told(tmp_path: Path) -> None:
    source = RaplSource(rapl_zone(tmp_path, "intel-rapl:0", "package-0", 0))
    told = [joules(source, 0)]
    for hour in range(1, 4):
        interrupted(source, hour * 3600 * SECOND, "more than once")
        told.append(joules(source, hour * 3600 * SECOND + 1))
    assert told == sorted(told, reverse=True)
    assert len(set(told)) == len(told)


def test_an_interval_over_which_the_clock_was_set_back_is_unknown(tmp_path: Path) -> None:
    source = RaplSource(server(tmp_path))
    source.read(10 * SECOND)
    interrupted(source, 9 * SECOND, "the clock was set back")


def test_an_interval_in_which_a_processor_came_is_unknown_and_the_next_counts_it(tmp_path: Path) -> None:
    source = RaplSource(rapl_zone(tmp_path, "intel-rapl:0", "package-0", 0))
    source.read(0)
    rapl_zone(tmp_path, "intel-rapl:1", "package-1", 123_000_000)
    interrupted(source, SECOND, "processors came or went")
    before = joules(source, 2 * SECOND)
    advance(tmp_path, "intel-rapl:1", 50_000_000)
    assert joules(source, 3 * SECOND) - before == pytest.approx(50.0)


def test_without_permission_it_says_what_to_do_and_counts_no_part() -> None:
    with TemporaryDirectory() as folder:
        root = server(Path(folder))
        root.chmod(0o755)
        with as_nobody(root / "sys/class/powercap/intel-rapl:1/energy_uj"), pytest.raises(Unavailable) as refused:
            RaplSource(root).read(0)
    text = str(refused.value)
    assert text.startswith("RAPL: no permission to read ")
    assert "intel-rapl:1/energy_uj" in text
    assert "DAC_READ_SEARCH" in text


def test_zones_that_a_container_masks_are_told_with_what_to_mount(tmp_path: Path) -> None:
    (tmp_path / "sys/class/powercap").mkdir(parents=True)
    (tmp_path / "sys/class/powercap/intel-rapl:0").symlink_to(tmp_path / "masked")
    with pytest.raises(
        Unavailable, match=r"mount the host's /sys/class/powercap and /sys/devices/virtual/powercap below host_power\.root$"
    ):
        RaplSource(tmp_path).read(0)


@pytest.mark.parametrize("missing", ["energy_uj", "max_energy_range_uj"])
def test_a_zone_that_tells_a_part_only_is_unavailable(missing: str, tmp_path: Path) -> None:
    source = RaplSource(server(tmp_path))
    if missing == "max_energy_range_uj":
        source.read(0)
    (tmp_path / "sys/class/powercap/intel-rapl:1" / missing).unlink()
    with pytest.raises(Unavailable, match=rf"^RAPL: .*{missing}: No such file or directory$"):
        source.read(SECOND)
