"""Totals and nets proven without opening an order: true ones hold, false and altered ones do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import cache
from typing import Any

import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from commitments import range_proof
from commitments.group import using_backend
from commitments.params import GROUP_ORDER
from compliance.predicates import (
    MAX_BOUND,
    MAX_ORDERS,
    RANGE_BITS,
    OwnOrder,
    Predicate,
    PredicateProof,
    prove,
    verify,
)
from darkpool.errors import OrderRefused
from darkpool.market import Grid
from darkpool.order import SealedOrder
from darkpool.types import Quanta
from tests.commitments_support import corruptions, published_key
from tests.compliance.sealed_orders import account_of, seal, seal_cached, terms_for
from tests.venue_support import buy, sell

LARGEST = (1 << 32) - 1
KEY = terms_for().key


def owned() -> list[OwnOrder]:
    """Buys of 100 and 50 lots, a sell of 30, a decoy of each side: 150 to buy, 30 to sell, net 120."""
    orders = (buy(1, 100), buy(3, 50), sell(2, 30), buy(0, 0), sell(0, 0))
    return [seal_cached(order, nonce) for nonce, order in enumerate(orders)]


def about(orders: Sequence[OwnOrder], **bounds: int) -> Predicate:
    statement = orders[0].sealed.statement
    return Predicate(
        *(statement.chain_id, statement.contract, account_of("ada"), statement.market, statement.lot),
        *("position report to the exchange", tuple(sorted(own.sealed.hash for own in orders))),
        *(bounds.get(name) for name in ("max_buy", "max_sell", "net_low", "net_high")),
    )


def sealed(orders: Sequence[OwnOrder]) -> list[SealedOrder]:
    return [own.sealed for own in orders]


@cache
def honest() -> PredicateProof:
    return prove(about(owned(), max_buy=150, max_sell=100, net_low=-5, net_high=120), owned())


# --- what can be proven ------------------------------------------------------------------------------

TRUE: list[dict[str, int]] = [
    *({"max_buy": 150}, {"max_buy": MAX_BOUND}, {"max_sell": 30}, {"net_low": 120}, {"net_high": 120}),
    *({"net_low": -MAX_BOUND, "net_high": MAX_BOUND}, {"net_low": 120, "net_high": 120}),
    {"max_buy": 200, "max_sell": 30, "net_low": 0, "net_high": 121},
]
FALSE: list[dict[str, int]] = [
    *({"max_buy": 149}, {"max_buy": 0}, {"max_sell": 29}, {"net_low": 121}, {"net_high": 119}),
    *({"net_high": -1}, {"net_low": MAX_BOUND}, {"net_high": -MAX_BOUND}, {"max_buy": 150, "max_sell": 29}),
]


@pytest.mark.parametrize("bounds", TRUE)
def test_a_true_predicate_is_proven_and_read_back(bounds: dict[str, int]) -> None:
    raw = prove(about(owned(), **bounds), owned()).encode()
    proof = PredicateProof.decode(raw)
    assert proof.encode() == raw
    assert dict(proof.predicate.bounds()) == bounds
    verify(proof, sealed(owned()), KEY)
    verify(proof, sealed(owned())[::-1], KEY)


@pytest.mark.parametrize("bounds", FALSE)
def test_a_false_predicate_cannot_be_proven(bounds: dict[str, int]) -> None:
    with pytest.raises(OrderRefused, match="do not satisfy it") as refused:
        prove(about(owned(), **bounds), owned())
    assert not any(number in str(refused.value) for number in ("150", "120", "30 "))


@pytest.mark.parametrize("bounds", FALSE)
def test_a_proof_of_something_else_does_not_carry_a_false_predicate(bounds: dict[str, int]) -> None:
    # The best a liar can do with true proofs: take those of its own bounds, or of the wrong ones.
    false = about(owned(), **bounds)
    parts = tuple(honest().proofs[i % 4] for i, _ in enumerate(false.bounds()))
    with pytest.raises(OrderRefused, match="the proof does not hold"):
        verify(PredicateProof(false, parts), sealed(owned()), KEY)


@given(
    quantities=st.lists(
        st.tuples(st.booleans(), st.sampled_from([0, 1, LARGEST]) | st.integers(0, LARGEST)),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=8, deadline=None)
def test_exactly_the_totals_can_be_proven(quantities: list[tuple[bool, int]]) -> None:
    orders = [seal((sell if s else buy)(1, q), n, terms_for()) for n, (s, q) in enumerate(quantities)]
    sold = sum(q for s, q in quantities if s)
    bought = sum(q for s, q in quantities if not s)
    tight = about(orders, max_buy=bought, max_sell=sold, net_low=bought - sold, net_high=bought - sold)
    verify(prove(tight, orders), sealed(orders), KEY)
    for name, bound in tight.bounds():
        closer = bound + 1 if name == "net_low" else bound - 1
        if name.startswith("max") and closer < 0:
            continue
        with pytest.raises(OrderRefused, match="do not satisfy"):
            prove(about(orders, **{name: closer}), orders)


def test_the_largest_case_fits_the_range() -> None:
    # 4,096 of the largest orders, against the bounds farthest away.
    most = MAX_ORDERS * LARGEST
    assert MAX_BOUND + most < 1 << RANGE_BITS
    assert (1 << RANGE_BITS) + MAX_BOUND + most < GROUP_ORDER // 2  # so no difference wraps into the range


@pytest.mark.slow
def test_the_reference_backend_agrees() -> None:
    orders = owned()[:1]
    raw, order = prove(about(orders, max_buy=100), orders).encode(), orders[0].sealed.raw
    with using_backend("reference"):
        given_orders = [SealedOrder.decode(order, KEY)]
        verify(PredicateProof.decode(raw), given_orders, KEY)
        flipped = raw[:-1] + bytes([raw[-1] ^ 1])
        with pytest.raises(OrderRefused, match="does not hold"):
            verify(PredicateProof.decode(flipped), given_orders, KEY)


@pytest.mark.production
def test_production_size() -> None:
    terms = terms_for()
    market = replace(terms.market, grid=Grid(Quanta(23_000), Quanta(10), 64))
    terms = replace(terms, key=published_key("production"), market=market)
    orders = [seal(buy(7, 4_000_000_000), 0, terms), seal(sell(63, 500), 1, terms)]
    proof = prove(about(orders, max_buy=4_000_000_000, max_sell=1_000), orders)
    verify(PredicateProof.decode(proof.encode()), sealed(orders), terms.key)


# --- which orders ------------------------------------------------------------------------------------


def refuse(proof: PredicateProof, orders: Sequence[SealedOrder], problem: str) -> None:
    with pytest.raises(OrderRefused, match=problem):
        verify(proof, orders, KEY)


def test_an_order_left_out_of_the_proof_is_found() -> None:
    proof = prove(about(owned()[1:], max_buy=50), owned()[1:])
    refuse(proof, sealed(owned()), "the proof omits it")
    with pytest.raises(OrderRefused, match="the proof omits it"):
        prove(proof.predicate, owned())


def test_an_order_that_was_not_given_or_given_twice_is_refused() -> None:
    refuse(honest(), sealed(owned())[1:], "named, but not given")
    refuse(honest(), [*sealed(owned()), owned()[0].sealed], "given twice")


@cache
def others() -> dict[str, OwnOrder]:
    """Orders that do not belong to ada's of this market, by what is foreign."""
    return {
        "account": seal(buy(1, 100), 7, terms_for(), "ben"),
        "chain_id": seal(buy(1, 100), 7, replace(terms_for(), chain_id=5)),
        "contract": seal(buy(1, 100), 7, replace(terms_for(), contract=account_of("ben"))),
        "market": seal(buy(1, 100), 7, replace(terms_for(), market=market_with(id=b"\x33" * 32))),
        "lot": seal(buy(1, 100), 7, replace(terms_for(), market=market_with(lot=Quanta(8)))),
    }


