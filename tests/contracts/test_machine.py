"""The vault against a plain model: random accounts, times and settlements, in any order.

What holds after every step: the vault owns the tokens it owes; nothing is created or lost between accounts;
a bit is spent once and never returns; no request takes effect before its delay; and a settlement that was
sealed as the venue seals them applies within its window whatever the accounts do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from darkpool.settlement import Settlement
from darkpool.types import PrivateKey
from tests.contracts.world import ACCOUNTS, DELAY, FINALITY, QUANTA, WINDOW, World, addresses

account = st.sampled_from(ACCOUNTS)
token = st.sampled_from(range(len(QUANTA)))
quanta = st.integers(1, 1_000)
small_mask = st.integers(1, 2**6 - 1)
pause = st.one_of(
    st.integers(1, 2 * FINALITY), st.sampled_from([WINDOW // 2, WINDOW, DELAY - 1, DELAY, DELAY + WINDOW])
)

RICH = 10**9


@cache
def shared_world() -> World:
    world = World()
    for number, contract in enumerate(world.tokens):
        for owner in ACCOUNTS:
            world.send(None, contract, "mint", *addresses([owner]), RICH * QUANTA[number])
            world.send(owner, contract, "approve", world.vault.address, RICH * QUANTA[number])
    return world


@dataclass
class Model:
    balances: dict[tuple[int, PrivateKey], int] = field(default_factory=dict)
    bits: dict[PrivateKey, int] = field(default_factory=lambda: dict.fromkeys(ACCOUNTS, 0))
    withdrawals: dict[tuple[int, PrivateKey], tuple[int, int]] = field(default_factory=dict)
    cancels: dict[PrivateKey, tuple[int, int]] = field(default_factory=dict)
    wallets: dict[tuple[int, PrivateKey], int] = field(
        default_factory=lambda: {(t, a): RICH for t in range(len(QUANTA)) for a in ACCOUNTS}
    )
    next_id: int = 1

    def balance(self, number: int, owner: PrivateKey) -> int:
        return self.balances.get((number, owner), 0)

    def apply(self, nets: dict[tuple[int, PrivateKey], int], spent: dict[PrivateKey, int]) -> None:
        for place, net in nets.items():
            self.balances[place] = self.balances.get(place, 0) + net
        for owner, mask in spent.items():
            assert not self.bits[owner] & mask
            self.bits[owner] |= mask


@dataclass
class Sealed:
    settlement: Settlement
    nets: dict[tuple[int, PrivateKey], int]
    spent: dict[PrivateKey, int]


class VaultMachine(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.world = shared_world()
        self.snapshot = self.world.tester.take_snapshot()
        self.model = Model()
        self.requested: dict[PrivateKey, int] = {}
        self.sealed: list[Sealed] = []

    def teardown(self) -> None:
        if hasattr(self, "snapshot"):
            self.world.tester.revert_to_snapshot(self.snapshot)

    # Accounts

    @rule(owner=account, number=token, amount=quanta)
    def deposit(self, owner: PrivateKey, number: int, amount: int) -> None:
        self.world.done(owner, "deposit", number, amount)
        self.model.balances[number, owner] = self.model.balance(number, owner) + amount
        self.model.wallets[number, owner] -= amount

    @rule(owner=account, number=token, amount=quanta)
    def request_withdrawal(self, owner: PrivateKey, number: int, amount: int) -> None:
        at = self.world.now()
        self.world.done(owner, "request_withdrawal", number, amount)
        self.model.withdrawals[number, owner] = (amount, at + DELAY)
        self.requested.setdefault(owner, at)

    @rule(owner=account, number=token)
    def withdraw(self, owner: PrivateKey, number: int) -> None:
        amount, ready = self.model.withdrawals.get((number, owner), (0, 0))
        if not amount:
            self.world.refused("withdraw: nothing was requested", owner, "withdraw", number)
        elif self.world.now() < ready:
            self.world.refused("withdraw: the delay has not passed", owner, "withdraw", number)
        else:
            self.world.done(owner, "withdraw", number)
            paid = min(amount, self.model.balance(number, owner))
            self.model.balances[number, owner] = self.model.balance(number, owner) - paid
            self.model.wallets[number, owner] += paid
            del self.model.withdrawals[number, owner]
            self.resolve(owner)

    @rule(owner=account, mask=small_mask)
    def request_cancel(self, owner: PrivateKey, mask: int) -> None:
        at = self.world.now()
        self.world.done(owner, "request_cancel", 0, mask)
        old, _ = self.model.cancels.get(owner, (0, 0))
        self.model.cancels[owner] = (old | mask, at + DELAY)
        self.requested.setdefault(owner, at)

    @rule(owner=account)
    def finalize_cancel(self, owner: PrivateKey) -> None:
        mask, ready = self.model.cancels.get(owner, (0, 0))
        if not mask:
            self.world.refused("finalize_cancel: nothing was requested", owner, "finalize_cancel", 0)
        elif self.world.now() < ready:
            self.world.refused("finalize_cancel: the delay has not passed", owner, "finalize_cancel", 0)
        else:
            self.world.done(owner, "finalize_cancel", 0)
            self.model.bits[owner] |= mask
            del self.model.cancels[owner]
            self.resolve(owner)

    def resolve(self, owner: PrivateKey) -> None:
        open_requests = owner in self.model.cancels or any(a == owner for _, a in self.model.withdrawals)
        if not open_requests:
            self.requested.pop(owner, None)

    @rule(seconds=pause)
    def wait(self, seconds: int) -> None:
        self.world.wait(seconds)

    # Venue

    @precondition(lambda self: len(self.sealed) < 2)
    @rule(data=st.data())
    def seal(self, data: st.DataObject) -> None:
        """Seal what is affordable; the venue knows of a request only when it is final."""
        now = self.world.now()
        if self.sealed and now > self.sealed[0].settlement.sealed_at + WINDOW:
            self.sealed = []  # void, and with it those computed from it
        usable = [a for a in ACCOUNTS if now - self.requested.get(a, now) <= FINALITY]
        ahead = Model(dict(self.model.balances), dict(self.model.bits))
        for earlier in self.sealed:
            ahead.apply(earlier.nets, earlier.spent)
        nets: dict[tuple[int, PrivateKey], int] = {}
        for number in range(len(QUANTA)):
            givers = [a for a in usable if ahead.balance(number, a)]
            if len(usable) < 2 or not givers:
                continue
            giver = data.draw(st.sampled_from(givers))
            taker = data.draw(st.sampled_from([a for a in usable if a != giver]))
            amount = data.draw(st.integers(1, ahead.balance(number, giver)))
            nets |= {(number, giver): -amount, (number, taker): amount}
        spent = {a: data.draw(small_mask) & ~ahead.bits[a] for a in usable}
        spent = {a: mask for a, mask in spent.items() if mask}
        nonces = [(a, i) for a, mask in spent.items() for i in range(6) if mask >> i & 1]
        settlement = self.world.settlement(nets, nonces, id=self.model.next_id + len(self.sealed))
        self.sealed.append(Sealed(settlement, nets, spent))

    @precondition(lambda self: self.sealed)
    @rule()
    def settle(self) -> None:
        sealed = self.sealed[0]
        arguments = self.world.signed(sealed.settlement)
        if self.world.now() > sealed.settlement.sealed_at + WINDOW:
            self.world.refused("settle: the window has closed", None, "settle", *arguments)
            self.sealed = []  # those after it were computed from it
            return
        self.world.done(None, "settle", *arguments)
        self.model.apply(sealed.nets, sealed.spent)
        self.model.next_id += 1
        self.sealed.pop(0)
        self.world.refused("settle: id is not the next one", None, "settle", *arguments)

    @precondition(lambda self: any(self.model.bits.values()))
    @rule(data=st.data())
    def spend_again(self, data: st.DataObject) -> None:
        owner = data.draw(st.sampled_from([a for a, mask in self.model.bits.items() if mask]))
        settlement = self.world.settlement(spent=[(owner, self.model.bits[owner].bit_length() - 1)])
        self.world.refused(
            "settle: nullifier is already used", None, "settle", *self.world.signed(settlement)
        )

    # What always holds

    @invariant()
    def vault_equals_model(self) -> None:
        if not hasattr(self, "model"):
            return
        for number, contract in enumerate(self.world.tokens):
            held = [self.world.balance(a, number) for a in ACCOUNTS]
            assert held == [self.model.balance(number, a) for a in ACCOUNTS]
            assert self.world.number(self.world.vault, "total_quanta", number) == sum(held)
            owned = self.world.number(contract, "balanceOf", self.world.vault.address)
            assert owned == sum(held) * QUANTA[number]
            wallets = [self.world.number(contract, "balanceOf", a) for a in addresses(ACCOUNTS)]
            assert wallets == [self.model.wallets[number, a] * QUANTA[number] for a in ACCOUNTS]
        assert [self.world.bits(a, 0) for a in ACCOUNTS] == list(self.model.bits.values())
        assert self.world.number(self.world.vault, "next_id") == self.model.next_id


QUICK = settings(
    max_examples=10, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)

TestVault = VaultMachine.TestCase
TestVault.settings = QUICK


class _AtLength(VaultMachine):
    """The same with more and longer runs."""


TestVaultAtLength = pytest.mark.timeout(900)(pytest.mark.slow(_AtLength.TestCase))
TestVaultAtLength.settings = settings(QUICK, max_examples=40, stateful_step_count=50)
