"""The log changes its committee: by the word of the one before, at a moment when nothing hangs on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from commitments.errors import CommitmentsError, DecodeError
from commitments.merkle import Frontier
from darkpool import snapshot, tenure
from darkpool.book import End
from darkpool.certificates import check_result
from darkpool.committee.seat import Seat
from darkpool.eip712 import Domain, sign_digest
from darkpool.errors import OrderRefused
from darkpool.log import listed
from darkpool.message import Message, terms_message
from darkpool.netting import Signers
from darkpool.order import Terms, TimeInForce
from darkpool.results import result_fields
from darkpool.state import VenueState
from darkpool.tenure import MAX_WAIT, NO_SHARING, Tenure, read_tenures
from darkpool.types import Address
from darkpool.wallet import Wallet
from tests.eip712_domain import DOMAIN_TYPE
from tests.succession import entry_of, other_seats, refreshed, replaced, rotated, signers_of
from tests.venue_log import Venue, crossed, crossing, open_market, portrait, refused
from tests.venue_support import BASE, QUOTE, buy, key_of, result_of, seats, sell, signers, some_terms

Following = Callable[[VenueState, int], Tenure]


def change(venue: Venue, following: Following, **entry: Any) -> Message:  # noqa: ANN401 - of `entry_of`
    """The entry in the log; `venue.terms` follow the book's."""
    venue.now += 1
    made = entry_of(venue.state, following(venue.state, venue.now), venue.now, **entry)
    venue.take(made)
    venue.terms = venue.book.terms
    return made


def replayed(venue: Venue) -> VenueState:
    """The state of whoever folds the same entries."""
    state = VenueState(seats()[0].committee.key, signers())
    for sequence, data in enumerate(venue.entries):
        entry = Message.decode(data)
        state.checked(entry, listed(entry, state.key))(sequence)
    return state


# --- what it does -----------------------------------------------------------------------------------


@pytest.mark.parametrize("following", [refreshed, replaced])
def test_under_the_same_key_standing_orders_stay(following: Following) -> None:
    venue = Venue(names=("ada", "ben"))
    venue.place("ada", buy(3, 5))
    before, terms = venue.book.standing, venue.book.terms
    change(venue, following)
    assert (venue.book.standing, venue.book.terms) == (before, terms)
    assert venue.state.tenures.current.key_epoch == 1
    assert venue.state.key == seats()[0].committee.key
    venue.check()


def test_a_new_key_returns_every_lock_of_every_market_and_takes_orders_for_itself_alone() -> None:
    venue = Venue(names=("ada", "ben"))
    other = open_market(venue)
    venue.place("ada", buy(3, 5))
    venue.place("ben", sell(0, 2), time_in_force=TimeInForce.ROUND)
    before = {token: venue.wallets["ada"].free(token) for token in (BASE, QUOTE)}
    old_terms, number, reference = venue.book.terms, venue.book.round, venue.book.current_round.reference
    stale = venue.sealed("ada", venue.draft("ada", buy(2, 1)))

    made = rotated(venue.state, venue.now + 1)
    venue.now += 1
    effects = venue.take(entry_of(venue.state, made, venue.now))
    assert [(e.end, e.reason) for e in effects.ended] == [(End.RELEASED, "new committee key")] * 2
    assert venue.wallets["ada"].free(QUOTE) > before[QUOTE]
    assert not venue.book.standing
    venue.check()  # every F is what the wallets' openings come to
    for book in venue.state.books.values():
        assert (book.terms.key, book.terms_at) == (made.key, venue.now)
    assert venue.book.terms == replace(old_terms, key=made.key)
    assert (venue.book.round, venue.book.current_round.reference) == (number, reference)
    assert venue.state.books[other.market.id].terms.hash != other.hash

    answer = venue.answer(stale.raw)
    assert isinstance(answer, OrderRefused)
    assert (answer.code, answer.hint) == ("terms-mismatch", "fetch the market's terms and seal anew")
    assert answer.message.startswith("key_id")
    venue.terms = venue.book.terms
    for name, wallet in venue.wallets.items():
        fresh = Wallet(venue.terms, signers(), key_of(name), key_of(name)[::-1])
        fresh._free, fresh._next_nonce = wallet._free, wallet._next_nonce
        venue.wallets[name] = fresh
    crossed(venue)
    assert venue.state.unsettled
    venue.settled()
    venue.check()
    assert portrait(replayed(venue)) == portrait(venue.state)


