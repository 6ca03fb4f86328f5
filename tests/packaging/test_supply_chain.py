"""What is shipped is pinned, licensed and looked at. Whether a pinned version has a known vulnerability only the release can ask."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
LOCKS = [ROOT / "requirements.lock", ROOT / "deploy" / "image" / "build.lock"]
PINNED = re.compile(r"^([\w.-]+)==(\S+)", re.MULTILINE)

LICENCES = {
    "Apache": "permissive, with a patent grant: the program's own",
    "MIT": "permissive",
    "BSD": "permissive",
    "0BSD": "permissive",
    "Zlib": "permissive",
    "CC0": "public domain",
    "PSF": "permissive: Python's own",
    "Python Software Foundation": "permissive: Python's own",
    "Mozilla Public License": "certifi and orjson: copyleft of single files, which aren't changed",
    "MPL": "as above",
}

EXCEPTIONS = {("B104", "endpoints.py"): "addresses are compared with it; nothing is bound there"}


def versions(lock: Path) -> dict[str, str]:
    return {name.lower().replace("_", "-"): version for name, version in PINNED.findall(lock.read_text())}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_each_version_is_the_one_that_the_suite_runs_with(lock: Path) -> None:
    developed = versions(ROOT / "requirements-dev.lock")
    assert versions(lock)
    assert {name: version for name, version in versions(lock).items() if developed.get(name) != version} == {}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_each_file_that_may_be_installed_has_its_hash(lock: Path) -> None:
    text = "".join(line for line in lock.read_text().splitlines(keepends=True) if not line.startswith("#"))
    entry = r"[\w.-]+==[\w.+!-]+( ; [\w =\"]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+\n"
    assert re.fullmatch(f"({entry})+", text)


def test_each_licence_is_one_that_is_allowed() -> None:
    packages = list(versions(LOCKS[0]))
    done = subprocess.run([BIN / "pip-licenses", "--from=mixed", "--format=json", "--packages", *packages], capture_output=True, check=True)
    told = {row["Name"].lower().replace("_", "-"): row["License"] for row in json.loads(done.stdout)}
    assert set(told) == set(packages)
    parts = {name: re.split(r" AND | OR |; ", licence) for name, licence in told.items()}
    assert {name: told[name] for name, each in parts.items() for one in each if not any(word in one for word in LICENCES)} == {}


def test_bandit_finds_nothing_of_weight_but_what_has_a_reason() -> None:
    done = subprocess.run([BIN / "bandit", "-q", "-r", ROOT / "exporter", "-ll", "-f", "json"], capture_output=True, check=False)
    found = {(one["test_id"], Path(one["filename"]).name) for one in json.loads(done.stdout)["results"]}
    assert found == set(EXCEPTIONS)


def test_hadolint_has_nothing_to_say_about_the_dockerfile() -> None:
    assert subprocess.run([BIN / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True, check=False).stdout == ""


def test_what_the_image_is_made_of_is_sent_to_its_build_and_nothing_else() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    allowed = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert {path for line in copied for path in line.split()} == set(allowed)


def test_actionlint_has_nothing_to_say_about_the_workflows() -> None:
    workflows = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    done = subprocess.run([BIN / "actionlint", "-no-color", *workflows], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert {path.name for path in workflows} == {"ci.yml", "release.yml"}


@pytest.mark.parametrize("name", ["ci.yml", "release.yml"])
def test_a_workflow_has_no_right_that_a_job_does_not_ask_for_and_ends_in_time(name: str) -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text())
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 60
        assert job["permissions"]
    assert "secrets." not in (ROOT / ".github" / "workflows" / name).read_text()
