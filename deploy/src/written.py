"""How generated YAML is written: anchors written out, long texts as blocks, and where it comes from at its top. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import yaml

Json: TypeAlias = dict[str, Any]

FROM_RULES: Final = "Generated from alerts/rules and dashboards by `make stacks`: change those."


def yaml_text(*documents: object, notes: Sequence[str] = (FROM_RULES,)) -> str:
    """The documents, one after the other, below `notes` as comments."""
    written = (yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**9) for document in documents)
    return "".join(f"# {note}\n" for note in notes) + "---\n".join(written)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 -- the library's signature
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
