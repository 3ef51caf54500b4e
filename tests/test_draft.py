"""The trader's side of an order: its note, its secrets, its leaf key."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commitments import sealing
from commitments.encoding import Reader
from commitments.errors import DecodeError, VerificationError
from commitments.order_statement import Statement
from commitments.pedersen import commit
from darkpool.draft import Collateral, derive_secrets, leaf_node, open_note
from darkpool.errors import OrderRefused
from darkpool.market import Side
from darkpool.order import NOTE_BYTES, Order, SealedOrder
from darkpool.types import Address, Lots, Nonce, Tick
from tests.venue_log import Venue
from tests.venue_support import NOW, buy, key_of, sell, some_terms

DAY = NOW // 86_400


@pytest.fixture(scope="module")
def made() -> tuple[Venue, SealedOrder]:
    """An order that is not sent; tests only read it."""
    venue = Venue(names=("ada",))
    return venue, venue.sealed("ada", venue.draft("ada", sell(1, 77, "mine")))


references = st.text(max_size=16).filter(lambda t: len(t.encode()) <= 64 and "\0" not in t)
orders = st.builds(
    Order,
    st.sampled_from(Side),
    st.integers(0, 3).map(Tick),
    st.integers(0, 2**32 - 1).map(Lots),
    references,
)


@given(orders)
def test_an_order_survives_its_note_form_at_constant_length(order: Order) -> None:
    data = order.encode()
    reader = Reader(data)
    assert len(data) == 72
    assert Order.read(reader) == order
    reader.end("order")


def test_a_note_has_one_length_whatever_it_says() -> None:
    venue = Venue(names=("ada",))
    texts = ("", "x", "x" * 64, "\u00e9" * 32)
    assert {len(venue.draft("ada", buy(1, 1, text)).note) for text in texts} == {NOTE_BYTES}


@pytest.mark.parametrize("text", ["x" * 65, "\u00e9" * 33, "\U0001f600" * 17])
def test_a_reference_beyond_64_bytes_is_refused(text: str) -> None:
    with pytest.raises(OrderRefused, match=r"reference: 6[0-9] bytes"):
        buy(1, 1, text).encode()


@pytest.mark.parametrize(
    "at,value,field",
    [(0, 2, "side"), (7, 65, "reference"), (7, 2, "reference"), (8, 0xFF, "reference")],
)
def test_a_malformed_note_is_refused(at: int, value: int, field: str) -> None:
    data = bytearray(buy(1, 1, "abc").encode())
    data[at] = value
    with pytest.raises(DecodeError, match=field):
        Order.read(Reader(bytes(data)))


def test_a_note_opens_from_seed_and_public_data_and_opens_the_commitments(
    made: tuple[Venue, SealedOrder],
) -> None:
    venue, sealed = made
    terms, s, seed = venue.terms, sealed.statement, key_of("ada")[::-1]
    leaf = leaf_node(terms, sealed.account, seed, sealed.nonce, s.utc_day)
    order, blindings = open_note(terms, leaf, sealed.account, sealed.nonce, s.salt, sealed.note)
    assert order == sell(1, 77, "mine")
    r_q, _, _, r_base, r_quote, r_m = blindings
    assert commit(order.quantity, r_q) == sealed.sent.c_q
    assert commit(order.quantity * terms.market.lot, r_base) == sealed.sent.c_base
    assert commit(0, r_quote) == sealed.sent.c_quote
    assert commit(order.slot * order.quantity, r_m) == sealed.sent.c_m
    versions = (s.base_version, s.quote_version)
    again, randomness = derive_secrets(terms, sealed.account, seed, sealed.nonce, s.salt, versions, order)
    assert again == blindings
    packed = terms.packing.plaintexts([order.quantity * (k == order.slot) for k in range(8)])
    encrypted = [terms.key.encrypt(p, r) for p, r in zip(packed, randomness, strict=True)]
    assert tuple(encrypted) == sealed.sent.ciphertexts


@pytest.mark.parametrize("part", ["seed", "nonce", "day", "account", "salt", "market", "contract", "note"])
def test_a_note_opens_for_nothing_else(made: tuple[Venue, SealedOrder], part: str) -> None:
    venue, sealed = made
    s, terms = sealed.statement, venue.terms
    seed, nonce, day, account, salt, note = (
        key_of("ada")[::-1], sealed.nonce, s.utc_day, sealed.account, s.salt, sealed.note,
    )  # fmt: skip
    match part:
        case "seed":
            seed = bytes(32)
        case "nonce":
            nonce = Nonce(nonce + 1)
        case "day":
            day += 1
        case "account":
            account = Address(bytes(20))
        case "salt":
            salt = bytes(32)
        case "market":
            terms = some_terms(id=b"\x09" * 32)
        case "contract":
            terms = replace(terms, contract=Address(bytes(20)))
        case _:
            note = note[:-1] + bytes([note[-1] ^ 1])
    leaf = leaf_node(terms, account, seed, nonce, day)
    with pytest.raises(VerificationError):
        open_note(terms, leaf, account, nonce, salt, note)


def test_two_attempts_share_no_blinding_and_no_randomness() -> None:
    venue = Venue(names=("ada",))
    attempts = [venue.draft("ada", buy(2, 3)) for _ in range(8)]
    assert len({a.statement.salt for a in attempts}) == 8
    secrets_ = [s for a in attempts for s in (*a.witness.blindings, *a.witness.randomness)]
    assert len(set(secrets_)) == len(secrets_) == 8 * 7


@pytest.mark.parametrize("part", range(7))
def test_every_public_part_changes_every_secret(part: int) -> None:
    terms, account, seed = some_terms(), Address(b"\x01" * 20), bytes(32)

    def secrets_of(varied: int | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return derive_secrets(
            some_terms(id=b"\x09" * 32) if varied == 0 else terms,
            Address(b"\x02" * 20) if varied == 1 else account,
            b"\x01" * 32 if varied == 2 else seed,
            Nonce(1 if varied == 3 else 0),
            b"\x01" * 32 if varied == 4 else bytes(32),
            (0, 1) if varied == 5 else (0, 0),
            buy(1, 2) if varied == 6 else buy(1, 1),
        )

    assert secrets_of(None) == secrets_of(None)
    for one, other in zip(secrets_of(None), secrets_of(part), strict=True):
        assert not set(one) & set(other)


def test_the_leaf_commitment_holds_for_the_leaf_key_and_this_statement_only(
    made: tuple[Venue, SealedOrder],
) -> None:
    venue, sealed = made
    s = sealed.statement
    seed = key_of("ada")[::-1]
    leaf = leaf_node(venue.terms, sealed.account, seed, sealed.nonce, s.utc_day)
    data = s.encode_without_leaf()
    sealing.verify_hmac_commit(leaf.secret, data, s.leaf_commitment)
    other = leaf_node(venue.terms, sealed.account, seed, Nonce(sealed.nonce + 1), s.utc_day)
    changed = replace(s, nonce=s.nonce + 1).encode_without_leaf()
    for key, about in ((other.secret, data), (sealing.note_key(leaf), data), (leaf.secret, changed)):
        with pytest.raises(VerificationError):
            sealing.verify_hmac_commit(key, about, s.leaf_commitment)


def test_no_repr_shows_the_order(made: tuple[Venue, SealedOrder]) -> None:
    venue, sealed = made
    order = buy(2, 3_141_592, "sentinel")
    draft_ = venue.draft("ada", order)
    collateral = Collateral(draft_.witness.base, 1)
    blinding = str(draft_.witness.blindings[0])
    for shown in map(repr, (order, draft_.witness, collateral, sealed)):
        assert "3141592" not in shown
        assert "sentinel" not in shown
        assert blinding not in shown
        assert str(draft_.witness.base.value) not in shown


def test_a_leaf_of_the_sealed_list_names_its_order(made: tuple[Venue, SealedOrder]) -> None:
    venue, sealed = made
    head = sealed.account + sealed.nonce.to_bytes(8) + venue.terms.market.id
    points = sealed.sent.c_q.encode_xy() + sealed.sent.c_m.encode_xy()
    assert sealed.leaf == head + points + sealed.hash
    assert sealed.hash == sha256(b"darkpool/v1/sealed-order-hash" + sealed.raw[:-65]).digest()


def test_the_statement_is_read_back_as_it_was(made: tuple[Venue, SealedOrder]) -> None:
    _, sealed = made
    reader = Reader(sealed.statement.encode())
    assert Statement.read(reader) == sealed.statement
    reader.end("statement")
