"""Reading an order by its handles: what an auditor named by policy sees, and nobody else.

    order + auditor key A  ->  handles r_q A, r_m A  ->  (authorities, commitments/auditor_shares.py)
                           ->  r_q H, r_m H          ->  Opened: quantity, side, tick

qG = C_q - r_q H gives q by its discrete logarithm, and C_m - r_m H = (kq)G gives slot k = 2i + s by trial of
the m multiples of qG. Only the order as sealed opens: to show another quantity one would need aG, which only
the holder of a can make; and what authorities answer is proven. The order's own proof says that its handles
are those of its commitments, so an order that was accepted always opens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from commitments.auditor_shares import Partial, Share, partial
from commitments.discrete_log import Table
from commitments.encoding import Writer
from commitments.errors import CommitmentsError, VerificationError
from commitments.group import Point
from commitments.order_statement import Handle
from commitments.paillier import PublicKey
from commitments.params import LABEL_AUDITOR_REQUEST, POINT_BYTES
from commitments.pedersen import generator_g
from compliance.committee_keys import verify_orders
from darkpool.errors import OrderRefused
from darkpool.market import Side
from darkpool.order import SealedOrder
from darkpool.types import Address, Lots, Nonce, Quanta, Tick

MAX_REFERENCE_BYTES: Final = 256
_DIGEST_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Opened:
    """An order as an auditor reads it. What was hidden is not in `repr`.

    order: its 32-byte hash; market: 32 bytes; quantity in lots; level: grid level of the limit; price: the
    limit in quote quanta per lot. Of a decoy, zero lots, nothing but its quantity is defined: None.
    """

    order: bytes
    account: Address
    market: bytes
    nonce: Nonce
    quantity: Lots = field(repr=False)
    side: Side | None = field(repr=False)
    level: Tick | None = field(repr=False)
    price: Quanta | None = field(repr=False)


def handle_of(order: SealedOrder, auditor: Point) -> Handle:
    """The order's handles for that key. Raises OrderRefused if the order carries none for it."""
    keys = order.statement.auditor_keys
    if auditor not in keys:
        raise OrderRefused(
            f"order {order.hash.hex()[:16]}: no handle for this auditor key, but for {len(keys)} others",
            "ask under the key that the policy named when the order was sealed, or for a grant",
            "handle-missing",
        )
    return order.sent.handles[keys.index(auditor)]


def handle_points(orders: Sequence[SealedOrder], auditor: Point) -> tuple[Point, ...]:
    """What to ask the authorities for: r_q A and r_m A of each order, in that order.

    Raises OrderRefused as `handle_of`.
    """
    handles = [handle_of(order, auditor) for order in orders]
    return tuple(point for handle in handles for point in (handle.q, handle.m))


def request_context(orders: Sequence[SealedOrder], auditor: Point, legal_reference: str) -> bytes:
    """32 bytes that bind the authorities' answers to one request: its orders, key and legal reference.

    Raises OrderRefused for a reference not of 1 to 256 bytes of printable text.
    """
    reference = legal_reference.encode("utf-8", "replace")
    if not 1 <= len(reference) <= MAX_REFERENCE_BYTES or not legal_reference.isprintable():
        raise OrderRefused(
            f"legal reference: not 1 to {MAX_REFERENCE_BYTES} bytes of printable text",
            "name the file or warrant it rests on",
            "reference-malformed",
        )
    writer = Writer().var(LABEL_AUDITOR_REQUEST).fixed(auditor.encode(), POINT_BYTES).var(reference)
    writer.uint(len(orders), 4)
    for order in orders:
        writer.fixed(order.hash, _DIGEST_BYTES)
    return sha256(bytes(writer)).digest()


def answer(holder: Share, orders: Sequence[SealedOrder], legal_reference: str, *keys: PublicKey) -> Partial:
    """An authority's answer to a request for these orders, sealed to those committee keys. Confidential.

    Every proof is checked first: it says that the sender knew what its handles hide. Without that, anyone
    could ask for somebody else's handles, copied into an order of its own.
    Raises OrderRefused for a proof that does not hold, or as `handle_points` and `request_context`.
    """
    points = handle_points(orders, holder.key)
    context = request_context(orders, holder.key, legal_reference)
    try:
        verify_orders(orders, keys)
        return partial(holder, points, context)
    except CommitmentsError as error:
        raise OrderRefused(
            f"request: {error}", "ask for accepted orders, up to 4,096 at a time", "request-refused"
        ) from None


def open_order(order: SealedOrder, auditor: Point, blinds: tuple[Point, Point], table: Table) -> Opened:
    """The order behind its handles; `blinds` are r_q H and r_m H, as the authorities opened them.

    Raises OrderRefused if the order carries no handle for the key, or if the points do not open it: they
    belong to another order, or the order was never accepted.
    """
    handle_of(order, auditor)
    sent, statement = order.sent, order.statement
    try:
        quantity = table.logarithm(sent.c_q - blinds[0])
        slot = _slot(sent.c_m - blinds[1], quantity, 2 * statement.levels)
    except VerificationError:
        raise OrderRefused(
            f"order {order.hash.hex()[:16]}: the opened handles are not those of its commitments",
            "check that they answer this request, and the order's own proof",
            "handle-mismatch",
        ) from None
    names = (order.hash, order.account, statement.market, order.nonce, Lots(quantity))
    if slot is None:
        return Opened(*names, side=None, level=None, price=None)
    level, side = divmod(slot, 2)
    return Opened(*names, Side(side), Tick(level), Quanta(statement.price(level)))


def _slot(point: Point, quantity: int, slots: int) -> int | None:
    """k with point = kqG, 0 <= k < slots; None of a decoy. Raises VerificationError if there is none."""
    wanted, multiple, step = point.encode(), Point.identity(), generator_g() * quantity
    for k in range(slots if quantity else 1):
        if multiple.encode() == wanted:
            return k if quantity else None
        multiple += step
    raise VerificationError("slot", f"not one of the {slots} of the grid")
