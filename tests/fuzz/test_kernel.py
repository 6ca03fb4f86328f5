"""The kernel's C under AddressSanitizer and UndefinedBehaviorSanitizer, fed what might be sent and what becomes of that by chance."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from bench.bodies import bodies

from fuzz.otlp import alike
from fuzz.targets import corpus
from support.compiled_kernel import SOURCES, compiled
from unit.otlp.exports import body, span

DRIVER = Path(__file__).with_name("kernel_driver.c")
CAPTURES = Path(__file__).parents[1] / "captures"
FLAGS = ("-std=c11", "-O0", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-Wall", "-Wextra", "-Werror")
EXECUTIONS = 150_000
LONGEST_BYTES = 4096
CUT_OFF = (b"--\xc3", b"--\xe2\x82", b"--\xe2", b"--\xf0\x9f\x98", b"--\xf0\x9f")
"""Texts that end within a letter; they stand at the very end of an export."""


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A file of exports for the driver, and how many."""
    told = [data[1:] if data[:1] != b"*" else alike(data[1:]) for data in corpus("otlp_protobuf")]
    told += [path.read_bytes() for path in sorted(CAPTURES.rglob("*.pb"))]
    told += [
        body.with_ids_of(b"abcd") for shape, spans in (("vllm", 2), ("triton", 5)) for body in bodies(shape, "protobuf", spans, count=4)
    ]
    told += [body(span(1, {"k" * size: 1, "x": 2})) for size in (61, 255, 256, 300, 3000)]
    told += [body(span(1, {f"{n}": n for n in range(60)})), body(span(1, name="n" * 300)), body(span(1), scope="s" * 300)]
    told += [body(*[span(1, name=f"{n}") for n in range(40)])]  # more new names than are told
    told += [body(span(1, {"model": "v" * len(cut)})).replace(b"v" * len(cut), cut) for cut in CUT_OFF]
    kept = [one for one in told if len(one) <= LONGEST_BYTES]
    path = tmp_path_factory.mktemp("kernel") / "seeds"
    path.write_bytes(b"".join(len(one).to_bytes(4, "little") + one for one in kept))
    return path, len(kept)


def test_no_input_makes_it_read_or_write_what_it_should_not(seeds: tuple[Path, int]) -> None:
    file, count = seeds
    driver = compiled(SOURCES, DRIVER, flags=FLAGS)
    rounds = EXECUTIONS // count
    done = subprocess.run(
        [driver, file, str(rounds)], env=os.environ | {"ASAN_OPTIONS": "detect_leaks=0"}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    tried, usual, fit, values = map(int, done.stdout.split())
    assert tried == count * (rounds + 1)
    assert 0.05 * tried < usual < 0.95 * tried  # else it would be another test
    assert fit > 0.1 * usual
    assert values > fit
