"""What a round clears and what comes out: orders as the book lists them, the sealed list, the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from commitments import merkle
from commitments.encoding import Reader
from commitments.errors import DecodeError
from commitments.group import Point
from commitments.order_statement import Commitments, Statement
from commitments.paillier import Ciphertext, PublicKey
from darkpool import eip712
from darkpool.order import SealedOrder, Terms, order_hash, order_leaf
from darkpool.types import Address, Lots, Nonce, Quanta, RoundId, Tick


@dataclass(frozen=True, slots=True)
class ListedOrder:
    """An order as book and clearing need it: without proof, note and signature, which stay in the log.

    `sequence` is its place in the venue's log.
    """

    hash: bytes
    statement: Statement = field(repr=False)
    c_base: Point = field(repr=False)
    c_quote: Point = field(repr=False)
    ciphertexts: tuple[Ciphertext, ...] = field(repr=False)
    leaf: bytes = field(repr=False)
    sequence: int = -1

    @property
    def account(self) -> Address:
        """Who signed it."""
        return Address(self.statement.account)

    @property
    def nonce(self) -> Nonce:
        """The account's nonce, which is its nullifier on chain."""
        return Nonce(self.statement.nonce)

    @staticmethod
    def of(order: SealedOrder, sequence: int = -1) -> ListedOrder:
        """The listing of a decoded order."""
        sent = order.sent
        return ListedOrder(
            order.hash,
            order.statement,
            sent.c_base,
            sent.c_quote,
            tuple(sent.ciphertexts),
            order.leaf,
            sequence,
        )

    @staticmethod
    def read(raw: bytes, key: PublicKey, sequence: int = -1) -> ListedOrder:
        """The order of an accepted order's bytes. Proof and signature are not looked at.

        Raises DecodeError.
        """
        reader = Reader(raw)
        statement = Statement.read(reader)
        if statement.key_id != key.key_id:
            raise DecodeError("key_id", "the order is sealed to another committee key")
        sent = Commitments.read(reader, statement, key)
        digest = order_hash(raw)
        leaf = order_leaf(statement, sent, digest)
        return ListedOrder(
            digest, statement, sent.c_base, sent.c_quote, tuple(sent.ciphertexts), leaf, sequence
        )


@dataclass(frozen=True, slots=True)
class SealedList:
    """What a round clears: its orders in arrival order, under one root (RFC 9162 over the orders' leaves).

    audit_root: of the operator's audit log when it was sealed; the result's transcript hash covers it.
    """

    round: RoundId
    market: bytes
    reference: Tick
    sealed_at: int
    orders: tuple[ListedOrder, ...] = field(repr=False)
    root: bytes
    terms_hash: bytes
    audit_root: bytes = merkle.EMPTY_ROOT

    def digest(self, domain: eip712.Domain) -> bytes:
        """What every member signs. It also names the list to the masks, so no two rounds share one."""
        return sealed_digest(
            domain,
            self.market,
            self.round,
            self.reference,
            self.sealed_at,
            len(self.orders),
            self.root,
            self.terms_hash,
        )

    @property
    def accounts(self) -> tuple[Address, ...]:
        """The accounts with an order in the list, ascending."""
        return tuple(sorted({o.account for o in self.orders}))


def sealed_digest(
    domain: eip712.Domain,
    market: bytes,
    number: int,
    reference: int,
    sealed_at: int,
    orders: int,
    root: bytes,
    terms_hash: bytes,
) -> bytes:
    """The EIP-712 digest of a sealed list, by what is public of it."""
    return eip712.digest(
        domain,
        "SealedRound(bytes32 market,uint64 round,uint16 reference,uint64 sealedAt,uint32 orders,"
        "bytes32 root,bytes32 terms)",
        (market, number, reference, sealed_at, orders, root, terms_hash),
    )


@dataclass(frozen=True, slots=True)
class RoundResult:
    """What a clearing reveals. price: grid level; volume and nets in lots (positive: bought on balance).

    nets holds exactly the accounts that bought or sold anything, ascending by account.
    """

    crossed: bool
    price: Tick = field(default=Tick(0))
    volume: Lots = field(default=Lots(0))
    nets: Mapping[Address, int] = field(default_factory=dict)


NO_CROSS: Final = RoundResult(crossed=False)


@dataclass(frozen=True, slots=True)
class Movement:
    """What a result moves: `amount` quanta of a token, positive to the account."""

    account: Address
    token: Address
    amount: Quanta


def token_movements(terms: Terms, result: RoundResult) -> list[Movement]:
    """The movements of a result: quote = -price * base net. Each token sums to zero; no row is zero."""
    if not result.crossed:
        return []
    market = terms.market
    price = market.grid.price(result.price)
    rows = []
    for account, lots in result.nets.items():
        if lots:
            rows.append(Movement(account, market.base, Quanta(lots * market.lot)))
            rows.append(Movement(account, market.quote, Quanta(-lots * price)))
    return rows
