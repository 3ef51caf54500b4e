"""The arbiter of a vault, and the vault's side of a contest: what stands there, and the calls.

Every call is a transaction signed here by the key that is passed; all raise `ChainRefused` with the
contract's reason, and `ChainError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from darkpool.chain import Chain
from darkpool.chain_events import MAX_BLOCKS
from darkpool.contest import BOND, Evidence, SettledRecord
from darkpool.eip712 import address_of
from darkpool.entitlement import RoundWords
from darkpool.evm import Receipt
from darkpool.types import Address, PrivateKey, address_hex, parse_address
from darkpool.vault import Place, Settled

_GAS: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class Standing:
    """A contest: open until `ends_at` (unix seconds) for whoever refutes it, then to be upheld, or closed.

    answered: somebody showed the rounds it denied, so the account may contest once more.
    """

    settled_at: int
    ends_at: int
    closed: bool
    answered: bool = False

    @property
    def exists(self) -> bool:
        """Whether the account contested the settlement at all."""
        return bool(self.settled_at)


@dataclass(frozen=True, slots=True)
class Contested:
    """An event: the account denies what is not in `rounds` (bit p for place p) and `orders` (nonces).

    claims: of each of those orders, zero, or what it was opened as without its place in a list.
    """

    id: int
    account: Address
    ends_at: int
    rounds: int
    orders: tuple[int, ...]
    claims: tuple[bytes, ...] = ()


def standing(chain: Chain, number: int, account: Address) -> Standing:
    """The account's contest of a settlement."""
    arguments = address_hex(chain.vault), number, address_hex(account)
    found = chain.evm.call("Arbiter", chain.arbiter(), "contests", *arguments)
    return Standing(int(found[0]), int(found[1]), bool(found[4]), bool(found[5]))


def contested(chain: Chain) -> list[Contested]:
    """Contests of late, of settlements that may still be unwound."""
    found = _late_events(chain, "Arbiter", chain.arbiter(), "Contested")
    return [
        Contested(
            int(e["id"]),
            parse_address(e["account"]),
            int(e["ends_at"]),
            int(e["rounds"]),
            tuple(map(int, e["orders"])),
            tuple(map(bytes, e["claims"])),
        )
        for _, e in found
        if parse_address(e["vault"]) == chain.vault
    ]


def rounds_shown(chain: Chain) -> dict[int, list[RoundWords]]:
    """By settlement, the rounds by which somebody refuted a contest of late, in the settlement's order."""
    return {
        int(e["id"]): [RoundWords(tuple(map(int, shown["words"]))) for shown in e["rounds"]]
        for _, e in _late_events(chain, "Arbiter", chain.arbiter(), "RoundsShown")
        if parse_address(e["vault"]) == chain.vault
    }


def withdraw_delay(chain: Chain) -> int:
    """Seconds within which a settlement can be contested."""
    return int(chain.evm.call("Vault", chain.vault, "WITHDRAW_DELAY"))


def settled_of_late(chain: Chain) -> list[SettledRecord]:
    """Settlements in force that can still be contested, oldest first."""
    since = chain.now() - withdraw_delay(chain)
    return [record for record in in_force(chain) if record.settled_at > since]


def in_force(chain: Chain) -> list[SettledRecord]:
    """Settlements in force that can still be contested or unwound, oldest first."""
    since = chain.now() - 2 * withdraw_delay(chain)
    found = []
    for place, arguments in _late_events(chain, "Vault", chain.vault, Settled.EVENT):
        settled_at = chain.block(place.block).time
        if settled_at > since:
            record = SettledRecord.of(Settled.decoded(place, arguments), settled_at)
            if bytes(chain.evm.call("Vault", chain.vault, "records", record.id)) == record.hash:
                found.append(record)
    return found


def _late_events(chain: Chain, name: str, address: Address, event: str) -> list[tuple[Place, Any]]:
    """Events since a block older than two delays, oldest first; nodes bound the range of a search."""
    since, last = chain.now() - 2 * withdraw_delay(chain), chain.head()
    found: list[tuple[Place, Any]] = []
    while last >= 0:
        first = max(0, last - MAX_BLOCKS + 1)
        events = chain.evm.events(name, address, event, first, last)
        found = [(Place(e.block, e.log_index, e.tx_hash), e.arguments) for e in events] + found
        if chain.block(first).time <= since:
            break
        last = first - 1
    return found


def contest(chain: Chain, key: PrivateKey, evidence: Evidence) -> Receipt:
    """Contest with the bond."""
    arguments = evidence.arguments(address_hex(chain.vault))
    return chain.evm.send(key, "Arbiter", chain.arbiter(), "contest", arguments, _GAS, value=BOND)


def contest_gas(chain: Chain, sender: Address, evidence: Evidence) -> int:
    """Gas that a contest would take. Raises ChainRefused with the reason it would be refused for."""
    arguments = evidence.arguments(address_hex(chain.vault))
    data = chain.evm.encoded("Arbiter", chain.arbiter(), "contest", arguments)
    return chain.evm.estimate(sender, chain.arbiter(), data, value=BOND)


def uphold(chain: Chain, key: PrivateKey, number: int, account: Address) -> Receipt:
    """End an unrefuted contest."""
    arguments = [address_hex(chain.vault), number, address_hex(account)]
    return chain.evm.send(key, "Arbiter", chain.arbiter(), "uphold", arguments, _GAS)


def refute(chain: Chain, key: PrivateKey, function: str, arguments: Sequence[Any]) -> Receipt:
    """Refute a contest; what to say is of refuting.py. Nothing is sent that would be refused now."""
    data = chain.evm.encoded("Arbiter", chain.arbiter(), function, list(arguments))
    chain.evm.estimate(address_of(key), chain.arbiter(), data)
    return chain.evm.send(key, "Arbiter", chain.arbiter(), function, list(arguments), _GAS)


def stands(chain: Chain, number: int) -> bool:
    """Whether the settlement of that id is in force."""
    return any(bytes(chain.evm.call("Vault", chain.vault, "records", number)))


def to_unwind(chain: Chain) -> list[int]:
    """Ids that are to be unwound and are not, in the order in which they must be."""
    if chain.now() >= int(chain.evm.call("Vault", chain.vault, "held_until")):
        return []
    newest, oldest = (int(chain.evm.call("Vault", chain.vault, f"unwind_{w}")) for w in ("next", "last"))
    return list(range(newest, oldest - 1, -1))


def unwind(chain: Chain, key: PrivateKey, record: SettledRecord) -> Receipt:
    """Take back a settlement that is to be unwound."""
    number, settled_at, root, transcript, _, nullifiers = record.words
    deltas = [row.packed() for row in record.deltas]
    arguments = [number, settled_at, root, transcript, deltas, nullifiers]
    return chain.evm.send(key, "Vault", chain.vault, "unwind", arguments, _GAS)
