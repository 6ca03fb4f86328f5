"""NVIDIA's management library. pynvml is wrapped here: its untyped values don't leave this package, nor do its units.

Every value is optional: what a device doesn't support is asked for once, and again only when the device is taken hold of anew.
"""

from infermeter.gpu.nvml.source import NvmlSource

__all__ = ["NvmlSource"]
