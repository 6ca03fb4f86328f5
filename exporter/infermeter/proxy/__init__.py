"""A reverse proxy that makes a span for each inference, for servers that have none: `infermeter proxy`."""

from infermeter.proxy.delivery import otlp_exporter
from infermeter.proxy.server import ProxyServer
from infermeter.proxy.spans import Spans

__all__ = ["ProxyServer", "Spans", "otlp_exporter"]
