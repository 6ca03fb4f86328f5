"""Readings of the rest of the machine: what the host draws besides its GPUs. One file a source; nothing here knows of costs."""
