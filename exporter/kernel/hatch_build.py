"""Compiles src/ for the wheel. It knows nothing of Python, so one wheel is for every version."""  # noqa: INP001 - a build's hook

from __future__ import annotations

import os
import shlex
import subprocess
import sysconfig
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FLAGS = (
    *("-std=c11", "-O2", "-fPIC", "-shared", "-fvisibility=hidden"),
    *("-fstack-protector-strong", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2", "-Wl,-z,relro,-z,now"),
)


class Compiler(BuildHookInterface[Any]):
    """Called by hatchling; $CC and $CFLAGS are the user's."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compiles; the wheel takes the library from a folder of its own, which `finalize` removes."""
        del version
        self._folder = TemporaryDirectory()
        library = Path(self._folder.name, "kernel.so")
        compiler, wanted = (shlex.split(os.environ.get(name, default)) for name, default in (("CC", "cc"), ("CFLAGS", "")))
        sources = sorted(Path(self.root, "src").glob("*.c"))
        subprocess.run([*compiler, *FLAGS, *wanted, "-o", library, *sources], check=True)  # noqa: S603 - as the user wishes
        build_data["force_include"][str(library)] = "infermeter_kernel/kernel.so"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Removes what was compiled."""
        del version, build_data, artifact_path
        self._folder.cleanup()
