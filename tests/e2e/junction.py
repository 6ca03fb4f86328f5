"""A place on the way of spans from which every export goes on, as it is, to several sidecars: they must say the same."""

from __future__ import annotations

import contextlib
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import ClassVar

PATIENCE_SECONDS = 10


@contextlib.contextmanager
def junction(*endpoints: str, folder: Path) -> Iterator[str]:
    """The URL of an OTLP/HTTP end point that keeps every export in `folder` (001.pb, 002.json, ..), in the order of arrival."""
    folder.mkdir(exist_ok=True)

    class Junction(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        kept: ClassVar[list[Path]] = []
        lock: ClassVar[Lock] = Lock()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            packed = {"gzip": ".gz"}.get(self.headers.get("Content-Encoding", ""), "")
            kind = "json" if self.headers["Content-Type"] == "application/json" else "pb"
            with self.lock:  # one after the other, so that all of them see one order
                self.kept.append(folder / f"{len(self.kept) + 1:03}.{kind}{packed}")
                self.kept[-1].write_bytes(body)
                headers = {name: self.headers[name] for name in ("Content-Type", "Content-Encoding") if name in self.headers}
                for endpoint in endpoints:
                    asked = urllib.request.Request(f"{endpoint}{self.path}", body, headers)
                    with urllib.request.urlopen(asked, timeout=PATIENCE_SECONDS) as response:
                        answer = response.read()
            self.send_response(200)
            self.send_header("Content-Type", self.headers["Content-Type"])
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Nothing is logged."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Junction) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
