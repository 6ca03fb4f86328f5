"""`infermeter reference`: the references under docs/, and the manual page, as the program itself tells them."""

from __future__ import annotations

import argparse

from infermeter.advice.reference import findings_markdown
from infermeter.commands.command_line import command_of
from infermeter.commands.man_page import man_page
from infermeter.mapping.reference import servers_markdown
from infermeter.metrics.reference import metrics_markdown
from infermeter.parsing.reference import config_markdown

_REFERENCES = {"config": config_markdown, "findings": findings_markdown, "metrics": metrics_markdown, "servers": servers_markdown}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `reference`."""
    parser.epilog = (
        "examples:"
        "\n  infermeter reference config              every key of the configuration"
        "\n  infermeter reference man > infermeter.1  to be read with: man -l infermeter.1"
    )
    parser.add_argument("topic", choices=sorted([*_REFERENCES, "man"]), help="what to print; man: the manual page, else Markdown")


def run(args: argparse.Namespace) -> int:
    """Prints Markdown, or the manual page."""
    print(man_page(command_of(args.whole())) if args.topic == "man" else _REFERENCES[args.topic](), end="")
    return 0