def test_terms_that_are_written_later_are_under_the_new_key() -> None:
    venue = Venue(names=("ada",))
    change(venue, rotated)
    changed = replace(venue.terms, policy_hash=bytes(32))
    venue.append("market", terms_message(changed, venue.now).fields)
    assert venue.book.terms == changed
    assert venue.book.terms.key == other_seats()[0].committee.key


def test_the_next_committee_ends_rounds_and_the_one_before_does_not() -> None:
    venue = Venue(names=("ada", "ben"))
    change(venue, replaced)
    venue.place("ada", buy(3, 1))
    venue.place("ben", sell(0, 1))
    venue.seal()
    result = venue.outcome(venue.sealed_list)
    assert result is not None
    ended = result_of(result)
    digest = venue.state.result_digest(venue.book, ended)
    present = [*seats()[:2], other_seats()[2]]

    def signed_by(dealt: list[Seat]) -> Message:
        signatures = [sign_digest(digest, seat.signing_key) for seat in dealt]
        return venue.entry("result", {**venue.about(), **result_fields(ended), "signatures": 3}, signatures)

    assert "2/3 members signed" in refused(venue, lambda: venue.take(signed_by(list(seats()))))
    venue.take(signed_by(present))
    assert venue.state.unsettled


def test_what_a_committee_signed_in_office_is_checked_by_its_own_members_ever_after() -> None:
    venue = Venue(names=("ada", "ben"))
    crossed(venue)
    entries = [Message.decode(data) for data in venue.entries]
    sealed_at = next(e.integer("time") for e in entries if e.op == "seal")
    venue.settled()
    change(venue, replaced)
    change(venue, refreshed)
    tenures = venue.state.tenures
    assert tenures.at(sealed_at).signers == signers()
    assert tenures.at(tenures.all[1].since - 1).signers == signers()
    assert tenures.at(tenures.all[1].since).signers.addresses[3] == other_seats()[2].signer
    assert tenures.at(tenures.all[1].since) == tenures.all[1]
    assert tenures.at(0) == tenures.first
    assert tenures.at(1 << 62) == tenures.current


# --- when it may be ---------------------------------------------------------------------------------


@pytest.mark.parametrize("following", [refreshed, replaced, rotated])
def test_not_while_a_round_is_sealed(following: Following) -> None:
    venue = crossing()
    venue.now += 1
    entry = entry_of(venue.state, following(venue.state, venue.now), venue.now)
    assert "still sealed" in refused(venue, lambda: venue.take(entry))
    venue.abort()
    venue.take(entry)


def test_other_signers_wait_until_all_is_settled_and_the_same_need_not() -> None:
    venue = Venue(names=("ada", "ben"))
    crossed(venue)
    change(venue, refreshed)
    change(venue, rotated)
    venue.now += 1
    entry = entry_of(venue.state, replaced(venue.state, venue.now), venue.now)
    assert "1 rounds are not settled" in refused(venue, lambda: venue.take(entry))
    venue.window()
    assert "1 rounds are not settled" in refused(venue, lambda: venue.take(entry))
    venue.settled()
    venue.take(entry)


def test_not_before_the_log_has_a_market() -> None:
    venue = Venue(names=("ada",))
    entry = entry_of(venue.state, refreshed(venue.state, venue.now), venue.now)
    with pytest.raises(OrderRefused, match="no market yet"):
        VenueState(seats()[0].committee.key, signers()).checked(entry)


@pytest.mark.parametrize("since_seal, wait", [(0, 0), (-1, 0), (1, MAX_WAIT + 1), (2, -1)])
def test_it_is_signed_for_a_time_after_the_last_list_and_soon_written(since_seal: int, wait: int) -> None:
    venue = Venue(names=("ada", "ben"))
    crossed(venue)
    at = venue.state.last_seal + since_seal
    venue.now = at + wait
    venue.now = max(venue.now, venue.state.time)
    entry = entry_of(venue.state, refreshed(venue.state, at), venue.now)
    assert "is not after the last list" in refused(venue, lambda: venue.take(entry))


# --- whose word it needs ----------------------------------------------------------------------------

