"""A morning of one chat server, computed: the spans that it would send and the power that its GPU would draw.

usage: chat.py FOLDER   writes FOLDER/spans.jsonl and FOLDER/power.csv

Nothing of it was measured. It stands for a large model on one rented GPU that batches continuously: a step makes a token for each running
answer and takes the longer, the more there are. An hour of little load, an hour that it serves well, half an hour that is
too much for it, and half an hour of nothing. Only Python's standard library; the same bytes each time.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 1_795_168_800
"""2026-11-20 10:00 UTC."""

PHASES = ((3600, 0.15), (3600, 0.95), (1800, 1.08), (1800, 0.0))
"""How long, in seconds, and how many questions come in a second."""

STEP_SECONDS, EACH_SECONDS, PREFILL_SECONDS, MOST = 0.080, 0.003, 0.12, 16
"""A step, for each answer in it more, for each that joins more; and how many there may be at once."""

TOKENISE_SECONDS, DETOKENISE_SECONDS = 0.015, 0.005
IDLE_WATTS, BUSY_WATTS, EACH_WATTS = 90.0, 240.0, 22.0
GPU = "GPU-c4a70000-0000-4000-8000-000000000001"
EXPORTED = 200
"""Inferences in an export."""


@dataclass
class Answer:
    """One inference, in seconds since the start."""

    asked: float
    tokens: int
    left: int
    began: float = 0.0
    first: float = 0.0
    ended: float = 0.0


def questions(rng: random.Random) -> Iterator[Answer]:
    """Evenly spread, each anywhere in its interval: as many in any five minutes of a phase."""
    begun = 0.0
    for seconds, rate in PHASES:
        for number in range(round(seconds * rate)):
            tokens = rng.randint(60, 140)
            yield Answer(begun + (number + rng.random()) / rate, tokens, tokens)
        begun += seconds


def served(waiting: list[Answer]) -> Iterator[tuple[float, float, int]]:
    """Answers them all; each step's begin, end and size."""
    waiting = sorted(waiting, key=lambda answer: answer.asked)
    running: list[Answer] = []
    now, taken = 0.0, 0
    while taken < len(waiting) or running:
        if not running:
            now = max(now, waiting[taken].asked + TOKENISE_SECONDS)
        joined = 0
        while taken < len(waiting) and waiting[taken].asked + TOKENISE_SECONDS <= now and len(running) < MOST:
            waiting[taken].began = now
            running.append(waiting[taken])
            taken, joined = taken + 1, joined + 1
        begun, now = now, now + STEP_SECONDS + EACH_SECONDS * len(running) + PREFILL_SECONDS * joined
        yield begun, now, len(running)
        for answer in running:
            if answer.left == answer.tokens:
                answer.first = now
            answer.left -= 1
            answer.ended = now
        running = [answer for answer in running if answer.left]


def nanoseconds(seconds: float) -> str:
    """As OTLP's JSON has instants."""
    return str(START_SECONDS * 10**9 + round(seconds * 1e9))


def spans(number: int, answer: Answer) -> Iterator[dict[str, object]]:
    """The layout of `infermeter.instrument`: an inference and its stages."""
    end = answer.ended + DETOKENISE_SECONDS
    trace, root = f"{number + 1:032x}", f"{16 * number + 1:016x}"
    yield {
        "traceId": trace,
        "spanId": root,
        "name": "inference",
        "kind": 2,
        "startTimeUnixNano": nanoseconds(answer.asked),
        "endTimeUnixNano": nanoseconds(end),
        "attributes": [
            {"key": "infermeter.model", "value": {"stringValue": "chat-70b"}},
            {"key": "infermeter.tokens.output", "value": {"intValue": str(answer.tokens)}},
        ],
        "events": [{"name": "first_token", "timeUnixNano": nanoseconds(answer.first)}],
    }
    stages = (
        ("serialisation", answer.asked, answer.asked + TOKENISE_SECONDS),
        ("queue", answer.asked + TOKENISE_SECONDS, answer.began),
        ("compute", answer.began, answer.ended),
        ("serialisation", answer.ended, end),
    )
    for place, (stage, begun, ended) in enumerate(stages, 2):
        yield {
            "traceId": trace,
            "spanId": f"{16 * number + place:016x}",
            "parentSpanId": root,
            "name": stage,
            "kind": 1,
            "startTimeUnixNano": nanoseconds(begun),
            "endTimeUnixNano": nanoseconds(ended),
        }


def exports(answers: list[Answer]) -> Iterator[str]:
    """One ExportTraceServiceRequest a line."""
    made = [list(spans(number, answer)) for number, answer in enumerate(sorted(answers, key=lambda answer: answer.ended))]
    for begun in range(0, len(made), EXPORTED):
        batch = [span for inference in made[begun : begun + EXPORTED] for span in inference]
        yield json.dumps({"resourceSpans": [{"scopeSpans": [{"scope": {"name": "infermeter"}, "spans": batch}]}]})


def power(steps: list[tuple[float, float, int]]) -> Iterator[str]:
    """A capture of the GPU, a row a second."""
    length = sum(seconds for seconds, _ in PHASES)
    busy, joules = [0.0] * length, [0.0] * length
    for begun, ended, size in steps:
        for second in range(int(begun), min(int(ended) + 1, length)):
            part = min(ended, second + 1) - max(begun, second)
            busy[second] += part
            joules[second] += part * (BUSY_WATTS + EACH_WATTS * size - IDLE_WATTS)
    yield "# infermeter capture: 1"
    yield "# source: synthetic"
    yield f"# gpu: {GPU},0,computed,700,85520809984"
    yield "time_unix_seconds,gpu,power_watts,energy_joules,utilisation_ratio,memory_used_bytes,memory_total_bytes"
    drawn = 0.0
    yield f"{START_SECONDS},{GPU},{IDLE_WATTS:.1f},{drawn:.3f},0.000,77309411328,85520809984"
    for second in range(length):
        watts = IDLE_WATTS + joules[second]
        drawn += watts
        yield f"{START_SECONDS + second + 1},{GPU},{watts:.1f},{drawn:.3f},{min(busy[second], 1):.3f},77309411328,85520809984"
    yield f"# end: {length + 1} rows"


def main(folder: Path) -> None:
    """Writes both files."""
    answers = list(questions(random.Random(70)))  # noqa: S311 - nothing secret
    steps = list(served(answers))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spans.jsonl").write_text("".join(f"{line}\n" for line in exports(answers)))
    (folder / "power.csv").write_text("".join(f"{line}\n" for line in power(steps)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
