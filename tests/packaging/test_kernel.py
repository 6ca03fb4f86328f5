"""The kernel's distributions, built and installed beside the program (`make test-packaging`)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from infermeter.otlp.kernel_library import INTERFACE, Library

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "exporter" / "kernel"

pytestmark = pytest.mark.packaging


def built(sources: Path, folder: Path) -> Path:
    """Both distributions; the wheel is made of the source distribution."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, sources]
    subprocess.run(command, env=os.environ | {"SOURCE_DATE_EPOCH": "1000000000"}, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(SOURCES, tmp_path_factory.mktemp("kernel"))


def test_the_wheel_holds_the_library_for_any_python_and_no_source(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    assert wheel.name.startswith(f"infermeter_kernel-{INTERFACE}.0-py3-none-linux_")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info" not in name}
    assert names == {"infermeter_kernel/__init__.py", "infermeter_kernel/kernel.so"}


def test_the_source_distribution_holds_what_the_wheel_is_made_of(dist: Path) -> None:
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    sources = {f"src/{path.name}" for path in (SOURCES / "src").iterdir()}
    assert names == {".gitignore", "PKG-INFO", "pyproject.toml", "hatch_build.py", "infermeter_kernel/__init__.py"} | sources


def test_what_is_installed_is_found_by_the_program(dist: Path, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--target"]
    subprocess.run([*pip, tmp_path, *dist.glob("*.whl")], check=True)
    assert Library(tmp_path / "infermeter_kernel" / "kernel.so").interface == INTERFACE
    code = "import infermeter_kernel as package; from infermeter.otlp.kernel_library import installed; "
    code += "print(package.LIBRARY, installed().interface)"
    path = os.pathsep.join(map(str, (tmp_path, ROOT / "exporter")))
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path}/infermeter_kernel/kernel.so {INTERFACE}\n"


@pytest.mark.parametrize("stale", [False, True], ids=["this", "another interface"])
def test_the_command_decodes_with_what_is_installed_and_without_what_is_not_its_own(stale: bool, dist: Path, tmp_path: Path) -> None:
    """Installed from wheels in an environment of its own, and started where there is no compiler."""
    folder = tmp_path / "environment"
    venv.create(folder)
    program, kernel = built(ROOT, tmp_path / "program"), built(other_interface(tmp_path), tmp_path / "kernel") if stale else dist
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    subprocess.run([*pip, *program.glob("*.whl"), *kernel.glob("*.whl")], check=True)
    (site,) = folder.glob("lib/python3*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")  # what they need; not how this program is installed there
    code = "from infermeter.otlp.decoders import best_decoder, tell; from infermeter.model import Layout; import logging, sys; "
    code += "logging.basicConfig(format='%(levelname)s %(message)s', level='INFO', stream=sys.stdout); tell(best_decoder(type('W', (), "
    code += "{'resource_keys': (), 'layout': lambda *_: Layout((), events=False)})()))"
    done = subprocess.run([python, "-c", code], env={"PATH": "/nonexistent"}, capture_output=True, text=True, check=True, cwd=tmp_path)
    said = f"WARNING the compiled decoder isn't used: infermeter-kernel has interface {INTERFACE + 1}, and {INTERFACE} is needed\n"
    pure, compiled = "INFO exports are decoded by protobuf and numpy\n", "INFO exports are decoded by the compiled decoder\n"
    assert done.stdout == (said + pure if stale else compiled)


def other_interface(folder: Path) -> Path:
    """The sources, of another interface."""
    sources = shutil.copytree(SOURCES, folder / "other")
    text = (sources / "src" / "kernel.c").read_text()
    (sources / "src" / "kernel.c").write_text(text.replace(f"#define INTERFACE {INTERFACE} ", f"#define INTERFACE {INTERFACE + 1} "))
    return sources


def test_the_library_needs_nothing_but_the_c_library(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    content = zipfile.ZipFile(wheel).read("infermeter_kernel/kernel.so")
    assert b"libc.so.6" in content
    assert b"libpython" not in content
    assert b"Py_" not in content
    assert b"malloc" not in content


def test_two_builds_are_the_same_bytes(dist: Path, tmp_path: Path) -> None:
    again = built(SOURCES, tmp_path)
    assert {path.name: path.read_bytes() for path in dist.iterdir()} == {path.name: path.read_bytes() for path in again.iterdir()}


def test_without_a_compiler_the_build_fails(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path, SOURCES]
    assert subprocess.run(command, env=os.environ | {"CC": "false"}, capture_output=True, check=False).returncode != 0
    assert list(tmp_path.iterdir()) == []
