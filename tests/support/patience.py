"""How long a test waits for what should happen at once."""

from typing import Final

SOON_SECONDS: Final = 60.0
"""Until a test gives up: machines that run tests may be busy."""
