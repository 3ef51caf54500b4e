"""Leaving a vault for good: from a chain and a keystore, with operator, API and committee switched off.

What is left to do follows from the chain's state alone, so an exit may be ended anywhere, by whatever, and
begun again: it goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from darkpool.chain import Chain, Receipt
from darkpool.client.trader_home import TraderHome
from darkpool.client.vault_position import GAS, Call, Position, position, token_balance
from darkpool.errors import ChainError, ChainRefused, ConfigError
from darkpool.evm import Fees
from darkpool.evm_records import ether_text
from darkpool.keystore import Keystore
from darkpool.types import Address, address_hex

POLL_SECONDS: Final = 3.0
AWAY_SECONDS: Final = 300.0
"""For how long a node may be away while nothing but time is waited for."""

UNMINED_SECONDS: Final = 60.0
MAX_FEE_GWEI: Final = 200
_GWEI: Final = 10**9


@dataclass(frozen=True, slots=True)
class Target:
    """What to leave. chain_id: its chain, if known; mark: orders were signed for nonces below, if known."""

    vault: Address
    chain_id: int | None = None
    mark: int | None = None


def target(home: TraderHome | None, vault: Address | None) -> Target:
    """The vault given, or else the one where the folder's trader trades. Raises ConfigError."""
    pinned = None if home is None else home.venue
    if home is not None and pinned is not None and vault in {None, pinned.contract}:
        return Target(pinned.contract, pinned.chain_id, home.next_nonce if home.has_past else None)
    if vault is None:
        raise ConfigError(
            "vault: this folder has never traded, so it knows none",
            "give its address with --vault: it is where your deposits went",
        )
    return Target(vault)


@dataclass(frozen=True, slots=True)
class Done:
    """A call that was made: its receipt, or why the contract refused it.

    Of a withdrawal also `paid`, quanta taken from the balance, and `arrived`, units that came to the wallet,
    None if the token does not say.
    """

    call: Call
    receipt: Receipt | None = None
    refusal: str = ""
    paid: int = 0
    arrived: int | None = None


