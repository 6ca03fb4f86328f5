from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.dashboards import demo_recording, history, story
from tests.dashboards.queries import History

ROOT = Path(__file__).resolve().parents[2]
STORY_START, STORY_HOURS, STORY_STEP = 1767225600.0, 20.0, 150.0
DEMO_STEP = 3.0


@pytest.fixture(scope="session")
def pages() -> list[dict[str, Any]]:
    """The committed dashboards."""
    return [json.loads(path.read_text()) for path in sorted((ROOT / "dashboards").glob("*.json"))]


@pytest.fixture(scope="session")
def story_history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    """Twenty hours of the story, from midnight on, with all that the rules record of it."""
    folder = tmp_path_factory.mktemp("story")
    end = STORY_START + STORY_HOURS * story.HOUR
    data = history.build(folder, story.pages(STORY_START, STORY_HOURS, STORY_STEP), STORY_START, end, STORY_STEP)
    with history.serving(folder, data) as url:
        yield History(url, STORY_START, end, STORY_STEP)


@pytest.fixture(scope="session")
def demo_history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    """What the demo's sidecars exposed in each scenario, one after the other."""
    folder = tmp_path_factory.mktemp("demo")
    start, end = demo_recording.times()
    data = history.build(folder, demo_recording.lines(), start, end, DEMO_STEP)
    with history.serving(folder, data) as url:
        yield History(url, start, end, DEMO_STEP)
