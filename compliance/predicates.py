"""Proofs about what an account ordered in a market that open no order: totals below a limit, a net in bounds.

For the orders the statement names by hash, with q_i the quantity each was sealed with, in lots:

    PoK{ openings :  sum over buys of q_i <= max_buy,   sum over sells of q_i <= max_sell,
                     net_low <= (buys - sells) <= net_high }       whichever of these are stated

from the orders' own commitments: C_base holds lot * q of a sell and 0 of a buy, so C_base / lot commits to
what is sold and C_q - C_base / lot to what is bought. Each inequality is one range proof that the difference
of its sides is in [0, 2^48). At most 4,096 orders of 2^32 lots and bounds below 2^46 keep every difference
below 2^48 in size, far from r, so the statement is about integers.

What it says: exactly these orders, as placed, signed by the account and proven well formed. An order trades
at most its quantity, once; so max_buy and max_sell bound what the orders bought and sold from above, and the
net of what they traded lies in [-max_sell, max_buy]. What it does not say: how much traded, or when; that the
account has no other orders, which the verifier learns only from the sealed lists and makes sure of by giving
all of those; that the traded net lies in [net_low, net_high], which bound the net of the orders as placed:
one side may trade and the other not. Remainders that were sealed again count again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from commitments import range_proof
from commitments.encoding import Reader, Writer
from commitments.errors import CommitmentsError, DecodeError, ParameterError, VerificationError
from commitments.group import Point
from commitments.paillier import PublicKey
from commitments.params import GROUP_ORDER, LABEL_PREDICATE
from commitments.pedersen import Opening, generator_g
from compliance.committee_keys import verify_orders
from darkpool.eip712 import Domain
from darkpool.errors import OrderRefused
from darkpool.market import Side
from darkpool.order import Order, SealedOrder, check_order_signature
from darkpool.types import Address

RANGE_BITS: Final = 48
MAX_ORDERS: Final = 4_096
MAX_BOUND: Final = (1 << 46) - 1
MAX_PURPOSE_BYTES: Final = 256
_OFFSET: Final = 1 << 46  # a bound on the wire, so that it is not negative
_BOUNDS: Final = ("max_buy", "max_sell", "net_low", "net_high")  # in wire and proof order
_Amount = TypeVar("_Amount", Point, Opening)  # a number of lots, committed to or known


@dataclass(frozen=True, slots=True)
class Predicate:
    """What is claimed, and of which orders. Public.

    contract, account: 20 bytes; market: 32 bytes; lot: base quanta per lot, the same in every order;
    purpose: for whom and why, 1 to 256 bytes of printable text; orders: their hashes, ascending; bounds in
    lots, None where nothing is claimed, at least one given. Raises OrderRefused naming the field.
    """

    chain_id: int
    contract: bytes
    account: Address
    market: bytes
    lot: int
    purpose: str
    orders: tuple[bytes, ...]
    max_buy: int | None = None
    max_sell: int | None = None
    net_low: int | None = None
    net_high: int | None = None

    def __post_init__(self) -> None:
        size = len(self.purpose.encode("utf-8", "replace"))
        if not 1 <= size <= MAX_PURPOSE_BYTES or not self.purpose.isprintable():
            raise _refused("purpose", f"not 1 to {MAX_PURPOSE_BYTES} bytes of printable text")
        if not 1 <= len(self.orders) <= MAX_ORDERS:
            raise _refused("orders", f"{len(self.orders)} orders; allowed are 1 to {MAX_ORDERS}")
        if list(self.orders) != sorted(set(self.orders)):
            raise _refused("orders", "not in ascending order, each once")
        if not self.lot:
            raise _refused("lot", "zero; at least 1 quantum")
        given = dict(self.bounds())
        if not given:
            raise _refused("bounds", "none is given; state at least one")
        for name, bound in given.items():
            if not (0 if name.startswith("max") else -MAX_BOUND) <= bound <= MAX_BOUND:
                raise _refused(name, f"outside what can be proven; the limit is {MAX_BOUND} lots")
        if given.get("net_low", -MAX_BOUND) > given.get("net_high", MAX_BOUND):
            raise _refused("net_low", "above net_high")

    def bounds(self) -> Iterator[tuple[str, int]]:
        """(name, lots) of the bounds that are stated, in the order of their proofs."""
        for name in _BOUNDS:
            bound = getattr(self, name)
            if bound is not None:
                yield name, bound

    def encode(self) -> bytes:
        """Canonical bytes. Raises ParameterError if a field does not fit its width."""
        writer = Writer().var(LABEL_PREDICATE).uint(self.chain_id, 8).fixed(self.contract, 20)
        writer.fixed(self.account, 20).fixed(self.market, 32).uint(self.lot, 8).var(self.purpose.encode())
        for name in _BOUNDS:
            bound = getattr(self, name)
            writer.uint(0 if bound is None else bound + _OFFSET, 8)
        writer.uint(len(self.orders), 4)
        for digest in self.orders:
            writer.fixed(digest, 32)
        return bytes(writer)

    @staticmethod
    def read(reader: Reader) -> Predicate:
        """The predicate of `encode`. Raises DecodeError, OrderRefused."""
        if reader.var("label", len(LABEL_PREDICATE)) != LABEL_PREDICATE:
            raise DecodeError("label", "not a predicate proof of this version")
        chain_id, contract = reader.uint("chain_id", 8), reader.fixed("contract", 20)
        account, market = Address(reader.fixed("account", 20)), reader.fixed("market", 32)
        lot, purpose = reader.uint("lot", 8), reader.var("purpose", MAX_PURPOSE_BYTES)
        bounds = [_read_bound(reader, name) for name in _BOUNDS]
        count = reader.uint("orders", 4, MAX_ORDERS)
        orders = tuple(reader.fixed(f"orders[{i}]", 32) for i in range(count))
        try:
            text = purpose.decode()
        except UnicodeDecodeError:
            raise DecodeError("purpose", "not UTF-8") from None
        return Predicate(chain_id, contract, account, market, lot, text, orders, *bounds)


def _read_bound(reader: Reader, name: str) -> int | None:
    wire = reader.uint(name, 8, _OFFSET + MAX_BOUND)
    return wire - _OFFSET if wire else None


@dataclass(frozen=True, slots=True)
class PredicateProof:
    """A predicate and one range proof per bound: the file an account hands out. Public."""

    predicate: Predicate
    proofs: tuple[range_proof.Proof, ...]

    def encode(self) -> bytes:
        """Canonical bytes: the predicate, then the proofs in the order of its bounds."""
        return self.predicate.encode() + b"".join(proof.encode() for proof in self.proofs)

    @staticmethod
    def decode(data: bytes) -> PredicateProof:
        """The file of `encode`, strictly. Raises OrderRefused; whether it holds is for `verify`."""
        reader = Reader(data)
        try:
            predicate = Predicate.read(reader)
            proofs = tuple(range_proof.Proof.read(reader, RANGE_BITS) for _ in predicate.bounds())
            reader.end("proof")
        except DecodeError as error:
            raise _refused(error.field, error.problem) from None
        return PredicateProof(predicate, proofs)


@dataclass(frozen=True, slots=True)
class OwnOrder:
    """A sealed order with what its trader knows of it: its note's content (darkpool.draft.open_note)."""

    sealed: SealedOrder
    order: Order = field(repr=False)
    blindings: tuple[int, ...] = field(repr=False)

    def openings(self) -> tuple[Opening, Opening]:
        """What was bought and what was sold, in lots. Raises OrderRefused if they are not this order's."""
        r_q, _, _, r_base, _, _ = self.blindings
        lot = self.sealed.statement.lot
        quantity = Opening(self.order.quantity, r_q)
        lots_sold = self.order.quantity if self.order.side is Side.SELL else 0
        base = Opening(lots_sold * lot, r_base)
        sent = self.sealed.sent
        if (quantity.commitment(), base.commitment()) != (sent.c_q, sent.c_base):
            raise _refused(f"order {_short(self.sealed.hash)}", "the opening is not that of its commitments")
        sold = Opening(lots_sold, r_base * _inverse(lot) % GROUP_ORDER)
        return quantity - sold, sold


