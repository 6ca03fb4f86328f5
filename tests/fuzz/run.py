"""Fuzzes one target, guided by coverage: `python tests/fuzz/run.py TARGET --executions N`. Needs atheris; `make fuzz` brings it.

What is found new stays under `.cache/fuzz/TARGET`, and what fails under `.cache/fuzz/found`: such an input goes to `corpus/TARGET`, where
the fast suite tries it, beside the test that names the mistake. Ends with 0 if nothing failed.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import logging
import sys
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
KEPT = ROOT / ".cache" / "fuzz"
ELAPSED_SECONDS = 60
"""Of one input, at which even what never comes back to Python ends; the ceiling is in ceilings.py."""

RESIDENT_MEBIBYTES = 1024
"""Of the process, which holds the whole corpus."""

INSTRUMENTED = ["infermeter", "prometheus_client.parser"]


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    sys.path[:0] = [str(ROOT), str(ROOT / "exporter"), str(ROOT / "tests")]
    atheris = importlib.import_module("atheris")
    with redirect_stderr(StringIO()), atheris.instrument_imports(include=INSTRUMENTED):
        targets = importlib.import_module("fuzz.targets").TARGETS
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=targets)
    parser.add_argument("--executions", type=int, default=100_000)
    parser.add_argument("--seconds", type=int, default=0, help="stop by then (0: never)")
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time")
    parser.add_argument("--merge", action="store_true", help="only copy into corpus/TARGET what covers more than is there")
    asked = parser.parse_args()
    target, found, grown = targets[asked.target], KEPT / "found", KEPT / asked.target
    committed = HERE / "corpus" / asked.target
    for folder in (found, grown, committed):
        folder.mkdir(parents=True, exist_ok=True)
    logging.disable(logging.WARNING)  # what a peer does wrong is told once; here it is all that there is
    words = KEPT / f"{asked.target}.dict"
    words.write_text("# what inputs are made of\n" + "".join(f'"{_escaped(word)}"\n' for word in target.words), encoding="ascii")
    options = [
        f"-max_len={target.longest_bytes}",
        f"-timeout={ELAPSED_SECONDS}",
        f"-rss_limit_mb={RESIDENT_MEBIBYTES}",
        f"-artifact_prefix={found}/{asked.target}-",
        f"-dict={words}",
        f"-runs={asked.executions}",
        f"-max_total_time={asked.seconds}",
        f"-seed={asked.seed}",
        "-verbosity=0",
        "-print_final_stats=1",
    ]
    folders = [str(committed), str(grown)] if asked.merge else [str(grown), str(committed)]
    atheris.Setup([sys.argv[0], *options, *(["-merge=1"] if asked.merge else []), *folders], target)
    gc.freeze()  # what was imported is no garbage, and needn't be looked at again
    atheris.Fuzz()


def _escaped(word: str) -> str:
    """As libFuzzer's dictionaries write it."""
    return "".join(
        letter if letter.isascii() and letter.isprintable() and letter not in '"\\' else f"\\x{ord(letter):02x}" for letter in word
    )


if __name__ == "__main__":
    main()
