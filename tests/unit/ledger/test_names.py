import numpy as np

from infermeter.ledger.names import ModelNames
from infermeter.model import Names


def names(limit: int = 3, configured: tuple[str, ...] = (), unnamed: str | None = None) -> ModelNames:
    return ModelNames(limit, configured=configured, unnamed=unnamed)


def test_models_have_codes_by_first_sight() -> None:
    book = names()
    assert book.codes(["b", "a", "b"]).tolist() == [0, 1, 0]
    assert book.codes(["a", "a"]).tolist() == [1, 1]
    assert book.names == ["b", "a"]


def test_a_span_without_a_model_has_the_configured_one_and_unknown_without() -> None:
    assert names().codes([None]).tolist() == [0]
    book = names(unnamed="chat")
    assert book.codes(["chat", None, "x"]).tolist() == [0, 0, 1]
    book = names()
    book.codes([None])
    assert book.names == ["unknown"]


def test_ten_thousand_names_are_the_limit_and_other() -> None:
    book = names(limit=20)
    codes = book.codes([f"model-{i}" for i in range(10_000)])
    assert len(book.names) == 21
    assert book.names[-1] == "other"
    assert codes[-1] == 20
    assert book.codes([f"model-{i}" for i in range(10_000)]).tolist() == codes.tolist()


def test_made_up_names_never_push_out_a_configured_one() -> None:
    book = names(limit=2, configured=("mine",), unnamed="served")
    book.codes([f"made-up-{i}" for i in range(100)])
    assert book.names == ["other"]
    assert book.codes(["mine", None]).tolist() == [1, 2]


def test_a_name_of_a_thousand_characters_is_other() -> None:
    book = names()
    book.codes(["x" * 1000])
    assert book.names == ["other"]


def test_how_many_there_are_can_be_asked() -> None:
    book = names()
    assert len(book) == 0
    book.code("m")
    assert len(book) == 1


def test_a_name_that_is_configured_later_finds_room_too_and_leaves_less_for_others() -> None:
    book = names(limit=2)
    book.codes(["a", "mine"])
    assert book.codes(["late"]).tolist() == [2]  # other
    book.configure(["mine", "late"])
    assert book.codes(["a", "mine", "late", "more"]).tolist() == [0, 1, 3, 2]
    assert book.names == ["a", "mine", "other", "late"]


def test_room_that_was_kept_for_a_name_is_free_once_it_is_no_longer_configured() -> None:
    book = names(limit=2, configured=("mine", "too"))
    assert book.name("a") == "other"
    book.configure(["mine"])
    assert book.codes(["a", "b"]).tolist() == [0, 1]
    assert book.names == ["a", "other"]


def test_what_carries_no_model_is_of_the_only_one_that_the_server_serves_from_then_on() -> None:
    names = ModelNames(5, configured=(), unnamed=None)
    first = names.code(None)
    names.served("chat")
    second = names.code(None)
    assert (names.names[first], names.names[second]) == ("unknown", "chat")
    assert names.code("chat") == second
    names.served(None)
    assert names.code(None) == first
    names.served("chat")
    assert names.code(None) == second
    assert names.name(None) == "chat"


def test_a_model_that_is_served_takes_room_as_any_other_and_without_room_it_is_other() -> None:
    names = ModelNames(1, configured=(), unnamed=None)
    names.code("a")
    for model in ("b", "c", "x" * 300):
        names.served(model)
        assert names.names[names.code(None)] == names.name(None) == "other"
    names.served("a")
    assert names.code(None) == names.code("a")


def test_a_configured_model_is_not_overruled_by_what_the_server_says() -> None:
    names = ModelNames(5, configured=(), unnamed="mine")
    names.served("chat")
    assert names.names[names.code(None)] == "mine"


def test_codes_go_by_the_first_rows_and_a_name_that_no_row_has_gets_none() -> None:
    book = names(limit=2)
    assert book.codes(Names(("nobody's", "a", "b", "a", "c"), np.array([2, 3, 4, 1, 2]))).tolist() == [0, 1, 2, 1, 0]
    assert book.names == ["b", "a", "other"]
    assert book.codes(Names(("a", "b"), np.array([1, 0, 1]))).tolist() == [0, 1, 0]
