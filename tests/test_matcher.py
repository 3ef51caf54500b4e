"""Encrypted sums, decrypted by the seats, against the plain curves of the same orders."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commitments.paillier import unpack
from commitments.threshold import combine, partial
from darkpool.auction import PlainOrder, curves
from darkpool.listing import SealedList
from darkpool.market import Grid
from darkpool.matcher import Matcher, Product
from darkpool.order import Order
from darkpool.types import Address, Quanta
from tests.venue_log import Venue
from tests.venue_support import NAMES, buy, seats, sell, some_terms

LEVELS = 6  # more than one ciphertext at 768 bits


@pytest.fixture(scope="module")
def venue() -> Venue:
    made = Venue(terms=some_terms(grid=Grid(Quanta(1_000), Quanta(10), LEVELS)))
    plan: list[tuple[str, Order]] = [
        ("ada", buy(5, 3)), ("ben", sell(0, 2)), ("ada", sell(2, 4)), ("cyd", buy(0, 2**32 - 1)),
        ("ben", buy(2, 0)), ("ada", buy(2, 9)), ("cyd", sell(5, 2**32 - 1)),
    ]  # fmt: skip
    for name, order in plan:
        made.place(name, order)
    return made


@pytest.fixture(scope="module")
def sealed(venue: Venue) -> SealedList:
    return venue.seal()


@pytest.fixture(scope="module")
def matcher(venue: Venue, sealed: SealedList) -> Matcher:
    return Matcher(venue.terms, sealed)


def decrypted(matcher: Matcher, product: Product) -> list[int]:
    """The cumulative values of a product, by two of the seats."""
    committee = seats()[0].committee
    partials = {s.index: partial(committee, s.share, product.ciphertext) for s in seats()[1:]}
    opening = combine(committee, product.ciphertext, partials)
    return unpack(int(opening.plaintext), matcher.packing.slots_of(product.part))


def plain(venue: Venue, sealed: SealedList, positions: list[int]) -> list[list[int]]:
    """The same in the clear, cut into parts."""
    orders = [
        PlainOrder("-", o.side, o.level, o.quantity)
        for k in positions
        for o in (venue.orders[sealed.orders[k].hash],)
    ]
    demand, supply = curves(orders, LEVELS)
    values = [int(v) for pair in zip(demand, supply, strict=True) for v in pair]
    per = venue.terms.packing.per_ciphertext
    return [values[i : i + per] for i in range(0, len(values), per)]


def test_there_is_more_than_one_part(matcher: Matcher) -> None:
    assert matcher.packing.ciphertexts == 2


def test_the_whole_list_decrypts_to_its_curves(venue: Venue, sealed: SealedList, matcher: Matcher) -> None:
    products = matcher.curves()
    assert [p.part for p in products] == [0, 1]
    expected = plain(venue, sealed, list(range(len(sealed.orders))))
    assert [decrypted(matcher, p) for p in products] == expected


@pytest.mark.parametrize("length", range(8))
def test_prefixes_decrypt_to_their_curves(
    venue: Venue, sealed: SealedList, matcher: Matcher, length: int
) -> None:
    expected = plain(venue, sealed, list(range(length)))
    for parts in ([0], [1], [0, 1]):
        products = matcher.prefix(length, parts)
        assert [p.part for p in products] == parts
        assert [decrypted(matcher, p) for p in products] == [expected[j] for j in parts]


PARTS = st.lists(st.sampled_from([0, 1]), unique=True).map(sorted)


@given(name=st.sampled_from(NAMES), cut=st.integers(0, 7), before=PARTS, after=PARTS, whole=PARTS)
@settings(max_examples=40)
def test_account_products_decrypt_to_what_the_account_has_on_each_side_or_both(
    venue: Venue,
    sealed: SealedList,
    matcher: Matcher,
    name: str,
    cut: int,
    before: list[int],
    after: list[int],
    whole: list[int],
) -> None:
    account = venue.wallets[name].address
    mine = [k for k, o in enumerate(sealed.orders) if o.account == account]
    sides = {b"before": [k for k in mine if k < cut], b"after": [k for k in mine if k >= cut], b"whole": mine}
    found: dict[bytes, dict[int, list[int]]] = {side: {} for side in sides}
    for product in matcher.account(account, cut, before, after, whole):
        found[product.name.split(b"/")[0]][product.part] = decrypted(matcher, product)
    for side, parts in ((b"before", before), (b"after", after)):
        due = parts if sides[side] else []
        expected = plain(venue, sealed, sides[side])
        assert found[side] == {part: expected[part] for part in due}
    # What is asked of both sides together is there, once as a whole or twice in halves, never both.
    apart = [found[side] for side in (b"before", b"after") if sides[side]]
    for part in whole:
        halves = [values[part] for values in apart if part in values]
        if part in found[b"whole"]:
            assert len(halves) < len(apart)
            halves = [found[b"whole"][part]]
        total = [sum(column) for column in zip(*halves, strict=True)]
        assert total == plain(venue, sealed, mine)[part]
    assert found[b"whole"].keys() <= set(whole)


@pytest.mark.parametrize("cut", [0, 7], ids=["all after", "all before"])
def test_an_account_on_one_side_of_the_cut_needs_one_product_a_part(
    sealed: SealedList, matcher: Matcher, cut: int
) -> None:
    for account in sealed.accounts:
        assert len(matcher.account(account, cut, [1], [1], [1])) == 1
        assert len(matcher.account(account, cut, [1], [1], [0])) == 2


def test_an_account_on_both_sides_needs_at_most_three(sealed: SealedList, matcher: Matcher) -> None:
    account = sealed.orders[0].account
    counts = {
        (before, after, whole): len(matcher.account(account, 3, [before], [after], [whole]))
        for before in (0, 1)
        for after in (0, 1)
        for whole in (0, 1)
    }
    assert counts == {key: 2 if len(set(key)) == 1 else 3 for key in counts}


def test_an_account_without_orders_has_nothing_to_open(matcher: Matcher) -> None:
    assert matcher.account(Address(bytes(20)), 3, [0, 1], [0, 1], [0, 1]) == []


def test_no_two_openings_of_a_list_share_a_name(sealed: SealedList, matcher: Matcher) -> None:
    products = matcher.curves()
    for length in range(1, 8):
        products += matcher.prefix(length, [0, 1])
    for cut in range(8):
        for account in sealed.accounts:
            products += matcher.account(account, cut, [0, 1], [0], [0, 1])
    names = [p.name for p in products]
    assert len(names) == len(set(names))


def test_every_member_computes_the_same_products(venue: Venue, sealed: SealedList, matcher: Matcher) -> None:
    again = Matcher(venue.terms, sealed)
    account = sealed.accounts[0]
    assert again.curves() == matcher.curves()
    assert again.prefix(3, [1]) == matcher.prefix(3, [1])
    assert again.account(account, 2, [0], [1], [0]) == matcher.account(account, 2, [0], [1], [0])
