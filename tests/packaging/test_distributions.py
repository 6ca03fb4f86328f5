"""Wheel and source distribution, built and installed as a user would (`make test-packaging`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest
from packaging.metadata import Metadata

from infermeter import __version__

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.packaging


SOURCES = ["exporter", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "requirements.lock", ".gitignore"]


def built(sources: Path, folder: Path) -> Path:
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, sources]
    subprocess.run(command, env=os.environ | {"SOURCE_DATE_EPOCH": "1000000000"}, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, so that what is edited meanwhile isn't in one build alone."""
    folder = tmp_path_factory.mktemp("sources")
    subprocess.run(["cp", "--recursive", *SOURCES, folder], cwd=ROOT, check=True)
    return folder


@pytest.fixture(scope="module")
def dist(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(sources, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (path,) = dist.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and what requirements.lock names, by its hashes."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder)
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet"]
    subprocess.run(
        [*pip, "--require-hashes", "--only-binary", ":all:", "-r", ROOT / "requirements.lock"], check=True, stderr=subprocess.DEVNULL
    )
    subprocess.run([*pip, "--no-index", wheel], check=True)  # whatever the lock lacked would fail here
    return folder


def test_what_is_installed_runs(installed: Path) -> None:
    program = installed / "bin" / "infermeter"
    done = subprocess.run([program, "--version"], cwd=installed, capture_output=True, text=True, check=True)
    assert done.stdout == f"infermeter {__version__}\n"
    for arguments in (["mappings"], ["catalogue"], ["reference", "servers"], ["check-config", ROOT / "deploy" / "config.example.yaml"]):
        assert subprocess.run([program, *arguments], cwd=installed, capture_output=True, check=True).stdout


def test_the_manual_page_and_completion_lie_where_they_are_looked_for(installed: Path) -> None:
    share = ROOT / "exporter" / "share"
    files = [path.relative_to(share) for path in share.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if not (installed / "share" / path).is_file()] == []


def test_the_wheel_holds_every_file_of_the_package(sources: Path, wheel: Path) -> None:
    files = {
        f"infermeter/{path.relative_to(sources / 'exporter' / 'infermeter')}"
        for path in (sources / "exporter" / "infermeter").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    names = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("infermeter/")}
    assert names == files


def test_the_metadata_is_what_an_index_takes(wheel: Path) -> None:
    text = zipfile.ZipFile(wheel).read(f"infermeter-{__version__}.dist-info/METADATA")
    metadata = Metadata.from_email(text, validate=True)
    assert (metadata.name, str(metadata.version), metadata.license_expression) == ("infermeter", __version__, "Apache-2.0")
    assert metadata.description_content_type == "text/markdown"
    assert BytesParser().parsebytes(text).get_all("License-File") == ["LICENSE"]


def test_the_source_distribution_holds_what_the_wheel_is_made_of_and_no_tests(dist: Path) -> None:
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert {name.partition("/")[0] for name in names} == {
        ".gitignore", "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "exporter", "pyproject.toml", "requirements.lock",
    }  # fmt: skip


def test_two_builds_are_the_same_bytes(sources: Path, dist: Path, tmp_path: Path) -> None:
    again = built(sources, tmp_path)
    assert {path.name: path.read_bytes() for path in dist.iterdir()} == {path.name: path.read_bytes() for path in again.iterdir()}


def test_the_sbom_is_valid_names_what_is_locked_and_comes_out_the_same_twice(installed: Path, tmp_path: Path) -> None:
    texts = []
    for name in ("one.json", "two.json"):
        command = [Path(sys.executable).parent / "cyclonedx-py", "environment", "--output-reproducible", "--validate"]
        command += ["--pyproject", ROOT / "pyproject.toml", "--output-file", tmp_path / name, installed]
        subprocess.run(command, check=True, capture_output=True)
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1]
    components = {one["name"].lower().replace("_", "-"): one for one in json.loads(texts[0])["components"]}
    locked = {line.partition("==")[0] for line in (ROOT / "requirements.lock").read_text().splitlines() if line[:1].isalnum()}
    assert set(components) - {"infermeter"} == locked
    assert [name for name, one in components.items() if not one.get("licenses")] == ["protobuf"]  # BSD, in words that are no identifier