def market_with(**changes: Any) -> Any:  # noqa: ANN401 - fields of a market
    return replace(terms_for().market, **changes)


@pytest.mark.parametrize("name", ["account", "chain_id", "contract", "market", "lot"])
def test_a_foreign_order_is_refused(name: str) -> None:
    orders = [*owned(), others()[name]]
    predicate = about(orders, max_buy=1_000)
    with pytest.raises(OrderRefused, match=f"its {name} is not that of the predicate"):
        prove(predicate, orders)
    refuse(
        PredicateProof(predicate, honest().proofs[:1]),
        sealed(orders),
        f"its {name} is not that of the predicate",
    )


def test_an_order_somebody_else_signed_is_refused() -> None:
    own = owned()[0]
    foreign = replace(own.sealed, signature=others()["account"].sealed.signature)
    proof = prove(about([own], max_buy=100), [own])
    refuse(proof, [foreign], "signature: not the account's")


def test_an_order_whose_own_proof_fails_is_refused() -> None:
    # The predicate would hold of it: only the order's proof says that its commitments are not made up.
    own = owned()[0]
    claim = own.sealed.claim
    bad = replace(claim, proof=replace(claim.proof, tau=claim.proof.tau + 1))
    proof = prove(about([own], max_buy=100), [own])
    refuse(proof, [replace(own.sealed, claim=bad)], "group equations")


def test_an_order_of_another_committee_key_is_refused() -> None:
    proof = prove(about(owned()[:1], max_buy=100), owned()[:1])
    with pytest.raises(OrderRefused, match="another committee key"):
        verify(proof, sealed(owned()[:1]), published_key("production"))


def test_an_opening_that_is_not_the_orders_is_refused() -> None:
    own = owned()[0]
    r = own.blindings
    for wrong in (
        replace(own, order=buy(1, 99)),
        replace(own, order=sell(1, 100)),
        replace(own, blindings=(r[0] + 1, *r[1:])),
        replace(own, blindings=(*r[:3], r[3] + 1, *r[4:])),
    ):
        with pytest.raises(OrderRefused, match="not that of its commitments"):
            prove(about([own], max_buy=100), [wrong])


