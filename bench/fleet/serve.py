"""Serves the expositions of many sidecars from one process: `/sidecars/17/metrics`.

usage: serve.py --port 9100 --first 0 --count 500
"""

from __future__ import annotations

import argparse
import gzip
import time
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web
from sidecar import Sidecar

FASTEST = 1


def page(sidecars: Sequence[Sidecar], first: int) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        body, kind = sidecars[int(request.match_info["number"]) - first].body(time.time(), request.headers.get("Accept", ""))
        headers = {"Content-Type": kind}
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            body, headers["Content-Encoding"] = gzip.compress(body, FASTEST), "gzip"
        return web.Response(body=body, headers=headers)

    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--first", type=int, default=0, help="number of the first sidecar")
    parser.add_argument("--count", type=int, required=True)
    asked = parser.parse_args()
    application = web.Application()
    sidecars = [Sidecar(asked.first + i) for i in range(asked.count)]
    application.router.add_get("/sidecars/{number:\\d+}/metrics", page(sidecars, asked.first))
    web.run_app(application, host="127.0.0.1", port=asked.port, print=None)


if __name__ == "__main__":
    main()
