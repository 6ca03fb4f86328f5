"""The library of the compiled kernel (exporter/kernel) as it is called: its functions, and the memory in which it keeps its state.

It allocates nothing itself. It is called with the interpreter held, for a call is shorter than giving that away.
"""

from __future__ import annotations

import ctypes
import mmap
from importlib import import_module
from pathlib import Path
from secrets import randbits
from struct import Struct
from typing import Any, Final, NamedTuple

import numpy as np

INTERFACE: Final = 1
"""Of the library that this is written for: names, arguments, and what stands where in its state."""

USUAL, NEW_NAMES = 0, 1
"""What judging an export comes to; anything else is unusual."""

MOST_NEW: Final = 32
"""Names that are told at a time."""

MOST_LAYOUTS: Final = 64
MOST_KEYS: Final = 128
_PLACES: Final = 12
_FOUND = Struct("<12Q")


class UnfitError(Exception):
    """What is installed is no library for this program or this machine; it says why."""


class Library:
    """The functions of a library. Each takes the address of a state first."""

    def __init__(self, path: Path) -> None:
        """Raises: OSError, AttributeError: that is no such library."""
        library = ctypes.PyDLL(str(path))
        self.interface: int = library.infermeter_kernel_interface()
        self.places = library.infermeter_kernel_places
        self.begin = library.infermeter_kernel_begin
        self.layout = library.infermeter_kernel_layout
        self.name = library.infermeter_kernel_name
        self.forget = library.infermeter_kernel_forget
        self.check = library.infermeter_kernel_check
        self.outline = library.infermeter_kernel_outline
        self.extract = library.infermeter_kernel_extract
        address, octets, size, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint32
        self.places.argtypes, self.places.restype = [address], None
        self.begin.argtypes, self.begin.restype = [address, ctypes.c_uint64], None
        self.layout.argtypes, self.layout.restype = [address, octets, octets, number, number], number
        self.name.argtypes = [address, octets, size, octets, size, number]
        self.forget.argtypes, self.forget.restype = [address], None
        self.check.argtypes = self.outline.argtypes = [address, octets, size]
        self.extract.argtypes = [address, octets, size, number, number, number, address, size]


def installed() -> Library | None:
    """The library that is installed; None where there is none.

    Raises:
        UnfitError: it can't be called.
    """
    try:
        package: Any = import_module("infermeter_kernel")
    except ModuleNotFoundError:
        return None
    try:
        library = Library(package.LIBRARY)
    except (OSError, AttributeError) as error:
        raise UnfitError(f"infermeter-kernel can't be loaded: {error}") from None
    if library.interface != INTERFACE:
        raise UnfitError(f"infermeter-kernel has interface {library.interface}, and {INTERFACE} is needed")
    return library


class Found(NamedTuple):
    """What the last calls of a library found in a body; all but the numbers of things are offsets. `spans` includes the malformed.

    `new_names`: how many names need a layout. `outlined`: fit spans; `sections`: runs of them with one resource and scope.
    `events`, `event_names` are of the last batch, `texts` of all batches of a body.
    """

    spans: int
    malformed: int
    first_begin: int
    first_end: int
    last_begin: int
    last_end: int
    new_names: int
    outlined: int
    sections: int
    events: int
    event_names: int
    texts: int


class State:
    """The memory of a library, zeros at first, and columns in it.

    `fresh`: begin and end of the scope and of the name that need a layout. `told`: for each key of the last batch how many spans have it,
    and a bit for each type of its values. `sections`: begin and end of the resource and of the scope's name, and the number of spans.
    `layout_of` and `order` are by span, `texts` and `event_names` begin and end by number, `events` row, name and time.
    """

    def __init__(self, library: Library) -> None:
        places = (ctypes.c_uint64 * _PLACES)()
        library.places(places)
        size, fresh, told, section, span, layout_of, order, text, event_name, event_row, event_of, event_ns = places
        spans, texts, events = (layout_of - span) // 8, (event_name - text) // 8, (event_of - event_row) // 8
        self._memory = memory = mmap.mmap(-1, size)
        memory.madvise(mmap.MADV_NOHUGEPAGE)  # most of it is for what nobody sends, and takes no memory until somebody does
        self.fresh = np.ndarray((MOST_NEW, 4), np.uint32, memory, fresh)
        self.told = np.ndarray((MOST_KEYS, 2), np.uint32, memory, told)
        self.sections = np.ndarray((spans, 5), np.uint32, memory, section)
        self.layout_of = np.ndarray(spans, np.uint8, memory, layout_of)
        self.order = np.ndarray(spans, np.uint32, memory, order)
        self.texts = np.ndarray((texts, 2), np.uint32, memory, text)
        self.event_names = np.ndarray((events, 2), np.uint32, memory, event_name)
        self.events = tuple(np.ndarray(events, np.int64, memory, at) for at in (event_row, event_of, event_ns))
        self.at = self.fresh.ctypes.data - fresh
        library.begin(self.at, randbits(64))

    def found(self) -> Found:
        """What the last calls found."""
        return Found(*_FOUND.unpack_from(self._memory))
