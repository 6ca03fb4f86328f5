"""Which decoder is chosen, and that the log tells it."""

from __future__ import annotations

import logging
import sys
from types import ModuleType

import pytest

from infermeter.otlp.decoders import best_decoder, tell
from infermeter.otlp.kernel import Kernel
from infermeter.otlp.plain import Plain
from support.compiled_kernel import FLAGS, SOURCES, compiled
from unit.otlp.exports import wants


def test_where_nothing_is_compiled_or_fit_the_one_that_is_there_everywhere_is_chosen(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setitem(sys.modules, "infermeter_kernel", None)
    decoder = best_decoder(wants())
    assert isinstance(decoder, Plain)
    assert caplog.messages == []
    tell(decoder)
    assert caplog.messages == ["exports are decoded by protobuf and numpy"]
    caplog.clear()
    monkeypatch.setitem(sys.modules, "infermeter_kernel", ModuleType("infermeter_kernel"))
    assert isinstance(best_decoder(wants()), Plain)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_the_compiled_one_is_chosen_where_it_is(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    package = ModuleType("infermeter_kernel")
    package.LIBRARY = compiled(SOURCES, flags=FLAGS)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "infermeter_kernel", package)
    decoder = best_decoder(wants())
    assert isinstance(decoder, Kernel)
    tell(decoder)
    assert caplog.messages == ["exports are decoded by the compiled decoder"]
