"""Infermeter: the meter on AI inference servers."""

__version__ = "0.1.0"
