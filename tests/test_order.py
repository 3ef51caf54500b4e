"""Sealed orders: wire form, signature, and every statement field an honest prover can get wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commitments.encoding import Writer
from commitments.errors import DecodeError, ParameterError
from commitments.paillier import public_key
from commitments.params import MAX_AUDITOR_KEYS
from commitments.threshold import safe_prime
from darkpool.draft import Standing, draft
from darkpool.eip712 import GROUP_ORDER
from darkpool.errors import ConfigError, OrderRefused
from darkpool.listing import ListedOrder
from darkpool.order import SealedOrder, TimeInForce
from darkpool.types import Address, Nonce, Quanta, RoundId
from tests.commitments_support import auditor_keys
from tests.venue_log import Venue
from tests.venue_support import NOW, buy, finish, key_of, sell, some_terms, with_statement

DAY = NOW // 86_400


@pytest.fixture(scope="module")
def made() -> tuple[Venue, SealedOrder]:
    """An order that is not sent; tests only read it."""
    venue = Venue(names=("ada",))
    return venue, venue.sealed("ada", venue.draft("ada", sell(1, 77, "mine")))


def refusal(venue: Venue, raw: bytes, now: int = NOW) -> str:
    answer = venue.answer(raw, now)
    assert isinstance(answer, OrderRefused), "accepted"
    assert not venue.book.standing
    venue.check()
    return answer.message


# --- the wire ---------------------------------------------------------------------------------------


def test_decode_and_encode_are_inverse(made: tuple[Venue, SealedOrder]) -> None:
    venue, order = made
    key = venue.terms.key
    again = SealedOrder.decode(order.raw, key)
    assert again == order
    assert (again.hash, again.leaf) == (order.hash, order.leaf)
    body = again.statement.encode() + again.sent.encode(key) + again.claim.proof.encode(key)
    assert body + bytes(Writer().var(again.note)) + again.signature == order.raw


def test_an_honest_order_is_accepted(made: tuple[Venue, SealedOrder]) -> None:
    _, order = made
    assert isinstance(Venue(names=("ada",)).answer(order.raw), ListedOrder)


@pytest.mark.parametrize("extra", [b"\0", b"\1", bytes(64)])
def test_trailing_bytes_are_refused(made: tuple[Venue, SealedOrder], extra: bytes) -> None:
    venue, order = made
    with pytest.raises(DecodeError, match="trailing"):
        SealedOrder.decode(order.raw + extra, venue.terms.key)


def test_no_truncation_decodes(made: tuple[Venue, SealedOrder]) -> None:
    venue, order = made
    end = len(order.raw)
    for length in {*range(0, end, 29), *range(120), *range(end - 70, end)}:
        with pytest.raises(DecodeError):
            SealedOrder.decode(order.raw[:length], venue.terms.key)


@pytest.mark.slow
def test_no_truncation_at_all_decodes(made: tuple[Venue, SealedOrder]) -> None:
    venue, order = made
    for length in range(len(order.raw)):
        with pytest.raises(DecodeError):
            SealedOrder.decode(order.raw[:length], venue.terms.key)


def test_an_oversize_order_is_refused_before_it_is_read(made: tuple[Venue, SealedOrder]) -> None:
    venue, order = made
    with pytest.raises(DecodeError, match="above the limit"):
        SealedOrder.decode(order.raw.ljust((1 << 18) + 1, b"\0"), venue.terms.key)


@given(position=st.integers(0, 1 << 20), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_refused(made: tuple[Venue, SealedOrder], position: int, bit: int) -> None:
    venue, order = made
    raw = bytearray(order.raw)
    raw[position % len(raw)] ^= 1 << bit
    assert refusal(venue, bytes(raw))


def test_a_changed_note_is_refused(made: tuple[Venue, SealedOrder]) -> None:
    venue, order = made
    raw = bytearray(order.raw)
    raw[-66] ^= 1
    assert refusal(venue, bytes(raw)).startswith("note: ")


# --- statements of honest provers that are not this book's ------------------------------------------

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "chain_id": ({"chain_id": 1}, "chain_id"),
    "contract": ({"contract": b"\x77" * 20}, "contract"),
    "venue": ({"venue": b"\x77" * 32}, "venue"),
    "market": ({"market": b"\x77" * 32}, "market"),
    "p_0": ({"p_0": 1_010}, "p_0"),
    "tick": ({"tick": 11}, "tick"),
    "more levels": ({"levels": 5}, "levels"),
    "fewer levels": ({"levels": 3}, "levels"),
    "lot": ({"lot": 8}, "lot"),
    "pressure": ({"pressure": 1}, "pressure"),
    "terms_hash": ({"terms_hash": b"\x77" * 32}, "terms_hash"),
    "policy_hash": ({"policy_hash": b"\x77" * 32}, "policy_hash"),
    "auditor_keys": ({"auditor_keys": auditor_keys(1)}, "auditor_keys"),
    "key_id": ({"key_id": b"\x77" * 32}, "key_id"),
    "yesterday": ({"utc_day": DAY - 1}, "utc_day"),
    "tomorrow": ({"utc_day": DAY + 1}, "utc_day"),
    "first_round": ({"first_round": 2}, "first_round"),
    "unknown time in force": ({"time_in_force": 3}, "time_in_force"),
    "time in force 1 without an end": ({"time_in_force": 1}, "valid_until"),
    "time in force 0 with an end": ({"time_in_force": 0, "valid_until": NOW + 9}, "valid_until"),
    "time in force 2 with an end": ({"time_in_force": 2, "valid_until": NOW + 9}, "valid_until"),
    "ended now": ({"time_in_force": 1, "valid_until": NOW}, "valid_until"),
    "ended long ago": ({"time_in_force": 1, "valid_until": 1}, "valid_until"),
    "round order of another round": ({"time_in_force": 0, "first_round": 0}, "first_round"),
    "nonce beyond the window": ({"nonce": 512}, "nonce"),
    "greatest nonce": ({"nonce": 2**64 - 1}, "nonce"),
    "base version": ({"base_version": 1}, "collateral: base"),
    "quote version": ({"quote_version": 1}, "collateral: quote"),
    "note_hash": ({"note_hash": b"\x77" * 32}, "note"),
    "another account": ({"account": b"\x77" * 20}, "signature"),
    "fill_key of low order": ({"fill_key": bytes(32)}, "fill_key"),
    "fill_key not canonical": ({"fill_key": b"\xff" * 32}, "fill_key"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_honest_proof_of_another_statement_is_refused_with_the_field(name: str) -> None:
    changes, field = WRONG[name]
    venue = Venue(names=("ada",))
    draft_ = with_statement(venue.draft("ada", buy(2, 3)), **changes)
    order = finish(draft_, venue.terms, key_of("ada"))
    assert refusal(venue, order.raw).startswith(f"{field}")


@pytest.mark.parametrize("token", ["base", "quote"])
def test_a_proof_against_collateral_nobody_deposited_is_refused(token: str) -> None:
    venue = Venue(names=("ada",))
    honest = venue.draft("ada", buy(2, 3))
    opening = getattr(honest.witness, token)
    inflated = replace(opening, value=opening.value + 1)
    changed = replace(
        with_statement(honest, **{f"f_{token}": inflated.commitment()}),
        witness=replace(honest.witness, **{token: inflated}),
    )
    order = finish(changed, venue.terms, key_of("ada"))
    assert refusal(venue, order.raw).startswith(f"collateral: {token}")


def test_an_order_has_handles_for_auditors_of_its_market_and_for_no_others() -> None:
    """For which of them, the policy says of each account."""
    terms = replace(some_terms(), auditor_keys=auditor_keys(2)[:1])
    venue = Venue(terms=terms, names=("ada",))
    for keys in (auditor_keys(2)[1:], auditor_keys(2)):
        other = with_statement(venue.draft("ada", buy(1, 1)), auditor_keys=keys)
        assert refusal(venue, finish(other, terms, key_of("ada")).raw).startswith("auditor_keys")
    for keys in ((), terms.auditor_keys):
        draft = with_statement(venue.draft("ada", buy(1, 1)), auditor_keys=keys)
        answer = venue.answer(finish(draft, terms, key_of("ada")).raw)
        assert isinstance(answer, ListedOrder), answer
        venue.wallets["ada"].accepted(buy(1, 1), draft)


def test_both_days_are_right_around_midnight_utc_and_none_else() -> None:
    midnight = 86_400 * (DAY + 1)
    order = Venue(names=("ada",))
    raw = order.sealed("ada", order.draft("ada", buy(1, 1))).raw
    for now, right in ((midnight + 59, True), (midnight + 60, False)):
        answer = Venue(names=("ada",)).answer(raw, now)
        assert isinstance(answer, ListedOrder) == right


def test_a_valid_proof_of_an_order_the_account_cannot_pay_cannot_be_made() -> None:
    venue = Venue(names=("ada",), rich=Quanta(100))
    for order in (buy(0, 1), sell(0, 15)):
        draft_ = venue.draft("ada", order)
        with pytest.raises(ParameterError, match="does not cover"):
            venue.sealed("ada", draft_)
    venue.place("ada", sell(3, 14))  # 98 of 100 quanta


def test_an_order_under_another_committee_key_is_refused() -> None:
    venue = Venue(names=("ada",))
    other = replace(venue.terms, key=public_key(safe_prime(384) * safe_prime(384)))
    wallet = venue.wallets["ada"]
    free = [wallet._free[t] for t in (venue.terms.market.base, venue.terms.market.quote)]
    standing = Standing(RoundId(1), NOW)
    draft_ = draft(other, wallet.address, key_of("ada"), Nonce(0), buy(1, 1), standing, *free)
    assert refusal(venue, finish(draft_, other, key_of("ada")).raw).startswith("key_id")


# --- signatures -------------------------------------------------------------------------------------

SIGNATURES: dict[str, Callable[[bytes, bytes], bytes]] = {
    "of another key": lambda _, other: other,
    "high s": lambda s, _: (
        s[:32] + (GROUP_ORDER - int.from_bytes(s[32:64])).to_bytes(32) + bytes([55 - s[64]])
    ),
    "the other v": lambda s, _: s[:64] + bytes([55 - s[64]]),
    "v 0": lambda s, _: s[:64] + bytes([s[64] - 27]),
    "zero": lambda *_: bytes(65),
    "r and s swapped": lambda s, _: s[32:64] + s[:32] + s[64:],
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_signature_that_is_not_the_accounts_canonical_one_is_refused(
    made: tuple[Venue, SealedOrder], name: str
) -> None:
    venue, order = made
    other = venue.draft("ada", sell(1, 77)).finish(
        venue.terms.key, venue.terms.chain_id, venue.terms.contract, key_of("ben")
    )
    signature = SIGNATURES[name](order.signature, other.signature)
    assert refusal(venue, order.raw[:-65] + signature).startswith("signature: not the account's")


def test_the_signature_of_another_order_of_the_same_account_is_refused(
    made: tuple[Venue, SealedOrder],
) -> None:
    venue, order = made
    other = venue.sealed("ada", venue.draft("ada", sell(1, 77, "mine")))
    assert refusal(venue, order.raw[:-65] + other.signature).startswith("signature")


# --- terms ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"chain_id": 0}, "chain id"),
        ({"chain_id": 1 << 64}, "chain id"),
        ({"contract": bytes(19)}, "contract: 19 bytes"),
        ({"venue": bytes(31)}, "venue: 31 bytes"),
        ({"policy_hash": bytes(33)}, "policy hash: 33 bytes"),
        ({"settle_window": 0}, "settle window"),
        ({"settle_window": 1 << 64}, "settle window"),
        ({"tokens": ()}, "tokens"),
        ({"tokens": (some_terms().market.base,)}, "tokens"),
        ({"auditor_keys": auditor_keys(2)[::-1]}, "auditor keys"),
        ({"auditor_keys": auditor_keys(1) * 2}, "auditor keys"),
        ({"auditor_keys": auditor_keys(MAX_AUDITOR_KEYS + 1)}, "auditor keys"),
    ],
)
def test_terms_that_no_order_could_meet_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(some_terms(), **changes)


def test_every_term_is_in_the_hash_that_orders_and_roots_carry() -> None:
    terms = some_terms()
    markets: list[dict[str, Any]] = [
        {"id": bytes(32)},
        {"name": "other"},
        {"base": terms.tokens[0]},
        {"quote": terms.tokens[0]},
        {"lot": 8},
        {"grid": replace(terms.market.grid, p_0=Quanta(1_001))},
        {"grid": replace(terms.market.grid, tick=Quanta(11))},
        {"grid": replace(terms.market.grid, levels=5)},
        {"pressure_ticks": 1},
        {"min_volume": 2},
        {"min_accounts": 2},
        {"min_orders": 2},
    ]
    changed = [
        *(some_terms(**market) for market in markets),
        replace(terms, chain_id=1),
        replace(terms, contract=Address(bytes(20))),
        replace(terms, venue=bytes(32)),
        replace(terms, policy_hash=bytes(32)),
        replace(terms, settle_window=601),
        replace(terms, tokens=terms.tokens[1:]),
        replace(terms, tokens=terms.tokens[::-1]),
        replace(terms, auditor_keys=auditor_keys(1)),
        replace(terms, auditor_keys=auditor_keys(2)),
        replace(terms, key=public_key(safe_prime(384) * safe_prime(384))),
    ]
    assert len({t.hash for t in changed} | {terms.hash}) == len(changed) + 1


@pytest.mark.parametrize("field", ["min_volume", "min_accounts", "min_orders"])
def test_an_order_sealed_for_other_minima_is_refused(field: str) -> None:
    venue, other = Venue(names=("ada",)), Venue(terms=some_terms(**{field: 2}), names=("ada",))
    raw = other.sealed("ada", other.draft("ada", buy(1, 1))).raw
    assert refusal(venue, raw).startswith("terms_hash")


def test_a_time_in_force_is_what_the_wire_says() -> None:
    assert [int(t) for t in TimeInForce] == [0, 1, 2]
