"""Vectors of sealed orders: proofs to be accepted for ever, and one whole signed order with its note.

A proof is random, so it cannot be made again; it is read, written back, verified, and refused when altered.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final

from commitments import merkle
from commitments.encoding import Reader
from commitments.errors import VerificationError
from commitments.group import Point
from commitments.order_proof import Proof
from commitments.order_statement import Commitments, Statement
from commitments.order_verify import Claim, verify
from commitments.paillier import public_key
from commitments.pedersen import Opening
from darkpool import eip712
from darkpool.draft import Collateral, Standing, draft, leaf_node, open_note
from darkpool.listing import ListedOrder, SealedList
from darkpool.market import Grid, Market, Side
from darkpool.order import Order, SealedOrder, Terms, check_order_signature
from darkpool.types import Address, Lots, Nonce, PrivateKey, Quanta, RoundId, Tick
from tests.commitments_equations import challenges
from tests.commitments_support import FREE, LARGEST, auditor_keys, published_key, sample
from tests.vectors import Family, Row, VectorMismatchError, same
from tests.vectors.primitives import hexed

SEED: Final = bytes(range(32))
NONCE: Final = Nonce(513)
PRIVATE_KEY: Final = PrivateKey(b"\x01" * 32)
DAY: Final = 20_000
ORDER: Final = Order(Side.BUY, Tick(2), Lots(1234), "the client's own name")


def plain(value: object) -> Any:  # noqa: ANN401 - JSON
    """A statement's value as the file has it."""
    match value:
        case Point():
            return value.encode().hex()
        case bytes():
            return value.hex()
        case tuple():
            return [plain(x) for x in value]
        case _:
            return value


def proofs() -> list[Row]:
    """Both sides, the extremes of a quantity, with and without auditors, small and production size."""
    shapes: list[tuple[str, dict[str, Any]]] = [
        ("sell", {"slot": 3, "quantity": 5, "levels": 4, "auditors": 2}),
        ("largest buy", {"slot": 6, "quantity": LARGEST, "levels": 4, "auditors": 0}),
        ("decoy", {"slot": 0, "quantity": 0, "levels": 2, "auditors": 1}),
        ("production", {"slot": 77, "quantity": 123_456, "levels": 64, "auditors": 1}),
    ]
    rows = []
    for name, shape in shapes:
        profile = "production" if name == "production" else "insecure-test"
        key, made = published_key(profile), sample(**shape, profile=profile)
        y, e = challenges(key, made.claim)
        rows.append(
            {
                "name": name,
                "n": hexed(key.n),
                "fields": {f.name: plain(getattr(made.statement, f.name)) for f in fields(Statement)},
                "y": hexed(y),
                "e": hexed(e),
                "statement": made.statement.encode().hex(),
                "commitments": made.sent.encode(key).hex(),
                "proof": made.proof.encode(key).hex(),
            }
        )
    return rows


def check_proof(row: Row) -> None:
    """It reads as the same fields, encodes to the same bytes, holds; fails with its last bit flipped."""
    key = public_key(int(row["n"], 16))
    raw = bytes.fromhex(row["statement"] + row["commitments"] + row["proof"])
    claim = _claim(raw, row["n"])
    statement, sent, proof = claim.statement, claim.sent, claim.proof
    y, e = challenges(key, claim)
    same(
        row,
        {
            "statement": statement.encode().hex(),
            "commitments": sent.encode(key).hex(),
            "proof": proof.encode(key).hex(),
            "fields": {f.name: plain(getattr(statement, f.name)) for f in fields(Statement)},
            "y": hexed(y),
            "e": hexed(e),
        },
    )
    _must_hold(row["n"], claim)
    try:
        verify(key, _claim(raw[:-1] + bytes([raw[-1] ^ 1]), row["n"]))
    except VerificationError:
        return
    raise VectorMismatchError("accepted with its last bit flipped")


def _claim(raw: bytes, modulus: str) -> Claim:
    key, reader = public_key(int(modulus, 16)), Reader(raw)
    statement = Statement.read(reader)
    sent = Commitments.read(reader, statement, key)
    proof = Proof.read(reader, statement, key)
    reader.end("vector")
    return Claim(statement, sent, proof)


