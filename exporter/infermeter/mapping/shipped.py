"""The mappings that apply: those that come with the package, and a user's own. The only place here that reads files (package data)."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib.resources import files

from infermeter.errors import ConfigError, ConfigErrors, MappingError
from infermeter.mapping.rules import ROLES, ServerMapping
from infermeter.mapping.schema import read_mapping


@cache
def shipped_mappings() -> Mapping[str, ServerMapping]:
    """The mappings that come with the package, by server."""
    texts = {file.name: file.read_text("utf-8") for file in files("infermeter.mapping").joinpath("servers").iterdir()}
    mappings = [read_mapping(text, name) for name, text in sorted(texts.items()) if name.endswith(".yaml")]
    return {mapping.server: mapping for mapping in mappings}


def load_mappings(kind: str, texts: Mapping[str, str]) -> tuple[ServerMapping, ...]:
    """The mappings that apply, in order of precedence: best role first, then the higher priority.

    `kind`: `auto`, or the name of the one shipped mapping that applies. `texts` are the user's own files by name: they all apply, and
    one of them takes the place of a shipped mapping of the same server.

    Raises: ConfigErrors of MappingError, all problems of all files; of ConfigError, if there is no mapping of this `kind`.
    """
    problems: list[ConfigError] = []
    own: dict[str, ServerMapping] = {}
    for name, text in sorted(texts.items()):
        try:
            mapping = read_mapping(text, name)
        except ConfigErrors as errors:
            problems += errors.problems
            continue
        if mapping.server in own:
            problems.append(MappingError(f"{name}: server", f"another file is the mapping of {mapping.server} too"))
        own[mapping.server] = mapping
    known = {**shipped_mappings(), **own}
    if kind not in {"auto", *known} and not problems:
        near = get_close_matches(kind, ["auto", *known], n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are auto, {', '.join(sorted(known))}"
        problems.append(ConfigError("server.kind", f"no mapping is called {kind}; {hint}"))
    if problems:
        raise ConfigErrors(tuple(problems))
    applying = [mapping for server, mapping in known.items() if kind in ("auto", server) or server in own]
    return tuple(sorted(applying, key=lambda mapping: (ROLES.index(mapping.role), -mapping.priority, mapping.server)))
