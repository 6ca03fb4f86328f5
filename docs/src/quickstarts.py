"""A page for each server: how to switch its spans on, what to configure, what is then seen, and what was tried.

Facts about a server are those of its mapping, as docs/servers.md tells them; quickstarts.yaml has what one types.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from docs.src import replayed

from infermeter.mapping.reference import servers_markdown

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = "deploy/kubernetes/overlays"
PAGES: Mapping[str, Mapping[str, Any]] = yaml.safe_load((Path(__file__).parent / "quickstarts.yaml").read_text(encoding="utf-8"))


_HEAD = """\
# Quickstarts

<!-- made by `make docs`: don't edit it -->

Each page has the server's own switches, a configuration that holds, what is then seen, what the server can't tell, and what was
really run. What they have in common: Infermeter runs beside the server, listens for its spans on 127.0.0.1 (4317 for gRPC, 4318 for
HTTP), and answers on 10470. On Kubernetes it is a [sidecar](../kubernetes.md).

| server | what leaves it | run for real |
| --- | --- | --- |"""

_FOOT = """
Another server: [how a server's spans become inferences](../../exporter/infermeter/mapping/servers/README.md) is a file of YAML, and
`infermeter mappings record` with `infermeter mappings test` helps to write it. All that is known by now: [servers](../servers.md).
"""

_SEEN = """\
## 3. What you then see

```sh
curl -s http://127.0.0.1:10470/api/v1/report
curl -s http://127.0.0.1:10470/metrics
```

The page at `http://127.0.0.1:10470/` shows the same to a person. Stages are there with the first inference; a cost per inference needs a
window with 30 seconds and 30 inferences in it, and `met` at 99 % needs 299 of them.
"""


@dataclass(frozen=True)
class Facts:
    """A server's part of docs/servers.md: `told` by what a line begins with, the table of its spans, and what it can't tell."""

    told: Mapping[str, list[str]]
    table: str
    not_told: list[str]


def facts(server: str) -> Facts:
    """Those of a mapping. Raises: KeyError for a server without one."""
    said, _, rest = _sections()[server].partition("\nWhat it can't tell:\n")
    told: dict[str, list[str]] = {}
    for line in re.findall(r"^- (.+)$", said, re.MULTILINE):
        about, _, text = line.partition(": ")
        for known in ("own metrics", "tried with spans that are", "its metrics were tried with a page that is"):
            if line.startswith(known):
                about, text = known, line.removeprefix(known).lstrip(", ")
        told.setdefault(about, []).append(text)
    table = "\n".join(re.findall(r"^\|.*$", said, re.MULTILINE))
    return Facts(told, table, re.findall(r"^- (.+)$", rest, re.MULTILINE))


@cache
def _sections() -> Mapping[str, str]:
    """docs/servers.md by server."""
    return dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", servers_markdown(), re.MULTILINE | re.DOTALL))


def pages() -> Mapping[str, str]:
    """The text of each, by path under docs/."""
    made = {f"quickstart/{name}.md": _moved("\n".join(_page(name, page))) for name, page in PAGES.items()}
    return {"quickstart/README.md": _moved("\n".join(_index())), **made}


def _index() -> Iterator[str]:
    yield _HEAD
    for name, page in PAGES.items():
        runs = [text.partition(":")[0] for text in _runs(page, facts(page["mapping"]))]
        yield f"| [{page['title']}]({name}.md) | {page['leaves']} | {'; '.join(runs) or 'no'} |"
    yield _FOOT


def _page(name: str, page: Mapping[str, Any]) -> Iterator[str]:
    known = facts(page["mapping"])
    yield f"# Beside {re.sub('^A(?=n?y? )', 'a', page['title'])}\n"
    yield "<!-- made by `make docs` from the server's mapping and docs/src/quickstarts.yaml: don't edit it -->\n"
    yield f"{page['about'].strip()}\n"
    yield "## 1. The server\n"
    for block in page["start"]:
        yield from _block(block)
    yield from (f"- {about}: {text}" for about in ("protocol", "sampling") for text in known.told.get(about, []))
    yield ""
    yield "## 2. Infermeter\n"
    yield "Save this as `infermeter.yaml`, with your own prices and targets:\n"
    yield f"```yaml\n{page['config'].strip()}\n```\n"
    yield "```sh\ninfermeter check-config infermeter.yaml\ninfermeter serve --config infermeter.yaml\n```\n"
    for text in page.get("configured", []):
        yield f"{text.strip()}\n"
    if (ROOT / OVERLAYS / name).is_dir():
        yield f"On Kubernetes both are in [{OVERLAYS}/{name}](../../{OVERLAYS}/{name}): [how](../kubernetes.md).\n"
    yield from _seen(page, known)
    if known.not_told:
        yield "## What it can't tell\n"
        yield from (f"- {text}" for text in known.not_told)
        yield ""
    yield from _tried(page, known)


def _block(block: Mapping[str, str]) -> Iterator[str]:
    """A sentence, a block of code, or both."""
    for kind, text in block.items():
        yield f"{text.strip()}\n" if kind == "says" else f"```{kind}\n{text.strip()}\n```\n"


def _seen(page: Mapping[str, Any], known: Facts) -> Iterator[str]:
    yield _SEEN
    if "capture" in page:
        said = replayed.section(replayed.report("--spans", str(ROOT / page["capture"])), "WHERE THE TIME WENT")
        yield f"Recorded spans of a real one, as `infermeter replay --spans {page['capture']}` shows them:\n"
        yield f"```text\n{said}\n```\n"
    if known.table:
        yield "What its spans tell:\n"
        yield f"{known.table}\n"
    for text in known.told.get("own metrics", []):
        where, _, what = text.partition(": ")
        if where:
            yield f"What is read of its own metrics ({where}): {what}.\n"


def _tried(page: Mapping[str, Any], known: Facts) -> Iterator[str]:
    yield "## What was really run\n"
    runs = _runs(page, known)
    yield from (f"- {text}" for text in runs or ["nothing by us: what is above was read in its code and documentation"])
    for about, says in (("tried with spans that are", "spans"), ("its metrics were tried with a page that is", "metrics")):
        yield from (f"- the {says} in the tests: {text}" for text in known.told.get(about, []))
    yield from (f"- versions: {text}" for text in known.told.get("versions", []))
    yield f"\nMore: [all that it tells](../servers.md#{page['mapping']}), [what an inference costs at the SLA](../concepts/cost-at-sla.md),"
    yield "[troubleshooting](../troubleshooting.md).\n"


def _runs(page: Mapping[str, Any], known: Facts) -> list[str]:
    """What was run of this server: a mapping may serve several."""
    ran: list[str] = page.get("ran", [text for text in known.told.get("run for real", []) if page.get("run", "") in text])
    return ran


def _moved(text: str) -> str:
    """Links of docs/servers.md, from a folder further down."""
    return re.sub(r"\]\((instrument|gpus|servers)\.md", r"](../\1.md", text)