# --- the proof altered -------------------------------------------------------------------------------

CHANGES: dict[str, object] = {
    "purpose": "another purpose",
    "max_buy": 151,
    "max_sell": 99,
    "net_low": -6,
    "net_high": 121,
}


@pytest.mark.parametrize("name", list(CHANGES))
def test_a_changed_predicate_is_refused(name: str) -> None:
    changed = replace(honest().predicate, **{name: CHANGES[name]})  # type: ignore[arg-type]
    refuse(PredicateProof(changed, honest().proofs), sealed(owned()), "does not hold")


def test_every_field_is_in_what_the_proof_binds() -> None:
    changes = CHANGES | {
        "chain_id": 1,
        "contract": b"\x09" * 20,
        "account": b"\x09" * 20,
        "market": b"\x09" * 32,
        "lot": 9,
        "orders": honest().predicate.orders[1:],
    }
    assert set(changes) == {f.name for f in fields(Predicate)}
    encoded = {honest().predicate.encode()}
    for name, value in changes.items():
        encoded.add(replace(honest().predicate, **{name: value}).encode())  # type: ignore[arg-type]
    assert len(encoded) == 1 + len(changes)


def test_a_bound_left_out_or_proofs_exchanged_are_refused() -> None:
    predicate, proofs = honest().predicate, honest().proofs
    refuse(PredicateProof(predicate, proofs[:-1]), sealed(owned()), "3 where 4 bounds")
    refuse(PredicateProof(predicate, (*proofs, proofs[0])), sealed(owned()), "5 where 4 bounds")
    refuse(PredicateProof(predicate, (proofs[1], proofs[0], *proofs[2:])), sealed(owned()), "max_buy: ")
    less = replace(predicate, max_buy=None)
    refuse(PredicateProof(less, proofs[1:]), sealed(owned()), "max_sell: the proof does not hold")


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("name", [f.name for f in fields(range_proof.Proof)])
def test_a_corrupt_part_is_refused(at: int, name: str) -> None:
    proofs = list(honest().proofs)
    bad = next(iter(corruptions(getattr(proofs[at], name), mpz(0))))
    proofs[at] = replace(proofs[at], **{name: bad})
    refuse(PredicateProof(honest().predicate, tuple(proofs)), sealed(owned()), "does not hold")


# --- the file ----------------------------------------------------------------------------------------


def test_cut_prolonged_or_other_bytes_are_refused() -> None:
    raw = honest().encode()
    for bad in (b"", raw[:40], raw[:-1], raw + b"\0", raw[:4] + b"x" + raw[5:], owned()[0].sealed.raw):
        with pytest.raises(OrderRefused, match=r"^predicate, "):
            PredicateProof.decode(bad)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_flipped_bit_is_refused(data: st.DataObject) -> None:
    raw = bytearray(honest().encode())
    raw[data.draw(st.integers(0, len(raw) - 1), "byte")] ^= 1 << data.draw(st.integers(0, 7), "bit")
    with pytest.raises(OrderRefused):
        verify(PredicateProof.decode(bytes(raw)), sealed(owned()), KEY)


@pytest.mark.parametrize(
    "change, name",
    [
        ({"purpose": ""}, "purpose"),
        ({"purpose": "x" * 257}, "purpose"),
        ({"purpose": "a\nb"}, "purpose"),
        ({"orders": ()}, "orders"),
        ({"orders": (b"\x02" * 32, b"\x01" * 32)}, "orders"),
        ({"orders": (b"\x02" * 32, b"\x02" * 32)}, "orders"),
        ({"orders": tuple(i.to_bytes(32, "big") for i in range(MAX_ORDERS + 1))}, "orders"),
        ({"lot": 0}, "lot"),
        ({"max_buy": -1}, "max_buy"),
        ({"max_sell": MAX_BOUND + 1}, "max_sell"),
        ({"net_low": -MAX_BOUND - 1}, "net_low"),
        ({"net_high": MAX_BOUND + 1}, "net_high"),
        ({"net_low": 5, "net_high": 4}, "net_low"),
        ({"max_buy": None, "max_sell": None, "net_low": None, "net_high": None}, "bounds"),
    ],
)
def test_a_predicate_that_cannot_be_is_refused(change: dict[str, Any], name: str) -> None:
    with pytest.raises(OrderRefused, match=f"^predicate, {name}: "):
        replace(honest().predicate, **change)


@pytest.mark.parametrize("wire", [(1 << 46) + MAX_BOUND + 1, (1 << 64) - 1])
def test_a_bound_off_the_wire_range_is_refused(wire: int) -> None:
    raw = honest().encode()
    at = raw.index(((1 << 46) + 150).to_bytes(8, "big"))
    with pytest.raises(OrderRefused, match=r"^predicate, max_buy: "):
        PredicateProof.decode(raw[:at] + wire.to_bytes(8, "big") + raw[at + 8 :])


def test_repr_shows_nothing_hidden() -> None:
    shown = repr(owned()[0]) + repr(honest())
    assert not any(str(r) in shown for r in (*owned()[0].blindings, honest().proofs[0].tau))
