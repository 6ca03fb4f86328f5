"""Commands that ask a sidecar over TLS, with a certificate, and with a password."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infermeter import cli
from infermeter.errors import Unavailable
from infermeter.network.fetching import Caller, fetch
from support.certificates import Authority, Pem
from support.patience import SOON_SECONDS


class _Asked(BaseHTTPRequestHandler):
    """Answers with who it was told to be asked by."""

    def do_GET(self) -> None:
        body = self.headers.get("Authorization", "nobody").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:  # type: ignore[override]  # nothing is logged
        """Says nothing."""


@contextmanager
def answering(shown: Pem, clients: Authority | None = None) -> Iterator[str]:
    """The URL of a server with this certificate, which asks for one that `clients` has signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown.cert_file, shown.key_file)
    if clients is not None:
        context.load_verify_locations(clients.ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Asked)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a handshake that fails is what is tested
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def asked(url: str, caller: Caller) -> str:
    """What it answers."""
    return fetch(url, timeout_seconds=SOON_SECONDS, caller=caller).decode()


def test_a_certificate_counts_if_the_named_authority_signed_it_for_that_host(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    with answering(authority.pem("server", "127.0.0.1")) as url:
        assert asked(url, Caller(ca_file=str(authority.ca_file))) == "nobody"
        for caller in (Caller(), Caller(ca_file=str(other.ca_file)), Caller(ca_file=str(authority.ca_file), server_name="chat.example")):
            with pytest.raises(Unavailable, match=": TLS: "):
                asked(url, caller)


def test_a_name_can_stand_in_for_the_host_and_the_very_certificate_for_any(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    shown, another = authority.pem("server", "chat.example"), authority.pem("another", "127.0.0.1")
    with answering(shown) as url:
        assert asked(url, Caller(ca_file=str(authority.ca_file), server_name="chat.example")) == "nobody"
        assert asked(url, Caller(pinned_file=str(shown.cert_file))) == "nobody"
        with pytest.raises(Unavailable, match=": TLS: "):
            asked(url, Caller(pinned_file=str(another.cert_file)))


def test_a_certificate_is_shown_where_it_is_asked_for(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    client = authority.pem("client", "prometheus.example")
    with answering(authority.pem("server", "127.0.0.1"), clients=authority) as url:
        trusting = str(authority.ca_file)
        assert asked(url, Caller(ca_file=trusting, cert_file=str(client.cert_file), key_file=str(client.key_file))) == "nobody"
        with pytest.raises(Unavailable):
            asked(url, Caller(ca_file=trusting))


def test_a_password_is_read_from_its_file_and_a_token_too(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    (tmp_path / "password").write_text("hunter2 with spaces \n")
    (tmp_path / "token").write_text("abc\n")
    with answering(authority.pem("server", "127.0.0.1")) as url:
        trusting = str(authority.ca_file)
        shown = asked(url, Caller(ca_file=trusting, username="älice", password_file=str(tmp_path / "password")))
        assert shown == "Basic w6RsaWNlOmh1bnRlcjIgd2l0aCBzcGFjZXMg"
        assert asked(url, Caller(ca_file=trusting, token_file=str(tmp_path / "token"))) == "Bearer abc"


@pytest.mark.parametrize(
    ("caller", "told"),
    [
        (Caller(ca_file="/nowhere"), "/nowhere: No such file or directory"),
        (Caller(ca_file="password"), "password: holds no certificate in PEM"),
        (Caller(pinned_file="password"), "password: holds no certificate in PEM"),
        (Caller(cert_file="password", key_file="password"), "cert_file password: is no certificate with its key, in PEM, not encrypted"),
        (Caller(cert_file="/nowhere", key_file="/nowhere"), "cert_file /nowhere, or its key: No such file or directory"),
        (Caller(username="a", password_file="/nowhere"), "password_file /nowhere: No such file or directory"),
        (Caller(username="a", password_file="long"), "password_file long: longer than 65536 bytes"),
    ],
)
def test_a_file_that_can_not_be_used_is_named_and_not_shown(
    caller: Caller, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("password").write_text("hunter2")
    Path("long").write_bytes(bytes(70_000))
    with answering(Authority(tmp_path).pem("server", "127.0.0.1")) as url, pytest.raises(Unavailable) as caught:
        asked(url, caller)
    assert str(caught.value).endswith(told)
    assert "hunter2" not in str(caught.value)


def test_health_knows_the_sidecar_by_its_certificate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = Authority(tmp_path).pem("server", "chat.example")
    with answering(shown) as url:
        assert cli.main(["health", "--url", url, "--pinned-file", str(shown.cert_file)]) == 0
        assert cli.main(["health", "--url", url]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"not healthy: {url}")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--cert-file", "a"], "--cert-file: goes with --key-file"),
        (["--key-file", "a"], "--key-file: goes with --cert-file"),
        (["--username", "a"], "--username: goes with --password-file"),
        (["--password-file", "a"], "--password-file: goes with --username"),
        (["--username", "a:b", "--password-file", "a"], "--username: holds a colon, which basic authentication can't tell from"),
        (["--username", "a", "--password-file", "a", "--token-file", "t"], "--username: can't be shown beside --token-file"),
        (["--pinned-file", "a", "--ca-file", "b"], "--pinned-file: trusts one certificate alone"),
        (["--ca-file", "b", "--report", "r"], "--report: is a file: nobody is asked over TLS"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_use(options: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["advise", *options]) == 2
    assert capsys.readouterr().err.startswith(told)


def test_a_comparison_of_files_asks_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", "a", "b", "--ca-file", "c"]) == 2
    assert "go with --prometheus" in capsys.readouterr().err
