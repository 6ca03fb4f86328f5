"""What every test sees: no configuration or log handler of anything else, and hypothesis without deadlines.

The examples are the same in every run; `--hypothesis-profile=explore` looks for new ones.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

PATIENT = (HealthCheck.too_slow, HealthCheck.filter_too_much)
"""A busy machine is no fault of a test, nor is a draw of many configurations that contradict themselves."""


def pytest_make_parametrize_id(val: object) -> str | None:
    """Bytes are named by their length: what gzip writes holds the time, and each process of the suite must see the same names."""
    return f"{len(val)}_bytes" if isinstance(val, bytes) else None


settings.register_profile("fast", deadline=None, max_examples=50, derandomize=True, suppress_health_check=PATIENT)
settings.register_profile("explore", deadline=None, max_examples=1000, suppress_health_check=PATIENT)
settings.load_profile("fast")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "INFERMETER_CONFIG",
        "INFERMETER_SERVER_NAME",
        "INFERMETER_LOG_LEVEL",
        "NVIDIA_VISIBLE_DEVICES",
        "NODE_NAME",
        "POD_NAME",
        "POD_NAMESPACE",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _no_log_handler_outlives_its_test() -> Iterator[None]:
    """A command sends its log to standard error, which is another one in each test."""
    root, program = logging.getLogger(), logging.getLogger("infermeter")
    handlers, levels = root.handlers[:], (root.level, program.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    program.setLevel(levels[1])
