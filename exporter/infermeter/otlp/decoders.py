"""Which decoder of protobuf exports there is."""

from __future__ import annotations

import logging

from infermeter.model import SpanFilter
from infermeter.otlp.decoder import Decoder
from infermeter.otlp.kernel import load
from infermeter.otlp.plain import Plain

log = logging.getLogger(__name__)


def best_decoder(wanted: SpanFilter) -> Decoder:
    """The compiled one where it is installed, else the one that is there everywhere; the log tells which. Their results are equal."""
    kernel = load(wanted, unfit=lambda why: log.warning("the compiled decoder isn't used: %s", why))
    log.info("exports are decoded by %s", "protobuf and numpy" if kernel is None else "the compiled decoder")
    return kernel or Plain(wanted)