Make = Callable[[VenueState, int], Message]
OLD, NEW = seats(), other_seats()
BAD: dict[str, tuple[Make, str]] = {
    "too few": (lambda s, at: entry_of(s, rotated(s, at), at, by=OLD[::2]), "2/3 members of epoch 0"),
    "none": (lambda s, at: entry_of(s, rotated(s, at), at, by=()), "0/3 members of epoch 0"),
    "not by the next one": (
        lambda s, at: entry_of(s, replaced(s, at), at, by=OLD),
        "2/3 members of epoch 1",
    ),
    "not by the one that goes": (
        lambda s, at: entry_of(s, replaced(s, at), at, by=[*OLD[:2], NEW[2]]),
        "2/3 members of epoch 0",
    ),
    "by the next ones alone": (
        lambda s, at: entry_of(s, replace(rotated(s, at), signers=signers_of(NEW)), at, by=NEW),
        "0/3 members of epoch 0",
    ),
    "by a stranger too": (
        lambda s, at: entry_of(s, rotated(s, at), at, by=[*OLD, NEW[0]]),
        "a member of neither",
    ),
    "one twice": (lambda s, at: _with(s, at, lambda b: [b[0], b[0], b[1]]), "2/3 members of epoch 0"),
    "cut": (lambda s, at: _with(s, at, lambda b: [b[0], b[1], b[2][:-1]]), "64 bytes"),
    "too many": (lambda s, at: _with(s, at, lambda b: [*b] * 11), "above 32"),
    "of another epoch": (lambda s, at: entry_of(s, replace(rotated(s, at), key_epoch=2), at), "1 is next"),
    "of the same epoch": (lambda s, at: entry_of(s, replace(rotated(s, at), key_epoch=0), at), "1 is next"),
    "another size of key": (
        lambda s, at: entry_of(s, replace(rotated(s, at), key=type(s.key)(s.key.n * 2**64 + 1)), at),
        "bits where the present one has",
    ),
    "one more member under the same key": (
        lambda s, at: entry_of(s, replace(refreshed(s, at), signers=_with_a_fourth(s)), at),
        "4 with 1 where the shares of this key are of 3 with 1",
    ),
}


def _with_a_fourth(state: VenueState) -> Signers:
    return Signers(1, {**state.signers.addresses, 4: Address(b"\x44" * 20)})


def _with(state: VenueState, at: int, blobs: Callable[[list[bytes]], list[bytes]]) -> Message:
    entry = entry_of(state, rotated(state, at), at)
    return replace(entry, blobs=blobs(list(entry.blobs)))


@pytest.mark.parametrize("name", BAD)
def test_what_the_committee_before_did_not_sign_so_is_refused(name: str) -> None:
    venue = Venue(names=("ada",))
    make, problem = BAD[name]
    entry = make(venue.state, venue.now)
    assert problem in refused(venue, lambda: venue.take(entry))


FIELDS: dict[str, tuple[object, str]] = {
    "at": (1_799_999_999, "a member of neither"),
    "key_epoch": (7, "1 is next"),
    "threshold": (2, "members"),
    "modulus": ("ff", "modulus"),
    "sharing": ("ff" * 32, "a member of neither"),
}


@pytest.mark.parametrize("name", FIELDS)
def test_no_field_can_be_changed_once_it_is_signed(name: str) -> None:
    venue = Venue(names=("ada",))
    value, problem = FIELDS[name]
    change_of: dict[str, Any] = {name: value}
    entry = entry_of(venue.state, rotated(venue.state, venue.now), venue.now, fields=change_of)
    assert problem in refused(venue, lambda: venue.take(entry))


def test_neither_members_nor_key_can_be_changed_once_they_are_signed() -> None:
    venue = Venue(names=("ada",))
    following = rotated(venue.state, venue.now)
    others: list[dict[str, Any]] = [
        {"members": {str(s.index): s.signer.hex() for s in other_seats()}},
        {"modulus": f"{int(seats()[0].committee.key.n):x}"},
    ]
    swapped = {**following.fields()["members"]}
    swapped["1"], swapped["2"] = swapped["2"], swapped["1"]
    for fields in [*others, {"members": swapped}]:
        entry = entry_of(venue.state, following, venue.now, fields=fields)
        assert "a member of neither" in refused(venue, partial(venue.take, entry))


