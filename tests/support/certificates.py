"""Certificates that the tests' own authority signs, in files as an operator has them."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import trustme


@dataclass(frozen=True)
class Pem:
    """A certificate chain and its key, in files."""

    cert_file: Path
    key_file: Path

    def write(self, leaf: trustme.LeafCert) -> Self:
        """Puts another certificate there, as who renews it does."""
        self.cert_file.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        self.key_file.write_bytes(leaf.private_key_pem.bytes())
        return self


class Authority:
    """Signs; `ca_file` is what others trust it by."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._signer = trustme.CA()
        self.ca_file = folder / f"{name}.pem"
        self._signer.cert_pem.write_to_path(str(self.ca_file))

    def leaf(self, *identities: str) -> trustme.LeafCert:
        """A new certificate with its key."""
        return self._signer.issue_cert(*identities)

    def pem(self, name: str, *identities: str) -> Pem:
        """A new certificate in files of this name."""
        return Pem(self._folder / f"{name}.crt", self._folder / f"{name}.key").write(self.leaf(*identities))

    def client(self, shown: Pem | None = None) -> ssl.SSLContext:
        """What a client uses that trusts it, and shows a certificate if it has one."""
        context = ssl.create_default_context(cafile=self.ca_file)
        if shown is not None:
            context.load_cert_chain(shown.cert_file, shown.key_file)
        return context
