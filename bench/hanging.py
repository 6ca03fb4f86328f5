"""How long a scrape waits while GPUs hang: `infermeter serve` over a library in NVML's place (tests/integration/gpu/nvml_stub.c).

Run by hand: .venv/bin/python bench/hanging.py [scrapes]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

STUB = Path(__file__).parents[1] / "tests/integration/gpu/nvml_stub.c"
LIBRARY = "libnvidia-ml.so.1"
CONFIG = """
listen: {web: "127.0.0.1:0", otlp_grpc: null, otlp_http: null}
server: {gpus: all}
gpu: {source: nvml, interval: 100ms, timeout: 500ms}
"""


def scrapes_ms(web: str, n: int) -> list[float]:
    """How long each of n scrapes took, in milliseconds, one every 20 ms."""
    took = []
    for _ in range(n):
        began = time.perf_counter()
        with urlopen(f"http://{web}/metrics", timeout=60) as answer:
            answer.read()
        took.append((time.perf_counter() - began) * 1e3)
        time.sleep(0.02)
    return took


def row(case: str, took: list[float]) -> str:
    """One line of the outcome."""
    late = sorted(took)[len(took) * 99 // 100]
    return f"{case:<34} median {statistics.median(took):6.2f} ms   99th {late:6.2f} ms   longest {max(took):6.2f} ms"


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one, every, config = folder / "one_is_free", folder / "all_hang", folder / "infermeter.yaml"
        one.touch()
        config.write_text(CONFIG)
        subprocess.run(["gcc", "-shared", "-fPIC", f"-Wl,-soname,{LIBRARY}", "-o", str(folder / LIBRARY), str(STUB), "-lm"], check=True)
        stub = {"STUB_GPUS": "8", "STUB_HANG": "5", "STUB_HANG_FILE": str(one), "STUB_HANG_ALL_FILE": str(every)}
        environment = os.environ | {"LD_LIBRARY_PATH": str(folder)} | stub
        command = [sys.executable, "-m", "infermeter", "serve", "--config", str(config)]
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert process.stderr is not None
                web = next(line.partition("listening: web on ")[2].strip() for line in process.stderr if "listening: web on " in line)
                scrapes_ms(web, 50)
                print(row("all eight answer", scrapes_ms(web, n)))
                one.unlink()
                print(row("one hangs, from its first moment", scrapes_ms(web, n)))
                every.touch()
                print(row("all hang, from the first moment", scrapes_ms(web, n)))
                one.touch()
                every.unlink()
                print(row("all come back, from that moment", scrapes_ms(web, n)))
            finally:
                process.kill()


if __name__ == "__main__":
    main()
