"""Rows for tests of the stores: those a venue would write, with one field or another changed."""

from __future__ import annotations

from hashlib import sha256

from darkpool.market import RoundState
from darkpool.store.records import (
    AttemptRow,
    AttemptState,
    BlameRow,
    BoxRow,
    EventRow,
    FillRow,
    HandedRow,
    OrderRow,
    RoundRow,
    SealedRow,
    SettlementRow,
)

MARKET, OTHER_MARKET = b"\x11" * 32, b"\x12" * 32
ALICE, BOB = b"\xa1" * 20, b"\xb0" * 20


def digest(name: object) -> bytes:
    return sha256(str(name).encode()).digest()


def order(sequence: int, account: bytes = ALICE, market: bytes = MARKET) -> OrderRow:
    return OrderRow(
        hash=digest(("order", sequence)),
        sequence=sequence,
        market=market,
        account=account,
        nonce=sequence,
        first_round=1,
        time_in_force=2,
        valid_until=0,
        accepted_at=1_700_000_000,
    )


def market_round(number: int, market: bytes = MARKET) -> RoundRow:
    return RoundRow(
        market=market,
        number=number,
        state=RoundState.OPEN,
        reference=32,
        reference_price="2000.05",
        source="last",
        opened_at=1_700_000_000,
        open_sequence=number,
        terms_hash=digest("terms"),
    )


def sealed(position: int, number: int = 1) -> SealedRow:
    return SealedRow(MARKET, number, position, 100 - position, digest(("order", position)) * 8)


def settlement(number: int, name: object = "first") -> SettlementRow:
    return SettlementRow(
        digest=digest(("settlement", number, name)),
        id=number,
        sequence=int.from_bytes(digest((number, name))[:4]),
        payload=b"\x01\x00\xff",
        created_at=1_700_000_001,
        sealed_at=1_700_000_000,
        rounds=f'[["{MARKET.hex()}", {number}]]',
        flows="[]",
    )


def fill(number: int, account: bytes = ALICE, net: int = -5) -> FillRow:
    return FillRow(MARKET, number, account, 10 * number, net)


def box(member: int, account: bytes = ALICE) -> BoxRow:
    return BoxRow(MARKET, 1, account, member, b"box of member %d" % member)


def event(kind: str, account: bytes | None = None) -> EventRow:
    return EventRow(1_700_000_000, account, kind, '{"number": 1}')


def attempt(number: int, state: AttemptState = AttemptState.SEALED, payload: bytes = b"") -> AttemptRow:
    return AttemptRow(digest(("list", number)), MARKET, number, state, digest(("root", number)), payload)


def charge(number: int) -> BlameRow:
    return BlameRow(digest("list"), 1, 2, "share", "price", number, b"signed %d" % number)


def handed(number: int) -> HandedRow:
    return HandedRow(digest(("handed", number)), b"order %d" % number, 1_700_000_000 + number)
