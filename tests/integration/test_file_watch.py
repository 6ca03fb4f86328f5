"""Files that change under who looks at them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from infermeter.errors import ConfigError
from infermeter.network.file_watch import FileWatch, Held
from support.patience import SOON_SECONDS

LOOK_SECONDS = 0.01


class Note:
    """A file whose text names another one, below it, in its last line; `reads` counts how often it was read."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "note"
        self.reads = 0

    def read(self) -> Held[str]:
        self.reads += 1
        try:
            text = self.file.read_text()
        except OSError as error:
            raise ConfigError("note", str(error.strerror)) from None
        if text == "mistake":
            raise ValueError(text)
        below = [self.file.parent / name for name in text.split()[1:]]
        return Held("".join([text, *(file.read_text() for file in below)]), (self.file, *below))


def watching(scenario: Callable[[Note, FileWatch[str]], Awaitable[None]], folder: Path) -> list[Exception]:
    """Runs a scenario with a note that says "one" at first; the mistakes that were told."""
    note = Note(folder)
    note.file.write_text("one")
    mistakes: list[Exception] = []

    async def run() -> None:
        watch = FileWatch(
            "the note",
            note.read,
            refused=lambda _, after: "it says nothing" if not after else None,
            fail=mistakes.append,
            interval_seconds=LOOK_SECONDS,
        )
        watch.start()
        watch.start()
        try:
            await scenario(note, watch)
        finally:
            watch.stop()

    asyncio.run(run())
    return mistakes


async def until(holds: Callable[[], bool]) -> None:
    """Waits for it."""
    async with asyncio.timeout(SOON_SECONDS):
        while True:
            if holds():
                return
            await asyncio.sleep(LOOK_SECONDS / 2)


def test_what_a_file_says_anew_holds_and_so_does_what_the_files_say_that_it_names(tmp_path: Path) -> None:
    (tmp_path / "below").write_text("two")

    async def scenario(note: Note, watch: FileWatch[str]) -> None:
        assert watch.current == "one"
        note.file.write_text("see below")
        await until(lambda: watch.current == "see belowtwo")
        (tmp_path / "below").write_text("three")
        await until(lambda: watch.current == "see belowthree")

    assert watching(scenario, tmp_path) == []


def test_files_that_do_not_change_are_not_read_again(tmp_path: Path) -> None:
    async def scenario(note: Note, _: FileWatch[str]) -> None:
        await until(lambda: note.reads >= 2)  # once more after the first time, in which they may have changed
        await asyncio.sleep(LOOK_SECONDS * 10)
        assert note.reads == 2

    assert watching(scenario, tmp_path) == []


@pytest.mark.parametrize(("text", "told"), [(None, "note: No such file or directory"), ("", "it says nothing")])
def test_what_can_not_be_taken_is_told_once_and_what_held_before_stays(
    text: str | None, told: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(note: Note, watch: FileWatch[str]) -> None:
        note.file.unlink()
        if text is not None:
            note.file.write_text(text)
        await until(lambda: bool(caplog.records))
        await asyncio.sleep(LOOK_SECONDS * 10)
        assert watch.current == "one"
        note.file.write_text("two")
        await until(lambda: watch.current == "two")

    with caplog.at_level(logging.WARNING):
        assert watching(scenario, tmp_path) == []
    assert [record.getMessage() for record in caplog.records] == [
        f"the note can't be taken over, what it said before stays in force: {told}"
    ]


def test_a_mistake_of_ours_is_told_to_who_ends_the_process(tmp_path: Path) -> None:
    async def scenario(note: Note, watch: FileWatch[str]) -> None:
        note.file.write_text("mistake")
        await asyncio.sleep(0)
        await until(lambda: note.reads >= 2)
        await asyncio.sleep(LOOK_SECONDS * 5)
        assert watch.current == "one"

    assert [str(mistake) for mistake in watching(scenario, tmp_path)] == ["mistake"]


def test_one_that_never_began_can_be_ended(tmp_path: Path) -> None:
    note = Note(tmp_path)
    note.file.write_text("one")
    FileWatch("the note", note.read, refused=lambda _before, _after: None, fail=lambda _: None).stop()