def prove(predicate: Predicate, orders: Sequence[OwnOrder]) -> PredicateProof:
    """A proof of the predicate by the owner of the orders it names, given in any order.

    Raises OrderRefused if they are other orders, or if what is claimed is not so: then nothing was proven.
    """
    _check_named(predicate, [own.sealed for own in orders])
    bought = sold = Opening(0, 0)
    for own in orders:
        buy, sell = own.openings()
        bought, sold = bought + buy, sold + sell
    statements = _statements(predicate, bought.commitment(), sold.commitment())
    proofs = []
    for (name, bound), statement in zip(predicate.bounds(), statements, strict=True):
        try:
            proofs.append(range_proof.prove(statement, _slack(name, Opening(bound, 0), bought, sold)))
        except ParameterError:
            raise _refused(name, "the orders do not satisfy it") from None
    return PredicateProof(predicate, tuple(proofs))


def verify(proof: PredicateProof, orders: Sequence[SealedOrder], *keys: PublicKey) -> None:
    """Raises OrderRefused naming what failed unless the predicate holds of exactly these orders.

    `orders`: all those the verifier wants it to hold of, from the sealed lists; `keys`: the committee keys
    they are sealed to. Their account, market, lot, chain and contract must be the predicate's. Signature and
    proof of every order are checked too, because the predicate rests on both. Whether bounds and purpose are
    those that were asked for is for the caller to see.
    """
    predicate = proof.predicate
    _check_named(predicate, orders)
    domain = Domain(predicate.chain_id, Address(predicate.contract))
    for order in orders:
        check_order_signature(domain, order.statement, order.hash, order.signature)
    try:
        verify_orders(orders, keys)
    except CommitmentsError as error:
        raise _refused("orders", str(error)) from None
    zero = Point.identity()
    sold = sum((order.sent.c_base for order in orders), start=zero) * _inverse(predicate.lot)
    bought = sum((order.sent.c_q for order in orders), start=zero) - sold
    statements = _statements(predicate, bought, sold)
    if len(statements) != len(proof.proofs):
        raise _refused("proofs", f"{len(proof.proofs)} where {len(statements)} bounds are stated")
    for (name, _), statement, part in zip(predicate.bounds(), statements, proof.proofs, strict=True):
        try:
            range_proof.verify(statement, part)
        except VerificationError as error:
            raise _refused(name, f"the proof does not hold: {error}") from None


