"""GPUs on other exporters' pages, over real HTTP: what they say is what /metrics says, and nothing is made up when they don't."""

from __future__ import annotations

import asyncio
import gzip
import logging
import time
from pathlib import Path

import pytest

from infermeter.config import Gpu
from infermeter.errors import GpuUnavailable
from infermeter.gpu.source import GpuSource
from infermeter.gpu.sources import gpu_source
from support.patience import SOON_SECONDS
from support.peer import Answer, Peer, answer, dripping
from support.running import Clock, running, until, value

RECORDINGS = Path(__file__).parents[2] / "recordings"
NOW_NS = 1_795_401_860_000_000_000
MIB = 2**20
BUSY, QUIET = "GPU-5d1c0000-5e1f-4000-8000-000000000000", "GPU-5d1c0001-5e1f-4000-8000-000000000001"
H100 = "GPU-5d1c0003-5e1f-4000-8000-000000000003"
L4 = "GPU-5d1c0004-5e1f-4000-8000-000000000004"
DCGM, MIG, TRITON = ((RECORDINGS / name).read_text() for name in ("dcgm-exporter.txt", "dcgm-mig.txt", "triton-gpu.txt"))
BUSY_MILLIJOULES, QUIET_MILLIJOULES, MIG_MILLIJOULES = "55018227615", "8123450125", "41000000000"


def page(text: str) -> Answer:
    return answer(text.encode())


async def asked(peer: Peer) -> None:
    """Until a reading that began after this was called asks the peer."""
    until_then = len(peer.requests) + 2
    async with asyncio.timeout(SOON_SECONDS):
        while len(peer.requests) < until_then:  # noqa: ASYNC110 - another thread asks
            await asyncio.sleep(0.01)


def settings(peer: Peer, source: str = "dcgm") -> str:
    return f'server: {{kind: triton, name: test}}\ngpu: {{source: {source}, url: "{peer.url}", interval: 20ms, hardware: true}}\n'


def test_what_dcgm_exporter_says_is_what_metrics_says_in_its_units() -> None:
    async def told() -> tuple[str, str]:
        clock = Clock(NOW_NS)
        with Peer(page(DCGM)) as peer:
            async with running(settings(peer), clock) as sidecar:
                first = await until(sidecar, lambda text: value(text, "gpu_up") == 2)
                clock.turn(2.0)
                await asked(peer)
                peer.answers = page(DCGM.replace(BUSY_MILLIJOULES, "55018927865").replace(QUIET_MILLIJOULES, "8123592625"))
                grown = await until(sidecar, lambda text: (value(text, "gpu_energy_joules_total", gpu_uuid=QUIET) or 0) > 0)
        return first, grown

    text, grown = asyncio.run(told())

    identity = {"product": "NVIDIA H100 80GB HBM3", "driver_version": "580.65.06", "source": "dcgm", "energy": "counter"}
    assert value(text, "gpu_info", gpu_uuid=BUSY, index="0", **identity) == 1
    assert value(text, "gpu_source_up", source="dcgm") == 1
    assert [value(text, "gpu_power_watts", gpu_uuid=uuid) for uuid in (BUSY, QUIET)] == [361.527, 71.25]
    assert [value(text, "gpu_utilisation_ratio", gpu_uuid=uuid) for uuid in (BUSY, QUIET)] == [0.87, 0]
    assert value(text, "gpu_memory_used_bytes", gpu_uuid=BUSY) == 71_234 * MIB
    assert value(text, "gpu_memory_total_bytes", gpu_uuid=BUSY) == (71_234 + 9_324 + 1_001) * MIB
    assert value(text, "gpu_tensor_active_ratio", gpu_uuid=BUSY) == 0.3125
    assert value(text, "gpu_dram_active_ratio", gpu_uuid=BUSY) == 0.625
    assert value(text, "gpu_sm_active_ratio") is None
    assert value(text, "gpu_temperature_celsius", gpu_uuid=BUSY) == 54
    assert value(text, "gpu_sm_clock_hertz", gpu_uuid=BUSY) == 1.98e9
    assert value(text, "gpu_energy_joules_total", gpu_uuid=BUSY) == 0
    assert value(grown, "gpu_energy_joules_total", gpu_uuid=BUSY) == pytest.approx(700.25)
    assert value(grown, "gpu_energy_joules_total", gpu_uuid=QUIET) == pytest.approx(142.5)
    assert value(grown, "gpu_readings_rejected_total") in (None, 0)


def test_a_page_that_stands_still_leaves_its_gpus_stale_and_adds_no_energy() -> None:
    async def told() -> str:
        clock = Clock(NOW_NS)
        with Peer(page(DCGM)) as peer:
            async with running(settings(peer), clock) as sidecar:
                await until(sidecar, lambda text: value(text, "gpu_up") == 2)
                clock.turn(30.0)
                await asked(peer)
                return await until(sidecar, lambda text: value(text, "gpu_up") == 0)

    text = asyncio.run(told())

    assert value(text, "gpu_source_up", source="dcgm") == 1
    assert value(text, "gpu_energy_joules_total") == 0


def test_an_exporter_that_is_away_is_a_state_and_what_it_counted_meanwhile_is_there_when_it_is_back() -> None:
    async def told() -> tuple[str, str]:
        clock = Clock(NOW_NS)
        with Peer(page(DCGM)) as peer:
            async with running(settings(peer), clock) as sidecar:
                await until(sidecar, lambda text: value(text, "gpu_up") == 2)
                peer.answers = answer(b"", status="503 Service Unavailable")
                down = await until(sidecar, lambda text: value(text, "gpu_source_up") == 0)
                clock.turn(20.0)
                await asked(peer)
                peer.answers = page(DCGM.replace(BUSY_MILLIJOULES, "55025227615"))
                return down, await until(sidecar, lambda text: (value(text, "gpu_energy_joules_total", gpu_uuid=BUSY) or 0) > 0)

    down, back = asyncio.run(told())

    assert value(down, "gpu_energy_joules_total") == 0
    assert value(back, "gpu_source_up", source="dcgm") == 1
    assert value(back, "gpu_energy_joules_total", gpu_uuid=BUSY) == pytest.approx(7_000)
    assert value(back, "gpu_energy_joules_total", gpu_uuid=QUIET) == 0


