from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.web import failures
from infermeter.web.failures import Bucket, Failures


@dataclass
class Clock:
    """Seconds, standing still until they are turned."""

    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_so_many_attempts_fail_at_once_and_then_one_each_of_its_time() -> None:
    clock = Clock()
    allowed = Failures(30, clock)
    assert [allowed.attempt("192.0.2.1") for _ in range(31)] == [0] * 30 + [2]
    clock.seconds += 1.9
    assert allowed.attempt("192.0.2.1") == 1
    clock.seconds += 0.2
    assert [allowed.attempt("192.0.2.1") for _ in range(2)] == [0, 2]


def test_an_attempt_that_did_not_fail_is_given_back() -> None:
    allowed = Failures(1, Clock())
    for _ in range(10):
        assert allowed.attempt("192.0.2.1") == 0
        allowed.give_back("192.0.2.1")


def test_addresses_are_counted_apart_and_those_of_one_prefix_together() -> None:
    allowed = Failures(1, Clock())
    assert [allowed.attempt(address) for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1", None)] == [0] * 5
    assert [allowed.attempt(address) for address in ("192.0.2.1", "2001:db8::2", "2001:db8::1%eth0", "::ffff:192.0.2.2", "")] == [60] * 5


def test_addresses_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "PEERS_MOST", 2)
    allowed = Failures(1, Clock())
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        allowed.attempt(address)
    assert allowed.attempt("192.0.2.3") == 60
    assert allowed.attempt("192.0.2.1") == 0


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans()), max_size=100), st.integers(1, 60))
def test_no_more_fail_than_the_rate_allows(steps: list[tuple[float, bool]], per_minute: int) -> None:
    clock = Clock()
    allowed = Failures(per_minute, clock)
    failed = 0
    for seconds, is_right in steps:
        clock.seconds += seconds
        if allowed.attempt("192.0.2.1") == 0:
            if is_right:
                allowed.give_back("192.0.2.1")
            else:
                failed += 1
    assert failed <= per_minute + (clock.seconds - 1000.0) * per_minute / 60 + 1e-6


def test_a_bucket_lets_a_burst_pass_and_then_one_each_interval() -> None:
    clock = Clock()
    bucket = Bucket(0.5, 2, clock)
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    clock.seconds += 0.5
    assert [bucket.take() for _ in range(2)] == [True, False]
    clock.seconds += 3600
    assert [bucket.take() for _ in range(3)] == [True, True, False]


def test_without_an_interval_nothing_is_bounded() -> None:
    bucket = Bucket(0.0, 0, Clock())
    assert all(bucket.take() for _ in range(100))
