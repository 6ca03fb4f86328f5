from __future__ import annotations

import os
import ssl
from pathlib import Path, PosixPath
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from infermeter.errors import ConfigError
from infermeter.network.tls import PEM_BYTES_MOST, TlsChoice, server_context
from support.certificates import Authority


def refusal(choice: TlsChoice) -> str:
    """Why the files can't be used."""
    with pytest.raises(ConfigError) as caught:
        server_context(choice)
    return str(caught.value)


def test_tls_1_2_is_the_least_and_nobody_is_asked_for_a_certificate(tmp_path: Path) -> None:
    pem = Authority(tmp_path).pem("server", "127.0.0.1")
    context = server_context(TlsChoice(pem.cert_file, pem.key_file))
    assert (context.minimum_version, context.verify_mode) == (ssl.TLSVersion.TLSv1_2, ssl.CERT_NONE)
    assert context.options & ssl.OP_CIPHER_SERVER_PREFERENCE


def test_files_that_are_not_there_too_long_or_no_certificate_are_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pem, other = authority.pem("server", "127.0.0.1"), authority.pem("other", "127.0.0.1")
    none, long, text = tmp_path / "none", tmp_path / "long", tmp_path / "text"
    long.write_bytes(bytes(PEM_BYTES_MOST + 1))
    text.write_text("planted")
    assert refusal(TlsChoice(none, pem.key_file)) == f"{none}: can't be read: No such file or directory"
    assert refusal(TlsChoice(pem.cert_file, long)) == f"{long}: longer than {PEM_BYTES_MOST} bytes"
    unfit = f"{pem.cert_file}: is no certificate, or {other.key_file} not its key; both are PEM, and the key isn't encrypted"
    assert refusal(TlsChoice(pem.cert_file, other.key_file)) == unfit
    assert refusal(TlsChoice(text, pem.key_file)).startswith(f"{text}: is no certificate")
    unfit = f"{text}: holds no certificate in PEM"
    assert refusal(TlsChoice(pem.cert_file, pem.key_file, client_ca_file=text, clients="required")) == unfit


class RenewedMeanwhile(PosixPath):
    """A file that is taken away as soon as it was looked at."""

    def open(self, *arguments: Any, **named: Any) -> Any:
        opened = super().open(*arguments, **named)
        self.unlink()
        return opened


def test_files_that_go_while_they_are_read_are_no_mistake_of_ours(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pem = authority.pem("server", "127.0.0.1")
    going = RenewedMeanwhile(authority.ca_file)
    told = f"{pem.cert_file} or {pem.key_file} or {authority.ca_file}: can't be read any more: No such file or directory"
    assert refusal(TlsChoice(pem.cert_file, pem.key_file, client_ca_file=going, clients="required")) == told
    going = RenewedMeanwhile(pem.key_file)
    assert refusal(TlsChoice(pem.cert_file, going)) == f"{pem.cert_file} or {going}: can't be read any more: No such file or directory"


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    pem = Authority(tmp_path).pem("server", "127.0.0.1")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, told in ((pipe, "is no file"), (tmp_path, "is no file"), (Path("a\0b"), "is no path")):
        assert refusal(TlsChoice(pem.cert_file, path)) == f"{path}: {told}"


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_password(tmp_path: Path) -> None:
    pem = Authority(tmp_path).pem("server", "127.0.0.1")
    key = load_pem_private_key(pem.key_file.read_bytes(), None)
    pem.key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"planted")))
    assert refusal(TlsChoice(pem.cert_file, pem.key_file)).endswith("both are PEM, and the key isn't encrypted")
