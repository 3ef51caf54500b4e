"""Orders handed to a member: kept before they are acknowledged, and then logged or refused with a reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from darkpool import eip712
from darkpool.committee import handed as module
from darkpool.committee.handed import acknowledgement_digest
from darkpool.errors import Busy, OrderRefused
from darkpool.order import MAX_ORDER_BYTES, SealedOrder
from darkpool.store.database import StoreError
from darkpool.store.member_store import MemberStore
from darkpool.store.records import HandedState
from tests.member_host import Host, fresh_venue, refusal
from tests.test_admission import broken
from tests.venue_log import Venue
from tests.venue_support import buy, with_statement


@pytest.fixture
def venue() -> Venue:
    return fresh_venue(names=("ada", "ben"))


@pytest.fixture
def host(tmp_path: Path, venue: Venue) -> Iterator[Host]:
    made = Host(tmp_path)
    made.follow(venue)
    yield made
    made.close()


def an_order(venue: Venue, name: str = "ada") -> SealedOrder:
    """An order that was not sent to the operator."""
    draft = venue.draft(name, buy(1, 1))
    venue.wallets[name].accepted(buy(1, 1), draft)
    return venue.sealed(name, draft)


def waiting(host: Host) -> list[bytes]:
    return list(host.ask("handed").blobs)


def test_an_acknowledgement_is_the_members_promise_and_is_given_again(host: Host, venue: Venue) -> None:
    order = an_order(venue)
    given = host.member.handed.take(order.raw)
    assert given.order == order.hash
    signed = acknowledgement_digest(venue.terms.domain, order.hash, given.time)
    eip712.check_signer(signed, given.signature, host.seat.signer)
    assert host.member.handed.take(order.raw) == given
    host.restart()
    assert host.member.handed.take(order.raw) == given
    assert waiting(host) == [order.raw]
    assert host.ask("status").fields["handed"] == 1


def test_what_could_never_be_logged_is_not_taken(host: Host, venue: Venue) -> None:
    poor = fresh_venue(names=("ada", "ben", "cyd"))
    good = an_order(venue)
    draft = venue.draft("ben", buy(1, 1))
    bad = {
        "account": poor.sealed("cyd", poor.draft("cyd", buy(1, 1))).raw,
        "signature": good.raw[:-1] + bytes([good.raw[-1] ^ 1]),
        "proof": broken(venue, "ben", draft),
        "version": b"\xff" * 9_000,
        "order": bytes(MAX_ORDER_BYTES + 1),
    }
    for field, raw in bad.items():
        with pytest.raises(OrderRefused, match=field):
            host.member.handed.take(raw)
    venue.chain(venue.event("withdrawal_requested", "ada"))
    host.follow(venue)
    with pytest.raises(OrderRefused, match="pending"):
        host.member.handed.take(good.raw)
    assert waiting(host) == []
    assert host.member.handed.count == 0


def test_nothing_is_acknowledged_that_is_not_kept(
    host: Host, venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = an_order(venue)

    def away(*_: object) -> None:
        raise StoreError("database: away")

    with monkeypatch.context() as patched:
        patched.setattr(MemberStore, "hand", away)
        with pytest.raises(StoreError):
            host.member.handed.take(order.raw)
    assert host.member.handed.count == 0
    assert waiting(host) == []


def test_what_is_logged_waits_no_more(host: Host, venue: Venue) -> None:
    orders = [an_order(venue), an_order(venue, "ben")]
    for order in orders:
        host.member.handed.take(order.raw)
    assert waiting(host) == [o.raw for o in orders]  # oldest first
    venue.answer(orders[0].raw)
    host.follow(venue)
    assert waiting(host) == [orders[1].raw]
    row = host.member.handed.row(orders[0].hash)
    assert row is not None
    assert row.state is HandedState.LOGGED
    with pytest.raises(OrderRefused, match="nonce"):
        host.member.handed.take(an_order_again(venue, orders[0]))


def an_order_again(venue: Venue, order: SealedOrder) -> bytes:
    """Another order of the same nonce."""
    return venue.sealed("ada", with_statement(venue.draft("ada", buy(2, 2)), nonce=order.nonce)).raw


def test_what_was_logged_when_the_member_died_waits_no_more(
    host: Host, venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = an_order(venue)
    host.member.handed.take(order.raw)
    venue.answer(order.raw)

    def dies(*_: object) -> None:
        raise StoreError("killed between the entry and the mark")

    with monkeypatch.context() as patched:
        patched.setattr(MemberStore, "mark", dies)
        assert "killed" in refusal(host.append(venue.entries[host.member.log.size :]), retry=True)
    assert host.member.log.size == len(venue.entries)
    host.restart()
    assert waiting(host) == []
    row = host.member.handed.row(order.hash)
    assert row is not None
    assert row.state is HandedState.LOGGED


def test_a_refusal_has_its_reason_and_may_be_tried_against(host: Host, venue: Venue) -> None:
    order = an_order(venue)
    host.member.handed.take(order.raw)
    for _ in range(2):
        assert host.ask("handed_refused", order=order.hash.hex(), reason="no room").op == "ok"
    assert waiting(host) == []
    row = host.member.handed.row(order.hash)
    assert row is not None
    assert (row.state, row.reason) == (HandedState.REFUSED, "no room")
    assert host.member.handed.take(order.raw).order == order.hash  # what stood against it may have passed
    assert waiting(host) == [order.raw]
    assert host.ask("handed_refused", order="11" * 32, reason="unknown").op == "ok"


def test_a_reason_is_always_given(host: Host, venue: Venue) -> None:
    order = an_order(venue)
    host.member.handed.take(order.raw)
    host.ask("handed_refused", order=order.hash.hex(), reason="")
    row = host.member.handed.row(order.hash)
    assert row is not None
    assert row.reason


def test_one_account_does_not_fill_the_queue(
    host: Host, venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING_OF_ONE", 1)
    host.member.handed.take(an_order(venue).raw)
    with pytest.raises(Busy):
        host.member.handed.take(an_order(venue).raw)
    host.restart()
    with pytest.raises(Busy):
        host.member.handed.take(an_order(venue).raw)
    host.member.handed.take(an_order(venue, "ben").raw)
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    monkeypatch.setattr(module, "MAX_WAITING_OF_ONE", 9)
    with pytest.raises(Busy):
        host.member.handed.take(an_order(venue).raw)


def test_who_ignores_handed_orders_gets_no_signature(
    host: Host, venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First nothing more is sealed; what is sealed all the same is not signed."""
    order = an_order(venue)
    host.member.handed.take(order.raw)
    venue.place("ben", buy(1, 1))
    venue.seal()
    host.follow(venue)
    assert host.ask("ready", epoch=1).op == "ready"
    monkeypatch.setattr(module, "PATIENCE_SECONDS", -1)
    assert host.member.handed.late == 1
    assert "wait to be logged" in refusal(host.ask("ready", epoch=1), retry=True)
    assert "wait for more than" in refusal(host.ask("sign", **venue.about()))
    host.ask("handed_refused", order=order.hash.hex(), reason="no room")
    assert host.ask("ready", epoch=1).op == "ready"
    assert host.ask("sign", **venue.about()).op == "signed"
