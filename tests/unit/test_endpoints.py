import pytest

from infermeter.endpoints import (
    SIDECARS_MOST,
    Endpoint,
    absent_variables,
    endpoint_of,
    header_problem,
    is_loopback,
    reaches,
    sidecars_told,
    with_variables,
)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://tempo:4318", "http://tempo:4318/v1/traces"),
        ("http://tempo:4318/", "http://tempo:4318/v1/traces"),
        ("http://tempo", "http://tempo:80/v1/traces"),
        ("https://Tempo.example", "https://tempo.example:443/v1/traces"),
        ("https://gateway.example/otlp/v1/traces", "https://gateway.example:443/otlp/v1/traces"),
        ("http://[fd00::1]:4318", "http://[fd00::1]:4318/v1/traces"),
    ],
)
def test_a_url_without_a_path_gets_that_of_traces(text: str, url: str) -> None:
    assert endpoint_of(text, "http").url == url


@pytest.mark.parametrize(
    ("text", "address", "tls"),
    [
        ("tempo:4317", "tempo:4317", False),
        ("http://tempo:4317", "tempo:4317", False),
        ("https://tempo:4317/", "tempo:4317", True),
        ("[fd00::1]:4317", "[fd00::1]:4317", False),
    ],
)
def test_over_grpc_an_address_is_enough_and_https_is_tls(text: str, address: str, tls: bool) -> None:
    endpoint = endpoint_of(text, "grpc")
    assert (endpoint.address, endpoint.tls, endpoint.path) == (address, tls, "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tempo:4318",
        "ftp://tempo",
        "http://",
        "http://user:word@tempo",
        "http://tempo/v1?key=1",
        "http://tempo/#a",
        "http://tempo:4318/a b",
    ],
)
def test_what_is_no_url_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"^is no URL such as"):
        endpoint_of(text, "http")


@pytest.mark.parametrize("text", ["", "tempo", "http://tempo", "http://tempo:4317/v1/traces", "unix:/socket", "user@tempo:4317"])
def test_what_is_no_address_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"^is no address such as"):
        endpoint_of(text, "grpc")


@pytest.mark.parametrize("text", ["http://tempo:0", "http://tempo:65536"])
def test_a_port_that_there_is_not_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"^has the port"):
        endpoint_of(text, "http")


@pytest.mark.parametrize(
    ("host", "listened", "evident"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("127.0.0.1", "localhost", True),
        ("127.0.0.2", "127.0.0.1", False),
        ("localhost", "127.0.0.1", True),
        ("localhost", "0.0.0.0", True),
        ("localhost", "[::1]", True),
        ("localhost", "LOCALHOST", True),
        ("0.0.0.0", "127.0.0.1", True),
        ("0.0.0.0", "0.0.0.0", True),
        ("[::1]", "[::]", True),
        ("[::1]", "[0:0::1]", True),
        ("[::1]", "127.0.0.1", False),
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "0.0.0.0", False),
        ("tempo", "Tempo", True),
        ("tempo", "127.0.0.1", False),
    ],
)
def test_what_reaches_a_listener_is_seen_where_it_is_evident(host: str, listened: str, evident: bool) -> None:
    assert reaches(Endpoint(tls=False, host=host, port=4318, path=""), f"{listened}:4318") is evident
    assert not reaches(Endpoint(tls=False, host=host, port=4319, path=""), f"{listened}:4318")


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("authorization", "Bearer ${env:TOKEN}", None),
        ("X-Scope-OrgID", "tenant 1", None),
        ("x-price", "$5", None),
        ("", "a", "is no header's name"),
        ("a b", "a", "is no header's name"),
        ("trace-bin", "a", "is no header's name"),
        ("Content-Type", "text/plain", "can't be set"),
        ("grpc-timeout", "1S", "can't be set"),
        ("Infermeter-Passed-By", "1", "can't be set"),
        ("a", "${TOKEN}", "holds ${ that is no"),
        ("a", "${env:1}", "holds ${ that is no"),
        ("a", "b\r\nc: d", "holds what isn't printable"),
        ("a", "\u00e4", "holds what isn't printable"),
    ],
)
def test_a_header_that_can_not_be_sent_is_told_without_its_value(name: str, value: str, problem: str | None) -> None:
    found = header_problem(name, value)
    assert found is None if problem is None else found is not None and found.startswith(problem)


def test_secrets_come_from_the_environment() -> None:
    headers = {"authorization": "Bearer ${env:TOKEN}", "x-pair": "${env:A}:${env:B}", "plain": "as it is"}
    environ = {"TOKEN": r"\1s3cret", "A": "${env:B}", "B": "2"}
    assert absent_variables(headers, environ) == {}
    assert with_variables(headers, environ) == {"authorization": r"Bearer \1s3cret", "x-pair": "${env:B}:2", "plain": "as it is"}


def test_a_variable_that_is_missing_empty_or_unfit_is_told_by_its_name() -> None:
    headers = {"a": "${env:MISSING}", "b": "x${env:EMPTY}", "c": "${env:LINE}", "d": "${env:FIT}"}
    problems = absent_variables(headers, {"EMPTY": "", "LINE": "secret\n", "FIT": "yes"})
    assert {name: problem.rpartition("variable ")[2].split()[0].strip(",") for name, problem in problems.items()} == {
        "a": "MISSING",
        "b": "EMPTY",
        "c": "LINE",
    }
    assert "secret" not in str(problems)


@pytest.mark.parametrize(
    ("told", "sidecars"),
    [
        ("", ()),
        ("0123456789abcdef", ("0123456789abcdef",)),
        ("0123456789abcdef,fedcba9876543210", ("0123456789abcdef", "fedcba9876543210")),
        ("0123456789ABCDEF,x,0123456789abcdef0,0123456789abcdef\n,fedcba9876543210", ("fedcba9876543210",)),
        (",".join(f"{number:016x}" for number in range(400)), tuple(f"{number:016x}" for number in range(400 - SIDECARS_MOST, 400))),
    ],
)
def test_only_names_of_sidecars_are_taken_from_what_a_peer_says_it_has_come_through(told: str, sidecars: tuple[str, ...]) -> None:
    assert sidecars_told(told) == sidecars


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:4318", True),
        ("127.9.9.9:1", True),
        ("[::1]:4318", True),
        ("localhost:4318", True),
        ("LOCALHOST:4318", True),
        ("0.0.0.0:4318", False),
        ("[::]:4318", False),
        ("10.0.0.1:4318", False),
        ("localhost.example:4318", False),
        ("chat:4318", False),
    ],
)
def test_only_this_machine_reaches_loopback(address: str, expected: bool) -> None:
    assert is_loopback(address) == expected
