"""What the section `proxy` may say."""

from __future__ import annotations

import pytest

from infermeter.config import Proxy
from infermeter.errors import ConfigErrors
from infermeter.parsing.rules import unfit_proxy
from infermeter.parsing.structure import load_config


def paths(**keys: object) -> list[str]:
    return [path for path, _ in unfit_proxy(Proxy(**keys))]  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "https://model.example", "http://[::1]:8000/base/", "http://a/"])
def test_a_server_is_a_url(url: str) -> None:
    assert paths(upstream=url, endpoint=url) == []


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:8000", "ftp://a", "http://", "http://u:p@a", "http://a?b", "http://a/#b", "http://a b", "http://a:x", "http://a\n"],
)
def test_anything_else_is_none(url: str) -> None:
    assert paths(upstream=url) == ["proxy.upstream"]
    assert paths(endpoint=url) == ["proxy.endpoint"]


@pytest.mark.parametrize("address", ["8080", "a:99999", "http://a:1", ":8080"])
def test_it_listens_at_an_address(address: str) -> None:
    assert paths(listen=address) == ["proxy.listen"]


def test_it_doesn_t_ask_itself() -> None:
    assert paths(listen="127.0.0.1:8000", upstream="http://127.0.0.1:8000/x") == ["proxy.upstream"]
    assert paths(listen="127.0.0.1:0", upstream="http://127.0.0.1:0") == []


def test_paths_begin_at_the_root() -> None:
    assert paths(paths=("/a", "b", "")) == ["proxy.paths[1]", "proxy.paths[2]"]


def test_a_file_is_held_to_it() -> None:
    with pytest.raises(ConfigErrors) as caught:
        load_config("proxy: {upstream: nowhere, paths: [x], in_flight: 0, queue_timeout: 0s}", "f")
    assert sorted(problem.where for problem in caught.value.problems) == ["proxy.in_flight", "proxy.queue_timeout"]
    with pytest.raises(ConfigErrors) as caught:
        load_config("proxy: {upstream: nowhere, paths: [x]}", "f")
    assert [problem.where for problem in caught.value.problems] == ["proxy.upstream", "proxy.paths[0]"]
