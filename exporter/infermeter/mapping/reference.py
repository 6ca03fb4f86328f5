"""The reference of servers, made from the shipped mappings: docs/servers.md, and what `reference servers` prints. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from infermeter.mapping.metrics_reference import metrics_lines
from infermeter.mapping.rules import Rule, ServerMapping, StageRule
from infermeter.mapping.shipped import shipped_mappings
from infermeter.model import STAGES

_HEAD = """\
# Servers

Generated from the shipped mappings by `infermeter reference servers`; don't edit it.

`server.kind` names one of these, or `auto`, which takes all of them. A stage that a server can't tell is absent, and its time is `other`. A
server whose compute is told neither by instants nor by length counts as computing in that time, as an estimate: it is never called idle.
Its own metrics are read where `server.metrics_url` is set; only with them are totals those of all inferences, whatever share left a span.
Spans without a model are then of the only one that these metrics name, or that the server's API lists (`/v1/models`, `/info`; asked once,
and after a restart), unless `server.model` says so; where there are several, they are of `unknown`.
Not listed under its own name: PyTriton is [triton](#triton); KServe is [kserve](#kserve), for an LLMInferenceService [vllm](#vllm), else
what its runtime is; Ray Serve LLM, and BentoML around vLLM, are [vllm](#vllm) where that traces; LitServe, FastAPI, Flask and
whatever emits no spans are [infermeter](#infermeter), through `infermeter proxy` or with `infermeter.instrument`.
The language of these files, for a mapping of one's own in `mappings_dir`:
[exporter/infermeter/mapping/servers/README.md](../exporter/infermeter/mapping/servers/README.md).
"""

_ROLES = {
    "engine": "engine: runs the model. Once one was seen, routers, gateways and generic spans count no inference.",
    "router": "router: counts inferences only while no engine is seen.",
    "gateway": "gateway: counts inferences only while neither engine nor router is seen.",
    "generic": "generic: any server. Counts inferences only after 30 s without any of the others.",
}


_ORIGINS = {
    "captured": "captured (a real server sent them)",
    "published": "published (somebody else's recording)",
    "derived from source": "derived from source (written after reading the server's code: nothing of it was measured)",
}


def servers_markdown() -> str:
    """The whole reference, with a newline at its end."""
    return "\n".join((_HEAD, *(line for mapping in shipped_mappings().values() for line in _server(mapping))))


def _server(mapping: ServerMapping) -> Iterator[str]:
    yield f"## {mapping.server}\n"
    yield f"{mapping.title}\n"
    yield f"- versions: {mapping.versions}"
    if mapping.origins:
        yield f"- tried with spans that are {' and '.join(_ORIGINS[origin] for origin in mapping.origins)}"
    yield from (f"- run for real: {run.version}: {run.shows}" for run in mapping.runs)
    yield f"- role: {_ROLES[mapping.role]}"
    for about, text in mapping.tracing.items():
        yield f"- {about}: {text}"
    if mapping.sampled and mapping.rules:
        yield "- spans are a sample by default: totals are absent and nothing is idle by them, unless `server.sampled: false` is set"
    if mapping.reserves_memory:
        yield "- takes the GPU's memory at its start, so that nothing says how much of it a smaller GPU would have to have"
    yield from metrics_lines(mapping.metrics)
    if mapping.rules:
        yield "\n| spans | stages | also told | absent |\n| --- | --- | --- | --- |"
        yield from (_rule(rule) for rule in mapping.rules)
    else:
        yield "\nIt emits no spans: without `server.metrics_url`, or spans of a proxy before it, nothing is known of it."
    if mapping.not_told:
        yield "\nWhat it can't tell:\n"
        yield from (f"- {text}" for text in mapping.not_told)
    yield ""


def _rule(rule: Rule) -> str:
    told = {
        "model": rule.model,
        "tokens": rule.tokens_input or rule.tokens_output,
        "time to first token": rule.ttft,
        "time per output token": rule.tpot,
        "errors": rule.error,
    }
    stages = {stage.stage: _stage(stage) for stage in rule.stages}
    cells = (
        f"`{rule.name}`",
        "; ".join(stages[stage] for stage in STAGES if stage in stages),
        ", ".join(name for name, values in told.items() if values),
        ", ".join([stage for stage in STAGES if stage not in stages] + [name for name, values in told.items() if not values]),
    )
    return f"| {' | '.join(cell or '-' for cell in cells)} |"


def _stage(stage: StageRule) -> str:
    notes = [f"`{part.name}`" for part in stage.parts if part.name is not None]
    if any(part.name_key for part in stage.parts):
        notes.append("parts that the sender names")
    if not stage.parts:
        notes.append("the rest of the duration")
    if stage.estimated or any(any(part.estimated) for part in stage.parts):
        notes.append("estimated")
    return f"{stage.stage} ({', '.join(notes)})" if notes else stage.stage
