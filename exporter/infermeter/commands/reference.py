"""`infermeter reference`: the references under docs/, as the program itself tells them."""

from __future__ import annotations

import argparse

from infermeter.advice.reference import findings_markdown
from infermeter.config_reference import config_markdown
from infermeter.mapping.reference import servers_markdown
from infermeter.metrics.reference import metrics_markdown

_REFERENCES = {"config": config_markdown, "findings": findings_markdown, "metrics": metrics_markdown, "servers": servers_markdown}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `reference`."""
    parser.add_argument("topic", choices=sorted(_REFERENCES), help="what to tell")


def run(args: argparse.Namespace) -> int:
    """Prints Markdown."""
    print(_REFERENCES[args.topic](), end="")
    return 0
