"""Runs an image as a container would: own mounts, processes and network, root read-only, no capability, its user, its entry point.

`unshare --mount --pid --net --fork python3 container.py ROOT IMAGE`: IMAGE is the image's configuration as JSON, and what was seen is
written as JSON.
"""

from __future__ import annotations

import fcntl
import json
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

PATIENCE = 20.0
DEVICES = ("null", "zero", "full", "random", "urandom")
"""What the runtime specification of the Open Container Initiative supplies, terminals left out."""

PAGES = {"metrics": "/metrics", "healthy": "/-/healthy", "page": "/"}


def main(root: str, image: dict[str, Any]) -> dict[str, Any]:
    loopback()
    mount("--bind", root, root)
    mount("-t", "proc", "proc", f"{root}/proc")
    Path(root, "dev").mkdir(exist_ok=True)
    mount("-t", "tmpfs", "-o", "mode=0755", "dev", f"{root}/dev")
    for device in DEVICES:
        Path(root, "dev", device).touch()
        mount("--bind", f"/dev/{device}", f"{root}/dev/{device}")
    mount("-o", "remount,bind,ro", root)
    user, _, group = image["User"].partition(":")
    rights = [
        "setpriv",
        f"--reuid={user}",
        f"--regid={group}",
        "--clear-groups",
        "--no-new-privs",
        "--bounding-set=-all",
        "--inh-caps=-all",
    ]
    inside = ["chroot", root, "env", "-i", *image["Env"], *rights]
    seen: dict[str, Any] = {}
    server = subprocess.Popen([*inside, *image["Entrypoint"], *image["Cmd"]], stderr=subprocess.PIPE, text=True)
    try:
        seen["ready_seconds"] = until_ready(server)
        seen |= {name: fetched(path) for name, path in PAGES.items()}
        healthy = subprocess.run([*inside, *image["Healthcheck"]["Test"][1:]], capture_output=True, text=True, check=False)
        seen["health"] = [healthy.returncode, healthy.stderr]
        seen["status"] = [
            line for line in status(root, server.pid) if line.startswith(("Uid", "Gid", "CapEff", "CapBnd", "NoNewPrivs", "VmRSS"))
        ]
        began = time.monotonic()
        server.send_signal(signal.SIGTERM)
        _, seen["log"] = server.communicate(timeout=PATIENCE)
        seen["exit"] = [server.returncode, time.monotonic() - began]
    finally:
        server.kill()
    unhealthy = subprocess.run([*inside, *image["Healthcheck"]["Test"][1:]], capture_output=True, text=True, check=False)
    seen["health_without_server"] = [unhealthy.returncode, unhealthy.stderr]
    return seen


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def loopback() -> None:
    """The network of a new namespace begins with a loopback that is down (SIOCSIFFLAGS with IFF_UP)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 1))


def until_ready(server: subprocess.Popen[str]) -> float:
    began = time.monotonic()
    while True:
        if server.poll() is not None:
            raise RuntimeError(server.communicate()[1])
        try:
            fetched("/-/ready")
        except OSError:
            if time.monotonic() - began > PATIENCE:
                server.kill()
                raise RuntimeError(server.communicate()[1]) from None
            time.sleep(0.02)
        else:
            return time.monotonic() - began


def fetched(path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:10470{path}", timeout=PATIENCE) as answer:
        text: str = answer.read().decode()
        return text


def status(root: str, process: int) -> list[str]:
    return Path(root, f"proc/{process}/status").read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], json.loads(sys.argv[2]))))
