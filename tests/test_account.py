"""Free collateral: which proofs still hold, which do not, and what a refused one is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commitments.group import Point
from commitments.pedersen import commit, generator_g
from darkpool.account import FreeCollateral, Ledger
from darkpool.errors import OrderRefused
from darkpool.types import Address, Quanta

ADA, BEN = Address(b"\x01" * 20), Address(b"\x02" * 20)
BASE, QUOTE = Address(b"\xb0" * 20), Address(b"\xc0" * 20)


def lock(value: int) -> Point:
    return commit(value, 1_000 + value)


def holds(free: FreeCollateral, commitment: Point, version: int) -> bool:
    try:
        free.check("base", commitment, version)
    except OrderRefused:
        return False
    return True


def test_an_account_never_seen_has_nothing_at_version_zero() -> None:
    free = Ledger().of(ADA, BASE)
    assert (free.current, free.version) == (Point.identity(), 0)
    free.check("base", Point.identity(), 0)


def test_a_deposit_raises_f_of_that_account_and_token_only() -> None:
    ledger = Ledger()
    ledger.deposit(ADA, BASE, Quanta(5))
    assert ledger.of(ADA, BASE).current == generator_g() * 5
    others = ((ADA, QUOTE), (BEN, BASE), (BEN, QUOTE))
    assert all(ledger.of(*other).current == Point.identity() for other in others)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 99)), max_size=12))
def test_versions_count_decreases_and_proofs_hold_since_the_last_one(steps: list[tuple[bool, int]]) -> None:
    free = FreeCollateral()
    seen = [(free.current, 0)]
    since = 0
    for decrease, amount in steps:
        (free.decrease if decrease else free.increase)(lock(amount))
        seen.append((free.current, free.version))
        since = len(seen) - 1 if decrease else since
    assert free.version == sum(decrease for decrease, _ in steps)
    for place, (commitment, version) in enumerate(seen):
        # Sums of distinct locks may coincide, so a commitment is judged with its version.
        assert holds(free, commitment, version) == (place >= since)


def test_increases_never_invalidate() -> None:
    free = FreeCollateral()
    free.increase(lock(50))
    before = free.current
    for amount in range(1, 200):
        free.increase(lock(amount))
        free.check("base", before, 0)


def test_the_oldest_of_very_many_increases_is_forgotten_and_the_newest_are_not() -> None:
    free = FreeCollateral()
    values = []
    for amount in range(1, 300):
        free.increase(lock(amount))
        values.append(free.current)
    assert not holds(free, values[0], 0)
    assert all(holds(free, value, 0) for value in values[-256:])
    assert len(free.since_decrease) == 256


def test_a_right_commitment_under_a_wrong_version_is_refused() -> None:
    free = FreeCollateral()
    free.increase(lock(50))
    free.decrease(lock(20))
    assert holds(free, free.current, 1)
    assert not any(holds(free, free.current, version) for version in (0, 2, 2**64 - 1))


def test_a_commitment_never_held_is_refused_under_the_right_version() -> None:
    free = FreeCollateral()
    free.increase(lock(50))
    assert not any(holds(free, other, 0) for other in (lock(51), generator_g() * 50, -free.current))


def test_the_value_between_release_and_debit_is_never_provable() -> None:
    free = FreeCollateral()
    free.increase(generator_g() * 100)
    free.decrease(lock(60))
    between = free.current + lock(60)
    free.increase(lock(60) + generator_g() * -40)
    assert not holds(free, between, free.version)
    assert free.current == generator_g() * 60


def test_a_refusal_carries_what_to_prove_against() -> None:
    free = FreeCollateral()
    free.increase(lock(50))
    old = free.current
    free.decrease(lock(20))
    with pytest.raises(OrderRefused) as caught:
        free.check("quote", old, 0)
    assert "quote commitment of version 0" in caught.value.message
    assert f"version 1: 0x{free.current.encode().hex()}" in caught.value.hint


def test_a_copy_is_independent() -> None:
    free = FreeCollateral()
    free.increase(lock(50))
    current = free.current
    copy = free.copy()
    copy.increase(lock(1))
    copy.decrease(lock(20))
    assert (free.current, free.version, len(free.since_decrease)) == (current, 0, 2)
    assert holds(free, current, 0)
    assert not holds(copy, current, 0)


def test_a_restart_heals_whatever_went_wrong() -> None:
    ledger = Ledger()
    ledger.deposit(ADA, BASE, Quanta(100))
    free = ledger.of(ADA, BASE)
    old = free.current
    free.decrease(lock(30))
    free.increase(lock(7))  # a mistake: nobody knows an opening of this
    wrong, version = free.current, free.version
    ledger.move(ADA, BASE, -36)
    ledger.halted[ADA] = set()
    ledger.restart(ADA)
    assert not ledger.halted
    assert free.current == generator_g() * 64
    assert free.version == version + 1
    free.check("base", generator_g() * 64, version + 1)
    refused = [(old, 0), (wrong, version), (wrong, version + 1), (Point.identity(), version + 1)]
    assert not any(holds(free, *proof) for proof in refused)
    ledger.deposit(ADA, BASE, Quanta(6))
    free.check("base", generator_g() * 64, version + 1)
    free.check("base", generator_g() * 70, version + 1)


def test_an_account_is_known_from_its_first_deposit_on() -> None:
    ledger, account = Ledger(), Address(b"\x07" * 20)
    with pytest.raises(OrderRefused, match="no final deposit"):
        ledger.check_may_trade(account)
    ledger.deposit(account, Address(b"\x08" * 20), Quanta(1))
    ledger.check_may_trade(account)
    assert ledger.nonces[account].lowest_unused == 0
