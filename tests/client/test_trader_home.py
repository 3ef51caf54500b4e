"""The trader's folder: durable, its owner's alone, and stubborn about nonces and about who the venue is."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from darkpool.client.outgoing import Outgoing
from darkpool.client.trader_home import MAX_ENDED, SPARE_NONCES, TraderHome
from darkpool.client.venue_identity import VenueIdentity
from darkpool.errors import ConfigError, OrderRefused
from darkpool.receipt import Kind, Receipt
from darkpool.types import Address, Nonce, Signature

DAY = 86_400
NOW = 20_000 * DAY
VENUE = VenueIdentity(b"\x02" * 32, 31_337, Address(b"\x01" * 20), Address(b"\x0e" * 20), b"\x0f" * 32)
RECEIPT = Receipt(
    kind=Kind.ORDER,
    subject=b"\x01" * 32,
    market=b"\x03" * 32,
    account=Address(b"\x04" * 20),
    sequence=3,
    size=4,
    root=b"\x05" * 32,
    round=1,
    time=NOW,
    policy=bytes(32),
    signature=Signature(b"\x06" * 65),
)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[TraderHome]:
    found = TraderHome(tmp_path / "home")
    with found.lock():
        found.fresh()
        yield found


def test_everything_is_the_owners_alone(home: TraderHome) -> None:
    home.put(Outgoing(b"\x01" * 99))
    home.keep_receipt(RECEIPT)
    home.keep_order(b"\x02" * 99)
    for path in [home.folder, *home.folder.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path
    assert not list(home.folder.rglob("*.tmp"))


def test_a_folder_that_others_may_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(ConfigError, match="others may use it"):
        TraderHome(tmp_path / "open")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="no folder"):
        TraderHome(tmp_path / "file")


def test_one_process_at_a_time_signs(home: TraderHome) -> None:
    other = TraderHome(home.folder)
    with pytest.raises(ConfigError, match="another darkpool client"), other.lock():
        pass
    for wish in (lambda: other.reserve(1, 0, (), NOW), lambda: other.end(1), other.fresh):
        with pytest.raises(ConfigError, match="reading only"):
            wish()


def test_the_venue_is_pinned(home: TraderHome) -> None:
    home.pin(VENUE)
    home.pin(VENUE)
    changes: list[dict[str, Any]] = [
        {"venue": b"\x09" * 32},
        {"chain_id": 1},
        {"contract": Address(b"\x09" * 20)},
        {"operator": Address(b"\x09" * 20)},
        {"committee": b"\x09" * 32},
    ]
    for change in changes:
        with pytest.raises(ConfigError, match=f"its {next(iter(change))} is"):
            TraderHome(home.folder).pin(replace(VENUE, **change))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "nul",
        '{"version": 9, "venue": null, "next_nonce": 0, "unfilled": {}, "ended": []}',
        '{"version": 2, "venue": {}, "next_nonce": 0, "unfilled": {}, "ended": []}',
        '{"version": 2, "venue": null, "next_nonce": -1, "unfilled": {}, "ended": []}',
        '{"version": 2, "venue": null, "next_nonce": "0", "unfilled": {}, "ended": []}',
        '{"version": 2, "venue": null, "next_nonce": 0, "unfilled": {"x": 1}, "ended": []}',
        '{"version": 2, "venue": null, "next_nonce": 0, "unfilled": {"1": -1}, "ended": []}',
        '{"version": 2, "venue": null, "next_nonce": 0, "unfilled": [], "ended": []}',
        '{"version": 2, "venue": null, "next_nonce": 0, "unfilled": {}, "ended": ["1"]}',
        '{"version": 2, "venue": null, "next_nonce": 0, "unfilled": {}, "ended": [], "more": 1}',
        "x" * (1 << 21),
    ],
)
def test_a_changed_trader_json_is_refused_and_never_replaced(home: TraderHome, text: str) -> None:
    path = home.folder / "trader.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"trader\.json"):
        TraderHome(home.folder)
    assert path.read_text() == text


def test_a_named_pipe_does_not_hang_us(home: TraderHome) -> None:
    os.mkfifo(home.folder / "orders" / f"{bytes(32).hex()}.order")
    with pytest.raises(ConfigError, match="not a regular file"):
        home.order(bytes(32))


# --- nonces ---------------------------------------------------------------------------------------------


def test_nonces_go_up_and_are_remembered(home: TraderHome) -> None:
    assert home.reserve(3, 0, (), NOW) == [0, 1, 2]
    assert TraderHome(home.folder).next_nonce == 3
    assert home.reserve(1, 3, (), NOW) == [3]


def test_what_the_venue_knows_is_left_out(home: TraderHome) -> None:
    assert home.reserve(2, 5, {7, 9}, NOW) == [10, 11]


def test_after_a_recovery_there_is_room_for_what_was_under_way(tmp_path: Path) -> None:
    home = TraderHome(tmp_path / "home")
    with home.lock():
        assert home.reserve(1, 5, {7}, NOW) == [8 + SPARE_NONCES]
        assert home.reserve(2, 5, {7}, NOW + 2 * DAY) == [8, 9]


def test_what_is_set_aside_is_written_once_with_the_first_nonce(tmp_path: Path) -> None:
    home = TraderHome(tmp_path / "home")
    with home.lock():
        assert not home.has_past
        home.recovered(8, NOW, (3, 5))
        home.recovered(99, NOW, (7,))
        again = TraderHome(home.folder)
        assert (again.has_past, again.next_nonce) == (True, 8 + SPARE_NONCES)
        assert again.ended == {3, 5}


def test_a_nonce_whose_order_was_not_taken_is_free_when_a_day_lies_between(home: TraderHome) -> None:
    assert home.reserve(2, 0, (), NOW) == [0, 1]
    assert home.reserve(1, 0, {1}, NOW + DAY) == [2]
    assert home.reserve(1, 0, {1, 2}, NOW + DAY + DAY - 1) == [3]
    assert home.reserve(1, 0, {1, 2, 3}, NOW + 2 * DAY) == [0]
    assert home.reserve(1, 0, {1, 2, 3}, NOW + 3 * DAY) == [4]


def test_a_nonce_signed_for_anew_names_a_family_that_has_not_ended(home: TraderHome) -> None:
    assert home.reserve(2, 0, (), NOW) == [0, 1]
    home.end(0)  # taken back, and never at the venue
    home.end(1)
    assert home.reserve(1, 0, {1}, NOW + 2 * DAY) == [0]
    assert TraderHome(home.folder).ended == {1}


def test_a_nonce_nothing_was_signed_for_is_free_at_once(home: TraderHome) -> None:
    nonces = home.reserve(3, 0, (), NOW)
    home.unsigned(nonces[1:])
    assert home.reserve(3, 0, (), NOW) == [1, 2, 3]


def test_the_window_is_not_left(home: TraderHome) -> None:
    home.reserve(512, 0, (), NOW)
    with pytest.raises(OrderRefused) as caught:
        home.reserve(1, 0, (), NOW)
    assert caught.value.code == "nonce-beyond-window"
    assert home.reserve(1, 1, (), NOW) == [512]
    assert home.reserve(1, 1, {512}, NOW + 2 * DAY) == [1]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.data())
def test_a_nonce_is_never_signed_for_twice_within_a_day(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Reservations, deaths, refusals, acceptances in any order: what was signed stays unique for a day."""
    folder, now, signed = tmp_path_factory.mktemp("home"), NOW, dict[int, int]()
    folder.chmod(0o700)
    lowest, used = 0, set[int]()
    home = TraderHome(folder)
    with home.lock():
        home.fresh()
    for _ in range(data.draw(st.integers(1, 12))):
        home = TraderHome(folder)  # the process before may have died
        with home.lock():
            nonces = home.reserve(data.draw(st.integers(1, 5)), lowest, used, now)
            taken = data.draw(st.integers(0, len(nonces)))
            home.unsigned(nonces[taken:])
        for nonce in nonces[:taken]:
            assert nonce >= lowest
            assert nonce not in used
            assert now // DAY > signed.get(nonce, -9) // DAY + 1
            signed[nonce] = now
            if data.draw(st.booleans()):
                used.add(nonce)
        while lowest in used:
            used.remove(lowest)
            lowest += 1
        now += data.draw(st.sampled_from([0, 60, DAY // 2, DAY, 2 * DAY]))


# --- outbox, receipts, families -------------------------------------------------------------------------


def test_the_outbox_keeps_orders_in_order_until_they_are_answered(home: TraderHome) -> None:
    first, second = Outgoing(b"\x01" * 99), Outgoing(b"\x02" * 99, (Nonce(4), b"\x03" * 65))
    home.put(first)
    home.put(second)
    again = TraderHome(home.folder)
    assert again.outgoing() == [first, second]
    home.refused(first.hash)
    home.accepted(second, replace(RECEIPT, subject=second.hash))
    assert again.outgoing() == []
    assert again.order(second.hash) == second.raw
    assert again.order(first.hash) is None
    assert again.receipt(second.hash) == replace(RECEIPT, subject=second.hash)


def test_an_outbox_file_that_was_changed_stops_everything(home: TraderHome) -> None:
    for data in (b"", b"x", Outgoing(b"\x01" * 99).encode()[:-1]):
        (home.folder / "outbox" / "00.order").write_bytes(data)
        with pytest.raises(ConfigError, match=r"00\.order"):
            home.outgoing()


def test_a_cached_order_that_was_changed_is_not_used(home: TraderHome) -> None:
    home.keep_order(b"\x02" * 99)
    (path,) = (home.folder / "orders").iterdir()
    path.write_bytes(b"\x03" * 99)
    assert home.order(bytes.fromhex(path.stem)) is None


def test_a_changed_receipt_is_named(home: TraderHome) -> None:
    path = home.folder / "receipts" / f"{RECEIPT.subject.hex()}.json"
    assert home.receipt(RECEIPT.subject) is None
    values: list[object] = [[], {**RECEIPT.as_json(), "sequence": -1}, {**RECEIPT.as_json(), "kind": 9}]
    for value in values:
        path.write_text(json.dumps(value))
        with pytest.raises(ConfigError, match=path.name):
            home.receipt(RECEIPT.subject)


def test_ended_families_are_remembered_within_a_bound(home: TraderHome) -> None:
    home.end(5)
    home.end(5)
    assert TraderHome(home.folder).ended == {5}
    home.cancelled(5)
    assert TraderHome(home.folder).ended == frozenset()
    state = replace(home._state, ended=tuple(range(MAX_ENDED)))
    home._write(state)
    home.end(MAX_ENDED)
    assert 0 not in home.ended
    assert MAX_ENDED in TraderHome(home.folder).ended
