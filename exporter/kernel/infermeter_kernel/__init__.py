"""Where the library lies; infermeter/otlp/kernel_library.py calls it, and asks it for its interface."""

from pathlib import Path

LIBRARY = Path(__file__).with_name("kernel.so")
