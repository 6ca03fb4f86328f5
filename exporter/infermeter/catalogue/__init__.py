"""Facts about devices, as package data with their sources. Pure."""
