"""The end of a sealed list: results and aborts need certificates of that list."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from darkpool.book import End
from darkpool.eip712 import sign_digest
from darkpool.listing import NO_CROSS
from darkpool.market import RoundState
from darkpool.netting import BOX_BYTES
from darkpool.types import Lots
from tests.venue_log import crossing, crossing_result, refused
from tests.venue_support import (
    buy,
    key_of,
    sell,
    signatures_of,
)

WINDOW = 600  # the terms' settle window, seconds


def test_a_result_needs_the_signatures_of_a_quorum() -> None:
    venue = crossing()
    sealed = venue.sealed_list
    result = crossing_result(venue)
    for members in ((), (1,), (1, 2), (2, 3)):
        refused(venue, lambda members=members: venue.take(venue.result_entry(result, members)))  # type: ignore[misc]
    other = replace(result, volume=Lots(2))
    entry = venue.result_entry(result)
    forged = replace(entry, fields={**entry.fields, "volume": other.volume})
    assert "0/3 members signed" in refused(venue, lambda: venue.take(forged))
    twice = replace(entry, blobs=[entry.blobs[0]] * 3)
    refused(venue, lambda: venue.take(twice))
    stranger = replace(entry, blobs=[*entry.blobs[:2], sign_digest(bytes(32), key_of("ada"))])
    refused(venue, lambda: venue.take(stranger))
    no_cross = replace(
        venue.result_entry(NO_CROSS), blobs=signatures_of(sealed.digest(venue.terms.domain)), fields={}
    )
    refused(venue, lambda: venue.take(no_cross))
    effects = venue.take(entry)
    assert effects.result == result
    assert effects.cleared is not None
    assert effects.cleared.ends == sealed.sealed_at + WINDOW
    assert {d.amount for d in effects.cleared.deltas} == {7, -7, 1_020, -1_020}
    assert (effects.cleared.at, venue.state.unsettled) == (venue.now, [effects.cleared])
    assert "not the sealed one" in refused(venue, lambda: venue.take(entry))


@pytest.mark.parametrize(
    "change",
    [
        {"nets": None},
        {"nets": [["aa" * 20]]},
        {"nets": [["aa" * 19, 1]]},
        {"nets": [["aa" * 20, True]]},
        {"nets": [["aa" * 20, 1 << 60]]},
        {"nets": [["bb" * 20, 1], ["aa" * 20, -1]]},
        {"nets": [["aa" * 20, 1], ["aa" * 20, -1]]},
        {"nets": [["aa" * 20, 1], ["bb" * 20, -1]]},
        {"nets": [["00" * 20, 1], ["bb" * 20, -1]]},
        {"nets": []},
        {"price": 4},
        {"price": 256},
        {"volume": 0},
        {"volume": 1 << 48},
        {"signatures": 0},
        {"signatures": 4},
        {"signatures": None},
        {"round": 2},
    ],
)
def test_a_result_that_is_none_is_refused(change: dict[str, Any]) -> None:
    venue = crossing()
    entry = venue.result_entry(crossing_result(venue))
    assert refused(venue, lambda: venue.take(replace(entry, fields={**entry.fields, **change})))


def test_an_abort_needs_so_many_promises_that_no_result_can_be_signed() -> None:
    venue = crossing()
    for members in ((), (1,), (3,)):
        refused(venue, lambda members=members: venue.take(venue.abort_entry(members)))  # type: ignore[misc]
    entry = venue.abort_entry()
    for blobs in ([entry.blobs[0]] * 2, signatures_of(venue.sealed_list.digest(venue.terms.domain))):
        refused(venue, lambda blobs=blobs: venue.take(replace(entry, blobs=blobs)))  # type: ignore[misc]
    refused(venue, lambda: venue.take(venue.abort_entry(reason="x" * 201)))
    effects = venue.take(entry)
    assert effects.reason == "a test"
    assert [e.end for e in effects.ended] == [End.RELEASED] * 2
    assert venue.book.current_round.state is RoundState.ABORTED
    assert "not the sealed one" in refused(venue, lambda: venue.take(entry))
    venue.check()


def test_a_certificate_is_of_its_list_alone() -> None:
    venue = crossing()
    abort, result = venue.abort_entry(), venue.result_entry(crossing_result(venue))
    venue.abort()
    venue.open(2)
    venue.place("ada", buy(3, 1))
    venue.place("ben", sell(0, 1))
    venue.seal()
    for entry in (abort, result):
        again = replace(entry, fields={**entry.fields, "round": 2})
        refused(venue, lambda again=again: venue.take(again))  # type: ignore[misc]


@pytest.mark.parametrize(
    "boxed, sizes, problem",
    [
        ([1], [BOX_BYTES, BOX_BYTES + 1], "of 145 bytes"),
        ([1], [BOX_BYTES, 1 << 20], "of 145 bytes"),
        ([1], [BOX_BYTES], "one box for each account"),
        ([1, 2], [BOX_BYTES, BOX_BYTES], "one box for each account"),
        ([2, 1], [BOX_BYTES] * 4, "do not ascend"),
        ([1, 1], [BOX_BYTES] * 4, "do not ascend"),
        ([9], [BOX_BYTES, BOX_BYTES], "not a list of members"),
        (["1"], [BOX_BYTES, BOX_BYTES], "not a list of members"),
        (None, [BOX_BYTES, BOX_BYTES], "not a list of members"),
    ],
)
def test_sealed_totals_are_as_many_and_as_long_as_they_must_be(
    boxed: list[object] | None, sizes: list[int], problem: str
) -> None:
    """A member could else make an entry that no frame carries to the others."""
    venue = crossing()
    entry = venue.result_entry(crossing_result(venue))
    odd = replace(
        entry, fields={**entry.fields, "boxed": boxed}, blobs=[*entry.blobs, *(bytes(n) for n in sizes)]
    )
    assert problem in refused(venue, lambda: venue.take(odd))
    whole = replace(
        entry,
        fields={**entry.fields, "boxed": [1]},
        blobs=[*entry.blobs, *(bytes(BOX_BYTES) for _ in range(2))],
    )
    assert venue.take(whole).cleared is not None
