"""One order opened by an auditor, from its public bytes and a view key, and every check that it is true.

    bytes -> order -> leaf key -> note -> side, level, quantity, blindings -> the order's own commitments

Nothing is taken from trader or operator on trust: the account signed the order, its proof (which members
checked, and `check_proof` checks again) ties commitments to what was cleared, and the note must open exactly
those commitments. A note is only the trader's word until then.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from commitments import order_verify, sealing
from commitments.errors import DecodeError, VerificationError
from commitments.group import Scalar, multiply_sum, using_backend
from commitments.params import QUANTITY_BITS
from commitments.pedersen import generator_g, generator_h, slot_generators
from compliance.view_keys import ViewKey, key_for, scope_of
from darkpool.draft import open_note
from darkpool.errors import DarkpoolError, OrderRefused
from darkpool.market import Side
from darkpool.order import Order, SealedOrder, Terms, TimeInForce, check_order_signature, order_hash
from darkpool.types import Address, Lots, Nonce, Quanta, Tick

NATIVE: Final = "native"


class Reason(StrEnum):
    """Why an order of an account could not be opened, or is not what it should be."""

    MISSING = "missing"
    MALFORMED = "malformed"
    NOT_LISTED = "not-as-listed"
    OTHER_MARKET = "other-market"
    OUT_OF_SCOPE = "out-of-scope"
    BAD_SIGNATURE = "bad-signature"
    BAD_PROOF = "bad-proof"
    WRONG_KEY = "wrong-key"
    NOTE_CLOSED = "note-does-not-open"
    NOTE_FORGED = "forged-note"
    COMMITMENT = "commitment-mismatch"


_HINTS: Final = {
    Reason.MISSING: "fetch the order's bytes from another member; if nobody has them, report it",
    Reason.MALFORMED: "fetch the order's bytes again",
    Reason.NOT_LISTED: "fetch the order's bytes again; if they stay so, report the venue",
    Reason.OTHER_MARKET: "give the terms of the order's market and committee key",
    Reason.OUT_OF_SCOPE: "ask the account for the order's leaf key",
    Reason.BAD_SIGNATURE: "report it: members must not have taken this order",
    Reason.BAD_PROOF: "report it: members must not have taken this order",
    Reason.WRONG_KEY: "the account must hand over the key its order names, or open C_q and C_m directly",
    Reason.NOTE_CLOSED: "the account must open C_q and C_m directly",
    Reason.NOTE_FORGED: "report it: the account must open C_q and C_m directly",
    Reason.COMMITMENT: "report it: the account must open C_q and C_m directly",
}


class Refusal(DarkpoolError):  # noqa: N818  # named like its siblings in `darkpool.errors`
    """An order that was not opened. Of what its account answers for, a refusal is on the record as such."""

    exit_code = 1

    def __init__(self, order: bytes, reason: Reason, problem: str) -> None:
        self.order, self.reason, self.problem = order, reason, problem
        super().__init__(f"order {order.hex()}, {reason}: {problem}", _HINTS[reason])
        self.args = (order, reason, problem)


@dataclass(frozen=True, slots=True)
class Opened:
    """An order as its trader meant it, checked. `repr` shows only what is public of it.

    hash: 32 bytes; utc_day: days since 1970-01-01; valid_until: unix seconds, 0 for none; lot: base quanta;
    price: limit in quote quanta per lot; reference: the client's own words, which nothing binds but its
    signature; direct: opened by the account without the note.
    """

    hash: bytes
    account: Address
    market: bytes
    nonce: Nonce
    utc_day: int
    first_round: int
    time_in_force: TimeInForce
    valid_until: int
    lot: Quanta
    order: Order = field(repr=False)
    price: Quanta = field(repr=False)
    direct: bool = False

    @property
    def side(self) -> Side:
        """Buy or sell; of a decoy of zero lots, nothing binds it."""
        return self.order.side

    @property
    def quantity(self) -> Lots:
        """In lots; zero is a decoy."""
        return self.order.quantity

    @property
    def reference(self) -> str:
        """The client's own name for the order, as the note has it."""
        return self.order.reference


