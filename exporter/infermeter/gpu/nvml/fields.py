"""Values that the library tells by number, several with one call. Each has a return code of its own."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Mapping
from typing import Final, TypeAlias

import pynvml

from infermeter.gpu.nvml.calls import GONE, Untyped

Field: TypeAlias = tuple[int, int]
"""Number (NVML_FI_*) and scope; most have none, which is 0."""

_ANSWER: Final = struct.Struct("=IIqqII8s")
"""nvmlFieldValue_t as it lies in memory: the binding's own looks at the type of each member at each access."""

_VALUES: Final = {
    pynvml.NVML_VALUE_TYPE_DOUBLE: struct.Struct("=d"),
    pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: struct.Struct("=I4x"),
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG: struct.Struct("=Q"),
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: struct.Struct("=Q"),
    pynvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: struct.Struct("=q"),
    pynvml.NVML_VALUE_TYPE_SIGNED_INT: struct.Struct("=i4x"),
    pynvml.NVML_VALUE_TYPE_UNSIGNED_SHORT: struct.Struct("=H6x"),
}
"""Its value, by type. Source: NVML API reference, nvmlValueType_t and nvmlValue_t."""


class FieldBatch:
    """Some fields of one device, read with one call."""

    def __init__(self, library: Untyped, handle: Untyped, wanted: Iterable[Field]) -> None:
        self._library = library
        self._handle = handle
        self._wanted = list(wanted)

    def keep(self, wanted: Collection[Field]) -> None:
        """Asks for no others from now on."""
        self._wanted = [field for field in self._wanted if field in wanted]

    def ask(self) -> Mapping[Field, float]:
        """Those that answer, in the library's units. Raises: NVMLError if the call fails, or one says that the device is gone."""
        if not self._wanted:
            return {}
        told = self._library.nvmlDeviceGetFieldValues(self._handle, self._wanted)
        values: dict[Field, float] = {}
        for field, (_, _, _, _, kind, code, value) in zip(self._wanted, _ANSWER.iter_unpack(told), strict=True):
            if code == pynvml.NVML_SUCCESS and kind in _VALUES:
                (values[field],) = _VALUES[kind].unpack(value)
            elif code in _LOST:
                raise pynvml.NVMLError(code)
        return values


_LOST: Final = GONE - {pynvml.NVML_ERROR_INVALID_ARGUMENT}
"""Of one field, an invalid argument is a number that the driver doesn't know."""
