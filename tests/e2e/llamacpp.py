"""llama.cpp built from the source that llama-cpp-python 0.3.36 carries, and two servers that run it: its own, and llama-cpp-python's.

Neither emits spans: those come from `infermeter proxy`. Six minutes of one core the first time, 150 MB of disk; random weights.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from e2e.environments import environment, pip
from e2e.processes import answers, free_ports, running, wait_until

VERSION = "0.3.36"
REQUIREMENTS = (
    *("numpy==2.4.6", "gguf==0.19.0", "diskcache==5.6.3", "jinja2==3.1.6"),
    *("uvicorn==0.54.0", "fastapi==0.165.0", "starlette==1.10.0", "pydantic-settings==2.16.3"),
    *("sse-starlette==3.7.0", "starlette-context==0.3.6", "PyYAML==6.0.3"),
)
BUILDING = ("scikit-build-core==1.1.2", "pathspec==1.1.1", "pyproject-metadata==0.12.1")
LIBRARIES = "libraries"
MODEL = "tiny"
START_SECONDS = 60


@contextlib.contextmanager
def llama_server(log: Path, *, port: int) -> Iterator[str]:
    """The URL of llama.cpp's own server, which computes two answers at a time."""
    folder = _folder()
    command = [folder / LIBRARIES / "llama-server", "--model", folder / f"{MODEL}.gguf", "--alias", MODEL, "--metrics", "--no-webui"]
    command += ["--parallel", "2", "--ctx-size", "2048", "--threads", "1", "--host", "127.0.0.1", "--port", str(port)]
    with _serving(command, log, f"http://127.0.0.1:{port}") as url:
        yield url


@contextlib.contextmanager
def llama_cpp_python(log: Path) -> Iterator[str]:
    """The URL of llama-cpp-python's server, which computes one answer at a time."""
    folder = _folder()
    (port,) = free_ports(1)
    command = [folder / "bin" / "python", "-m", "llama_cpp.server", "--model", folder / f"{MODEL}.gguf", "--model_alias", MODEL]
    command += ["--n_ctx", "1024", "--n_threads", "1", "--host", "127.0.0.1", "--port", str(port)]
    with _serving(command, log, f"http://127.0.0.1:{port}") as url:
        yield url


@contextlib.contextmanager
def _serving(command: Sequence[str | Path], log: Path, url: str) -> Iterator[str]:
    own = os.environ | {"LLAMA_CPP_LIB_PATH": str(_folder() / LIBRARIES)}
    with running(command, log=log, environment=own) as process:
        wait_until(lambda: answers(f"{url}/v1/models"), seconds=START_SECONDS, process=process, log=log, what="ready server")
        yield url


def _folder() -> Path:
    return environment("llamacpp", _install)


def _install(folder: Path) -> None:
    pip(folder, "install", *REQUIREMENTS, *BUILDING)
    with tempfile.TemporaryDirectory() as place:
        pip(folder, "download", "--no-deps", "--no-build-isolation", "--no-binary=:all:", f"llama-cpp-python=={VERSION}", "--dest", place)
        (archive,) = Path(place).glob("*.tar.gz")
        # the Python part alone: its libraries are those that are built below, for both servers at once
        without = [f"--config-settings=cmake.define.{part}_BUILD=OFF" for part in ("LLAMA", "LLAVA")]
        pip(folder, "install", "--no-deps", "--no-build-isolation", *without, archive)
        with tarfile.open(archive) as packed:
            packed.extractall(place, filter="data")
        _build(next(Path(place).glob("*/vendor/llama.cpp")), folder / LIBRARIES)
    subprocess.run([folder / "bin" / "python", Path(__file__).with_name("llama_model.py"), folder / f"{MODEL}.gguf"], check=True)


def _build(source: Path, folder: Path) -> None:
    """Builds its server and its libraries into `folder`. Raises: RuntimeError with the end of what was said."""
    build = source.parent / "build"
    without = [f"-DLLAMA_{part}=OFF" for part in ("BUILD_TESTS", "BUILD_EXAMPLES", "BUILD_APP", "BUILD_UI", "USE_PREBUILT_UI", "OPENSSL")]
    fast_to_build = ["-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_CXX_FLAGS_RELEASE=-O1"]
    for step in (
        ["cmake", "-S", source, "-B", build, "-DBUILD_SHARED_LIBS=ON", "-DCMAKE_BUILD_RPATH_USE_ORIGIN=ON", *without, *fast_to_build],
        ["nice", "cmake", "--build", build, "--target", "llama-server", "--parallel", str(os.cpu_count())],
    ):
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(map(str, step))}: {(done.stdout + done.stderr)[-1000:]}")
    shutil.copytree(build / "bin", folder, symlinks=True)
