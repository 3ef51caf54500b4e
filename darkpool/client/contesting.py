"""A contest from its first transaction to the last settlement unwound, with a node and the keystore alone.

What is left to do follows from the chain, so it may be ended anywhere and begun again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from darkpool import arbiter
from darkpool.chain import Chain
from darkpool.client.exit import target
from darkpool.client.trader_home import TraderHome
from darkpool.contest import BOND, Evidence, SettledRecord
from darkpool.errors import ChainRefused, OrderRefused
from darkpool.evm import Receipt
from darkpool.evm_records import ether_text
from darkpool.keystore import Keystore
from darkpool.types import address_hex

POLL_SECONDS: Final = 3.0

Tell = Callable[[str, Receipt], None]


def chain_of(home: TraderHome, rpc_url: str) -> Chain:
    """The vault where the folder's trader trades, by a node. Raises ConfigError, ChainError."""
    chain = Chain.rpc(rpc_url, finality=0)
    chain.attach(target(home, None).vault)
    return chain


@dataclass(frozen=True, slots=True)
class Plan:
    """What a contest would cost: gas and bond in wei, the latter returned if the claim holds."""

    gas: int
    bond: int


class Contesting:
    """One account against one settlement. Every method raises ChainRefused and ChainError."""

    def __init__(self, chain: Chain, keystore: Keystore, record: SettledRecord) -> None:
        self._chain, self._keystore, self.record = chain, keystore, record

    def plan(self, evidence: Evidence) -> Plan:
        """What it takes. Raises ChainRefused with the reason the arbiter would refuse it for."""
        address = self._keystore.address
        missing = BOND - self._chain.evm.ether(address)
        if missing > 0:
            raise ChainRefused(
                f"bond: a contest takes {ether_text(BOND)} ether, which come back if it holds",
                f"send {ether_text(missing)} ether and some for gas to {address_hex(address)}",
            )
        return Plan(arbiter.contest_gas(self._chain, address, evidence), BOND)

    def run(self, evidence: Evidence, tell: Tell, waiting: Callable[[int], None], *, wait: bool) -> bool:
        """Contest, uphold once nobody has refuted, unwind. Whether all of it is done.

        A contest whose denied rounds were shown is made again, now that they are known. Raises OrderRefused
        if it was refuted, or proved nothing.
        """
        number, address, key = self.record.id, self._keystore.address, self._keystore.private_key
        if self.is_open_to(evidence):
            tell("contest", arbiter.contest(self._chain, key, evidence))
        found = arbiter.standing(self._chain, number, address)
        if not found.closed:
            left = found.ends_at - self._chain.now()
            while left > 0:
                if not wait:
                    return False
                waiting(left)
                time.sleep(min(left, POLL_SECONDS))
                left = found.ends_at - self._chain.now()
            if not arbiter.standing(self._chain, number, address).closed:
                tell("uphold", arbiter.uphold(self._chain, key, number, address))
        self.unwind(tell)
        if arbiter.stands(self._chain, number):
            raise OrderRefused(
                f"contest: it was refuted, or proved nothing: settlement {number} stands",
                "if rounds were shown that it denied, contest again: they are known now"
                if arbiter.standing(self._chain, number, address).answered
                else "the bond is lost; docs/dispute.md says what cannot be shown",
            )
        return True

    def is_open_to(self, evidence: Evidence) -> bool:
        """Whether the account may contest the settlement by that evidence."""
        found = arbiter.standing(self._chain, self.record.id, self._keystore.address)
        return not found.exists or (found.answered and evidence.all_rounds)

    def unwind(self, tell: Tell) -> None:
        """Take back what is to be unwound, newest first."""
        records = {record.id: record for record in arbiter.in_force(self._chain)}
        for number in arbiter.to_unwind(self._chain):
            tell("unwind", arbiter.unwind(self._chain, self._keystore.private_key, records[number]))
