from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.advice import SizingSettings
from infermeter.catalogue import Catalogue, Device, shipped_catalogue
from infermeter.commands.supposed import Question, question, supposed
from infermeter.errors import ConfigError
from infermeter.model import Candidate, SizingEvidence
from support.snapshots import sizing

NOW_NS = 1_784_556_000 * 10**9
EVIDENCE = sizing().evidence


def named(name: str) -> Device:
    device = shipped_catalogue().named(name)
    assert device is not None
    return device


def answer(asked: Question, evidence: SizingEvidence = EVIDENCE, catalogue: Catalogue | None = None) -> Candidate:
    return supposed(asked, evidence, catalogue or shipped_catalogue(), (), SizingSettings(), now_ns=NOW_NS).candidate


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("gpu=l4", Question("gpu=l4", "l4")),
        (" price = 0.76 , gpu = l4 ", Question("gpu=l4,price=0.76", "l4", 0.76)),
        ("gpu=l4,precision=bf16,memory=20GB", Question("gpu=l4,precision=bf16,memory=20GB", "l4", None, "bf16", 20_000_000_000)),
        ("gpu=l4,memory=1.5 GiB", Question("gpu=l4,memory=1.5 GiB", "l4", memory_bytes=3 * 2**29)),
        ("gpu=l4,price=0", Question("gpu=l4,price=0", "l4", 0.0)),
    ],
)
def test_a_question_is_read(text: str, asked: Question) -> None:
    assert question(text) == asked


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "`` is no key: gpu, price, precision, memory"),
        ("l4", "`l4` is no key"),
        ("gpu=l4,prize=1", "did you mean price?"),
        ("price=1", "names no gpu"),
        ("gpu=", "gpu has no value"),
        ("gpu", "gpu has no value"),
        ("gpu=l4,gpu=t4", "gpu is there twice"),
        ("gpu=l4,price=-1", "--what-if price: must be a number from 0 on"),
        ("gpu=l4,price=nan", "--what-if price: must be a number"),
        ("gpu=l4,price=1e3", "--what-if price: must be a number"),
        ("gpu=l4,price=9999999", "--what-if price: must be a number"),
        ("gpu=l4,precision=fp5", "--what-if precision: must be one of"),
        ("gpu=l4,memory=20", "--what-if memory: must be a size"),
        ("gpu=l4,memory=GB", "--what-if memory: must be a size"),
        ("gpu=l4,memory=0GB", "--what-if memory: must be a size"),
        ("gpu=l4,memory=9999TB", "--what-if memory: must be a size"),
    ],
)
def test_what_is_no_question_is_told(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        question(text)
    assert words in str(raised.value)


@given(st.text(max_size=200))
def test_whatever_is_typed_is_a_question_or_told_shortly(text: str) -> None:
    try:
        assert question(text).gpu
    except ConfigError as error:
        told = str(error)
    else:
        told = ""
    assert len(told) < 300


def test_a_price_is_dated_today_and_in_the_server_s_currency() -> None:
    assert answer(question("gpu=l4,price=0.75")).cost_per_hour == 0.75 + 0.25


def test_without_a_price_none_is_made_up() -> None:
    candidate = answer(question("gpu=l4"))
    assert candidate.cost_per_hour is None
    assert "price" in candidate.blocked_by


def test_what_the_server_needs_takes_the_place_of_what_it_reserves() -> None:
    reserved = replace(EVIDENCE, memory_is_reserved=True, memory_peak_bytes=70 * 10**9)
    assert "evidence" in answer(question("gpu=l4,price=0.75"), reserved).blocked_by
    assert not {"memory", "evidence"} & set(answer(question("gpu=l4,price=0.75,memory=20GB"), reserved).blocked_by)
    assert "memory" in answer(question("gpu=l4,price=0.75,memory=22GB"), reserved).blocked_by


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (replace(EVIDENCE, products=("ACME",)), "of several kinds or not in the catalogue"),
        (replace(EVIDENCE, currency=None), "the server none to hold it against"),
    ],
)
def test_what_can_not_be_held_against_anything_is_told(evidence: SizingEvidence, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        answer(question("gpu=l4,price=1"), evidence)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"memory_bandwidth_bytes_per_second": None}, "memory_bandwidth_bytes_per_second isn't in the catalogue"),
        ({"memory_bytes": None, "precisions": None}, "memory_bytes, precisions isn't in the catalogue"),
        ({"dense_flops": {}}, "dense_flops.bf16 isn't in the catalogue"),
    ],
)
@pytest.mark.parametrize(("name", "where"), [("l4", "--what-if gpu=l4: "), ("h100-sxm5-80gb", "--what-if: the present h100-sxm5-80gb: ")])
def test_a_device_that_lacks_a_fact_is_not_judged(changed: dict[str, None], words: str, name: str, where: str) -> None:
    lacking = Catalogue((*shipped_catalogue().devices, replace(named(name), **changed)))
    with pytest.raises(ConfigError) as raised:
        answer(question("gpu=l4,price=1"), catalogue=lacking)
    assert str(raised.value).startswith(f"{where}{words}")


def test_a_precision_that_a_device_lacks_is_a_verdict_and_no_missing_fact() -> None:
    assert answer(question("gpu=t4,price=1")).blocked_by[0] == "precision"
