"""`infermeter serve` as a process of its own: what the system does to it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from urllib.request import urlopen

import pytest

LISTEN = 'listen: {web: "127.0.0.1:0", otlp_grpc: "127.0.0.1:0", otlp_http: "127.0.0.1:0"}\n'


def command(folder: Path, config: str) -> list[str]:
    file = folder / "infermeter.yaml"
    file.write_text(config)
    return ["sh", "-c", 'ulimit -S -n 256; exec "$@"', "sh", sys.executable, "-m", "infermeter", "serve", "--config", str(file)]


@contextmanager
def serving(
    folder: Path, config: str = LISTEN, environment: Mapping[str, str] = MappingProxyType({})
) -> Iterator[tuple[subprocess.Popen[str], Mapping[str, str]]]:
    """A sidecar that listens, with its addresses by key, under a shell's limit on open files; it is gone in the end."""
    variables = {**os.environ, **environment}
    with subprocess.Popen(command(folder, config), stderr=subprocess.PIPE, text=True, env=variables) as process:
        try:
            assert process.stderr is not None
            addresses: dict[str, str] = {}
            while "otlp_http" not in addresses:
                key, _, address = process.stderr.readline().partition("listening: ")[2].partition(" on ")
                addresses[key] = address.strip()
            yield process, addresses
        finally:
            process.kill()


def test_it_ends_with_0_however_often_it_is_told_to_stop(tmp_path: Path) -> None:
    with serving(tmp_path) as (process, _):
        ended = False
        while not ended:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):  # signals without a pause would make Python complain of them
                process.wait(timeout=0.005)
                ended = True

        assert process.stderr is not None
        assert process.stderr.read().endswith("stopped: 0 spans received, 0 inferences observed, 0 spans dropped, 0 unmapped\n")
        assert process.returncode == 0


def test_a_configuration_that_hangs_while_it_is_read_anew_does_not_keep_it_from_ending(tmp_path: Path) -> None:
    with serving(tmp_path) as (process, addresses):
        with urlopen(f"http://{addresses['web']}/-/ready", timeout=10):  # before, it takes no other configuration
            file = tmp_path / "infermeter.yaml"
        file.unlink()
        os.mkfifo(file)
        process.send_signal(signal.SIGHUP)
        with file.open("wb"):  # opened once it is being read; and nothing comes
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=10) == 0


def test_a_disk_that_hangs_does_not_keep_it_from_ending(tmp_path: Path) -> None:
    library = tmp_path / "hangs.so"
    code = b"#include <unistd.h>\nint fsync(int file) { (void)file; for (;;) pause(); }\n"
    subprocess.run(["gcc", "-shared", "-fPIC", "-x", "c", "-o", str(library), "-"], input=code, check=True)
    config = f"{LISTEN}state_file: {tmp_path / 'state.json'}\n"
    with serving(tmp_path, config, {"LD_PRELOAD": str(library)}) as (process, _):
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
        assert process.stderr is not None
        assert re.search(r"isn't saved within 1\.[0-9] s; what was learnt last is lost", process.stderr.read())


def test_many_connections_leave_files_for_others(tmp_path: Path) -> None:
    with serving(tmp_path) as (_, addresses), ExitStack() as connections:
        host, port = addresses["otlp_http"].split(":")
        for _ in range(300):
            connections.enter_context(socket.create_connection((host, int(port)), timeout=10))
        with urlopen(f"http://{addresses['web']}/-/healthy", timeout=10) as answer:
            assert answer.read() == b"healthy\n"


@pytest.mark.parametrize("key", ["web", "otlp_grpc", "otlp_http"])
def test_a_taken_port_is_told_in_one_line(key: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        config = LISTEN.replace(f'{key}: "127.0.0.1:0"', f'{key}: "{address}"') + "gpu: {source: none}\n"
        done = subprocess.run(command(tmp_path, config), capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert [line.startswith(f"listen.{key}: {address}: ") for line in done.stderr.splitlines()] == [True]
    assert done.stdout == ""
