"""Leaving the real vault on the embedded chain, by the chain's word alone."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from darkpool.chain import Chain
from darkpool.client import exit as leaving
from darkpool.client.exit import Done, Exit, Target, target
from darkpool.client.trader_home import TraderHome
from darkpool.client.vault_position import GAS, MAX_WORDS, Call, Position, Word
from darkpool.client.venue_identity import VenueIdentity
from darkpool.eip712 import address_of, fresh_key
from darkpool.errors import ChainError, ChainRefused, ConfigError
from darkpool.keystore import Keystore
from darkpool.settlement import Settlement, delta_rows, nullifier_rows, ordered_signatures, sign
from darkpool.types import Address, Nonce, PrivateKey, Quanta
from darkpool.vault import DEFAULT_DELAY
from tests.test_chain import BASE, MEMBERS, OPERATOR, QUOTE, deployed, enter

ROOT = Path(__file__).resolve().parents[2]
SIGNED = 301
"""A desk signed for the nonces below; 0 and 300 are in a settlement."""


@dataclass(frozen=True)
class Desk:
    """Somebody with 30 base and 93 quote in the vault, after a trade with `other`."""

    chain: Chain
    key: PrivateKey = field(default_factory=fresh_key)
    other: PrivateKey = field(default_factory=fresh_key)

    @property
    def address(self) -> Address:
        return address_of(self.key)

    def settle(self, base: int, quote: int, *nonces: int) -> None:
        """The desk gets so much from `other`, or gives it."""
        chain, amounts = self.chain, {BASE: base, QUOTE: quote}
        rows = {(token, self.address): amount for token, amount in amounts.items()}
        rows |= {(token, address_of(self.other)): -amount for token, amount in amounts.items()}
        settlement = Settlement(
            chain.next_id(),
            chain.epoch(),
            chain.sealing_time(),
            b"\x11" * 32,
            b"\x22" * 32,
            delta_rows(rows),
            nullifier_rows([(self.address, Nonce(nonce)) for nonce in nonces]),
        )
        signatures = [sign(settlement, chain.domain(), key) for key in MEMBERS[:3]]
        ordered = ordered_signatures(settlement, chain.domain(), signatures)
        chain.settle(settlement, ordered, OPERATOR)

    def exit(self, *, mark: int | None = SIGNED, cancel: bool = False) -> Exit:
        keystore = Keystore(Path("desk"), self.address, self.key, bytes(32))
        return Exit(self.chain, keystore, Target(self.chain.vault, mark=mark), cancel=cancel)

    def run(self, *, wait: bool = True, cancel: bool = False) -> tuple[list[Done], Position]:
        """Leave as the command does; where it would wait, the chain's time moves on."""
        made: list[Done] = []
        leave = self.exit(cancel=cancel)
        return made, leave.run(leave.position(), made.append, self.chain.advance, wait=wait)

    def balances(self) -> list[int]:
        return [self.chain.balance(token, self.address) for token in (BASE, QUOTE)]


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "POLL_SECONDS", 0)


@pytest.fixture(scope="module")
def chain() -> Chain:
    return deployed(Chain.embedded())


@pytest.fixture
def desk(chain: Chain) -> Desk:
    desk = Desk(chain)
    for key, token, quanta in ((desk.key, QUOTE, 100), (desk.other, BASE, 200)):
        chain.fund(address_of(key))
        enter(chain, key, token, quanta)
    desk.settle(30, -7, 0, 300)
    return desk


def names(made: list[Done]) -> list[str]:
    return [done.call.function for done in made]


def test_everything_is_out_in_one_run_and_the_next_has_nothing_to_do(desk: Desk) -> None:
    made, after = desk.run()
    assert names(made) == ["request_withdrawal"] * 2 + ["withdraw"] * 2
    assert [(done.paid, done.arrived) for done in made[2:]] == [(30, 300), (93, 93_000)]
    assert [(h.balance, h.requested, h.wallet) for h in after.holdings] == [(0, 0, 300), (0, 0, 93_000)]
    assert desk.run()[0] == []


