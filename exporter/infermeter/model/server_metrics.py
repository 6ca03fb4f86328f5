"""The server's own metrics: one page's series, and what they say since the page before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from infermeter.model.kinds import Direction, Outcome, Signal, Stage


@dataclass(frozen=True, slots=True)
class Series:
    """One sample of an exposition: `name` as exposed (`_total`, `_sum`, `_count` and all), unescaped labels, a finite value."""

    name: str
    labels: Mapping[str, str]
    value: float


TimeOf: TypeAlias = Signal | Stage | tuple[Stage, str]
"""Of what a time is: of a whole inference, up to its first token, per token; in a stage; in a named part of a stage."""


@dataclass(frozen=True, slots=True)
class ServerTime:
    """What a server's own metrics tell of one time, as increases: `seconds` of all inferences together, and how many took how long.

    `at_most`: so many took at most so many seconds, by seconds; math.inf: all of them. Without any edge nothing says how many there were.
    """

    seconds: float
    at_most: Mapping[float, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServerReading:
    """What the server's own /metrics said at `time_ns`, as increases since `since_ns` (None: the first reading, a baseline of zeros).

    `inferences` holds how many more were served, by model and outcome; a None in place of the model: the server doesn't name one, of
    the outcome: it doesn't tell them apart. Every series that was seen is there, also with 0. `inner_calls`: a model's count holds calls by
    other models (ensembles) too, so that it speaks of the server only once a span has shown the model served by itself.
    `counts_inferences`: whether a server of this make counts them at all.
    `tokens` holds how many more there were, by direction and model; a direction that the server doesn't tell isn't there. `running` and
    `waiting` are how many inferences run and wait right now, `batch_size` how many the server computes at once (right now, or on the mean
    since the last reading), `kv_cache_used_ratio` how full the fullest of its KV caches is. `resets`: how many counters fell; each then
    counts from 0. `model` is the only one that the server serves; None: it doesn't tell, or serves several. `times`: by model, what is told
    of durations, stages and parts. `flops_per_gpu` and `memory_bytes_per_gpu` (read and written): how many more, of one of its GPUs on the
    mean, as it estimates them.
    """

    time_ns: int
    since_ns: int | None
    inferences: Mapping[tuple[str | None, Outcome | None], float]
    inner_calls: bool = False
    counts_inferences: bool = True
    running: float | None = None
    resets: int = 0
    tokens: Mapping[Direction, Mapping[str | None, float]] = field(default_factory=dict)
    waiting: float | None = None
    batch_size: float | None = None
    kv_cache_used_ratio: float | None = None
    model: str | None = None
    times: Mapping[str | None, Mapping[TimeOf, ServerTime]] = field(default_factory=dict)
    flops_per_gpu: float | None = None
    memory_bytes_per_gpu: float | None = None
