"""An audit file as an honest venue and an honest auditor make it, and the same with any part changed.

Ada's day: an order from the day before that still stood, one bought, one sold; Ben sells. Round 4 is of the
day before, 5 crosses and is settled, 6 does not cross, 7 closes the day and has an order of the next one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from typing import Any, Final

from api.market_views import MarketDetail
from compliance.audit_check import audit
from compliance.audit_file import AuditedRound, AuditedSettlement, AuditFile, answer_json, sealed_json
from compliance.audit_outcome import Audit, Check
from compliance.auditor import Auditor, box_key
from compliance.disclosure_answer import Answer, ListedRound, VenueOrder
from compliance.disclosure_query import Basis, Query, QueryReceipt
from compliance.grants import Grant, Header
from darkpool import auction
from darkpool.auction import PlainOrder
from darkpool.certificates import result_digest
from darkpool.client.round_fills import cleared_of
from darkpool.eip712 import address_of, sign_digest
from darkpool.instrument import Instrument, TokenUnits
from darkpool.listing import NO_CROSS, RoundResult
from darkpool.market import RoundState
from darkpool.message import Message
from darkpool.order import SealedOrder, Terms
from darkpool.results import result_fields
from darkpool.sealed_view import SealedListView
from darkpool.settlement import Settlement, ordered_signatures, sign
from darkpool.signed_settlement import SignedSettlement
from darkpool.store.records import OrderState
from darkpool.types import Address, PrivateKey, Quanta, Tick
from darkpool.venue_views import MarketView
from darkpool.windows import window
from tests.compliance.audit_support import DAY, DAY_SECONDS, a_list, account_of, sealed, seed_of
from tests.venue_support import buy, key_of, result_of, seats, sell, some_terms, tenures

TERMS: Final = some_terms(lot=Quanta(10))
MARKET: Final = TERMS.market.id
INSTRUMENT: Final = Instrument(
    TERMS.market.name, TokenUnits("BASE", 9, 1), TokenUnits("QUOTE", 6, 1), Quanta(10), Quanta(10)
)
OPERATOR: Final = PrivateKey(b"\x0c" * 32)
EVE: Final = key_of("eve")
EVE_SEED: Final = b"\x07" * 32
BOX: Final = box_key(EVE_SEED)
AUDITOR: Final = Auditor(address_of(EVE), BOX.public)
ADA, BEN = account_of("ada"), account_of("ben")
NOW: Final = (DAY + 1) * DAY_SECONDS + 500
STATES: Final = {5: RoundState.SETTLED}


@cache
def orders() -> dict[str, SealedOrder]:
    """What two accounts sent around one day."""
    return {
        "standing": sealed("ada", buy(1, 11, "old"), DAY - 1, 0, TERMS),
        "first": sealed("ada", buy(2, 13, "one"), DAY, 2, TERMS),
        "second": sealed("ada", sell(3, 14, "=two"), DAY, 3, TERMS),
        "tomorrow": sealed("ada", buy(0, 16), DAY + 1, 5, TERMS),
        "ben": sealed("ben", sell(1, 17), DAY, 0, TERMS),
    }


PLAIN: Final = {
    "standing": PlainOrder("ada", buy(0, 0).side, Tick(1), buy(1, 11).quantity),
    "first": PlainOrder("ada", buy(0, 0).side, Tick(2), buy(2, 13).quantity),
    "ben": PlainOrder("ben", sell(0, 0).side, Tick(1), sell(1, 17).quantity),
}
LISTS: Final[dict[int, tuple[tuple[str, ...], int]]] = {
    4: (("standing",), -3_600),
    5: (("standing", "ben", "first"), 3_600),
    6: (("second",), 7_200),
    7: (("tomorrow",), DAY_SECONDS + 90),
}


def crossing() -> RoundResult:
    """What round 5 comes to by the rule of the auction."""
    plain = [replace(PLAIN[name], account=account_of(PLAIN[name].account).hex()) for name in LISTS[5][0]]
    market = TERMS.market
    outcome = auction.clear(plain, market.grid.levels, Tick(2), market.pressure_ticks, market.min_volume)
    result = result_of(outcome)
    assert result.crossed
    return result


def view(number: int, given: Mapping[str, SealedOrder] | None = None) -> SealedListView:
    names, after = LISTS[number]
    known = orders() if given is None else given
    return a_list([known[name] for name in names], number, DAY * DAY_SECONDS + after, TERMS)


def certified(listed: SealedListView, result: RoundResult, terms: Terms = TERMS) -> bytes:
    """A result as the members certify it, true or not."""
    cleared = cleared_of(terms, listed, result) if result.crossed else None
    digest = result_digest(terms.domain, listed.digest(terms.domain), cleared)
    signatures = [sign_digest(digest, seat.signing_key) for seat in seats()]
    fields = {**result_fields(result), "signatures": len(signatures)}
    return Message("result", fields, signatures).encode()


def settlement_of(listed: SealedListView, result: RoundResult) -> Settlement:
    return window([cleared_of(TERMS, listed, result)], 1, 1).settlement


def settled(settlement: Settlement, chain: Settlement | None = None) -> AuditedSettlement:
    """A settlement of round 5 that the members signed, and what the chain did."""
    signed = ordered_signatures(
        settlement, TERMS.domain, [sign(settlement, TERMS.domain, seat.signing_key) for seat in seats()]
    )
    done = SignedSettlement(TERMS.domain, settlement if chain is None else chain)
    payload = SignedSettlement(TERMS.domain, settlement, signed).encode()
    return AuditedSettlement(payload, ((MARKET, 5),), "settled", done.encode(), 77, b"\x70" * 32)


def market_json(terms: Terms = TERMS) -> bytes:
    """The market as the venue describes it."""
    detail = MarketDetail.of(MarketView(terms, INSTRUMENT), tenures(terms), address_of(OPERATOR))
    return json.dumps(asdict(detail)).encode()


@cache
def grant(days: tuple[int, int] = (DAY, DAY), **changes: Any) -> Grant:  # noqa: ANN401 - fields of a header
    fields: dict[str, Any] = {
        "domain": TERMS.domain,
        "account": ADA,
        "market": MARKET,
        "auditor": AUDITOR,
        "purpose": "annual audit",
        "issued_at": DAY * DAY_SECONDS,
        "expires": NOW + 9_999,
        "position": 0,
        "id": b"\x31" * 32,
    }
    header = Header(first_day=days[0], last_day=days[1], **{**fields, **changes})
    return Grant.issue(header, seed_of("ada"), key_of("ada"), [(DAY - 1, 0)])


def told(order: SealedOrder, state: OrderState = OrderState.CONSUMED) -> VenueOrder:
    at = order.statement.utc_day * DAY_SECONDS + 60
    return VenueOrder(order.hash, order.nonce, order.nonce, at, state, "", 5, b"")


def answered(answer: Answer, key: PrivateKey = OPERATOR, auditor: Address = AUDITOR.account) -> Answer:
    """With the operator's receipt for it."""
    receipt = replace(answer.receipt, auditor=auditor, query=answer.query.hash, answer=answer.hash)
    return replace(answer, receipt=receipt.signed(TERMS.domain, key))


