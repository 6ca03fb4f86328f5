"""The status page: one document with its style and its script in it, and a policy by which a browser runs these two alone.

Source: W3C, Content Security Policy Level 3, section 2.3.1 (hashes of inline content); W3C, Trusted Types, section 3.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from infermeter.web.page import Page


def document(html: str, *, css: str, js: str) -> Page:
    """The page whose style and script these are, put where the document names their files."""
    return Page(
        html.replace("/*status.css*/", css).replace("/*status.js*/", js).encode(),
        "; ".join(
            (
                "default-src 'none'",
                f"script-src {_hashed(js)}",
                f"style-src {_hashed(css)}",
                "connect-src 'self'",
                "img-src data:",
                "base-uri 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
                "require-trusted-types-for 'script'",
                "trusted-types 'none'",
            )
        ),
    )


def _hashed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _source(name: str) -> str:
    return (files("infermeter.web.page") / name).read_text(encoding="utf-8")


STATUS = document(_source("status.html"), css=_source("status.css"), js=_source("status.js"))
"""What `/` shows, unless `web.page` is false."""