class Exit:
    """One account on its way out of one vault. Raises ChainError whenever the node does not answer.

    With `cancel` the account's unused nonces below the mark are burnt as well. No transaction offers more
    than `max_fee_gwei` per gas.
    """

    def __init__(
        self,
        chain: Chain,
        keystore: Keystore,
        goal: Target,
        *,
        cancel: bool = False,
        max_fee_gwei: int = MAX_FEE_GWEI,
    ) -> None:
        """Raises ConfigError for another chain or unknown nonces, ChainError if no vault lies there."""
        if cancel and goal.mark is None:
            raise ConfigError(
                "nonces: this folder does not know which ones were signed for",
                "say below which to burn all, with --cancel-up-to; most who leave need not burn any",
            )
        if goal.chain_id not in {None, chain.chain_id}:
            raise ConfigError(
                f"chain: its id is {chain.chain_id}, and the venue's is {goal.chain_id}",
                "give the URL of a node of the venue's chain with --rpc-url",
            )
        chain.attach(goal.vault)
        self._chain, self._keystore, self._cancel, self._mark = chain, keystore, cancel, goal.mark or 0
        self._max_fee_gwei = max_fee_gwei
        self._refused: set[Call] = set()

    @classmethod
    def open(
        cls,
        rpc_url: str,
        keystore: Keystore,
        goal: Target,
        *,
        cancel: bool = False,
        max_fee_gwei: int = MAX_FEE_GWEI,
    ) -> Exit:
        """By a node of its chain. Raises as the constructor."""
        chain = Chain.rpc(rpc_url, finality=0)  # what counts is what the next transaction meets
        return cls(chain, keystore, goal, cancel=cancel, max_fee_gwei=max_fee_gwei)

    @property
    def chain_id(self) -> int:
        """The chain's number."""
        return self._chain.chain_id

    def position(self) -> Position:
        """How things stand, once no transaction of the account is under way."""
        account, ends = self._keystore.address, time.monotonic() + UNMINED_SECONDS
        while True:
            mined, sent = self._chain.evm.nonces(account)
            if sent <= mined:
                return self._look()
            if time.monotonic() > ends:
                raise ChainError(
                    f"account {address_hex(account)}: {sent - mined} earlier transactions are not mined yet",
                    "run the same command later, or raise their fee with a wallet",
                )
            time.sleep(1)

    def run(
        self, found: Position, done: Callable[[Done], None], waiting: Callable[[int], None], *, wait: bool
    ) -> Position:
        """Do what is left to do, telling of each transaction and of the seconds left; how things stand then.

        Without `wait` it ends when nothing is left but to wait. What a settlement credits after a request
        stays in the balance: the next run takes it. Raises ChainRefused if the gas cannot be paid, ChainError
        before the first transaction for which the node asks too high a fee.
        """
        found = self._made(found, self._ready(found), done)  # of an earlier run
        # What is asked for must be collected too.
        plan = found.steps(cancel=self._cancel)
        found = self._made(found, found.requests(cancel=self._cancel), done, plan)
        while wait and (left := self._open(found)):
            self._wait(min(call.ready_at for call in left), waiting)
            found = self._look()
            found = self._made(found, self._ready(found), done)
        return found

    def _look(self) -> Position:
        return position(self._chain, self._keystore.address, self._mark)

    def _open(self, found: Position) -> list[Call]:
        return [call for call in found.collections(cancel=self._cancel) if call not in self._refused]

    def _ready(self, found: Position) -> list[Call]:
        return [call for call in self._open(found) if call.ready_at <= found.now]

    def _made(
        self, found: Position, calls: Sequence[Call], done: Callable[[Done], None], plan: Sequence[Call] = ()
    ) -> Position:
        """How things stand after these calls. One that is refused keeps no other from being made.

        The ether must suffice for them, or for a longer plan if there is one.
        """
        if not calls:
            return found
        self._fees()  # a fee that is a lie must not become a demand for ether
        _check_ether(found, plan or calls)
        for call in calls:
            try:
                made = self._withdrawn(call) if call.function == "withdraw" else Done(call, self._sent(call))
            except ChainRefused as error:
                self._refused.add(call)
                made = Done(call, refusal=error.reason)
            done(made)
        return self._look()

    def _sent(self, call: Call) -> Receipt:
        key, gas, vault = self._keystore.private_key, GAS[call.function], self._chain.vault
        return self._chain.evm.send(key, "Vault", vault, call.function, call.arguments, 2 * gas, self._fees())

    def _fees(self) -> Fees:
        """What the node asks for now. Raises ChainError above the bound."""
        fees = self._chain.evm.fees()
        if fees.most > self._max_fee_gwei * _GWEI:
            raise ChainError(
                f"fees: up to {fees.most / _GWEI:.4g} gwei would be offered, "
                f"--max-fee-gwei is {self._max_fee_gwei}",
                "ask another node whether that is so; wait, or raise it: the same command goes on",
            )
        return fees

    def _withdrawn(self, call: Call) -> Done:
        contract, account = self._chain.tokens[call.arguments[0]].contract, self._keystore.address
        before = token_balance(self._chain, contract, account)
        receipt = self._sent(call)
        after = token_balance(self._chain, contract, account)
        arrived = None if before is None or after is None else after - before
        paid = [
            event.quanta
            for event in self._chain.withdrawals(receipt.block, receipt.block)
            if event.place.tx_hash == receipt.tx_hash
        ]
        return Done(call, receipt, paid=sum(paid), arrived=arrived)

    def _wait(self, until: int, waiting: Callable[[int], None]) -> None:
        """Until a block is of that time. The chain's clock counts, not ours."""
        left, heard = until - self._chain.now(), time.monotonic()
        while left > 0:
            waiting(left)
            time.sleep(min(left, POLL_SECONDS))
            try:
                left, heard = until - self._chain.now(), time.monotonic()
            except ChainError:
                if time.monotonic() - heard > AWAY_SECONDS:
                    raise


def _check_ether(found: Position, calls: Sequence[Call]) -> None:
    missing = found.cost(calls) - found.ether
    if missing > 0:
        raise ChainRefused(
            f"gas: {address_hex(found.account)} has {ether_text(found.ether)} ether, and {len(calls)} "
            f"transactions cost up to {ether_text(found.cost(calls))} at {found.max_fee / _GWEI:.2f} gwei",
            f"send {ether_text(missing)} ether or more to that address, and run the same command again",
        )
