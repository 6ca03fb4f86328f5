"""How calls of the library fail, and what of it may be passed over. No reading happens here."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final, TypeAlias, TypeVar

import pynvml

T = TypeVar("T")

Untyped: TypeAlias = Any
"""pynvml, a handle of it, or what it returns: nothing static is known of them."""

Fields: TypeAlias = dict[str, Any]
"""Values by the name of their field of a GpuSample, in its units."""

UNSUPPORTED: Final = frozenset(
    {
        pynvml.NVML_ERROR_NOT_SUPPORTED,
        pynvml.NVML_ERROR_NO_PERMISSION,
        pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
        pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
        pynvml.NVML_ERROR_DEPRECATED,
    }
)
"""Errors that say "never" of one value, and not "the device is in trouble"."""

GONE: Final = frozenset(
    {
        pynvml.NVML_ERROR_GPU_IS_LOST,
        pynvml.NVML_ERROR_GPU_NOT_FOUND,
        pynvml.NVML_ERROR_RESET_REQUIRED,
        pynvml.NVML_ERROR_INVALID_ARGUMENT,
        pynvml.NVML_ERROR_UNINITIALIZED,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
    }
)
"""Errors that say that this handle leads to no device any more: only a new one may."""

EMPTY: Final = frozenset({pynvml.NVML_SUCCESS, pynvml.NVML_ERROR_NOT_FOUND, pynvml.NVML_ERROR_NO_DATA})
"""Of a list: there is nothing in it. The binding raises success itself where a list of no length was offered."""


def optional(call: Callable[..., T], *arguments: Untyped) -> T | None:
    """What a call says, or None if it fails."""
    try:
        return call(*arguments)
    except pynvml.NVMLError:
        return None


def unless(errors: Collection[int], call: Callable[..., T], *arguments: Untyped) -> T | None:
    """What a call says, or None if it fails with one of `errors`. Raises: NVMLError for others."""
    try:
        return call(*arguments)
    except pynvml.NVMLError as error:
        if error.value not in errors:
            raise
        return None