MALFORMED: dict[str, dict[str, Any]] = {
    "no members": {"members": {}},
    "a list of them": {"members": ["aa" * 20] * 3},
    "two": {"members": {"1": "aa" * 20, "2": "bb" * 20}},
    "a gap": {"members": {"1": "aa" * 20, "2": "bb" * 20, "4": "cc" * 20}},
    "from zero": {"members": {"0": "aa" * 20, "1": "bb" * 20, "2": "cc" * 20}},
    "another spelling": {"members": {"1": "aa" * 20, "02": "bb" * 20, "3": "cc" * 20}},
    "one address twice": {"members": {"1": "aa" * 20, "2": "aa" * 20, "3": "cc" * 20}},
    "zero": {"members": {"1": "00" * 20, "2": "aa" * 20, "3": "cc" * 20}},
    "short": {"members": {"1": "bb" * 19, "2": "aa" * 20, "3": "cc" * 20}},
    "capitals": {"members": {"1": "BB" * 20, "2": "aa" * 20, "3": "cc" * 20}},
    "a number": {"members": {"1": 1, "2": "aa" * 20, "3": "cc" * 20}},
    "seventeen": {"members": {str(i): f"{i:040x}" for i in range(1, 18)}},
    "threshold zero": {"threshold": 0},
    "threshold eight": {"threshold": 8},
    "even": {"modulus": f"{1 << 600:x}"},
    "tiny": {"modulus": "3"},
    "signed": {"modulus": "-" + "f" * 200},
    "leading zeros": {"modulus": "0" + "f" * 200},
    "underscores": {"modulus": "f_" + "f" * 200},
    "too long": {"modulus": "f" * 4_097},
    "no time": {"at": None},
    "no epoch": {"key_epoch": True},
    "no sharing": {"sharing": None},
    "a short sharing": {"sharing": "ab" * 31},
    "a sharing in capitals": {"sharing": "AB" * 32},
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_committee_is_refused(name: str) -> None:
    venue = Venue(names=("ada",))
    entry = entry_of(venue.state, refreshed(venue.state, venue.now), venue.now, fields=MALFORMED[name])
    with pytest.raises(DecodeError):
        venue.state.checked(entry)


def test_nobody_takes_office_without_shares() -> None:
    venue = Venue(names=("ada",))
    following = replace(refreshed(venue.state, venue.now), sharing=NO_SHARING)
    assert "none is named" in refused(venue, lambda: venue.take(entry_of(venue.state, following, venue.now)))


def test_an_entry_is_good_once_and_in_one_log() -> None:
    venue, elsewhere = Venue(names=("ada",)), Venue(names=("ada",), terms=_of_another_venue())
    made = change(venue, refreshed)
    assert "2 is next" in refused(venue, lambda: venue.take(made))
    elsewhere.now = venue.now
    assert "a member of neither" in refused(elsewhere, lambda: elsewhere.take(made))
    # Of two that were signed for one place only the first counts, whatever it was.
    at = elsewhere.now + 1
    late = entry_of(elsewhere.state, rotated(elsewhere.state, at), at)
    change(elsewhere, refreshed)
    assert "2 is next" in refused(elsewhere, lambda: elsewhere.take(late))


def _of_another_venue() -> Terms:
    return replace(some_terms(), venue=b"\x22" * 32)


def test_signatures_after_one_change_are_not_good_after_another() -> None:
    """The epoch alone would be the same; `before` is not."""
    venue, other = Venue(names=("ada",)), Venue(names=("ada",))
    change(venue, refreshed)
    change(other, rotated)
    at = venue.now + 1
    made = entry_of(venue.state, refreshed(venue.state, at), at)
    other.now = venue.now = at
    entry = replace(made, fields={**made.fields, "modulus": f"{int(other.state.key.n):x}"})
    assert "a member of neither" in refused(other, lambda: other.take(entry))
    venue.take(made)


def test_there_is_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenure, "MAX_TENURES", 2)
    venue = Venue(names=("ada",))
    change(venue, refreshed)
    at = venue.now + 1
    venue.now = at
    entry = entry_of(venue.state, refreshed(venue.state, at), at)
    assert "the most there may be" in refused(venue, lambda: venue.take(entry))


