"""Leaves out each comparison of the kernel's C, one at a time, and demands that a test fails (`make test-kernel`, some minutes).

A comparison is an operand of a condition that refuses or guards something: of `||` before a return, of `&&`, of a loop, before a `?`. It
is still evaluated, but doesn't count. What no test can find has its reason in EQUAL; a reason that isn't needed fails, too.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

ROOT = Path(__file__).parents[2]
COPIED = ("exporter", "tests", "bench", "pyproject.toml")
TESTS = ("tests/fuzz/test_kernel.py", "tests/unit/otlp/test_kernel.py", "tests/property/test_otlp_kernel.py")
SOURCES = Path("exporter", "kernel", "src")
PATIENCE_SECONDS: Final = 60.0
OPENING = re.compile(r"\b(if|while|for|LIKELY) \(|\bLIKELY\(|\breturn (?=[^;]*&&)|(?<=[=( ])(?=[\w.>-]+ < [\w.>-]+ \?)")
REFUSED = re.compile(r"\s*return (0|NULL|UNUSUAL|UNREAD|NO_COLUMN|result|most|unicode\(in\));")

EQUAL: dict[tuple[str, str, int], str] = {}
"""File, comparison and its number among equal ones there: why leaving it out changes no result."""


class Mutant(NamedTuple):
    """One comparison, at an offset of a file, and what it counts as when it is left out."""

    file: str
    begin: int
    operand: str
    neutral: str
    number: int

    def text(self, source: str) -> str:
        end = self.begin + len(self.operand)
        return f"{source[: self.begin]}((void)({self.operand}), {self.neutral}){source[end:]}"

    @property
    def key(self) -> tuple[str, str, int]:
        return self.file, " ".join(self.operand.split()), self.number


def closing(source: str, begin: int, ends: str) -> int:
    """Where what begins there ends: at one of these characters outside of its own brackets."""
    depth = 0
    for at in range(begin, len(source)):
        if not depth and source[at] in ends:
            return at
        depth += (source[at] in "([{") - (source[at] in ")]}")
    raise ValueError(source[begin : begin + 60])


def operands(source: str, begin: int, end: int, operator: str) -> Iterator[tuple[int, str]]:
    """The operands between two offsets of an operator, brackets kept whole."""
    depth, first = 0, begin
    for at in range(begin, end):
        depth += (source[at] in "([{") - (source[at] in ")]}")
        if not depth and source.startswith(operator, at):
            yield first, source[first:at].rstrip()
            first = at + len(operator) + len(source[at + len(operator) :]) - len(source[at + len(operator) :].lstrip())
    yield first, source[first:end].rstrip()


def comparisons(source: str) -> Iterator[tuple[int, str, str]]:
    """Offset and text of each comparison, and what it counts as when it is left out."""
    for found in OPENING.finditer(source):
        begin, word = found.end(), found.group().strip(" (")
        if not word:
            yield begin, source[begin : source.index(" ?", begin)], "1"
            continue
        end = closing(source, begin, ";" if word == "return" else ")")
        if word == "for":
            begin = closing(source, begin, ";") + 1
            begin += len(source[begin:]) - len(source[begin:].lstrip())
            end = closing(source, begin, ";")
        end = source.find(" ? ", begin, end) if " ? " in source[begin:end] else end
        ored = list(operands(source, begin, end, "||"))
        anded = list(operands(source, begin, end, "&&"))
        if begin == end or source[begin:end].startswith("LIKELY("):
            continue
        if len(ored) > 1 or (word == "if" and len(anded) == 1):
            if REFUSED.match(source, end + 1):
                yield from ((at, text, "0") for at, text in ored)
        elif len(anded) > 1 or word in {"while", "for", "LIKELY"}:
            yield from ((at, text, "1") for at, text in anded)


def mutants(sources: Path) -> list[Mutant]:
    told: list[Mutant] = []
    for path in sorted(sources.glob("*.[ch]")):
        source = re.sub(r"/\*.*?\*/|^ *#.*?$", lambda comment: " " * len(comment.group()), path.read_text(), flags=re.DOTALL | re.MULTILINE)
        numbers: dict[str, int] = {}
        for begin, operand, neutral in sorted(set(comparisons(source))):
            if re.match(r"(?:\w+ )?of [>=]|!layout$", operand) and neutral == "1":
                continue  # which field it is
            name = " ".join(operand.split())
            numbers[name] = numbers.get(name, 0) + 1
            told.append(Mutant(path.name, begin, operand, neutral, numbers[name]))
    return told


def prepared(folder: Path) -> Path:
    """A copy of what is needed, with warnings allowed: what isn't used any more is no mistake there."""
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    for path in (folder / "tests/support/compiled_kernel.py", folder / "tests/fuzz/test_kernel.py"):
        path.write_text(path.read_text().replace('"-Werror"', '"-w"'))
    return folder


def failing(folder: Path) -> str | None:
    """The first test that fails there; None: none does."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--tb=line", "-p", "no:cacheprovider", *TESTS]
    environment = os.environ | {"PYTHONPATH": str(folder / "exporter")}
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        return "no end"
    if done.returncode == 0:
        return None
    found = re.search(r"^FAILED \S*?(\w+\.py::\w+)", done.stdout, re.MULTILINE)
    if done.returncode < 0:
        return f"signal {-done.returncode}"
    if found is None or "CalledProcessError" in done.stdout:
        raise RuntimeError(done.stdout + done.stderr)
    return found.group(1)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", default="", help="comparisons that hold this")
    arguments.add_argument("--workers", type=int, default=2)
    given = arguments.parse_args()
    every = mutants(ROOT / SOURCES)
    chosen = [one for one in every if given.only in f"{one.file}: {one.operand}"]
    with TemporaryDirectory() as temporary:
        places: SimpleQueue[Path] = SimpleQueue()
        for number in range(given.workers):
            places.put(prepared(Path(temporary, str(number)) if Path(temporary, str(number)).mkdir() is None else Path()))

        def tried(mutant: Mutant | None) -> str | None:
            place = places.get()
            try:
                if mutant is None:
                    return failing(place)
                file = place / SOURCES / mutant.file
                source = file.read_text()
                file.write_text(mutant.text(source))
                found = failing(place)
                file.write_text(source)
                return found
            finally:
                places.put(place)

        if (unchanged := tried(None)) is not None:
            sys.stderr.write(f"the kernel as it is fails {unchanged}\n")
            return 1
        wrong = 0
        with ThreadPoolExecutor(given.workers) as pool:
            for mutant, found in zip(chosen, pool.map(tried, chosen), strict=True):
                reason = EQUAL.get(mutant.key)
                wrong += (found is None) == (reason is None)
                sys.stdout.write(f"{mutant.key}: {found or reason or 'NOT FOUND'}{' (and a reason)' if found and reason else ''}\n")
                sys.stdout.flush()
    gone = sorted(EQUAL.keys() - {one.key for one in every})
    sys.stdout.write(f"{len(chosen)} comparisons, {wrong} wrong; reasons for what isn't there: {gone}\n")
    return 1 if wrong or gone else 0


if __name__ == "__main__":
    sys.exit(main())
