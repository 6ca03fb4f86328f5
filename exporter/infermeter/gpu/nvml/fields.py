"""Values that the library tells by number, several with one call. Each has a return code of its own."""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Iterable, Mapping
from typing import Final, TypeAlias

import pynvml

from infermeter.gpu.nvml.calls import GONE, Untyped

Field: TypeAlias = tuple[int, int]
"""Number (NVML_FI_*) and scope; most have none, which is 0."""

_MEMBERS: Final = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
"""Which member of the union holds the value, by NVML_VALUE_TYPE_*."""


class _Answer(ctypes.Structure):
    """A c_nvmlFieldValue_t as it lies in memory: the binding's own looks at the type of each member at each access."""

    _fields_ = pynvml.c_nvmlFieldValue_t._fields_


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
        answers = (_Answer * len(self._wanted)).from_buffer(told)
        values: dict[Field, float] = {}
        for field, answer in zip(self._wanted, answers, strict=True):
            code = answer.nvmlReturn
            if code == pynvml.NVML_SUCCESS and answer.valueType < len(_MEMBERS):
                values[field] = getattr(answer.value, _MEMBERS[answer.valueType])
            elif code in _LOST:
                raise pynvml.NVMLError(code)
        return values


_LOST: Final = GONE - {pynvml.NVML_ERROR_INVALID_ARGUMENT}
"""Of one field, an invalid argument is a number that the driver doesn't know."""
