from __future__ import annotations

import asyncio
from collections.abc import Mapping

import bcrypt
import pytest

from infermeter.web import passwords
from infermeter.web.admission import pair_in
from infermeter.web.passwords import Busy, Passwords


def hashed(password: bytes, cost: int = 4, prefix: bytes = b"2b") -> str:
    """As an operator makes it."""
    return bcrypt.hashpw(password[:72], bcrypt.gensalt(cost)).replace(b"$2b$", b"$" + prefix + b"$").decode()


ALICE = {"alice": hashed(b"hunter2")}


def judged(*pairs: tuple[str, str], users: Mapping[str, str] = ALICE) -> list[bool]:
    """Whether each is right, asked one after the other."""

    async def run() -> list[bool]:
        known = Passwords()
        try:
            return [await known.right(user, password, users) for user, password in pairs]
        finally:
            known.close()

    return asyncio.run(run())


def test_the_right_pair_is_right_also_when_it_is_remembered() -> None:
    assert judged(("alice", "hunter2"), ("alice", "hunter2"), ("alice", "hunter3"), ("bob", "hunter2"), ("", "")) == [
        True,
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize("prefix", [b"2a", b"2b", b"2y"])
def test_hashes_of_every_tool_are_read(prefix: bytes) -> None:
    assert judged(("alice", "hunter2"), users={"alice": hashed(b"hunter2", prefix=prefix)}) == [True]


def test_a_password_counts_as_far_as_bcrypt_looks() -> None:
    long = "é" * 40
    assert judged(("alice", long), ("alice", long + "x"), ("alice", "é"), users={"alice": hashed(long.encode())}) == [True, True, False]


@pytest.mark.parametrize("password", ["a\0b", "\udc80", "", "\x7f", "日本語"])
def test_any_text_can_be_a_password(password: str) -> None:
    held = hashed(password.encode(errors="surrogatepass"))
    assert judged(("alice", password), ("alice", password + "x"), users={"alice": held}) == [True, False]


def test_a_hash_that_is_none_is_nobodys() -> None:
    assert judged(("alice", ""), users={"alice": "$2b$04$"}) == [False]


def test_users_that_there_are_not_cost_as_much_as_those_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    costs: list[str] = []

    def recorded(_: bytes, held: bytes) -> bool:
        costs.append(held.decode()[4:6])
        return False

    monkeypatch.setattr(passwords.bcrypt, "checkpw", recorded)
    users = {"alice": hashed(b"a", 4), "bob": hashed(b"b", 5)}
    names = [f"nobody{number}" for number in range(40)]
    assert judged(*((name, "x") for name in [*names, *names]), users=users) == [False] * 80
    assert set(costs) == {"04", "05"}
    assert costs[:40] == costs[40:]


def test_pairs_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "WAITING_MOST", 2)

    async def run() -> None:
        known = Passwords()
        answers = await asyncio.gather(*(known.right("alice", str(number), ALICE) for number in range(3)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [bool, bool, Busy]
        known.close()

    asyncio.run(run())


def test_pairs_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "REMEMBERED_MOST", 1)
    asked: list[bytes] = []

    def right(password: bytes, _: bytes) -> bool:
        asked.append(password)
        return True

    monkeypatch.setattr(passwords.bcrypt, "checkpw", right)
    judged(("alice", "a"), ("alice", "a"), ("alice", "b"), ("alice", "a"))
    assert asked == [b"a", b"b", b"a"]


@pytest.mark.parametrize(
    ("header", "pair"),
    [
        ("Basic YWxpY2U6aHVudGVyMg==", ("alice", "hunter2")),
        ("basic  YWxpY2U6aHVudGVyMg==", ("alice", "hunter2")),
        ("BASIC OmE6Yg==", ("", "a:b")),
        ("Basic YWxpY2U=", None),
        ("Basic", None),
        ("Basic ====", None),
        ("Basic YWxpY2U6aHVudGVyMg", None),
        ("Basic /w==", None),
        ("Bearer YWxpY2U6aHVudGVyMg==", None),
        ("", None),
    ],
)
def test_user_and_password_are_read_from_the_header(header: str, pair: tuple[str, str] | None) -> None:
    assert pair_in(header) == pair
