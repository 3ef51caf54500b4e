"""The vault against a plain model: random accounts, tokens, committees, times and settlements, in any order.

What holds after every step: of an honest token the vault owns what it owes, and of a token that takes what it
likes each quantum is paid its share; nothing is created or lost between accounts; a bit is spent once and
never returns; no delay is shortened; and a settlement that was sealed as the venue seals them applies within
its window whatever the accounts do, unless the guardian pauses or the committee is frozen. Any settlement may
be convicted within the delay: then all can be taken back, newest first, down to it, to the last quantum,
whatever was moved, asked for and withdrawn since. At the end of a run the log alone rebuilds the state.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from vyper.compiler import compile_code

from darkpool.settlement import Settlement, row_hashes
from darkpool.types import PrivateKey
from tests.contracts.rebuilt import Rebuilt
from tests.contracts.world import (
    ACCOUNTS,
    COMMITTEE_DELAY,
    DELAY,
    FINALITY,
    GUARDIAN,
    MEMBERS,
    NEXT_GUARDIAN,
    NEXT_MEMBERS,
    NOBODY,
    WINDOW,
    World,
    addresses,
)

QUANTA: Final = (10, 1_000, 7)
"""Token units per quantum; the last token burns and mints what it likes."""

ODD: Final = 2
COMMITTEES: Final = ((MEMBERS, 1, GUARDIAN), (NEXT_MEMBERS, 2, NEXT_GUARDIAN))
DELAYS: Final = {
    "SETTLE_WINDOW": WINDOW,
    "FINALITY": FINALITY,
    "WITHDRAW_DELAY": DELAY,
    "CANCEL_DELAY": DELAY,
    "COMMITTEE_DELAY": COMMITTEE_DELAY,
}
RICH: Final = 10**9

PUPPET: Final = """
interface Vault:
    def convict(id: uint256, settled_at: uint256): nonpayable

@external
def convict(vault: address, id: uint256, settled_at: uint256):
    extcall Vault(vault).convict(id, settled_at)
"""
"""An arbiter that takes anybody's word: whatever it convicts, the vault must be able to undo."""

