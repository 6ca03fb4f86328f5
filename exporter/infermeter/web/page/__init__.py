"""The page at `/`, and the policy under which a browser shows it."""

from __future__ import annotations

from typing import NamedTuple


class Page(NamedTuple):
    """One document; `policy` is its Content-Security-Policy."""

    body: bytes
    policy: str


LINKS = Page(
    """\
<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Infermeter</title>
<h1>Infermeter</h1>
<p><a href="/metrics">metrics</a> · <a href="/api/v1/report">report</a> · <a href="/api/v1/findings">findings</a></p>
</html>
""".encode(),
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
)
"""Where the status page is switched off: the way to everything else."""