def test_a_page_that_never_ends_is_a_state_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def told() -> str:
        with Peer(page(DCGM)) as peer:
            config = settings(peer).replace("interval: 20ms", "interval: 20ms, timeout: 200ms")
            async with running(config, Clock(NOW_NS)) as sidecar:
                await until(sidecar, lambda text: value(text, "gpu_source_up") == 1)
                peer.answers = dripping(b"HTTP/1.1 200 OK\r\n\r\n#", until=peer.ending)
                await until(sidecar, lambda text: value(text, "gpu_source_up") == 0)
                await asked(peer)
                peer.answers = page(DCGM)
                return await until(sidecar, lambda text: value(text, "gpu_source_up") == 1)

    with caplog.at_level(logging.WARNING):
        asyncio.run(told())
    told_of_gpus = [record.getMessage() for record in caplog.records if "GPU source" in record.getMessage()]
    assert len(told_of_gpus) == 1
    assert told_of_gpus[0].endswith(": no whole answer within 0.18 s")


def test_instances_of_one_device_are_told_as_modelled_and_share_its_joules() -> None:
    async def told() -> str:
        clock = Clock(NOW_NS)
        with Peer(page(MIG)) as peer:
            async with running(settings(peer), clock) as sidecar:
                await until(sidecar, lambda text: value(text, "gpu_up") == 3)
                clock.turn(2.0)
                await asked(peer)
                peer.answers = page(MIG.replace(MIG_MILLIJOULES, "41000560000"))
                return await until(sidecar, lambda text: (value(text, "gpu_energy_joules_total") or 0) > 559)

    text = asyncio.run(told())

    assert value(text, "gpu_info", energy="modelled", product="NVIDIA H100 80GB HBM3 MIG 3g.40gb", gpu_uuid=f"{H100}/1") == 1
    assert value(text, "gpu_energy_joules_total") == pytest.approx(560)
    assert value(text, "gpu_energy_joules_total", gpu_uuid=f"{H100}/1") == pytest.approx(420)
    assert value(text, "gpu_power_watts") == pytest.approx(280)


def test_tritons_own_readings_are_a_source() -> None:
    async def told() -> str:
        clock = Clock(NOW_NS)
        with Peer(page(TRITON)) as peer:
            async with running(settings(peer, "triton"), clock) as sidecar:
                await until(sidecar, lambda text: value(text, "gpu_up") == 1)
                clock.turn(2.0)
                await asked(peer)
                peer.answers = page(TRITON.replace("12345.678", "12465.678"))
                return await until(sidecar, lambda text: (value(text, "gpu_energy_joules_total") or 0) > 0)

    text = asyncio.run(told())

    assert value(text, "gpu_info", gpu_uuid=L4, source="triton", energy="counter") == 1
    assert value(text, "gpu_power_watts", gpu_uuid=L4) == 58.625
    assert value(text, "gpu_power_limit_watts", gpu_uuid=L4) == 72
    assert value(text, "gpu_energy_joules_total", gpu_uuid=L4) == pytest.approx(120)


def source(peer: Peer) -> GpuSource:
    gpus = gpu_source(Gpu(source="dcgm", url=peer.url, timeout=0.3), busy_share=lambda *_: 0.0)
    assert gpus is not None
    return gpus


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (answer(b"\x00\xff\n" * 500), "no DCGM_FI_DEV_"),
        (page(DCGM.replace("} 361.527000", "} 361,527")), "not in Prometheus' text format"),
        (answer(DCGM.encode()[:3_000], told_bytes=9_000), "cut off"),
        (page(DCGM[:3_000]), "cut off"),
        (answer(gzip.compress(DCGM.encode())[:400], "Content-Encoding: gzip"), "cut off"),
        (answer(gzip.compress(b"# \n" * (6 << 20)), "Content-Encoding: gzip"), "larger than 16777216 bytes"),
        (answer(b"<html>", status="404 Not Found"), "HTTP 404"),
        (answer(b"", "Location: /", status="301 Moved"), "not followed"),
        (page(TRITON), "no DCGM_FI_DEV_"),
    ],
    ids=["garbage", "garbled", "truncated", "cut", "gzip cut", "bomb", "missing", "moved", "another page"],
)
def test_a_wrong_page_is_unavailable_and_the_next_right_one_is_read(wrong: Answer, text: str) -> None:
    with Peer(page(DCGM)) as peer:
        gpus = source(peer)
        gpus.open()
        peer.answers = wrong
        with pytest.raises(GpuUnavailable, match=text):
            gpus.read(NOW_NS)
        gpus.close()
        peer.answers = page(DCGM)
        gpus.open()
        assert len(gpus.read(NOW_NS + 1)) == 2


def test_a_page_that_drips_costs_the_time_out_and_no_more() -> None:
    with Peer(page(DCGM)) as peer:
        gpus = source(peer)
        gpus.open()
        peer.answers = dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n#", until=peer.ending)
        began = time.monotonic()
        with pytest.raises(GpuUnavailable, match=r"no whole answer within 0\.27 s"):
            gpus.read(NOW_NS)
        assert 0.27 <= time.monotonic() - began < 3
