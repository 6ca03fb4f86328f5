"""Who has a place, and who gives it up, on a clock that is moved by hand."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from infermeter.otlp.places import LOOK_SECONDS, NEW_SECONDS, REST_SECONDS, Places

LONG_SECONDS = 10 * REST_SECONDS


@dataclass(eq=False)
class Guest:
    """One that rests, or is at work, as it is told."""

    rests_since: float | None = 0.0
    is_of_use: bool = False
    looked_at: int = field(default=0, init=False)
    has_gone: bool = field(default=False, init=False)

    def make_room(self) -> None:
        assert not self.has_gone
        self.has_gone = True


class Counting(Guest):
    """One that counts how often it is asked since when it rests."""

    @property
    def rests_since(self) -> float | None:  # type: ignore[override]
        self.looked_at += 1
        return None

    @rests_since.setter
    def rests_since(self, since: float | None) -> None:
        pass


def full(*guests: Guest) -> Places[Guest]:
    """Places that are all taken by these."""
    places: Places[Guest] = Places(len(guests))
    assert all(places.take(guest, 0.0) for guest in guests)
    return places


def test_as_many_have_a_place_as_there_are_and_one_more_has_none_until_another_leaves() -> None:
    busy = Guest(None)
    places = full(busy, Guest(None))
    assert not places.take(Guest(None), LONG_SECONDS)
    places.leave(busy)
    assert places.take(Guest(None), LONG_SECONDS)
    assert not places.take(Guest(None), LONG_SECONDS)


def test_who_has_rested_longest_makes_room_and_each_only_once() -> None:
    guests = [Guest(3.0), Guest(1.0), Guest(2.0), Guest(None)]
    places = full(*guests)
    for expected in ([1], [1, 2], [0, 1, 2]):
        assert places.take(Guest(LONG_SECONDS), LONG_SECONDS)
        assert [number for number, guest in enumerate(guests) if guest.has_gone] == expected
    assert not places.take(Guest(LONG_SECONDS), LONG_SECONDS)


def test_who_was_of_no_use_yet_goes_first_and_after_a_shorter_time() -> None:
    useful, new = Guest(0.0, is_of_use=True), Guest(REST_SECONDS - NEW_SECONDS)
    places = full(useful, new)
    assert places.take(Guest(None), REST_SECONDS)
    assert (useful.has_gone, new.has_gone) == (False, True)
    assert places.take(Guest(None), REST_SECONDS)
    assert useful.has_gone


def test_nobody_goes_who_has_just_come_or_just_sent() -> None:
    new, useful = Guest(0.0), Guest(0.0, is_of_use=True)
    places = full(new, useful)
    assert not places.take(Guest(), NEW_SECONDS - 0.1)
    assert places.take(Guest(None), NEW_SECONDS - 0.1 + LOOK_SECONDS)
    assert not places.take(Guest(), REST_SECONDS - 0.1)
    assert (new.has_gone, useful.has_gone) == (True, False)


def test_who_went_to_work_since_all_were_looked_at_keeps_its_place() -> None:
    first, second, third, fourth = Guest(1.0), Guest(2.0), Guest(3.0), Guest(4.0)
    places = full(first, second, third, fourth)
    assert places.take(Guest(None), LONG_SECONDS)
    second.rests_since = None
    third.rests_since = LONG_SECONDS
    assert places.take(Guest(None), LONG_SECONDS)
    assert not places.take(Guest(None), LONG_SECONDS)
    assert [guest.has_gone for guest in (first, second, third, fourth)] == [True, False, False, True]


def test_who_has_left_is_not_asked_to_go() -> None:
    first, second = Guest(1.0), Guest(2.0)
    places = full(first, second, Guest(None))
    assert places.take(Guest(None), LONG_SECONDS)
    places.leave(first)
    places.leave(second)
    assert places.take(Guest(None), LONG_SECONDS)
    assert not places.take(Guest(None), LONG_SECONDS)
    assert (first.has_gone, second.has_gone) == (True, False)


def test_all_are_looked_at_once_a_second_however_many_come_in_vain() -> None:
    busy = Counting()
    places = full(busy)
    for _ in range(1000):
        assert not places.take(Guest(), LONG_SECONDS)
    assert busy.looked_at == 1
    assert not places.take(Guest(), LONG_SECONDS + LOOK_SECONDS)
    assert busy.looked_at == 2


def test_all_that_are_connected_are_told_with_and_without_a_place() -> None:
    resting, busy, comer, refused = Guest(0.0), Guest(None), Guest(None), Guest(None)
    places = full(resting, busy)
    places.take(comer, LONG_SECONDS)
    places.take(refused, LONG_SECONDS)
    assert set(places) == {resting, busy, comer, refused}
    for guest in (resting, refused):
        places.leave(guest)
    assert set(places) == {busy, comer}


@st.composite
def _days(draw: st.DrawFn) -> list[tuple[str, int, float]]:
    """What happens, to which one, after how many seconds."""
    happens = st.sampled_from(["comes", "comes", "works", "rests", "sends", "leaves"])
    return draw(st.lists(st.tuples(happens, st.integers(0, 5), st.sampled_from([0.0, 0.5, 1.0, 2.0, 31.0])), max_size=60))


@given(st.integers(1, 4), _days())
def test_whatever_happens_there_are_never_too_many_and_only_who_rests_for_long_goes(most: int, day: list[tuple[str, int, float]]) -> None:
    places: Places[Guest] = Places(most)
    held: list[Guest] = []
    now = 0.0
    for what, number, seconds in day:
        now += seconds
        if what == "comes":
            comer = Guest(now)
            rested = {guest: guest.rests_since for guest in held}
            if places.take(comer, now):
                gone = [guest for guest in held if guest.has_gone]
                assert len(gone) == (len(held) == most)
                for guest in gone:
                    since = rested[guest]
                    assert since is not None
                    assert now - since >= (REST_SECONDS if guest.is_of_use else NEW_SECONDS)
                    held.remove(guest)
                held.append(comer)
            else:
                assert len(held) == most
        elif number < len(held):
            guest = held[number]
            if what == "leaves":
                places.leave(held.pop(number))
            else:
                guest.rests_since = None if what == "works" else now
                guest.is_of_use |= what == "sends"
    assert set(places) >= set(held)
    assert len(held) <= most