def _check_named(predicate: Predicate, orders: Sequence[SealedOrder]) -> None:
    """The orders are those named, all of the account, market, lot and contract of the predicate."""
    named, given = set(predicate.orders), {order.hash for order in orders}
    for digests, problem in ((named - given, "named, but not given"), (given - named, "the proof omits it")):
        if digests:
            raise _refused(f"order {_short(min(digests))}", f"{problem} ({len(digests)} such)")
    if len(given) != len(orders):
        raise _refused("orders", "one is given twice")
    for order in orders:
        for name in ("chain_id", "contract", "account", "market", "lot"):
            if getattr(order.statement, name) != getattr(predicate, name):
                raise _refused(f"order {_short(order.hash)}", f"its {name} is not that of the predicate")


def _slack(name: str, bound: _Amount, bought: _Amount, sold: _Amount) -> _Amount:
    """What must not be negative if the bound of that name is kept."""
    return {
        "max_buy": bound - bought,
        "max_sell": bound - sold,
        "net_low": bought - sold - bound,
        "net_high": bound - (bought - sold),
    }[name]


def _statements(predicate: Predicate, bought: Point, sold: Point) -> list[range_proof.Statement]:
    """One per bound, bound to the whole predicate and to the bound's name."""
    context = predicate.encode()
    return [
        range_proof.Statement(
            commitment=_slack(name, generator_g() * bound, bought, sold),
            bits=RANGE_BITS,
            context=bytes(Writer().var(context).var(name.encode())),
        )
        for name, bound in predicate.bounds()
    ]


def _inverse(lot: int) -> int:
    return pow(lot, -1, GROUP_ORDER)


def _short(digest: bytes) -> str:
    return digest.hex()[:16]


def _refused(field_name: str, problem: str) -> OrderRefused:
    return OrderRefused(
        f"predicate, {field_name}: {problem}",
        "check the bounds and that the orders are exactly those it is about",
        "predicate-refused",
    )
