"""From spans to inferences, by rules that are data: one YAML file a server."""

from infermeter.mapping.mapper import Mapper
from infermeter.mapping.rules import ServerMapping
from infermeter.mapping.shipped import load_mappings, shipped_mappings

__all__ = ["Mapper", "ServerMapping", "load_mappings", "shipped_mappings"]
