"""The read model of a log whose market changes, or that it cannot take in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from darkpool.effects import Effects
from darkpool.engine import Committed
from darkpool.listing import RoundResult
from darkpool.log import Log, Watch
from darkpool.market import Grid, Market, RoundState
from darkpool.message import Message, terms_message
from darkpool.projection import Projector
from darkpool.state import VenueState
from darkpool.store.database import Database, sqlite_url
from darkpool.store.records import FillState, RoundRow
from darkpool.store.venue_store import VenueStore
from darkpool.types import Quanta, Tick
from tests.venue_log import Venue, crossed
from tests.venue_support import buy, key_of, sell, signers

PRICE = "1020"  # of level 2, where the round crosses
OTHER_GRIDS = {
    "recentred": Grid(Quanta(1_050), Quanta(10), 4),
    "fewer levels": Grid(Quanta(1_000), Quanta(10), 2),
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[VenueStore]:
    database = Database.open(sqlite_url(tmp_path / "store.db"))
    yield VenueStore(database)
    database.close()


class Boxed(Venue):
    """One whose results name the members whose boxes they hold, as an operator's do."""

    def result_entry(self, result: RoundResult, signed_by: Sequence[int] = (1, 2, 3)) -> Message:
        entry = super().result_entry(result, signed_by)
        return Message(entry.op, {**entry.fields, "boxed": []}, entry.blobs)


def changed(venue: Venue, grid: Grid) -> None:
    terms = replace(venue.terms, market=replace(venue.terms.market, grid=grid))
    venue.append("market", terms_message(terms, venue.now).fields)


def opened(store: VenueStore, venue: Venue) -> Projector:
    """The read model of an operator that starts with the venue's log in its database."""
    store.append(store.size(), venue.entries[store.size() :])
    projectors: list[Projector] = []

    def text(market: Market, level: Tick) -> str:
        return str(market.grid.price(level))

    def fold(watch: Watch) -> Log:
        return Log.open(store, venue.terms.key, signers(), watch)

    def watch(state: VenueState, sequence: int, root: bytes, entry: Message, effects: Effects) -> None:
        if not projectors:
            projectors.append(Projector(store, state, key_of("op"), lambda _: None, text, fold))
        projectors[0].take(Committed(sequence, root, entry, effects))

    assert fold(watch).size == store.size()
    projectors[0].flush()
    return projectors[0]


def told(store: VenueStore, number: int = 1) -> list[Mapping[str, object]]:
    """What a round's events said."""
    rounds = [json.loads(event.data) for event in store.events() if event.kind == "round"]
    return [data for data in rounds if data["round"] == number]


def row_of(store: VenueStore, venue: Venue, number: int = 1) -> RoundRow:
    row = store.round(venue.terms.market.id, number)
    assert row is not None
    return row


def fills(store: VenueStore, venue: Venue) -> set[FillState]:
    return {fill.state for fill in store.round_fills(venue.terms.market.id, 1)}


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("final", [True, False])
@pytest.mark.parametrize("after", ["result", "window", "open"])
@pytest.mark.parametrize("grid", OTHER_GRIDS)
def test_a_round_keeps_its_price_whatever_grid_its_market_has_later(
    store: VenueStore, grid: str, after: str, *, final: bool, restarts: bool
) -> None:
    venue = Boxed(names=("ada", "ben"))
    crossed(venue)
    for step in ("result", "window", "open"):
        if step == "window":
            venue.window()
        if step == after:
            changed(venue, OTHER_GRIDS[grid])
        if restarts:
            assert opened(store, venue).behind == ""
    venue.settled(final=final)
    assert opened(store, venue).behind == ""
    end = "settled" if final else "void"
    prices = [(data["state"], data["price"]) for data in told(store) if "price" in data]
    assert prices == [("cleared", PRICE), ("settling", PRICE), (end, PRICE)]
    assert (row_of(store, venue).price, row_of(store, venue).price_text) == (2, PRICE)
    assert fills(store, venue) == {FillState.SETTLED if final else FillState.BUSTED}


def test_a_round_that_is_sealed_under_new_terms_is_one_of_those_terms(store: VenueStore) -> None:
    venue = Venue(names=("ada", "ben"))
    changed(venue, OTHER_GRIDS["recentred"])
    opened(store, venue)
    assert row_of(store, venue).terms_hash == venue.terms.hash
    venue.terms = venue.book.terms
    for wallet in venue.wallets.values():
        wallet.terms = venue.terms
    venue.place("ada", buy(3, 1))
    venue.place("ben", sell(0, 1))
    venue.seal()
    opened(store, venue)
    row = row_of(store, venue)
    assert (row.reference, row.reference_price, row.terms_hash) == (0, "1050", venue.terms.hash)


def test_an_entry_that_cannot_be_taken_in_stops_the_read_model_and_not_the_venue(
    store: VenueStore, caplog: pytest.LogCaptureFixture
) -> None:
    venue = Venue(names=("ada", "ben"))  # its results lack the fields of boxes
    venue.place("ada", buy(3, 1))
    venue.place("ben", sell(0, 1))
    sealed = venue.seal()
    assert opened(store, venue).behind == ""
    whole = store.projected()
    venue.finish(sealed)
    venue.settled()
    for _ in range(2):
        caplog.clear()
        assert opened(store, venue).behind == f"entry {whole} cannot be taken in (KeyError)"
        assert caplog.messages == [f"the read model stops before entry {whole}"]
        assert store.projected() == whole < store.size()
    assert row_of(store, venue).state is RoundState.SEALED
    assert fills(store, venue) == set()
