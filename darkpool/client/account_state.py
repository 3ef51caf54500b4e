"""What the account may lock, as openings: a function of its standing orders and of public data.

    F of a token  =  Opening(balance - pending debits, 0)  -  the locks of all standing orders

The venue's commitment must be that one, or somebody's account of the account is wrong (protocol, section 10).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from commitments.pedersen import Opening
from darkpool.chain import Chain
from darkpool.chain_events import MAX_BLOCKS
from darkpool.client.answers import Collateral as CollateralAnswer
from darkpool.client.own_order import OwnOrder
from darkpool.draft import Collateral
from darkpool.errors import PeerFault
from darkpool.netting import Signers
from darkpool.order import Terms
from darkpool.types import Address, Quanta, TokenIndex, address_hex


@dataclass(frozen=True, slots=True)
class AccountState:
    """An account between two changes: the venue's answer, its standing orders, its openings by token."""

    answer: CollateralAnswer
    standing: tuple[OwnOrder, ...] = field(repr=False)
    free: Mapping[Address, Collateral] = field(repr=False)


def openings(
    answer: CollateralAnswer, standing: Iterable[OwnOrder], markets: Mapping[bytes, Terms]
) -> dict[Address, Collateral]:
    """The openings of F, by token, for those that the venue names.

    Raises PeerFault naming the token whose commitment is another, or that would be below zero. An account
    that is leaving is not checked: the vault gives back what it had, and F starts again from that.
    """
    locked: dict[Address, Opening] = {}
    for own in standing:
        market = markets[own.statement.market].market
        for token, lock in zip((market.base, market.quote), own.locked, strict=True):
            locked[token] = locked.get(token, Opening(0, 0)) + lock
    free = {}
    for row in answer.tokens:
        public = Opening(row.balance - row.pending_debit, 0)
        opening = public - locked.get(row.token, Opening(0, 0))
        if not answer.halted and (opening.value < 0 or opening.commitment().encode() != row.commitment):
            raise PeerFault(
                f"collateral of {address_hex(row.token)}: the venue's commitment is not what the balance "
                "and the orders of the account come to",
                "do not trade; compare the balance with the chain, and the orders with their receipts",
                "venue",
            )
        free[row.token] = Collateral(opening, row.version)
    return free


def check_committee(chain: Chain, terms: Terms, signers: Signers) -> None:
    """Raises PeerFault unless the vault on chain has these members, this threshold and these tokens."""
    if chain.chain_id != terms.chain_id or chain.vault != terms.contract:
        raise PeerFault("the chain at hand is not the one the venue settles on", peer="venue")
    if set(chain.members()) != set(signers.addresses.values()):
        raise PeerFault("the vault knows other members of the committee", peer="venue")
    if chain.quorum() != 2 * signers.threshold + 1:
        raise PeerFault(f"the vault asks for {chain.quorum()} signatures", peer="venue")
    if tuple(token.contract for token in chain.tokens) != terms.tokens:
        raise PeerFault("the vault holds other tokens", peer="venue")


def check_balances(chain: Chain, account: Address, answer: CollateralAnswer) -> None:
    """Raises PeerFault unless each balance is the chain's, now or before events of the latest blocks.

    `chain` must count every block as final: the venue may lag, and what it has not taken in yet is undone
    here event by event.
    """
    head = chain.head()
    moves = _moves(chain, account, max(head - MAX_BLOCKS + 1, 0), head)
    indices = {token.contract: TokenIndex(i) for i, token in enumerate(chain.tokens)}
    for token in answer.tokens:
        held = chain.balance(indices[token.token], account)
        possible = {int(held)}
        for index, amount in reversed(moves):
            if index == indices[token.token]:
                held = Quanta(held - amount)
                possible.add(held)
        if token.balance not in possible:
            raise PeerFault(
                f"balance of {address_hex(token.token)}: {token.balance} quanta, never so on chain of late",
                "do not trade; ask the operator",
                "venue",
            )


def _moves(chain: Chain, account: Address, first: int, last: int) -> Sequence[tuple[TokenIndex, int]]:
    """What changed the account's balances in those blocks, in order."""
    found = [(d.place, d.token, int(d.quanta)) for d in chain.deposits(first, last) if d.account == account]
    found += [(w.place, w.token, -w.quanta) for w in chain.withdrawals(first, last) if w.account == account]
    for settled in chain.settlements(first, last):
        found += [(settled.place, token, int(q)) for token, owner, q in settled.deltas if owner == account]
    return [(token, amount) for _, token, amount in sorted(found)]
