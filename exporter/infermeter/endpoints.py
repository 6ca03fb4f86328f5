"""Where exports are passed on to, and by whom: an OTLP receiver's end point and headers, as an operator writes them, and sidecars. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, Literal

TRACES_PATH: Final = "/v1/traces"

PASSED_BY: Final = "infermeter-passed-by"
"""The header, and the metadata of a call, in which a sidecar names itself and those before it: so that exports don't go in a circle."""

SIDECARS_MOST: Final = 16
"""That an export remembers; the last ones."""

_SIDECAR: Final = re.compile(r"[0-9a-f]{16}")

_PORTS: Final = {"http": 80, "https": 443}
_ENDPOINT: Final = re.compile(r"(?:(https?)://)?([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?(/[^\s?#@\\]*)?")

_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "[::1]", "0.0.0.0", "[::]"})  # noqa: S104 - compared, not bound

_HEADER: Final = re.compile(r"[A-Za-z0-9_.-]+")
_TOLD_ALREADY: Final = frozenset(
    {"connection", "content-encoding", "content-length", "content-type", "host", "te", "trailer", "transfer-encoding", "upgrade", PASSED_BY}
)
_PRINTABLE: Final = re.compile(r"[ -~]*")
_VARIABLE: Final = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An OTLP receiver. `host` is a name or an address, an IPv6 one in brackets; `path` is empty for gRPC."""

    tls: bool
    host: str
    port: int
    path: str

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """For HTTP."""
        return f"http{'s' if self.tls else ''}://{self.address}{self.path}"


def endpoint_of(text: str, protocol: Literal["http", "grpc"]) -> Endpoint:
    """What `text` names. HTTP: a URL, to which /v1/traces is appended where it has no path; gRPC: a URL without one, or `host:port`.

    Raises: ValueError with the problem in one sentence.
    """
    match = _ENDPOINT.fullmatch(text)
    scheme, host, port, path = match.groups() if match else (None, "", None, None)
    if protocol == "http" and (match is None or scheme is None):
        raise ValueError("is no URL such as http://tempo:4318, without user, query and fragment")
    if protocol == "grpc" and (match is None or port is None or path not in (None, "/")):
        raise ValueError("is no address such as http://tempo:4317, https://tempo:4317 (TLS) or tempo:4317")
    number = _PORTS[str(scheme)] if port is None else int(port)
    if not 0 < number < 65_536:
        raise ValueError(f"has the port {number}, which there isn't")
    no_path = TRACES_PATH if protocol == "http" else ""
    return Endpoint(tls=scheme == "https", host=host.lower(), port=number, path=no_path if path in (None, "/") else path)


def sidecars_told(passed_by: str) -> tuple[str, ...]:
    """The sidecars that such a header names; what else a peer may have written there is left out."""
    return tuple(name for name in passed_by.split(",") if _SIDECAR.fullmatch(name))[-SIDECARS_MOST:]


def reaches(endpoint: Endpoint, address: str) -> bool:
    """Whether it is evident that the end point is what listens at `address` (`host:port`) on this machine."""
    host, _, port = address.lower().rpartition(":")
    listened = _ip_address(host)
    return port == str(endpoint.port) and (host if listened is None else _written(listened)) in _listeners(endpoint.host)


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches what listens at `address` (`host:port`); a name that has to be looked up may be reached by all."""
    host = address.lower().rpartition(":")[0]
    listened = _ip_address(host)
    return host == "localhost" or (listened is not None and listened.is_loopback)


def header_problem(name: str, value: str) -> str | None:
    """Why a header can't be sent, in one sentence without its value; None: it can."""
    folded = name.lower()
    if not _HEADER.fullmatch(name) or folded.endswith("-bin"):
        return "is no header's name, of letters, digits, -, _ and ."
    if folded in _TOLD_ALREADY or folded.startswith("grpc-"):
        return "can't be set: the transport says it itself"
    rest = _VARIABLE.sub("", value)
    if "${" in rest:
        return "holds ${ that is no ${env:NAME}"
    return None if _PRINTABLE.fullmatch(rest) else "holds what isn't printable ASCII"


def absent_variables(headers: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """By header, why what it takes from the environment can't be sent; a problem in one sentence, which tells no value."""
    problems: dict[str, str] = {}
    for name, value in headers.items():
        for variable in _VARIABLE.findall(value):
            if not environ.get(variable):
                problems[name] = f"there is no environment variable {variable}, or it is empty"
            elif not _PRINTABLE.fullmatch(environ[variable]):
                problems[name] = f"the environment variable {variable} holds what isn't printable ASCII, such as the end of a line"
    return problems


def with_variables(headers: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """The headers with what they take from the environment, none of which is absent."""
    return {name: _VARIABLE.sub(lambda found: environ[found[1]], value) for name, value in headers.items()}


def _listeners(host: str) -> frozenset[str]:
    """What may be listened at to be evidently reached by this host; a name that has to be looked up stays itself."""
    if host == "localhost":
        return _LOCAL
    address = _ip_address(host)
    if address is None:
        return frozenset({host})
    if not (address.is_loopback or address.is_unspecified):  # to connect to the unspecified one is to connect to this machine
        return frozenset({_written(address)})
    any_address, loopback = ("0.0.0.0", "127.0.0.1") if address.version == 4 else ("[::]", "[::1]")  # noqa: S104 - compared, not bound
    return frozenset({"localhost", any_address, loopback if address.is_unspecified else _written(address)})


def _ip_address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def _written(address: IPv4Address | IPv6Address) -> str:
    return str(address) if address.version == 4 else f"[{address}]"
