"""Reading real orders by their handles: exactly what was sealed comes out, for the named key alone."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commitments.auditor_key import SecretKey
from commitments.auditor_shares import combine, deal, partial
from commitments.discrete_log import Table
from commitments.group import Point, using_backend
from commitments.pedersen import generator_g, generator_h
from compliance.handles import Opened, answer, handle_of, handle_points, open_order, request_context
from darkpool.errors import OrderRefused
from darkpool.market import Grid, Side
from darkpool.order import Order, SealedOrder
from darkpool.types import Lots, Quanta, Tick
from tests.commitments_support import published_key
from tests.compliance.sealed_orders import SECRETS, account_of, seal, seal_cached, terms_for
from tests.venue_support import buy, sell

LARGEST = (1 << 32) - 1
REFERENCE = "Order of 3 March, file 7/2031"


@cache
def table() -> Table:
    return Table.build(16)


def blinds_of(
    order: SealedOrder,
    secret: SecretKey,
    members: int = 1,
    threshold: int = 0,
    profile: str = "insecure-test",
) -> tuple[Point, Point]:
    """r_q H and r_m H as the holders of the key open them, all the way."""
    sharing, shares = deal(secret, members, threshold)
    context = request_context([order], secret.public, REFERENCE)
    handles, key = handle_points([order], secret.public), published_key(profile)
    answers = [answer(share, [order], REFERENCE, key) for share in shares[-threshold - 1 :]]
    q, m = combine(sharing, handles, context, answers).points
    return q, m


def read(order: SealedOrder, secret: SecretKey = SECRETS[0], profile: str = "insecure-test") -> Opened:
    return open_order(order, secret.public, blinds_of(order, secret, profile=profile), table())


# --- what is read ------------------------------------------------------------------------------------


@given(
    side=st.sampled_from(Side),
    level=st.integers(0, 3),
    quantity=st.sampled_from([1, 2, LARGEST]) | st.integers(1, LARGEST),
)
@settings(max_examples=12, deadline=None)
def test_any_order_reads_as_it_was_sealed(side: Side, level: int, quantity: int) -> None:
    own = seal(Order(side, Tick(level), Lots(quantity)), 4, terms_for([SECRETS[0].public]))
    statement = own.sealed.statement
    assert read(own.sealed) == Opened(
        *(own.sealed.hash, account_of("ada"), statement.market, own.sealed.nonce),
        *(Lots(quantity), side, Tick(level), Quanta(statement.price(level))),
    )


def test_a_decoy_is_zero_lots_and_nothing_more() -> None:
    opened = read(seal_cached(buy(2, 0), 1, auditors=1).sealed)
    assert (opened.quantity, opened.side, opened.level, opened.price) == (0, None, None, None)


@pytest.mark.parametrize("secret", SECRETS)
def test_every_auditor_of_the_order_reads_it(secret: SecretKey) -> None:
    opened = read(seal_cached(sell(3, 12_345), 2, auditors=2).sealed, secret)
    assert (opened.quantity, opened.side, opened.level, opened.price) == (12_345, Side.SELL, 3, 1_030)


def test_several_authorities_read_together() -> None:
    order = seal_cached(buy(0, 70_000), 3, auditors=1).sealed
    blinds = blinds_of(order, SECRETS[0], members=4, threshold=2)
    assert open_order(order, SECRETS[0].public, blinds, table()).quantity == 70_000


def test_the_reference_backend_agrees() -> None:
    order = seal_cached(buy(1, 300), 5, auditors=1).sealed
    raw, blinds = order.raw, [p.encode() for p in blinds_of(order, SECRETS[0])]
    stored, auditor = table().encode(), SECRETS[0].public.encode()
    with using_backend("reference"):
        again = SealedOrder.decode(raw, terms_for().key)
        q, m = (Point.decode(b, "blind") for b in blinds)
        opened = open_order(again, Point.decode(auditor, "key"), (q, m), Table.decode(stored))
        assert (opened.quantity, opened.side, opened.level) == (300, Side.BUY, 1)


@pytest.mark.production
def test_production_size() -> None:
    terms = terms_for([SECRETS[0].public])
    market = replace(terms.market, grid=Grid(Quanta(23_000), Quanta(10), 64))
    terms = replace(terms, key=published_key("production"), market=market)
    opened = read(seal(sell(63, 4_000_000_000), 9, terms).sealed, profile="production")
    assert (opened.quantity, opened.side, opened.level, opened.price) == (
        *(4_000_000_000, Side.SELL),
        *(63, 23_630),
    )


def test_repr_shows_nothing_that_was_hidden() -> None:
    opened = read(seal_cached(sell(3, 12_345), 2, auditors=2).sealed)
    assert not any(text in repr(opened) for text in ("12345", "SELL", "1030"))


# --- what is refused ---------------------------------------------------------------------------------


def wrong_blinds(kind: str) -> tuple[Point, Point]:
    """Points that are not r_q H and r_m H of ada's sell of 12,345 lots."""
    q, m = blinds_of(seal_cached(sell(3, 12_345), 2, auditors=2).sealed, SECRETS[0])
    g, h = generator_g(), generator_h()
    return {
        "exchanged": (m, q),
        "another blinding of q": (q + h, m),
        "another blinding of m": (q, m + h),
        "another quantity": (q + g, m),
        "no multiple of the quantity": (q, m + g),
        "a slot below the grid": (q, m + g * (12_345 * 8)),
        "a slot above the grid": (q, m - g * 12_345),
        "nothing": (Point.identity(), Point.identity()),
        "of another order": blinds_of(seal_cached(buy(0, 70_000), 3, auditors=1).sealed, SECRETS[0]),
    }[kind]


