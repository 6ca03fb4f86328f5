"""Secrets are planted wherever the program meets any, and then looked for in all that it tells."""

from __future__ import annotations

import base64
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path

import bcrypt
import pytest

from infermeter import cli
from support.certificates import Authority
from support.patience import SOON_SECONDS
from unit.otlp.exports import body, span

HASH = bcrypt.hashpw(b"planted-password", bcrypt.gensalt(4)).decode()
PAGES = ("/", "/metrics", "/api/v1/report", "/api/v1/findings", "/-/healthy", "/-/ready", "/nowhere?planted-query")


def configured(folder: Path) -> Path:
    """A configuration in which everything is asked for; each secret is in a place of its own."""
    Authority(folder).pem("server", "127.0.0.1")
    (folder / "otlp-token").write_text("planted-otlp-token")
    (folder / "metrics-token").write_text("planted-metrics-token")
    (folder / "web.yml").write_text(
        f"tls_server_config: {{cert_file: server.crt, key_file: server.key}}\nbasic_auth_users: {{alice: '{HASH}'}}\n"
    )
    file = folder / "infermeter.yaml"
    file.write_text(
        f"""
server: {{name: chat, kind: vllm, metrics_url: "http://127.0.0.1:1/metrics", metrics_token_file: {folder}/metrics-token}}
listen: {{web: "127.0.0.1:0", otlp_grpc: null, otlp_http: "127.0.0.1:0"}}
web: {{config_file: {folder}/web.yml, lifecycle: true}}
otlp: {{token_file: {folder}/otlp-token}}
forward: {{endpoint: "http://127.0.0.1:1", headers: {{Authorization: "Bearer ${{env:FORWARD_TOKEN}}"}}, retry_for: 0s}}
gpu: {{source: none}}
log: {{level: debug}}
"""
    )
    return file


def looked_at(context: ssl.SSLContext, address: str, path: str, shown: str | None, method: str = "GET") -> str:
    """Status, headers and body of an answer."""
    connection = HTTPSConnection(address, context=context, timeout=SOON_SECONDS)
    connection.request(method, path, headers={} if shown is None else {"Authorization": shown})
    response = connection.getresponse()
    text = f"{response.status} {response.headers} {response.read().decode()}"
    connection.close()
    return text


def sent(address: str, content: bytes, token: str, path: str = "/v1/traces") -> int:
    """An export over HTTP; the status."""
    connection = HTTPConnection(address, timeout=SOON_SECONDS)
    connection.request("POST", path, content, {"Content-Type": "application/x-protobuf", "Authorization": token, "X": "planted-header"})
    status = connection.getresponse().status
    connection.close()
    return status


def listening(process: subprocess.Popen[bytes], log: Path) -> dict[str, str]:
    """Its addresses by key, once it listens."""
    ends = time.monotonic() + SOON_SECONDS
    while time.monotonic() < ends and process.poll() is None:
        found = dict(re.findall(r"listening: (\w+) on (\S+)", log.read_text()))
        if len(found) == 2:
            return found
        time.sleep(0.02)
    raise AssertionError(log.read_text())


def test_no_secret_is_in_the_log_on_a_page_in_an_answer_or_in_the_list_of_processes(tmp_path: Path) -> None:
    file = configured(tmp_path)
    log = tmp_path / "log"
    trusting = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    now = time.time_ns()
    prompt = span(
        0,
        {"gen_ai.prompt": "planted-prompt", "gen_ai.request.model": "llama", "gen_ai.usage.prompt_tokens": 5},
        start_time_unix_nano=now - 10**9,
        end_time_unix_nano=now,
    )
    prompt.status.message = "planted-status"
    prompt.events.add(name="planted-event", time_unix_nano=now)
    right = f"Basic {base64.b64encode(b'alice:planted-password').decode()}"
    wrong = f"Basic {base64.b64encode(b'alice:planted-guess').decode()}"
    told: list[str] = []
    with log.open("wb") as errors:
        command = [sys.executable, "-m", "infermeter", "serve", "--config", str(file)]
        with subprocess.Popen(command, stderr=errors, stdout=errors, env={**os.environ, "FORWARD_TOKEN": "planted-environment"}) as process:
            try:
                addresses = listening(process, log)
                told.append(Path(f"/proc/{process.pid}/cmdline").read_text())
                statuses = [
                    sent(addresses["otlp_http"], content, token, path)
                    for content, token, path in (
                        (body(prompt, scope="vllm.llm_engine"), "Bearer planted-otlp-token", "/v1/traces"),
                        (body(prompt), "Bearer planted-wrong-token", "/v1/traces"),
                        (b"planted-garbage", "Bearer planted-otlp-token", "/v1/traces"),
                        (b"planted-garbage", "Bearer planted-otlp-token", "/planted-path"),
                    )
                ]
                assert statuses == [200, 401, 400, 404]
                told += [looked_at(trusting, addresses["web"], path, shown) for path in PAGES for shown in (None, right, wrong)]
                (tmp_path / "web.yml").write_text("basic_auth_users: {alice: planted-in-place-of-a-hash}")
                told.append(looked_at(trusting, addresses["web"], "/-/reload", right, "POST"))
                file.write_text(file.read_text() + "secret: planted-key\n")
                told.append(looked_at(trusting, addresses["web"], "/-/reload", right, "POST"))
                process.send_signal(signal.SIGTERM)
                assert process.wait(SOON_SECONDS) == 0
            finally:
                process.kill()
    written = log.read_text()
    assert "1 spans received" in written
    assert any("chat" in text for text in told)
    secret = {line for line in (tmp_path / "server.key").read_text().splitlines() if "-----" not in line}
    for text in (written, *told):
        assert "planted" not in text.lower().replace("/planted-path", "")
        assert HASH not in text
        assert not any(line in text for line in secret)


def test_no_secret_is_in_what_check_config_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = configured(tmp_path)
    for value, code in (("planted-environment\n", 2), ("planted-environment", 0), ("", 2)):
        monkeypatch.setenv("FORWARD_TOKEN", value)
        assert cli.main(["check-config", str(file)]) == code
    monkeypatch.setenv("FORWARD_TOKEN", "planted-environment")
    for text in ("basic_auth_users: {alice: planted-password, bob: [planted-password]}\nkey: planted", "- planted", "a: {planted"):
        (tmp_path / "web.yml").write_text(text)
        assert cli.main(["check-config", str(file)]) == 2
    told = "".join(capsys.readouterr())
    assert "web.yml" in told
    assert "planted" not in told.lower()
    assert HASH not in told
