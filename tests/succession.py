"""Committees that follow that of tests/venue_support.py, and the entries that put them into office."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from commitments.params import INSECURE_TEST
from commitments.threshold import safe_prime
from darkpool.committee.seat import Seat, seats_from_primes
from darkpool.eip712 import sign_digest
from darkpool.message import Message
from darkpool.netting import Signers
from darkpool.state import VenueState
from darkpool.tenure import Tenure
from tests.venue_support import THRESHOLD, seats


@cache
def other_seats() -> tuple[Seat, ...]:
    """Another committee under another key of the same size."""
    half = INSECURE_TEST.modulus_bits // 2
    return tuple(seats_from_primes(safe_prime(half), safe_prime(half), 3, THRESHOLD))


def signers_of(dealt: Sequence[Seat]) -> Signers:
    return Signers(THRESHOLD, {seat.index: seat.signer for seat in dealt})


def refreshed(state: VenueState, at: int) -> Tenure:
    """The present committee with other shares of the same key."""
    now = state.tenures.current
    following = replace(now, key_epoch=now.key_epoch + 1, since=at)
    return replace(following, sharing=next_seat(0, following).committee.digest)


def replaced(state: VenueState, at: int) -> Tenure:
    """Another member 3 in it."""
    addresses = {**state.signers.addresses, 3: other_seats()[2].signer}
    following = replace(refreshed(state, at), signers=Signers(THRESHOLD, addresses))
    return replace(following, sharing=next_seat(0, following, scale=1).committee.digest)


def rotated(state: VenueState, at: int) -> Tenure:
    """The same members with a new key."""
    following = replace(refreshed(state, at), key=other_seats()[0].committee.key)
    return replace(following, sharing=next_seat(0, following).committee.digest)


def next_seat(index: int, following: Tenure, scale: int = 0) -> Seat:
    """One in that committee, of index + 1: with its shares as they are, under its epoch."""
    dealt = other_seats() if following.key == other_seats()[0].committee.key else seats()
    committee = replace(dealt[index].committee, epoch=following.key_epoch, scale=scale)
    return replace(dealt[index], committee=committee, signing_key=seats()[index].signing_key)


def entry_of(
    state: VenueState,
    following: Tenure,
    now: int,
    *,
    by: Sequence[Seat] | None = None,
    fields: Mapping[str, Any] | None = None,
) -> Message:
    """The entry, signed by those, or by all of both committees. `fields`: put in after."""
    venue = next(iter(state.books.values())).terms.venue
    digest = state.tenures.current.succession(following, state.domain, venue)
    members = {*state.signers.addresses.values(), *following.signers.addresses.values()}
    everybody = [seat for seat in (*seats(), *other_seats()) if seat.signer in members]
    signed = [sign_digest(digest, s.signing_key) for s in (everybody if by is None else by)]
    entry = Message("committee", {"time": now, **following.fields(), **(fields or {})}, signed)
    return Message.decode(entry.encode())
