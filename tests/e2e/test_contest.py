"""A full quorum of colluding members signs false nets; traders have them undone with everybody else off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from darkpool import arbiter
from darkpool.chain import Chain
from darkpool.committee.home import SEAT
from darkpool.committee.seat import Seat
from darkpool.convening import member_home
from darkpool.deployment import Deployment
from darkpool.eip712 import address_of
from darkpool.errors import ChainRefused
from darkpool.keystore import Keystore
from darkpool.settlement import Settlement, delta_rows, nullifier_rows, ordered_signatures, sign
from darkpool.types import Address, Nonce, PrivateKey, Quanta, TokenIndex
from darkpool.vault import DEFAULT_DELAY
from tests.anvil import running_anvil
from tests.e2e.test_exit import VenueOnChain, rpc
from tests.e2e.test_two_traders import Desk

pytestmark = pytest.mark.slow

THIEF = PrivateKey(b"\x1f" * 32)
WETH, USDC = TokenIndex(0), TokenIndex(1)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[VenueOnChain]:
    with running_anvil() as url:
        rpc(url, "evm_setIntervalMining", 1)
        environment = {"DARKPOOL_CHAIN__RPC_URL": url}
        with VenueOnChain(tmp_path / "venue", environment, chain_url=url) as found:
            found.wait()
            yield found


def seats_of(service: VenueOnChain) -> list[Seat]:
    """The members' secrets, which a full quorum of them pools."""
    return [Seat.load(member_home(service.folder, i) / SEAT) for i in (1, 2, 3, 4)]


def steal(
    chain: Chain,
    seats: list[Seat],
    victim: Address,
    token: TokenIndex,
    amount: int,
    **changes: Any,  # noqa: ANN401 - fields of a settlement
) -> int:
    """A settlement of nothing but that, signed by all members, lands. Its id."""
    nets = {(token, victim): -amount, (token, address_of(THIEF)): amount}
    settlement = Settlement(
        chain.next_id(), chain.epoch(), chain.now(), b"\x66" * 32, b"\x77" * 32, delta_rows(nets), ()
    )
    settlement = replace(settlement, **changes)
    signed = [sign(settlement, chain.domain(), seat.signing_key) for seat in seats]
    chain.settle(settlement, ordered_signatures(settlement, chain.domain(), signed), THIEF)
    return settlement.id


@pytest.mark.timeout(900)
def test_false_nets_of_all_members_are_contested_and_undone_with_operator_and_committee_off(
    service: VenueOnChain, tmp_path: Path
) -> None:
    ada, ben = (Desk(service, tmp_path / name) for name in ("ada", "ben"))
    for desk in (ada, ben):
        desk.funded()
    ada.json("order", "submit", "buy", "0.50", "2000.05")
    sold = ben.json("order", "submit", "sell", "0.30")
    ben.until("fills", id=sold["id"], state="settled")
    for desk in (ada, ben):  # honest so far; what a contest of it would need is kept
        assert desk.until("contest", settlement=1)["finding"] == "agrees with your orders"
    accounts = [Keystore.open(d.home / "keystore.json", "correct horse").address for d in (ada, ben)]
    deployment, seats = Deployment.load(service.folder), seats_of(service)
    assert deployment is not None
    service.kill_all()

    chain = Chain.rpc(service.chain_url, finality=0)
    chain.attach(deployment.vault)
    for account in (*accounts, address_of(THIEF)):
        chain.fund(account, 10**19)
    before = [chain.balance(token, account) for account in accounts for token in (WETH, USDC)]
    # The thief asked for all there will ever be, long ago.
    for token in (WETH, USDC):
        chain.request_withdrawal(THIEF, token, Quanta(2**63))
    rpc(service.chain_url, "evm_increaseTime", DEFAULT_DELAY)
    rpc(service.chain_url, "evm_mine")

    # Of Ben under a transcript of nothing, and with a nonce he never signed for; of Ada under the one of the
    # last honest settlement.
    phantom = nullifier_rows([(accounts[1], Nonce(77))])
    (event,) = chain.settlements()
    first = steal(chain, seats, accounts[1], WETH, 10**8, nullifiers=phantom)
    second = steal(chain, seats, accounts[0], USDC, 10**9, root=event.root, transcript=event.transcript)
    for token in (WETH, USDC):
        chain.withdraw(THIEF, token)  # pays what was there when it was asked for
        assert chain.balance(token, address_of(THIEF)) > 0

    assert "its rounds are not known" in ben.run("contest", "--settlement", str(first), code=1)
    opened = ben.json("contest", "--settlement", str(first), "--deny", "--no-wait")
    assert opened["denied"] == [77]
    assert not opened["unwound"]
    assert not chain.frozen()

    plan = ada.json("contest", "--settlement", str(second), "--dry-run")
    assert (plan["judged"], plan["transactions"]) == ("at once", [])
    done = ada.json("contest", "--settlement", str(second))
    assert [step["call"] for step in done["transactions"]] == ["contest", "unwind"]
    assert done["unwound"]
    assert chain.frozen()
    with pytest.raises(ChainRefused, match="the committee is frozen"):
        steal(chain, seats, accounts[0], USDC, 1)

    rpc(service.chain_url, "evm_increaseTime", DEFAULT_DELAY // 4)
    rpc(service.chain_url, "evm_mine")
    ended = ben.json("contest", "--settlement", str(first), "--deny")
    assert [step["call"] for step in ended["transactions"]] == ["uphold", "unwind"]
    assert [chain.balance(token, account) for account in accounts for token in (WETH, USDC)] == before
    assert [chain.balance(token, address_of(THIEF)) for token in (WETH, USDC)] == [0, 0]
    assert chain.evm.ether(chain.arbiter()) == 0  # both bonds came back
    assert arbiter.to_unwind(chain) == []

    ada.run("exit", "--no-wait")  # and then everybody leaves
