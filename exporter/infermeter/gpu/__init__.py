"""GPU readings: one reader a source behind one small Protocol. Units are converted here and nowhere else.

What lives here: sources (NVML, a played recording, simulated), the thread that reads them, the choice of the server's own devices,
and recorded power files. What must not: anything that knows of spans, prices or metrics.
"""

from infermeter.gpu.source import GpuSource, Reading

__all__ = ["GpuSource", "Reading"]
