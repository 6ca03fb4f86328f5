"""The image, built by Buildah from the Dockerfile as it is, on a base made by debootstrap (`make test-image`, as root).

What stays unproven here: the base that the Dockerfile names, and another architecture.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infermeter import __version__
from infermeter.otlp.kernel_library import INTERFACE, Library

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "image"
RELEASE = "bookworm"
PACKAGES = "python3,python3-venv,ca-certificates,gcc,libc6-dev"
REVISION = "0123456789abcdef0123456789abcdef01234567"
CONTENT_BYTES = 112e6
"""What the image may have on top of its base. 108 MB at the time of writing: OpenBLAS 28, NumPy 23, gRPC 19, aiohttp 9, the program 7."""

pytestmark = pytest.mark.image


def buildah(*arguments: str) -> str:
    places = ["--root", str(CACHE / "storage"), "--runroot", str(CACHE / "run"), "--storage-driver", DRIVER]
    done = subprocess.run(["buildah", *places, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def overlays() -> bool:
    return "overlay" in Path("/proc/filesystems").read_text()


DRIVER = "overlay" if overlays() else "vfs"


@pytest.fixture(scope="session")
def base() -> str:
    """A base image with Debian's Python, and a compiler: a build fetches one where there is none."""
    CACHE.mkdir(parents=True, exist_ok=True)
    name = "localhost/python-and-compiler"
    if name not in buildah("images", "--format", "{{.Name}}"):
        archive = CACHE / "base.tar"
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", RELEASE, archive.with_suffix("")], check=True, stdout=2
        )
        skipped = ["--exclude=./dev", "--exclude=./var/cache/apt", "--exclude=./var/lib/apt/lists"]
        subprocess.run(["tar", "-C", archive.with_suffix(""), "-cf", archive, *skipped, "."], check=True)
        container = buildah("from", "scratch")
        buildah("add", "--quiet", container, str(archive), "/")
        buildah("commit", "--quiet", "--rm", container, name)
        subprocess.run(["rm", "-r", archive, archive.with_suffix("")], check=True)
    return name


