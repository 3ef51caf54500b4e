"""A file becomes a plan, or is refused before anything is sealed."""

from __future__ import annotations

from pathlib import Path

import pytest

from commitments.params import INSECURE_TEST
from darkpool.errors import ConfigError
from darkpool.plan import Options, Plan, plan

HEADER = "account,side,quantity,limit_price\n"


def planned(path: Path, *lines: str, reference: str | None = "10.00", per_round: int | None = None) -> Plan:
    path.write_text(HEADER + "".join(line + "\n" for line in lines))
    return plan(path, Options("0.01", INSECURE_TEST, reference, per_round=per_round))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.csv"


def test_orders_are_dealt_to_rounds_in_file_order(path: Path) -> None:
    made = planned(path, "A,buy,1,10.00", "B,sell,2,", "C,buy,3,0.01", "A,sell,4,9.99", per_round=2)
    assert [[row.order_id for row, _ in batch.rows] for batch in made.batches] == [["1", "2"], ["4"]]
    assert [row.order_id for row in made.outside] == ["3"]
    assert {batch.reference for batch in made.batches} == {32}


def test_without_a_reference_it_is_the_median_limit(path: Path) -> None:
    made = planned(path, "A,buy,1,10.01", "B,buy,1,10.05", "C,sell,1,10.09", "C,sell,1,", reference=None)
    assert made.grid.price(made.batches[0].reference) == 1005


def test_market_orders_alone_need_a_reference(path: Path) -> None:
    with pytest.raises(ConfigError, match="reference"):
        planned(path, "A,buy,1,", reference=None)


def test_deposits_are_the_same_for_all_and_cover_every_lock(path: Path) -> None:
    made = planned(path, "A,buy,7,10.00", "B,sell,9,10.00", "C,buy,1,9.99")
    amounts = made.deposits()
    assert set(amounts) == {"A", "B", "C"}
    assert len(set(amounts.values())) == 1  # what each needs would tell its side and worth
    base, quote = amounts["A"]
    assert base >= 9
    assert quote >= 7 * 1000
    assert base & (base - 1) == quote & (quote - 1) == 0


def test_deposits_near_the_cap_are_alike_if_they_can_be(path: Path) -> None:
    most = 2**32 - 1
    lines = [f"A{i},buy,{most},42949672.95" for i in range(2)]
    path.write_text(HEADER + "".join(line + "\n" for line in lines))
    made = plan(path, Options("0.01", INSECURE_TEST, "21474836.00", levels=2))
    amounts = made.deposits()
    assert sum(quote for _, quote in amounts.values()) < 2**64
    assert all(quote >= most * 2147483600 for _, quote in amounts.values())


def test_more_than_the_vault_holds_is_refused(path: Path) -> None:
    most = 2**32 - 1
    lines = [f"A{i},buy,{most},20000000.00" for i in range(3)]
    made = planned(path, *lines, reference="20000000.00")
    with pytest.raises(ConfigError, match="at most 2\\^64 - 1"):
        made.deposits()


def test_more_accounts_than_a_round_takes_are_refused(path: Path) -> None:
    lines = [f"A{i},buy,1,10.00" for i in range(191)]
    assert len(planned(path, *lines[:190]).rows) == 190
    with pytest.raises(ConfigError, match="191 accounts in round 1 are more than a settlement takes"):
        planned(path, *lines)
    more = [line for i in range(143) for line in [f"A{i},buy,1,10.00"] * 257]  # two words of nonces each
    with pytest.raises(ConfigError, match="143 accounts"):
        planned(path, *more)


@pytest.mark.parametrize("window", [0, -1, 9])
def test_a_window_no_venue_can_have_is_refused(path: Path, window: int) -> None:
    path.write_text(HEADER + "A,buy,1,10.00\n")
    with pytest.raises(ConfigError, match=f"window: {window}, must be 1 to 8"):
        plan(path, Options("0.01", INSECURE_TEST, "10.00", window=window))


def test_more_orders_of_an_account_than_a_book_takes_are_refused(path: Path) -> None:
    lines = ["A,buy,1,10.00"] * 513
    with pytest.raises(ConfigError, match="513 of A in round 1, a book takes 512"):
        planned(path, *lines)
    with pytest.raises(ConfigError, match="513 of A in round 2, a book takes 512"):
        planned(path, *lines, per_round=400)  # the first 400 roll
    crossing = [line for pair in zip(lines, ["B,sell,1,10.00"] * 513, strict=True) for line in pair]
    assert len(planned(path, *crossing, per_round=400).batches) == 3


@pytest.mark.parametrize("volume", [0, -1, 2**48, 10**20])
def test_a_minimum_volume_no_round_can_have_is_refused(path: Path, volume: int) -> None:
    path.write_text(HEADER + "A,buy,1,10.00\n")
    with pytest.raises(ConfigError, match="min-volume"):
        plan(path, Options("0.01", INSECURE_TEST, "10.00", min_volume=volume))
