"""Errors by whose fault they are. Foreign exceptions are translated into these once, at the edge; anything else is our own mistake."""

from __future__ import annotations


class ConfigError(Exception):
    """The operator's: `where` is a dotted path (or a file), `problem` one sentence. Exit 2."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}" if where else problem)
        self.where = where
        self.problem = problem


class ConfigErrors(Exception):
    """Every problem of one configuration, in the order of the file."""

    def __init__(self, problems: tuple[ConfigError, ...]) -> None:
        super().__init__("\n".join(str(p) for p in problems))
        self.problems = problems


class MappingError(ConfigError):
    """The operator's: a mapping file that doesn't fit the schema. Exit 2."""


class InputError(Exception):
    """The operator's: a recorded file that can't be read; `where` is name and offset or line. Exit 1."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}")
        self.where = where
        self.problem = problem


class ListenError(Exception):
    """The operator's: an address that is taken or isn't this machine's; `where` is its dotted path. Exit 1."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}")
        self.where = where
        self.problem = problem


class DecodeError(Exception):
    """The peer's: bytes that are no OTLP. The text never holds anything that the peer sent. 400 / INVALID_ARGUMENT."""


class TooLarge(DecodeError):
    """The peer's: more bytes than `limits` allow, as sent or unpacked. 413 / RESOURCE_EXHAUSTED."""


class Overloaded(Exception):
    """Nobody's: take it back and try again later. 503 / UNAVAILABLE, retryable."""


class Unavailable(Exception):
    """The surroundings': what is read from outside (a device, a file of the system, another server) doesn't answer, or says nonsense.

    A state, not a mistake: it is told once, shown, and asked again. The text never holds what a peer sent.
    """


class Answered(Unavailable):
    """The surroundings': it does answer, but not what is asked for. The text is a predicate: what it does, or is."""


class GpuUnavailable(Unavailable):
    """The machine's: no driver, no device, no permission. The program runs on without GPU families."""