def test_without_waiting_it_ends_and_the_same_again_goes_on(desk: Desk) -> None:
    made, after = desk.run(wait=False)
    assert names(made) == ["request_withdrawal"] * 2
    assert all(h.ready_at >= after.now + DEFAULT_DELAY - 2 for h in after.holdings)
    assert desk.run(wait=False)[0] == []  # it asks for nothing again: that would restart the delay
    desk.chain.advance(DEFAULT_DELAY)
    assert names(desk.run(wait=False)[0]) == ["withdraw"] * 2
    assert desk.balances() == [0, 0]


def test_the_plan_is_what_is_then_done(desk: Desk) -> None:
    exit_ = desk.exit(cancel=True)
    found = exit_.position()
    planned = found.steps(cancel=True)
    made, _ = desk.run(cancel=True)
    assert sorted((c.function, c.arguments) for c in planned) == sorted(
        (d.call.function, d.call.arguments) for d in made
    )
    assert [c.ready_at == 0 for c in planned] == [True] * 4 + [False] * 4
    assert found.cost(planned) == found.max_fee * 2 * sum(GAS.values())


def test_every_call_uses_less_gas_than_its_bound(desk: Desk) -> None:
    for done in desk.run(cancel=True)[0]:
        assert done.receipt is not None
        assert GAS[done.call.function] // 2 < done.receipt.gas_used < GAS[done.call.function]
    manual = (ROOT / "docs" / "exit.md").read_text()
    assert all(re.search(rf"`{name}`.*\| {gas:,} \|\n", manual) for name, gas in GAS.items())


def test_what_a_settlement_takes_meanwhile_is_not_waited_for(desk: Desk) -> None:
    desk.run(wait=False)
    desk.settle(-30, 7)  # the 30 base are sold: nothing is left to withdraw
    made, after = desk.run()
    assert [(d.call.arguments, d.paid) for d in made] == [((QUOTE,), 93)]
    assert [h.balance for h in after.holdings] == [0, 7]


def test_what_comes_in_after_the_request_is_left_for_the_next_run(desk: Desk) -> None:
    desk.run(wait=False)
    enter(desk.chain, desk.key, QUOTE, 50)
    made, after = desk.run()
    assert [(d.call.arguments, d.paid) for d in made] == [((BASE,), 30), ((QUOTE,), 93)]
    assert [(h.balance, h.requested) for h in after.holdings] == [(0, 0), (50, 0)]
    made, after = desk.run()
    assert names(made) == ["request_withdrawal", "withdraw"]
    assert [h.balance for h in after.holdings] == [0, 0]


def test_what_an_undone_robbery_took_of_a_request_is_asked_for_again(desk: Desk) -> None:
    """The balance is whole again, but the request has set aside nothing of it."""
    desk.run(wait=False)
    found = desk.exit().position()
    assert found.requests(cancel=False) == []
    robbed = replace(found, holdings=tuple(replace(h, set_aside=Quanta(0)) for h in found.holdings))
    asked = [Call("request_withdrawal", (h.token, h.balance)) for h in found.holdings if h.balance]
    assert robbed.requests(cancel=False) == asked != []


@pytest.mark.parametrize("asked, again", [(46, True), (47, False)])
def test_a_running_request_is_replaced_only_for_more_than_twice_as_much(
    desk: Desk, asked: int, *, again: bool
) -> None:
    desk.chain.request_withdrawal(desk.key, QUOTE, Quanta(asked))
    desk.chain.advance(60)
    calls = desk.exit().position().requests(cancel=False)
    assert (Call("request_withdrawal", (QUOTE, 93)) in calls) == again


def test_a_small_request_that_is_ready_is_collected_before_the_rest_is_asked_for(desk: Desk) -> None:
    desk.chain.request_withdrawal(desk.key, QUOTE, Quanta(1))
    desk.chain.advance(DEFAULT_DELAY)
    made, _ = desk.run(wait=False)
    assert [(d.call.function, d.call.arguments) for d in made] == [
        ("withdraw", (QUOTE,)),
        ("request_withdrawal", (BASE, 30)),
        ("request_withdrawal", (QUOTE, 92)),
    ]