@pytest.fixture(scope="session")
def built(base: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Builds the image under a name. What pip takes is laid beside it, by its hashes: the build itself asks nobody."""
    wheels = CACHE / "wheels"
    for lock in ("requirements.lock", "deploy/image/build.lock"):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
        subprocess.run([*command, "--requirement", ROOT / lock, "--dest", wheels], check=True, stderr=subprocess.DEVNULL)
    context = tmp_path_factory.mktemp("context")  # a copy, so that what is edited meanwhile isn't in the second build alone
    listed = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["cp", "--parents", "--target-directory", context, *filter(None, listed.split(b"\0"))], cwd=ROOT, check=True)
    settings = tmp_path_factory.mktemp("pip") / "pip.conf"
    settings.write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    arguments = {"PYTHON_IMAGE": base, "VERSION": __version__, "REVISION": REVISION, "SOURCE": "", "SOURCE_DATE_EPOCH": "1000000000"}

    def build(name: str, **others: str) -> str:
        given = [f"--build-arg={key}={value}" for key, value in (arguments | others).items()]
        volumes = [f"--volume={wheels}:/wheels:ro", f"--volume={settings}:/etc/pip.conf:ro"]
        shape = ["--isolation=chroot", "--format=docker", "--pull-never", "--no-cache", "--quiet", "--timestamp=1000000000"]
        buildah("bud", *shape, *given, *volumes, f"--tag={name}", str(context))
        return name

    return build


@pytest.fixture(scope="session")
def image(built: Callable[[str], str]) -> str:
    return built("localhost/infermeter")


@pytest.fixture(scope="session")
def settings(image: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(buildah("inspect", "--type=image", image))["Docker"]["config"]
    return told


def files(image: str) -> Iterator[Path]:
    """The files of an image, mounted as long as they are looked at."""
    container = buildah("from", "--pull-never", image)
    try:
        yield Path(buildah("mount", container))
    finally:
        buildah("rm", container)


@pytest.fixture
def root(image: str) -> Iterator[Path]:
    yield from files(image)


def test_it_serves_as_a_user_without_rights_on_a_root_that_nobody_can_write(root: Path, settings: dict[str, Any]) -> None:
    command = [
        "unshare",
        "--mount",
        "--pid",
        "--net",
        "--fork",
        "--kill-child",
        sys.executable,
        str(Path(__file__).with_name("container.py")),
    ]
    done = subprocess.run([*command, root, json.dumps(settings)], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert "infermeter_build_info{" in seen["metrics"]
    assert f'revision="{REVISION}"' in seen["metrics"]
    assert f'version="{__version__}"' in seen["metrics"]
    assert seen["healthy"] == "healthy\n"
    assert seen["health"] == [0, ""]
    assert seen["health_without_server"][0] == 1
    assert seen["exit"][0] == 0
    assert seen["exit"][1] < 5
    assert "Read-only file system" not in seen["log"]
    assert "exports are decoded by the compiled decoder" in seen["log"]
    assert {"Uid:\t65532\t65532\t65532\t65532", "Gid:\t65532\t65532\t65532\t65532", "NoNewPrivs:\t1"} <= set(seen["status"])
    assert {line.partition("\t")[2] for line in seen["status"] if line.startswith("Cap")} == {"0" * 16}


def test_it_says_how_it_is_run_and_what_it_is(settings: dict[str, Any]) -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", settings["User"])
    assert [settings["Entrypoint"], settings["Cmd"]] == [["/opt/infermeter/bin/infermeter"], ["serve"]]
    assert settings["Healthcheck"]["Test"] == ["CMD", "/opt/infermeter/bin/infermeter", "health"]
    assert set(settings["ExposedPorts"]) == {"10470/tcp", "4317/tcp", "4318/tcp"}
    labels = {name.rpartition(".")[2]: value for name, value in settings["Labels"].items() if name.startswith("org.opencontainers.image.")}
    assert (labels["version"], labels["revision"], labels["licenses"]) == (__version__, REVISION, "Apache-2.0")
    assert set(labels) == {"title", "description", "licenses", "version", "revision", "source"}


def test_nothing_in_it_can_be_written_by_its_user_and_nothing_gives_rights(root: Path) -> None:
    """That is what the program brings; the base's own files are the base's."""
    ours = [path for path in (root / "opt").rglob("*") if not path.is_symlink()]
    assert [path for path in ours if path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH | stat.S_ISUID | stat.S_ISGID)] == []
    assert {(path.stat().st_uid, path.stat().st_gid) for path in ours} == {(0, 0)}


def test_it_holds_the_program_and_what_the_lock_names_and_no_installer(root: Path) -> None:
    names = {path.name.partition("-")[0].lower().replace("_", "-") for path in (root / "opt").rglob("*.dist-info")}
    locked = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert names == locked | {"infermeter", "infermeter-kernel"}
    assert {path.name for path in (root / "opt/infermeter/bin").iterdir() if "python" not in path.name} == {"infermeter"}
    assert {path.name for path in root.iterdir()} >= {"opt"}
    assert not (root / "src").exists()


def test_the_kernel_is_there_and_what_it_was_made_with_is_not(root: Path) -> None:
    (library,) = (root / "opt").rglob("infermeter_kernel/kernel.so")
    assert Library(library).interface == INTERFACE
    assert list((root / "opt").rglob("*.[ch]")) == []


def test_it_stays_small(root: Path) -> None:
    sizes = {path: path.stat().st_size for path in (root / "opt").rglob("*") if path.is_file() and not path.is_symlink()}
    assert 50e6 < sum(sizes.values()) < CONTENT_BYTES


def test_no_start_compiles_anything(root: Path) -> None:
    """Each module has its bytecode, which trusts that its source stays (PEP 552: flags 0b01)."""
    for source in (root / "opt/infermeter/lib").rglob("*.py"):
        (bytecode,) = (source.parent / "__pycache__").glob(f"{source.stem}.cpython-*.pyc")
        assert bytecode.read_bytes()[4:8] == b"\x01\0\0\0", bytecode


def test_two_builds_make_the_same_files(image: str, built: Callable[[str], str]) -> None:
    assert digests(image) == digests(built("localhost/infermeter-again"))


def digests(image: str) -> dict[str, tuple[int, int, str]]:
    """Mode, time and content of each file that the program brings."""
    for root in files(image):
        return {
            str(path.relative_to(root)): (
                path.lstat().st_mode,
                path.lstat().st_mtime_ns,
                str(path.readlink()) if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
            )
            for path in (root / "opt").rglob("*")
        }
    raise AssertionError


def test_a_version_that_is_not_the_programs_is_refused(built: Callable[..., str]) -> None:
    with pytest.raises(AssertionError):
        built("localhost/infermeter-wrong", VERSION="0.0.0")
