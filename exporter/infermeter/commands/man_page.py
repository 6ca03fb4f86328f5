"""The manual page, in man(7)'s macros, made of the parser that the program itself reads its arguments with."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from infermeter import __version__
from infermeter.commands.command_line import Argument, Command

_ENVIRONMENT = (
    ("INFERMETER_CONFIG", "the configuration file, where --config isn't given"),
    ("INFERMETER_SERVER_NAME", "the server label, where server.name isn't set"),
    ("INFERMETER_LOG_LEVEL", "overrides log.level"),
    ("NVIDIA_VISIBLE_DEVICES", "which GPUs are the server's, where server.gpus is auto and neither the kubelet nor server.pid tells"),
    ("NOTIFY_SOCKET, WATCHDOG_USEC", "set by systemd"),
)
_EXIT = (("0", "done, also after SIGTERM"), ("1", "a failure at run time"), ("2", "wrong use or configuration"), ("130", "interrupted"))
_SIGNALS = (
    ("SIGTERM, SIGINT", "serve takes what was accepted, settles, saves its state and ends"),
    ("SIGHUP", "serve reads its configuration anew"),
)


_WIDTH = 66
"""Of lines of text in the source: 80 bytes at most when characters are written as escapes."""


def man_page(program: Command) -> str:
    """The page, `infermeter(1)`."""
    lines = [
        f'.TH INFERMETER 1 "" "infermeter {__version__}" "User Commands"',
        ".SH NAME",
        rf"infermeter \- {_roff('cost per inference at the SLA, for Prometheus')}",
        ".SH SYNOPSIS",
        *[line for command in program.all() if command.path for line in _synopsis(command)][1:],
        ".SH DESCRIPTION",
        _roff(program.summary),
        ".PP",
        _roff("Without a command it is serve."),
        *_section("OPTIONS", [(_usage(option), option.summary) for option in program.options]),
        ".SH COMMANDS",
        *(line for command in program.all() if command.path for line in _command(command)),
        *_section("ENVIRONMENT", _ENVIRONMENT),
        *_section("SIGNALS", _SIGNALS),
        *_section("EXIT STATUS", _EXIT),
    ]
    return "\n".join(lines) + "\n"


def _synopsis(command: Command) -> Iterator[str]:
    yield ".br"
    yield f".B infermeter {_roff(command.path)}"
    yield "\n".join(_in_usage(argument) for argument in (*command.options, *command.positionals) if argument.names != ("-h", "--help"))


def _in_usage(argument: Argument) -> str:
    if not argument.names:
        return rf"\fI{_roff(_value(argument))}\fR" + (" ..." if argument.several else "")
    usage = _usage(argument, (argument.names[-1],))
    return usage if argument.required else f"[{usage}]"


def _usage(option: Argument, names: tuple[str, ...] = ()) -> str:
    shown = ", ".join(rf"\fB{_roff(name)}\fR" for name in names or option.names)
    return shown + (rf" \fI{_roff(_value(option))}\fR" if option.value else "") + (" ..." if option.several else "")


def _value(argument: Argument) -> str:
    return "|".join(argument.choices) if argument.choices else argument.value


def _command(command: Command) -> Iterator[str]:
    yield rf".SS infermeter {_roff(command.path)}"
    yield _text(command.summary)
    for argument in (*command.positionals, *command.options):
        if argument.names != ("-h", "--help"):
            yield ".TP"
            yield _usage(argument) if argument.names else rf"\fI{_roff(_value(argument))}\fR"
            yield _text(argument.summary)
    if command.closing:
        heading, _, examples = command.closing.partition("\n")
        yield from (".PP", _roff(heading), ".PP", ".nf", ".RS", _roff(textwrap.dedent(examples)), ".RE", ".fi")


def _section(title: str, entries: list[tuple[str, str]] | tuple[tuple[str, str], ...]) -> Iterator[str]:
    yield f".SH {title}"
    for name, text in entries:
        yield from (".TP", name if name.startswith("\\") else rf"\fB{_roff(name)}\fR", _text(text))


def _text(text: str) -> str:
    """Running text, in lines that tools for roff like."""
    return _roff(textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False))


def _roff(text: str) -> str:
    r"""Text that roff takes literally: no line is a request, a hyphen is one that can be copied."""
    escaped = (
        text.replace("\\", r"\e")
        .replace("-", r"\-")
        .replace("`", r"\(ga")
        .replace("'", r"\(aq")
        .replace("~", r"\(ti")
        .replace("^", r"\(ha")
    )
    return "\n".join(rf"\&{line}" if line.startswith(".") else line for line in escaped.split("\n"))