def an_answer(settlement: bytes, given: Grant | None = None) -> Answer:
    held = grant() if given is None else given
    query = Query(Basis.GRANT, MARKET, DAY, DAY, grant=held.header.id)
    rounds = tuple(
        ListedRound(n, STATES.get(n, RoundState.NO_CROSS), settlement if n == 5 else b"") for n in LISTS
    )
    mine = [told(order) for name, order in orders().items() if name != "ben"]
    receipt = QueryReceipt(7, NOW, AUDITOR.account, bytes(32), bytes(32))
    return answered(Answer(query, receipt, held, (), rounds, tuple(mine)))


def a_file(
    given: Mapping[str, SealedOrder] | None = None,
    result: RoundResult | None = None,
    settlement: AuditedSettlement | None = None,
) -> AuditFile:
    """The whole file, of other orders, another result of round 5, or another settlement if they are given."""
    known = orders() if given is None else given
    outcome = crossing() if result is None else result
    five = view(5, known)
    rounds = [
        AuditedRound(
            MARKET,
            number,
            sealed_json(view(number, known)),
            certified(view(number, known), outcome if number == 5 else NO_CROSS),
        )
        for number in LISTS
    ]
    done = settled(settlement_of(five, outcome)) if settlement is None else settlement
    mine = {order.hash: order.raw for name, order in known.items() if name != "ben"}
    answer = an_answer(done.signed.digest)
    return AuditFile(
        NOW, "chain 31337", answer_json(answer), {MARKET: market_json()}, tuple(rounds), (done,), mine
    ).signed(EVE)


@cache
def honest() -> AuditFile:
    return a_file()


def changed(file: AuditFile, **changes: Any) -> AuditFile:  # noqa: ANN401 - fields of the file
    """Changed by an auditor, who signs it."""
    return replace(file, **changes).signed(EVE)


def with_answer(file: AuditFile, answer: Answer) -> AuditFile:
    return changed(file, answer_bytes=answer_json(answer))


def without(file: AuditFile, name: str) -> AuditFile:
    """The bytes of one order are withheld."""
    digest = orders()[name].hash
    return changed(file, orders={h: raw for h, raw in file.orders.items() if h != digest})


def with_round(file: AuditFile, number: int, **changes: Any) -> AuditFile:  # noqa: ANN401 - fields of a round
    rounds = (replace(r, **changes) if r.number == number else r for r in file.rounds)
    return changed(file, rounds=tuple(rounds))


def verified(file: AuditFile) -> Audit:
    return audit(file, AUDITOR.account, BOX)


def line(done: Audit, name: str) -> Check:
    return next(check for check in done.checks if check.name == name)


def names(checks: Sequence[Check]) -> list[str]:
    return [check.name for check in checks]
