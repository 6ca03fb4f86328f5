"""Prometheus' text format, read: the library does it, of the lines whose names are wanted."""
