from infermeter.ledger.blocks import Blocks
from infermeter.model import SlaTarget

SLA = SlaTarget(0.99, duration_seconds=1.0)


def blocks(sla: SlaTarget = SLA) -> Blocks:
    return Blocks(sla, 0.95)


def test_slots_are_joined_until_they_hold_299_inferences() -> None:
    book = blocks()
    book.add(0, observed=298, ok=298, within=298, cost=1.0)
    assert sum(book.inferences.values()) == 0
    book.add(1, observed=1, ok=1, within=1, cost=1.0)
    assert book.inferences == {"met": 299, "missed": 0, "insufficient": 0}
    assert book.cost == {"met": 2.0, "missed": 0.0, "insufficient": 0.0}


def test_idle_time_before_a_block_belongs_to_it_and_does_not_age_it() -> None:
    book = blocks()
    for slot in range(1000):
        book.add(slot, observed=0, ok=0, within=0, cost=1.0)
    book.add(1000, observed=299, ok=299, within=299, cost=1.0)
    assert book.cost["met"] == 1001.0
    assert book.compliant_cost(0) == 1001.0 / 299


def test_a_block_is_cut_an_hour_after_its_first_inference() -> None:
    book = blocks()
    book.add(0, observed=1, ok=1, within=1, cost=1.0)
    for slot in range(1, 361):
        book.add(slot, observed=0, ok=0, within=0, cost=1.0)
    assert book.inferences["insufficient"] == 1
    assert book.cost["insufficient"] == 360.0


def test_a_block_of_misses_is_missed_and_not_compliant() -> None:
    book = blocks()
    book.add(0, observed=300, ok=290, within=100, cost=3.0)
    assert book.inferences == {"met": 0, "missed": 290, "insufficient": 0}
    assert book.compliant_cost(0) is None


def test_a_block_in_which_the_sla_held_counts_even_if_that_proves_nothing_about_the_server() -> None:
    book = blocks()
    book.add(0, observed=300, ok=300, within=298, cost=3.0)
    assert book.inferences["insufficient"] == 300
    assert book.compliant_cost(0) == 0.01
    assert book.compliant_cost(1) is None


def test_cutting_an_empty_block_keeps_its_cost_for_the_next() -> None:
    book = blocks()
    book.add(0, observed=0, ok=0, within=0, cost=5.0)
    book.cut(0)
    book.add(1, observed=299, ok=299, within=299, cost=1.0)
    assert book.cost["met"] == 6.0


def test_what_was_served_before_anything_was_seen_belongs_to_the_next_block() -> None:
    book = blocks()
    book.add(0, observed=0, ok=1000, within=0, cost=5.0)
    book.cut(0)
    book.add(1, observed=299, ok=2990, within=299, cost=1.0)
    assert book.inferences["met"] == 3990
    assert book.compliant_cost(0) == 6.0 / 3990


def test_a_quantile_of_1_is_cut_by_time_alone() -> None:
    book = blocks(SlaTarget(1.0))
    book.add(0, observed=10_000, ok=10_000, within=10_000, cost=1.0)
    book.add(360, observed=1, ok=1, within=0, cost=1.0)
    assert book.inferences == {"met": 0, "missed": 0, "insufficient": 10_000}


def test_blocks_of_yesterday_are_forgotten() -> None:
    book = blocks()
    book.add(0, observed=299, ok=299, within=299, cost=1.0)
    book.add(9000, observed=299, ok=299, within=299, cost=3.0)
    assert book.compliant_cost(0) == 3.0 / 299


def test_a_block_that_is_open_when_the_sla_changes_is_cut_there() -> None:
    book = blocks()
    book.add(0, observed=100, ok=100, within=100, cost=1.0)
    book.change(SlaTarget(0.5, duration_seconds=2.0), first_slot=2)
    book.add(1, observed=100, ok=100, within=100, cost=1.0)
    assert sum(book.inferences.values()) == 0
    book.add(2, observed=10, ok=10, within=10, cost=4.0)  # enough for a quantile of one half
    assert book.inferences == {"met": 10, "missed": 0, "insufficient": 200}
    assert book.cost == {"met": 4.0, "missed": 0.0, "insufficient": 2.0}
    assert book.compliant_cost(2) == 0.4
    assert book.compliant_cost(1) == 6.0 / 210


def test_without_an_sla_nothing_is_counted_and_nothing_is_lost() -> None:
    book = blocks()
    book.add(0, observed=300, ok=300, within=300, cost=3.0)
    book.change(None, first_slot=1)
    book.add(1, observed=300, ok=300, within=0, cost=3.0)
    book.cut(1)
    assert book.inferences == {"met": 300, "missed": 0, "insufficient": 0}
    book.change(SLA, first_slot=2)
    book.add(2, observed=300, ok=300, within=300, cost=3.0)
    assert book.inferences == {"met": 600, "missed": 0, "insufficient": 0}
    assert book.cost["met"] == 6.0


def test_of_two_changes_the_later_holds_unless_it_is_for_later_slots() -> None:
    book = blocks()
    book.change(None, first_slot=2)
    book.change(SlaTarget(0.5, duration_seconds=2.0), first_slot=1)
    book.change(SLA, first_slot=3)
    book.add(1, observed=20, ok=20, within=20, cost=1.0)
    book.add(2, observed=20, ok=20, within=20, cost=1.0)
    book.add(3, observed=20, ok=20, within=20, cost=1.0)
    assert book.inferences == {"met": 40, "missed": 0, "insufficient": 0}
    book.cut(3)
    assert book.inferences == {"met": 40, "missed": 0, "insufficient": 20}
