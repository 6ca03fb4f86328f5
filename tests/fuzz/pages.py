"""Pages that other processes expose: whatever is on them, what is made of it is finite and never negative, or they are Unavailable."""

from __future__ import annotations

from functools import cache
from math import isfinite

from fuzz.files import assert_line
from infermeter.errors import ConfigError, Unavailable
from infermeter.gpu.dcgm import DcgmSource
from infermeter.gpu.page import PageSource
from infermeter.gpu.source import every
from infermeter.gpu.triton import TritonSource
from infermeter.mapping import ServerMapping, load_mappings
from infermeter.network.exposition_text import series_of
from infermeter.scrape.increases import Counts
from infermeter.scrape.recognition import declared, recognised
from infermeter.scrape.succession import START_TIME, Succession, standing

NOW_NS = 1_795_401_860_000_000_000
STEP_NS = 5_000_000_000
MAPPINGS = tuple(mapping for mapping in load_mappings("auto", {}) if mapping.metrics)
PAGE_ENDS = b"\0"
"""What parts the pages that follow one another."""


def gpus(data: bytes) -> None:
    """Pages of dcgm-exporter, or of Triton's GPUs where they say so, one after the other."""
    pages = data.split(PAGE_ENDS)[:4]
    current = pages[0]

    def fetch() -> bytes:
        return current

    source: PageSource
    if data.startswith(b"# triton"):
        source = TritonSource(fetch, choose=every, hardware=True, interval_seconds=1.0)
    else:
        source = DcgmSource(fetch, choose=every, hardware=True, interval_seconds=1.0, profiling=True)
    try:
        source.open()
        for i, page in enumerate(pages):
            current = page
            for sample in source.read(NOW_NS + i * STEP_NS):
                told = [getattr(sample, name) for name in sample.__slots__]
                assert all(isfinite(value) and value >= 0 for value in told if isinstance(value, int | float))
    except (Unavailable, ConfigError) as error:
        assert_line(str(error))
    assert all(count >= 0 for count in source.rejected.values())


@cache
def reading(place: int) -> tuple[tuple[ServerMapping, ...], tuple[str, ...]]:
    """The mapping at this place, beyond the last all of them, and every metric that is read by them."""
    mappings = MAPPINGS[place : place + 1] or MAPPINGS
    return mappings, (START_TIME, *(name for mapping in mappings if mapping.metrics for name in mapping.metrics.names))


def server(data: bytes) -> None:
    """A server's own pages, one after the other, as the scraper takes them. The first byte says by which mapping; beyond them: by all."""
    mappings, names = reading(data[0] if data else 0)
    counts: Counts | None = None
    succession = Succession()
    before = None
    for i, page in enumerate(data[1:].split(PAGE_ENDS)[:4]):
        try:
            series = series_of(page, names)
        except Unavailable as error:
            assert_line(str(error))
            continue
        found = recognised(mappings, series) or declared(mappings, page)
        if found is None:
            continue
        now_ns = NOW_NS + i * STEP_NS
        succession.judge(standing(found[1], series, now_ns))
        counts = counts or Counts(found[1])
        totals = counts.add(series, now_ns)
        told = totals.since(before)
        before = totals
        assert all(isfinite(count) and count >= 0 for count in told.inferences.values())
        assert all(isfinite(count) and count >= 0 for counts_of in told.tokens.values() for count in counts_of.values())
        gauges = (told.running, told.waiting, told.batch_size, told.kv_cache_used_ratio, told.flops_per_gpu)
        assert all(isfinite(gauge) and gauge >= 0 for gauge in gauges if gauge is not None)
