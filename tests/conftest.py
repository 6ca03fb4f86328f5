"""What every test sees: no configuration of the machine that it runs on, and hypothesis without deadlines."""

from __future__ import annotations

import pytest
from hypothesis import settings

settings.register_profile("fast", deadline=None, max_examples=50)
settings.load_profile("fast")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("INFERMETER_CONFIG", "INFERMETER_SERVER_NAME", "INFERMETER_LOG_LEVEL", "NVIDIA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
