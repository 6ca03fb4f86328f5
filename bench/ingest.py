"""What ingesting spans costs: CPU seconds per million spans, through the whole pipeline of `infermeter serve`.

usage: ingest.py [--cases http:protobuf:512:vllm,...] [--spans 500000] [--repetitions 5] [--beside FOLDER]

The receiver runs on core 0, the generator on core 1. Where rotel-agent is installed it is measured in the same run, repetition by
repetition in turn, and so is the `exporter` folder of another checkout with --beside. Prints a line a case with medians; exits 1 if an
export was refused or an inference wasn't counted. Where an export holds one span, CPU s per million spans are microseconds an export.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from generator import Case
from prometheus_client.parser import text_string_to_metric_families
from receivers import Receiver, infermeter, rotel, rotel_is_there

RECEIVER_CORE, GENERATOR_CORE = 0, 1
GENERATOR = Path(__file__).with_name("generator.py")
REPETITION_SECONDS = 300
FEW_SPANS = 20_000
"""Of a repetition, where each export holds one."""

CASES = (
    "http:protobuf:512:vllm",
    "http:protobuf:64:vllm",
    "http:protobuf:1:vllm",
    "http:gzip:512:vllm",
    "http:json:512:vllm",
    "grpc:protobuf:512:vllm",
    "grpc:protobuf:1:vllm",
    "http:protobuf:512:triton",
    "http:json:512:triton",
)


def repetition(receiver: Receiver, case: str, spans: int, *, warmup: int) -> dict[str, Any]:
    port = receiver.grpc if case.startswith("grpc") else receiver.http
    command = [sys.executable, str(GENERATOR), "--address", f"127.0.0.1:{port}", "--case", case]
    command += ["--spans", str(spans), "--warmup", str(warmup), "--pid", str(receiver.pid)]
    pinned = ["taskset", "--cpu-list", str(GENERATOR_CORE), *command]
    output = subprocess.run(pinned, stdout=subprocess.PIPE, text=True, timeout=REPETITION_SECONDS, check=True).stdout
    figures: dict[str, Any] = json.loads(output)
    return figures


def inferences_counted(receiver: Receiver) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{receiver.web}/metrics", timeout=30) as response:
        text = response.read().decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    return int(sum(sample.value for sample in families["infermeter_inferences_observed"].samples))


@contextlib.contextmanager
def another(folder: str, kind: str) -> Iterator[Receiver]:
    """The sidecar of another checkout."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = folder
    try:
        stack = contextlib.ExitStack()
        receiver = stack.enter_context(infermeter(kind, core=RECEIVER_CORE))
    finally:
        os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)
    with stack:
        yield dataclasses.replace(receiver, name="beside")


def measured_case(case: str, spans: int, repetitions: int, *, beside: str | None) -> bool:
    """Prints a line a receiver; whether everything that was sent was counted."""
    parsed = Case.parse(case)
    spans = min(spans, FEW_SPANS) if parsed.spans == 1 else spans
    with contextlib.ExitStack() as stack:
        receivers = [stack.enter_context(infermeter(parsed.shape, core=RECEIVER_CORE))]
        if beside is not None:
            receivers.append(stack.enter_context(another(beside, parsed.shape)))
        if rotel_is_there():
            receivers.append(stack.enter_context(rotel(core=RECEIVER_CORE)))
        time.sleep(1)  # spans end within the second before they are made: all of them after the receiver's start
        runs: dict[str, list[dict[str, Any]]] = {receiver.name: [] for receiver in receivers}
        for number in range(repetitions):
            for receiver in receivers:
                runs[receiver.name].append(repetition(receiver, case, spans, warmup=0 if number else spans // 10))
        counted = inferences_counted(receivers[0])
    for name, figures in runs.items():
        print(line(case, name, figures), flush=True)
    sent = sum(run["inferences"] for run in runs["infermeter"])
    if counted != sent:
        print(f"{case}: {sent} inferences were sent, {counted} were counted", file=sys.stderr)
    return counted == sent and not any(run["refused"] for figures in runs.values() for run in figures)


def line(case: str, name: str, runs: list[dict[str, Any]]) -> str:
    median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    cpu = [run["cpu_seconds_per_million_spans"] for run in runs]
    return (
        f"{case:26} {name:11} {median['cpu_seconds_per_million_spans']:6.2f} CPU s/M [{min(cpu):.2f}-{max(cpu):.2f}]"
        f" {median['spans_per_second']:9,.0f} spans/s  p50 {median['p50_milliseconds']:.2f} ms  p99 {median['p99_milliseconds']:.2f} ms"
        f"  {median['resident_mib']:.0f} MiB  refused {sum(run['refused'] for run in runs)}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(CASES), help="transport:encoding:spans of an export:shape, comma between")
    parser.add_argument("--spans", type=int, default=500_000, help="of a repetition")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--beside", metavar="FOLDER", help="the exporter folder of another checkout")
    args = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f}, {args.repetitions} repetitions of {args.spans:,} spans, medians [range]", flush=True)
    failed = False
    for case in args.cases.split(","):
        try:
            failed |= not measured_case(case, args.spans, args.repetitions, beside=args.beside)
        except subprocess.SubprocessError as error:
            print(f"{case}: {error}", *getattr(error, "__notes__", ()), file=sys.stderr)
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