@dataclass(frozen=True, slots=True)
class DirectOpening:
    """What an account shows whose note is of no use: quantity, slot 2i + s, blindings of C_q, C_m. Secret."""

    quantity: int = field(repr=False)
    slot: int = field(repr=False)
    r_q: Scalar = field(repr=False)
    r_m: Scalar = field(repr=False)


def open_order(
    raw: bytes,
    terms: Terms,
    keys: Collection[ViewKey],
    *,
    leaf: bytes | None = None,
    backend: str = NATIVE,
) -> Opened:
    """The order of accepted bytes, of the market of `terms`, under one of those keys.

    1. canonical bytes of an order to this market's committee key, its note the one the statement names;
    2. if `leaf` is given, a sealed list has the order under that leaf; 3. the account signed it;
    4. a key's scope has the order; 5. its leaf key is the one the statement commits to; 6. the note opens;
    7. what it says is on the grid, and opens C_q, C_h, C_base, C_quote and C_m. C_bits also holds the
    account's free collateral, which no note opens: that is the proof's part.

    `backend` names the group library that computes all of it; it is the process's while this runs, so one
    thread at a time. Raises Refusal naming the first check that fails.
    """
    with using_backend(backend):
        sealed = _decoded(raw, terms, leaf)  # 1 to 3
        statement = sealed.statement
        key = key_for(keys, scope_of(statement))
        if key is None:  # 4
            problem = f"no key opens nonce {sealed.nonce} of day {statement.utc_day}"
            raise Refusal(sealed.hash, Reason.OUT_OF_SCOPE, problem)
        rest, committed = statement.encode_without_leaf(), statement.leaf_commitment
        try:  # 5
            sealing.verify_hmac_commit(key.node.secret, rest, committed)
        except VerificationError as error:
            raise Refusal(sealed.hash, Reason.WRONG_KEY, error.problem) from None
        order, (r_q, r_h, _, r_base, r_quote, r_m) = _note(sealed, terms, key)  # 6
        _check_grid(sealed, order)  # 7
        blindings = {"c_q": r_q, "c_h": r_h, "c_base": r_base, "c_quote": r_quote, "c_m": r_m}
        _check_opening(sealed, order, blindings)
        return _opened(sealed, order)


def open_directly(
    raw: bytes, terms: Terms, shown: DirectOpening, *, leaf: bytes | None = None, backend: str = NATIVE
) -> Opened:
    """The order that an account opens itself, because its note does not. C_q and C_m bind quantity and slot.

    Steps 1 to 3 of `open_order`, then the two commitments. Raises Refusal.
    """
    with using_backend(backend):
        sealed = _decoded(raw, terms, leaf)
        level, side = divmod(shown.slot, 2)
        if not 0 <= shown.quantity < 1 << QUANTITY_BITS or shown.slot < 0:
            problem = f"what is shown is no quantity below 2^{QUANTITY_BITS} and slot from 0"
            raise Refusal(sealed.hash, Reason.COMMITMENT, problem)
        order = Order(Side(side), Tick(level), Lots(shown.quantity))
        _check_grid(sealed, order)
        _check_opening(sealed, order, {"c_q": shown.r_q, "c_m": shown.r_m})
        return _opened(sealed, order, direct=True)


def check_proof(raw: bytes, terms: Terms, *, backend: str = NATIVE) -> None:
    """Verify the order's own proof once more; takes seconds with the backend `reference`. Raises Refusal."""
    with using_backend(backend):
        sealed = _decoded(raw, terms, None)
        try:
            order_verify.verify(terms.key, sealed.claim)
        except VerificationError as error:
            raise Refusal(sealed.hash, Reason.BAD_PROOF, str(error)) from None