def test_what_members_sign_is_what_eip712_says() -> None:
    venue = Venue(names=("ada",))
    before, following = venue.state.tenures.current, rotated(venue.state, venue.now)
    row = [{"name": n, "type": t} for n, t in (("keyEpoch", "uint256"), ("members", "address[]"))]
    row += [{"name": n, "type": t} for n, t in (("threshold", "uint256"), ("keyId", "bytes32"))]
    row += [{"name": "sharing", "type": "bytes32"}]
    data = {
        "types": {
            "EIP712Domain": DOMAIN_TYPE,
            "Tenure": row,
            "Succession": [
                {"name": "venue", "type": "bytes32"},
                {"name": "at", "type": "uint256"},
                {"name": "before", "type": "Tenure"},
                {"name": "next", "type": "Tenure"},
            ],
        },
        "primaryType": "Succession",
        "domain": {
            "name": "darkpool",
            "version": "1",
            "chainId": venue.terms.chain_id,
            "verifyingContract": "0x" + venue.terms.contract.hex(),
        },
        "message": {
            "venue": venue.terms.venue,
            "at": venue.now,
            **{
                name: {
                    "keyEpoch": t.key_epoch,
                    "members": ["0x" + a.hex() for a in t.signers.addresses.values()],
                    "threshold": 1,
                    "keyId": t.key.key_id,
                    "sharing": t.sharing,
                }
                for name, t in (("before", before), ("next", following))
            },
        },
    }
    digest = before.succession(following, venue.terms.domain, venue.terms.venue)
    (seat,) = (s for s in seats() if s.index == 1)
    signed = Account.sign_message(encode_typed_data(full_message=data), seat.signing_key)
    assert bytes(signed.signature) == sign_digest(digest, seat.signing_key)


# --- who reads it later -----------------------------------------------------------------------------


def changed_twice() -> Venue:
    venue = Venue(names=("ada", "ben"))
    crossed(venue)
    venue.settled()
    change(venue, rotated)
    change(venue, replaced)
    return venue


def test_a_snapshot_holds_the_committees() -> None:
    venue = changed_twice()
    written = snapshot.encode(venue.state, Frontier())
    first = seats()[0].committee.key, signers()
    again, _ = snapshot.decode(written, *first, lambda _: b"")
    assert portrait(again) == portrait(venue.state)
    assert again.tenures == venue.state.tenures
    assert again.last_seal == venue.state.last_seal
    assert snapshot.encode(again, Frontier()) == written
    assert portrait(replayed(venue)) == portrait(venue.state)


def test_whoever_knows_the_first_committee_can_follow_to_the_present_one() -> None:
    venue = changed_twice()
    place: tuple[Domain, bytes] = venue.terms.domain, venue.terms.venue
    entries = tuple(venue.state.tenures.encode())
    assert read_tenures(entries, *place) == venue.state.tenures
    assert read_tenures(entries, *place).first.hash == Tenure(signers(), seats()[0].committee.key).hash
    first = Message.decode(entries[0])
    others = {s.index: s.signer.hex() for s in other_seats()}
    broken: list[tuple[bytes, ...]] = [
        (),
        entries[1:],
        entries[::2],
        (*entries, entries[2]),
        (entries[0], *entries),
        (replace(first, op="market").encode(), *entries[1:]),
        (replace(first, blobs=[b""]).encode(), *entries[1:]),
        (replace(first, fields={**first.fields, "members": others}).encode(), *entries[1:]),
        (replace(first, fields={**first.fields, "sharing": "5a" * 32}).encode(), *entries[1:]),
        (replace(first, fields={**first.fields, "at": 1}).encode(), *entries[1:]),
        (b"", *entries),
        entries[:1] * 513,
    ]
    for wrong in broken:
        with pytest.raises(CommitmentsError):
            read_tenures(wrong, *place)
    with pytest.raises(DecodeError, match="a member of neither"):
        read_tenures(entries, place[0], bytes(32))
    with pytest.raises(DecodeError, match="a member of neither"):
        read_tenures(entries, Domain(1, place[0].contract), place[1])


def test_keys_are_found_by_name_and_others_are_not() -> None:
    tenures = changed_twice().state.tenures
    for key in (seats()[0].committee.key, other_seats()[0].committee.key):
        assert tenures.key(key.key_id) == key
    with pytest.raises(DecodeError, match="no committee"):
        tenures.key(bytes(32))


def test_a_quorum_is_of_the_members_of_its_own_time() -> None:
    venue = changed_twice()
    digest = bytes(32)
    signed = [sign_digest(digest, seat.signing_key) for seat in seats()]
    check_result(digest, signed, venue.state.tenures.at(0).signers)
    with pytest.raises(OrderRefused):
        check_result(digest, signed, venue.state.signers)