def test_nonces_signed_for_and_not_settled_are_burnt_and_no_others(desk: Desk) -> None:
    made, after = desk.run(cancel=True)
    assert names(made) == (
        ["request_withdrawal"] * 2 + ["request_cancel"] * 2 + ["withdraw"] * 2 + ["finalize_cancel"] * 2
    )
    assert made[2].call.arguments == (0, 2**256 - 2)
    assert made[3].call.arguments == (1, 2**44 - 1)
    assert [desk.chain.nullifier_word(desk.address, word) for word in (0, 1, 2)] == [2**256 - 1, 2**45 - 1, 0]
    assert all(not w.unused and not w.requested for w in after.words)


def test_of_many_words_the_highest_are_looked_at(desk: Desk) -> None:
    found = desk.exit(mark=256 * (MAX_WORDS + 2) + 1).position()
    assert [w.word for w in found.words] == list(range(3, MAX_WORDS + 3))
    assert found.words[-1] == Word(MAX_WORDS + 2, 1, 0, 0)


def test_missing_ether_is_told_before_anything_is_sent(desk: Desk) -> None:
    poor = replace(desk.exit().position(), ether=10**9)
    made: list[Done] = []
    with pytest.raises(
        ChainRefused, match=r"gas: 0x\w{40} has 0\.000001 ether, and 4 transactions"
    ) as caught:
        desk.exit().run(poor, made.append, desk.chain.advance, wait=True)
    assert "send 0.0" in caught.value.hint
    assert made == []
    assert all(event.account != desk.address for event in desk.chain.withdrawal_requests())


def test_a_refused_withdrawal_keeps_no_other_in(desk: Desk) -> None:
    desk.run(wait=False)
    desk.chain.advance(DEFAULT_DELAY)
    found = desk.exit().position()
    desk.chain.withdraw(desk.key, BASE)  # as somebody else with the key might, a moment earlier
    made: list[Done] = []
    after = desk.exit().run(found, made.append, desk.chain.advance, wait=True)
    assert [(d.receipt is None, d.refusal) for d in made] == [
        (True, "withdraw: nothing was requested"),
        (False, ""),
    ]
    assert [h.balance for h in after.holdings] == [0, 0]


# --- what to leave ----------------------------------------------------------------------------------


def test_the_folder_says_which_vault_on_which_chain_and_up_to_which_nonce(tmp_path: Path) -> None:
    home, contract, other = TraderHome(tmp_path), Address(b"\x01" * 20), Address(b"\x02" * 20)
    with pytest.raises(ConfigError, match="this folder has never traded"):
        target(home, None)
    assert target(home, other) == Target(other)
    with home.lock():
        home.fresh()
        home.pin(VenueIdentity(bytes(32), 31337, contract, Address(bytes(20)), bytes(32)))
        home.reserve(3, 0, (), 0)
    assert target(home, None) == target(home, contract) == Target(contract, 31337, 3)
    assert target(home, other) == Target(other)  # its nonces are of another vault


def test_another_chain_or_no_vault_of_ours_is_refused(desk: Desk) -> None:
    keystore = Keystore(Path("desk"), desk.address, desk.key, bytes(32))
    with pytest.raises(ConfigError, match=r"the venue's is 1$") as wrong:
        Exit(desk.chain, keystore, Target(desk.chain.vault, chain_id=1))
    assert "--rpc-url" in wrong.value.hint
    with pytest.raises(ChainError, match="no contract"):
        Exit(desk.chain, keystore, Target(desk.address))


def test_nonces_that_nobody_knows_are_asked_for(desk: Desk) -> None:
    with pytest.raises(ConfigError, match="nonces") as caught:
        desk.exit(mark=None, cancel=True)
    assert "--cancel-up-to" in caught.value.hint
