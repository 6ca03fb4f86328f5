"""The options by which a command tells a server who asks, and knows the server: named as in Prometheus' scrape configurations."""

from __future__ import annotations

import argparse

from infermeter.errors import ConfigError
from infermeter.network.fetching import Caller


def add_caller_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of whoever asks over TLS, or with a password."""
    group = parser.add_argument_group("TLS and passwords of the server that is asked")
    group.add_argument("--ca-file", metavar="FILE", help="PEM: who signs its certificate, instead of whom the system trusts")
    group.add_argument("--server-name", metavar="NAME", help="whom its certificate is for, where that isn't the URL's host")
    group.add_argument("--pinned-file", metavar="FILE", help="PEM: the very certificate that it must show, for whatever name")
    group.add_argument("--cert-file", metavar="FILE", help="PEM: the certificate to show, where it asks for one")
    group.add_argument("--key-file", metavar="FILE", help="PEM: its key, not encrypted")
    group.add_argument("--username", metavar="NAME", help="of basic authentication")
    group.add_argument("--password-file", metavar="FILE", help="a file that holds the password")


def told_caller(args: argparse.Namespace) -> Caller:
    """What they say. Raises: ConfigError."""
    for one, other in (("cert_file", "key_file"), ("username", "password_file")):
        if (getattr(args, one) is None) != (getattr(args, other) is None):
            missing, given = (one, other) if getattr(args, one) is None else (other, one)
            raise ConfigError(_option(given), f"goes with {_option(missing)}")
    if args.username is not None and ":" in args.username:
        raise ConfigError("--username", "holds a colon, which basic authentication can't tell from the one before the password")
    token_file = getattr(args, "token_file", None)
    if token_file is not None and args.username is not None:
        raise ConfigError("--username", "can't be shown beside --token-file")
    if args.pinned_file is not None and (args.ca_file is not None or args.server_name is not None):
        raise ConfigError("--pinned-file", "trusts one certificate alone: --ca-file and --server-name say nothing beside it")
    return Caller(
        token_file=token_file,
        username=args.username,
        password_file=args.password_file,
        ca_file=args.ca_file,
        server_name=args.server_name,
        pinned_file=args.pinned_file,
        cert_file=args.cert_file,
        key_file=args.key_file,
    )


def is_told(args: argparse.Namespace) -> bool:
    """Whether any of them is given."""
    return told_caller(args) != Caller()


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
