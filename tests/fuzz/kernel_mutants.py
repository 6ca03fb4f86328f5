"""Leaves out each comparison of the kernel's C, one at a time, and demands that a test fails (`make test-kernel`, some minutes).

A comparison is an operand of a condition that refuses or guards something: of `||` before a return, of `&&`, of a loop, before a `?`. It
is still evaluated, but doesn't count. What no test can find has its reason in EQUAL; a reason that isn't needed fails, too.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple, NoReturn

import pytest

ROOT = Path(__file__).parents[2]
COPIED = ("exporter", "tests", "bench", "pyproject.toml")
TESTS = (
    *("tests/fuzz/test_kernel.py", "tests/unit/otlp/test_kernel.py"),
    *("tests/property/test_otlp_kernel.py", "tests/property/test_otlp_kernel_wire.py"),
)
SOURCES = Path("exporter", "kernel", "src")
PATIENCE: Final = 10
PATIENCE_SECONDS: Final = 3.0
"""Of CPU a test may take these, and so many times what it takes with the kernel as it is; else it has no end, and that finds the mutant."""

OPENING = re.compile(r"\b(if|while|for|LIKELY) \(|\bLIKELY\(|\breturn (?=[^;]*&&)|(?<=[=( ])(?=[\w.>-]+ < [\w.>-]+ \?)")
REFUSED = re.compile(r"\s*\{?\s*return (0|NULL|UNUSUAL|UNREAD|NO_COLUMN|result|most|unicode\(in\));")

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
    """A copy of what is needed, whose C compiles fast and with warnings: what isn't used any more is no mistake there."""
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    for path in (folder / "tests/support/compiled_kernel.py", folder / "tests/fuzz/test_kernel.py"):
        path.write_text(path.read_text().replace('"-Werror"', '"-w"').replace('"-O2"', '"-O0"'))
    return folder


class Leaving:
    """A plugin of pytest: what is collected runs for each mutant, in a process of its own, until one fails.

    Those that found others come first, and of each the fastest.
    """

    def __init__(self, folder: Path, mutants: Sequence[Mutant]) -> None:
        self.wrong: int | None = None
        self._folder = folder
        self._mutants = mutants
        self._took: dict[str, float] = {}  # with the kernel as it is, once that is known
        self._seconds: dict[str, float] = {}
        self._failed = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed and "CalledProcessError" in report.longreprtext:
            raise RuntimeError(report.longreprtext)
        self._failed = self._failed or (report.nodeid if report.failed else "")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.wrong = 0
        told = self._folder / "told"
        if found := self._found(session.items, told):
            sys.stderr.write(f"the kernel as it is fails {found}\n")
            self.wrong = 1
            return True
        self._took = json.loads(told.read_text())
        finding: set[str] = set()
        for mutant in self._mutants:
            file = self._folder / SOURCES / mutant.file
            source = file.read_text()
            file.write_text(mutant.text(source))
            items = sorted(session.items, key=lambda item: (item.nodeid not in finding, self._took[item.nodeid]))
            found = self._found(items, told)
            file.write_text(source)
            finding.add(found)
            reason = EQUAL.get(mutant.key)
            self.wrong += (not found) == (reason is None)
            by = found.rpartition("/")[2] + (" (and a reason)" if found and reason else "")
            sys.stdout.write(f"{mutant.key}: {by or reason or 'NOT FOUND'}\n")
            sys.stdout.flush()
        return True

    def _found(self, items: Sequence[pytest.Item], told: Path) -> str:
        """What finds that something is wrong with the kernel as it is now; empty: nothing does."""
        if not (child := os.fork()):
            self._run(items, told)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status < 0:
            return "no end" if -status == signal.SIGXCPU else signal.Signals(-status).name
        if status > 1:
            raise RuntimeError(told.read_text())
        return told.read_text() if status else ""

    def _run(self, items: Sequence[pytest.Item], told: Path) -> NoReturn:
        """Leaves behind how long each test took, or the name of the first that failed."""
        status = 2
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            for item, following in zip(items, [*items[1:], None], strict=True):
                if self._took:
                    seconds = time.process_time() + PATIENCE_SECONDS + PATIENCE * self._took[item.nodeid]
                    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), resource.RLIM_INFINITY))
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if self._failed:
                    break
            told.write_text(self._failed or json.dumps(self._seconds))
            status = 1 if self._failed else 0
        except BaseException:  # noqa: BLE001 - a child never returns
            told.write_text(traceback.format_exc())
        finally:
            os._exit(status)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", default="", help="comparisons that hold this, in FILE: COMPARISON")
    given = arguments.parse_args()
    every = mutants(ROOT / SOURCES)
    chosen = [one for one in every if given.only in f"{one.file}: {one.operand}"]
    with TemporaryDirectory() as temporary:
        folder = prepared(Path(temporary))
        os.chdir(folder)
        sys.path[0] = str(folder)
        leaving = Leaving(folder, chosen)
        options = ("-qq", "-s", "--disable-warnings", "-p", "no:cacheprovider", "--basetemp", str(folder / "temporary"))
        ended = pytest.main([*options, *TESTS], plugins=[leaving])
        os.chdir(ROOT)
    gone = sorted(EQUAL.keys() - {one.key for one in every})
    sys.stdout.write(f"{len(chosen)} comparisons, {leaving.wrong} wrong; reasons for what isn't there: {gone}\n")
    return 1 if ended or leaving.wrong != 0 or gone else 0


if __name__ == "__main__":
    sys.exit(main())
