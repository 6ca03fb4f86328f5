"""Infermeter: the meter on AI inference servers."""

__version__ = "0.1.0"

__revision__ = ""
"""The commit that an image was built from, written here by its build; empty in a checkout."""
