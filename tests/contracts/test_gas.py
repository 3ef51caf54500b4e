"""The gas snapshot: within its limits, below the estimates, and what a real node charges."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from darkpool.chain import Chain, Token, VaultTerms
from darkpool.settlement import Settlement, ordered_signatures, sign
from darkpool.types import Quanta, TokenIndex
from tests import gas
from tests.anvil import running_anvil
from tests.contracts.world import MEMBERS, ROOT, TRANSCRIPT, address_of, key


@pytest.fixture
def snapshot() -> dict[str, Any]:
    return dict(json.loads(gas.SNAPSHOT.read_bytes()))


def test_the_snapshot_is_within_its_limits(snapshot: dict[str, Any]) -> None:
    assert gas.problems(snapshot) == []
    assert gas.PAGE.read_text() == gas.page(snapshot)
    dearest = max(entry[stage] for entry in snapshot["settle"] for stage in gas.STAGES)
    assert dearest < gas.TRANSACTION_LIMIT


@pytest.mark.parametrize(
    "place, stage, more, said",
    [
        (gas.MARKET, "used", 500_000, "used: "),
        (gas.MARKET, "first", 600_000, "first: "),
        (gas.FURTHER, "used", 6_000, "further: "),
        (gas.CASES[-1], "empty", 40_000_000, "above the estimate"),
    ],
)
def test_what_costs_too_much_is_named(
    snapshot: dict[str, Any], place: gas.Case, stage: str, more: int, said: str
) -> None:
    worse = copy.deepcopy(snapshot)
    worse["settle"][gas.CASES.index(place)][stage] += more
    (line,) = gas.problems(worse)
    assert said in line


def test_a_real_node_charges_what_the_snapshot_says(snapshot: dict[str, Any]) -> None:
    """Up to the calldata: addresses, times and signatures differ, and with them the number of zero bytes."""
    case, giver = gas.Case(10, 1, 2), key(10_000)
    with running_anvil() as url:
        chain = Chain.rpc(url, finality=0)
        chain.fund(address_of(giver))
        tokens = [chain.deploy_token(giver, f"T{i}", "T", 6) for i in range(case.tokens)]
        members = tuple(map(address_of, MEMBERS))
        chain.deploy_vault(giver, VaultTerms(members, 1, tuple(Token(token, 1) for token in tokens)))
        for token in map(TokenIndex, range(case.tokens)):
            chain.mint(giver, token, address_of(giver), Quanta(10**18))
            chain.deposit(giver, token, Quanta(10**18))
        for number, stage in enumerate(gas.STAGES, start=1):
            settlement = Settlement(number, 1, chain.now(), ROOT, TRANSCRIPT, *gas.rows(case, stage))
            signatures = [sign(settlement, chain.domain(), member) for member in MEMBERS[:3]]
            ordered = ordered_signatures(settlement, chain.domain(), signatures)
            used = chain.settle(settlement, ordered, giver).gas_used
            assert used == pytest.approx(gas.of(snapshot, case, stage), rel=0.002)
