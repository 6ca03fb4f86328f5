"""Which decoder of protobuf exports there is."""

from __future__ import annotations

import logging

from infermeter.model import SpanFilter
from infermeter.otlp.decoder import Decoder
from infermeter.otlp.kernel import load
from infermeter.otlp.plain import Plain

log = logging.getLogger(__name__)


def best_decoder(wanted: SpanFilter) -> Decoder:
    """The compiled one where it is installed, else the one that is there everywhere. Their results are equal."""
    return load(wanted, unfit=lambda why: log.warning("the compiled decoder isn't used: %s", why)) or Plain(wanted)


def tell(decoder: Decoder) -> None:
    """Says in the log which it is."""
    log.info("exports are decoded by %s", "protobuf and numpy" if isinstance(decoder, Plain) else "the compiled decoder")