@pytest.mark.parametrize(
    "kind",
    [
        *("exchanged", "another blinding of q", "another blinding of m", "another quantity"),
        *("no multiple of the quantity", "a slot below the grid", "a slot above the grid"),
        *("nothing", "of another order"),
    ],
)
def test_points_that_do_not_open_the_order_are_refused(kind: str) -> None:
    order, blinds = seal_cached(sell(3, 12_345), 2, auditors=2).sealed, wrong_blinds(kind)
    with pytest.raises(OrderRefused, match="not those of its commitments") as refused:
        open_order(order, SECRETS[0].public, blinds, table())
    assert refused.value.code == "handle-mismatch"
    assert "12345" not in str(refused.value) + refused.value.hint


def test_a_key_the_order_does_not_name_is_refused() -> None:
    order = seal_cached(buy(0, 70_000), 3, auditors=1).sealed
    for call in (
        lambda: handle_of(order, SECRETS[1].public),
        lambda: handle_points([order], SECRETS[1].public),
        lambda: open_order(order, SECRETS[1].public, blinds_of(order, SECRETS[0]), table()),
    ):
        with pytest.raises(OrderRefused, match="no handle for this auditor key") as refused:
            call()
        assert refused.value.code == "handle-missing"


def test_another_auditors_secret_opens_nothing() -> None:
    order = seal_cached(buy(0, 70_000), 3, auditors=1).sealed
    sharing, (share,) = deal(SECRETS[1], 1, 0)
    handles = handle_points([order], SECRETS[0].public)
    q, m = combine(sharing, handles, b"", [partial(share, handles, b"")]).points
    with pytest.raises(OrderRefused, match="not those of its commitments"):
        open_order(order, SECRETS[0].public, (q, m), table())


# --- the request -------------------------------------------------------------------------------------


def test_a_request_is_bound_to_orders_key_and_reference() -> None:
    orders = [seal_cached(buy(0, n), n, auditors=2).sealed for n in (1, 2)]
    first, second = (secret.public for secret in SECRETS)
    contexts = [
        request_context(orders, first, REFERENCE),
        request_context(orders, second, REFERENCE),
        request_context(orders, first, REFERENCE + "."),
        request_context(orders[::-1], first, REFERENCE),
        request_context(orders[:1], first, REFERENCE),
    ]
    assert len(set(contexts)) == len(contexts)
    assert [len(context) for context in contexts] == [32] * 5


@pytest.mark.parametrize("reference", ["", "x" * 257, "é" * 129, "a\nb", "\x1b[2J"])
def test_a_reference_that_is_none_is_refused(reference: str) -> None:
    with pytest.raises(OrderRefused, match="legal reference"):
        request_context([], SECRETS[0].public, reference)


def test_handles_copied_from_another_order_get_no_answer() -> None:
    own, victim = (seal_cached(buy(0, n), n, auditors=1).sealed for n in (1, 2))
    stolen = replace(own.claim, sent=replace(own.sent, handles=victim.sent.handles))
    _, (share,) = deal(SECRETS[0], 1, 0)
    with pytest.raises(OrderRefused, match="request: group equations"):
        answer(share, [replace(own, claim=stolen)], REFERENCE, published_key())


def test_a_request_for_nothing_gets_no_answer() -> None:
    _, (share,) = deal(SECRETS[0], 1, 0)
    with pytest.raises(OrderRefused, match="request: 0 handles"):
        answer(share, [], REFERENCE, published_key())