account = st.sampled_from(ACCOUNTS)
token = st.sampled_from(range(len(QUANTA)))
quanta = st.integers(1, 1_000)
small_mask = st.integers(1, 2**6 - 1)
seconds_passing = st.one_of(
    st.integers(1, 2 * FINALITY), st.sampled_from([WINDOW // 2, WINDOW, DELAY - 1, DELAY, DELAY + WINDOW])
)


@cache
def shared_world() -> World:
    world = World()
    world.tokens.append(world.deploy_token("HostileToken"))
    pairs = [(contract.address, quantum) for contract, quantum in zip(world.tokens, QUANTA, strict=True)]
    output = compile_code(PUPPET, output_formats=["abi", "bytecode"])
    world.arbiter = world.deploy(output["abi"], output["bytecode"])
    world.use(world.deploy_artifact("Vault", *world.terms(tokens=pairs)))
    for number, contract in enumerate(world.tokens):
        for owner in ACCOUNTS:
            world.send(None, contract, "mint", *addresses([owner]), RICH * QUANTA[number])
            if number != ODD:
                world.send(owner, contract, "approve", world.vault.address, RICH * QUANTA[number])
    return world


@dataclass
class Landed:
    """A settlement in force."""

    settlement: Settlement
    settled_at: int
    nets: dict[tuple[int, PrivateKey], int]


@dataclass
class Model:
    balances: dict[tuple[int, PrivateKey], int] = field(default_factory=dict)
    bits: dict[PrivateKey, int] = field(default_factory=lambda: dict.fromkeys(ACCOUNTS, 0))
    withdrawals: dict[tuple[int, PrivateKey], tuple[int, int]] = field(default_factory=dict)
    leaving: dict[tuple[int, PrivateKey], int] = field(default_factory=dict)  # set aside by requests
    cancels: dict[PrivateKey, tuple[int, int]] = field(default_factory=dict)
    held: list[int] = field(default_factory=lambda: [0] * len(QUANTA))  # units
    wallets: dict[tuple[int, PrivateKey], int] = field(
        default_factory=lambda: {(t, a): RICH * QUANTA[t] for t in range(len(QUANTA)) for a in ACCOUNTS}
    )
    next_id: int = 1
    paused: bool = False
    committee: int = 0
    epoch: int = 1
    last_epoch: int = 1
    proposed: tuple[int, int, int] | None = None  # committee, epoch, ready_at
    landed: list[Landed] = field(default_factory=list)  # settlements in force
    frozen: bool = False
    oldest: int = 0  # to be unwound
    held_since: int = 0
    held_until: int = 0

    def balance(self, number: int, owner: PrivateKey) -> int:
        return self.balances.get((number, owner), 0)

    def owed(self, number: int) -> int:
        return sum(held for (t, _), held in self.balances.items() if t == number)

    def short(self, number: int) -> bool:
        return self.held[number] < self.owed(number) * QUANTA[number]

    def pay(self, number: int, owner: PrivateKey, amount: int) -> None:
        if self.short(number):
            units = amount * self.held[number] // self.owed(number)
        else:
            units = amount * QUANTA[number]
        self.balances[number, owner] = self.balance(number, owner) - amount
        self.held[number] -= units
        self.wallets[number, owner] += units

    def apply(self, nets: dict[tuple[int, PrivateKey], int], spent: dict[PrivateKey, int]) -> None:
        for place, net in nets.items():
            self.balances[place] = self.balances.get(place, 0) + net
            if place in self.leaving:
                self.leaving[place] = min(self.leaving[place], self.balances[place])
        for owner, mask in spent.items():
            assert not self.bits[owner] & mask
            self.bits[owner] |= mask


@dataclass
class Sealed:
    settlement: Settlement
    nets: dict[tuple[int, PrivateKey], int]
    spent: dict[PrivateKey, int]


class VaultMachine(RuleBasedStateMachine):
    steps: ClassVar[int] = 0

    @initialize()
    def start(self) -> None:
        self.world = shared_world()
        self.snapshot, self.old_logs = self.world.tester.take_snapshot(), list(self.world.logs)
        self.model = Model()
        self.requested: dict[PrivateKey, int] = {}
        self.sealed: list[Sealed] = []

    def teardown(self) -> None:
        if not hasattr(self, "snapshot"):
            return
        try:
            assert {name: self.number(name) for name in DELAYS} == DELAYS
            for (number, owner), units in self.model.wallets.items():
                assert self.world.number(self.world.tokens[number], "balanceOf", *addresses([owner])) == units
            self.log_rebuilds_the_model()
        finally:
            self.world.tester.revert_to_snapshot(self.snapshot)
            self.world.logs = self.old_logs

    def log_rebuilds_the_model(self) -> None:
        found, model = Rebuilt(self.world.vault, self.world.logs), self.model
        names = dict(zip(ACCOUNTS, addresses(ACCOUNTS), strict=True))
        assert +found.balances == {(t, names[a]): held for (t, a), held in model.balances.items() if held}
        assert +found.bits == {(names[a], 0): mask for a, mask in model.bits.items() if mask}
        assert found.withdrawals == {(names[a], t): open_ for (t, a), open_ in model.withdrawals.items()}
        assert found.cancels == {(names[a], 0): open_ for a, open_ in model.cancels.items()}
        assert (found.settled + 1, found.paused, found.frozen) == (model.next_id, model.paused, model.frozen)
        assert found.committee == (model.epoch, *self.committee(model.committee))
        proposed = model.proposed
        assert found.proposal == (
            (proposed[1], *self.committee(proposed[0]), proposed[2]) if proposed else ()
        )

    @staticmethod
    def committee(number: int) -> tuple[list[str], int, str]:
        members, threshold, guardian = COMMITTEES[number]
        return addresses(members), threshold, addresses([guardian])[0]

    def signed(self, settlement: Settlement) -> tuple[Any, ...]:
        members, threshold, _ = COMMITTEES[self.model.committee]
        return self.world.signed(settlement, members[: 2 * threshold + 1])

    # Accounts

    @rule(owner=account, number=token, amount=quanta)
    def deposit(self, owner: PrivateKey, number: int, amount: int) -> None:
        units = amount * QUANTA[number]
        if self.model.short(number):
            reason = "deposit: the vault holds less of this token than it owes"
            self.world.refused(reason, owner, "deposit", number, amount)
        elif units <= self.model.wallets[number, owner]:
            self.world.done(owner, "deposit", number, amount)
            self.model.balances[number, owner] = self.model.balance(number, owner) + amount
            self.model.wallets[number, owner] -= units
            self.model.held[number] += units

    @rule(owner=account, number=token, amount=quanta)
    def request_withdrawal(self, owner: PrivateKey, number: int, amount: int) -> None:
        at = self.world.now()
        self.world.done(owner, "request_withdrawal", number, amount)
        self.model.withdrawals[number, owner] = (amount, at + DELAY)
        self.model.leaving[number, owner] = min(amount, self.model.balance(number, owner))
        self.requested.setdefault(owner, at)

    @rule(owner=account, number=token)
    def withdraw(self, owner: PrivateKey, number: int) -> None:
        amount, ready = self.model.withdrawals.get((number, owner), (0, 0))
        if not amount:
            self.world.refused("withdraw: nothing was requested", owner, "withdraw", number)
        elif self.world.now() < ready:
            self.world.refused("withdraw: the delay has not passed", owner, "withdraw", number)
        elif self.world.now() < self.model.held_until and ready - DELAY >= self.model.held_since:
            reason = "withdraw: settlements since a false one are being unwound"
            self.world.refused(reason, owner, "withdraw", number)
        else:
            self.world.done(owner, "withdraw", number)
            self.model.pay(number, owner, self.model.leaving.pop((number, owner)))
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

    # The odd token, and time

    @rule(units=st.integers(-5_000, 5_000).filter(bool))
    def rebase(self, units: int) -> None:
        """The token takes from what the vault holds, or adds to it."""
        units = max(units, -self.model.held[ODD])
        function = "mint" if units > 0 else "burn"
        self.world.send(None, self.world.tokens[ODD], function, self.world.vault.address, abs(units))
        self.model.held[ODD] += units

    @rule(seconds=seconds_passing)
    def wait(self, seconds: int) -> None:
        self.world.wait(seconds)

    # Committee and guardian

    @rule(caller=st.sampled_from([GUARDIAN, NEXT_GUARDIAN, NOBODY, *ACCOUNTS]))
    def pause_or_resume(self, caller: PrivateKey) -> None:
        function = "resume_settling" if self.model.paused else "pause_settling"
        if caller != COMMITTEES[self.model.committee][2]:
            self.world.refused(f"{function}: the caller is not the guardian", caller, function)
            return
        self.world.done(caller, function)
        self.model.paused = not self.model.paused

    @rule(number=st.sampled_from(range(len(COMMITTEES))))
    def propose(self, number: int) -> None:
        members, threshold, guardian = COMMITTEES[number]
        present, faulty, _ = COMMITTEES[self.model.committee]
        arguments = self.world.proposal(members, threshold, present[: 2 * faulty + 1], guardian)
        at = self.world.now()
        self.world.done(NOBODY, "propose_committee", *arguments)
        self.model.last_epoch += 1
        self.model.proposed = (number, self.model.last_epoch, at + COMMITTEE_DELAY)

    @precondition(lambda self: self.model.proposed)
    @rule()
    def activate(self) -> None:
        assert self.model.proposed is not None
        number, epoch, ready = self.model.proposed
        if self.world.now() < ready:
            reason = "activate_committee: the delay has not passed"
            self.world.refused(reason, NOBODY, "activate_committee")
            return
        self.world.done(NOBODY, "activate_committee")
        self.model.committee, self.model.epoch, self.model.proposed = number, epoch, None
        self.model.frozen = False

    # Contests

    @precondition(lambda self: self.contestable())
    @rule(data=st.data())
    def convict(self, data: st.DataObject) -> None:
        model, world = self.model, self.world
        false = data.draw(st.sampled_from(self.contestable()))
        at = world.now()
        arguments = (world.vault.address, false.settlement.id, false.settled_at)
        assert world.send(NOBODY, world.arbiter, "convict", *arguments).status == 1
        if model.frozen and false.settlement.id >= model.oldest:
            return
        model.oldest, model.held_since, model.held_until = false.settlement.id, false.settled_at, at + DELAY
        if not model.frozen:
            model.frozen = True
            if model.proposed is not None:
                model.proposed = (*model.proposed[:2], at + COMMITTEE_DELAY)
        self.sealed = []

    def contestable(self) -> list[Landed]:
        now = self.world.now()
        return [landed for landed in self.model.landed if now < landed.settled_at + DELAY]

    @precondition(lambda self: self.model.landed)
    @rule(all_of_them=st.booleans())
    def unwind(self, all_of_them: bool) -> None:
        model = self.model
        while model.landed:
            newest = model.landed[-1]
            s = newest.settlement
            deltas, nullifiers = row_hashes(s.deltas, s.nullifiers)
            assert len(deltas) == 32
            rows = [row.packed() for row in s.deltas]
            arguments = (s.id, newest.settled_at, s.root, s.transcript, rows, nullifiers)
            if self.world.now() >= model.held_until:
                self.world.refused(
                    "unwind: nothing is to be unwound, or not any more", None, "unwind", *arguments
                )
                return
            self.world.done(None, "unwind", *arguments)
            model.landed.pop()
            model.apply({place: -net for place, net in newest.nets.items()}, {})
            if s.id == model.oldest:
                model.held_until = 0
                return
            if not all_of_them:
                return

    # Venue

    def may_settle(self) -> bool:
        held = self.world.now() < self.model.held_until
        return not (self.model.paused or self.model.frozen or held)

    def may_seal(self) -> bool:
        """Not two ahead, and not when the next committee could be in office before the window ends."""
        proposed = self.model.proposed
        in_time = proposed is None or self.world.now() + WINDOW < proposed[2]
        held = self.model.frozen or self.world.now() < self.model.held_until
        return in_time and len(self.sealed) < 2 and not held

    @precondition(may_seal)
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
        arguments = self.signed(sealed.settlement)
        at = self.world.now()
        late = at > sealed.settlement.sealed_at + WINDOW
        if self.model.paused:
            self.world.refused("settle: settling is paused", None, "settle", *arguments)
        elif late and sealed.settlement.epoch == self.model.epoch:
            self.world.refused("settle: the window has closed", None, "settle", *arguments)
        elif late:
            self.world.refused("settle: epoch is not the present one", None, "settle", *arguments)
        else:
            self.world.done(None, "settle", *arguments)
            self.model.apply(sealed.nets, sealed.spent)
            self.model.landed.append(Landed(sealed.settlement, at, sealed.nets))
            self.model.next_id += 1
            self.sealed.pop(0)
            self.world.refused("settle: id is not the next one", None, "settle", *arguments)
        if late:
            self.sealed = []  # those after it were computed from it

    @precondition(lambda self: any(self.model.bits.values()) and self.may_settle())
    @rule(data=st.data())
    def spend_again(self, data: st.DataObject) -> None:
        owner = data.draw(st.sampled_from([a for a, mask in self.model.bits.items() if mask]))
        settlement = self.world.settlement(spent=[(owner, self.model.bits[owner].bit_length() - 1)])
        self.world.refused("settle: nullifier is already used", None, "settle", *self.signed(settlement))

    # What always holds

    def number(self, function: str, *arguments: object) -> int:
        return self.world.number(self.world.vault, function, *arguments)

    @invariant()
    def vault_equals_model(self) -> None:
        if not hasattr(self, "model"):
            return
        for number, contract in enumerate(self.world.tokens):
            balances = [self.world.balance(a, number) for a in ACCOUNTS]
            assert balances == [self.model.balance(number, a) for a in ACCOUNTS]
            assert self.number("total_quanta", number) == sum(balances)
            held = self.world.number(contract, "balanceOf", self.world.vault.address)
            assert held == self.model.held[number]
            assert held == sum(balances) * QUANTA[number] or number == ODD
        assert [self.world.bits(a, 0) for a in ACCOUNTS] == list(self.model.bits.values())
        assert self.number("next_id") == self.model.next_id
        assert self.number("epoch") == self.model.epoch
        assert self.number("paused") == self.model.paused
        assert self.number("frozen") == self.model.frozen
        VaultMachine.steps += 1


QUICK = settings(
    max_examples=3, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)

TestVault = VaultMachine.TestCase
TestVault.settings = QUICK


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_thousand_steps() -> None:
    before = VaultMachine.steps
    run_state_machine_as_test(VaultMachine, settings=settings(QUICK, max_examples=30, stateful_step_count=50))
    assert VaultMachine.steps - before >= 1_000
