"""Where a recording comes from that a mapping was tried with."""

from typing import Final

ORIGINS: Final = ("captured", "published", "derived from source")
"""A real server sent it; somebody else's recording; written after reading the server's code, never called measured."""