def _note(sealed: SealedOrder, terms: Terms, key: ViewKey) -> tuple[Order, tuple[Scalar, ...]]:
    account, nonce, salt = sealed.account, sealed.nonce, sealed.statement.salt
    try:
        return open_note(terms, key.node, account, nonce, salt, sealed.note)
    except VerificationError as error:
        raise Refusal(sealed.hash, Reason.NOTE_CLOSED, error.problem) from None
    except DecodeError as error:
        raise Refusal(sealed.hash, Reason.NOTE_FORGED, f"{error.field} is not as a note has it") from None


def _decoded(raw: bytes, terms: Terms, leaf: bytes | None) -> SealedOrder:
    """The order of the bytes, of this market, as listed, signed by its account. Raises Refusal."""
    digest = order_hash(raw)
    if leaf is not None and leaf[-32:] != digest:  # whoever gave the bytes is at fault, not the account
        raise Refusal(leaf[-32:], Reason.NOT_LISTED, "the bytes given are of another order")
    try:
        sealed = SealedOrder.decode(raw, terms.key)
    except DecodeError as error:
        reason = {"note": Reason.NOTE_FORGED, "key_id": Reason.OTHER_MARKET}.get(
            error.field, Reason.MALFORMED
        )
        raise Refusal(digest, reason, str(error)) from None
    s, expected = sealed.statement, (terms.chain_id, terms.contract, terms.venue, terms.market.id)
    if (s.chain_id, s.contract, s.venue, s.market) != expected:
        raise Refusal(digest, Reason.OTHER_MARKET, "it is of another market, venue, vault or chain")
    if s.time_in_force not in set(TimeInForce):
        raise Refusal(digest, Reason.MALFORMED, f"time_in_force: {s.time_in_force} is unknown")
    if leaf is not None and leaf != sealed.leaf:
        raise Refusal(digest, Reason.NOT_LISTED, "its leaf in the sealed list says otherwise")
    try:
        check_order_signature(terms.domain, s, digest, sealed.signature)
    except OrderRefused as error:
        raise Refusal(digest, Reason.BAD_SIGNATURE, error.message) from None
    return sealed


def _check_grid(sealed: SealedOrder, order: Order) -> None:
    if order.level >= sealed.statement.levels:
        problem = f"its level is not below {sealed.statement.levels}, the levels of the grid"
        raise Refusal(sealed.hash, Reason.NOTE_FORGED, problem)


def _values(sealed: SealedOrder, order: Order) -> dict[str, int]:
    """What the order's commitments must hold, if it is that order; C_h apart."""
    s, q, sells = sealed.statement, order.quantity, order.side is Side.SELL
    return {
        "c_q": q,
        "c_base": s.lot * q if sells else 0,
        "c_quote": 0 if sells else s.price(order.level) * q,
        "c_m": order.slot * q,
    }


def _check_opening(sealed: SealedOrder, order: Order, blindings: Mapping[str, Scalar]) -> None:
    """Raises Refusal naming the first commitment that the order with those blindings does not open."""
    values, slots = _values(sealed, order), slot_generators(2 * sealed.statement.levels)
    for name, blinding in blindings.items():
        base, value = (slots[order.slot], order.quantity) if name == "c_h" else (generator_g(), values[name])
        if multiply_sum((base, generator_h()), (value, blinding)) != getattr(sealed.sent, name):
            problem = f"{name.upper()} does not hold what the order says"
            raise Refusal(sealed.hash, Reason.COMMITMENT, problem)


def _opened(sealed: SealedOrder, order: Order, *, direct: bool = False) -> Opened:
    s = sealed.statement
    return Opened(
        hash=sealed.hash,
        account=sealed.account,
        market=s.market,
        nonce=sealed.nonce,
        utc_day=s.utc_day,
        first_round=s.first_round,
        time_in_force=TimeInForce(s.time_in_force),
        valid_until=s.valid_until,
        lot=Quanta(s.lot),
        order=order,
        price=Quanta(s.price(order.level)),
        direct=direct,
    )