def _must_hold(modulus: str, claim: Claim) -> None:
    try:
        verify(public_key(int(modulus, 16)), claim)
    except VerificationError as error:
        raise VectorMismatchError(f"refused: {error}") from None


# --- the whole order --------------------------------------------------------------------------------


def terms() -> Terms:
    """Of the market the signed order is for."""
    base, quote = Address(b"\xba" * 20), Address(b"\x9e" * 20)
    market = Market(
        id=b"\x03" * 32,
        name="BASE/QUOTE",
        base=base,
        quote=quote,
        lot=Quanta(100),
        grid=Grid(Quanta(23_000), Quanta(10), 4),
        pressure_ticks=1,
        min_volume=Lots(2),
        min_accounts=3,
        min_orders=4,
    )
    return Terms(
        chain_id=31_337,
        contract=Address(b"\x01" * 20),
        venue=b"\x02" * 32,
        market=market,
        key=published_key(),
        policy_hash=b"\x06" * 32,
        tokens=(base, quote),
        settle_window=600,
        auditor_keys=auditor_keys(1),
    )


def signed() -> list[Row]:
    """An order as a client sends it, and what follows from it."""
    made, account = terms(), eip712.address_of(PRIVATE_KEY)
    collateral = Collateral(Opening(FREE, 11), 3), Collateral(Opening(FREE, 12), 4)
    standing = Standing(RoundId(7), DAY * 86_400)
    written = draft(made, account, SEED, NONCE, ORDER, standing, *collateral)
    order = written.finish(made.key, made.chain_id, made.contract, PRIVATE_KEY)
    return [
        {
            "name": "buy",
            "n": hexed(made.key.n),
            "seed": SEED.hex(),
            "private_key": PRIVATE_KEY.hex(),
            "order": ORDER.encode().hex(),
            "blindings": [hexed(r) for r in written.witness.blindings],
            "raw": order.raw.hex(),
            **derived(order),
        }
    ]


def derived(order: SealedOrder) -> Row:
    """What anybody computes from a signed order, and from a list that holds it twice."""
    root = merkle.root([order.leaf, order.leaf])
    at = DAY * 86_400 + 30
    listed = ListedOrder.of(order)
    sealed = SealedList(
        RoundId(7), order.statement.market, Tick(1), at, (listed, listed), root, order.statement.terms_hash
    )
    return {
        "terms_hash": terms().hash.hex(),
        "account": order.account.hex(),
        "hash": order.hash.hex(),
        "leaf": order.leaf.hex(),
        "leaf_hash": merkle.leaf_hash(order.leaf).hex(),
        "list_root": root.hex(),
        "list_digest": sealed.digest(terms().domain).hex(),
        "locks": [order.sent.c_base.encode().hex(), order.sent.c_quote.encode().hex()],
    }


def check_signed(row: Row) -> None:
    """It decodes, its signature and proof hold, hashes and leaf are the same, and the seed opens its note."""
    made, raw = terms(), bytes.fromhex(row["raw"])
    order = SealedOrder.decode(raw, made.key)
    check_order_signature(made.domain, order.statement, order.hash, order.signature)
    same(row, derived(order))
    _must_hold(row["n"], order.claim)
    leaf = leaf_node(made, order.account, bytes.fromhex(row["seed"]), order.nonce, order.statement.utc_day)
    opened, blindings = open_note(made, leaf, order.account, order.nonce, order.statement.salt, order.note)
    same(
        row,
        {
            "order": opened.encode().hex(),
            "blindings": [hexed(r) for r in blindings],
            "terms_hash": order.statement.terms_hash.hex(),
            "account": eip712.address_of(PrivateKey(bytes.fromhex(row["private_key"]))).hex(),
        },
    )


FAMILIES: Final = (
    Family("order-proof-v1.json", "commitments/order_*.py, published primes", proofs, check_proof),
    Family("signed-order-v1.json", "darkpool/order.py, published primes and keys", signed, check_signed),
)
