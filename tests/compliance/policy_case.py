"""Ada's day as an auditor named by policy asks about it: a shared key, the audit file, the request.

Rounds 1 to 3: an order from before the key was in force, one bought, one sold, a decoy; Ben's; and one of the
next day, whose list closes the day.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cache
from typing import Any, Final

from api.market_views import MarketDetail
from commitments.auditor_key import KeyContext, SecretKey
from commitments.discrete_log import Table
from compliance.audit_check import audit
from compliance.audit_file import AuditedRound, AuditFile, answer_json, sealed_json
from compliance.audit_outcome import Audit
from compliance.authority import Authority, Member, dealt
from compliance.authority_request import Request
from compliance.disclosure_answer import Answer, ListedRound
from compliance.disclosure_query import Basis, Query, QueryReceipt
from compliance.policy_query import request_of
from darkpool.eip712 import address_of
from darkpool.listing import NO_CROSS
from darkpool.market import RoundState
from darkpool.order import SealedOrder
from darkpool.venue_views import MarketView
from tests.compliance import audited
from tests.compliance.audit_support import DAY, DAY_SECONDS, a_list, sealed
from tests.compliance.audited import ADA, AUDITOR, EVE, INSTRUMENT, MARKET, NOW, OPERATOR, certified, told
from tests.venue_support import buy, sell, tenures

SECRET: Final = SecretKey(1_001)
BARE: Final = audited.TERMS
TERMS: Final = replace(BARE, auditor_keys=(SECRET.public,))
REFERENCE: Final = "Order of 3 March, file 7/2031"
NAME: Final = "examiner"
CONTEXT: Final = KeyContext(TERMS.chain_id, TERMS.contract, TERMS.venue, NAME)
LISTS: Final[dict[int, tuple[tuple[str, ...], int]]] = {
    1: (("bare", "bought"), 3_600),
    2: (("ben", "sold", "decoy"), 7_200),
    3: (("tomorrow",), DAY_SECONDS + 90),
}
ASKED: Final = ("bought", "sold", "decoy")


@cache
def orders() -> dict[str, SealedOrder]:
    return {
        "bare": sealed("ada", buy(1, 9), DAY, 0, BARE),
        "bought": sealed("ada", buy(2, 70_000), DAY, 1, TERMS),
        "sold": sealed("ada", sell(3, 14), DAY, 2, TERMS),
        "decoy": sealed("ada", sell(3, 0), DAY, 3, TERMS),
        "tomorrow": sealed("ada", buy(0, 16), DAY + 1, 4, TERMS),
        "ben": sealed("ben", sell(1, 17), DAY, 0, TERMS),
    }


@cache
def ceremony(members: int = 3, threshold: int = 1) -> tuple[Authority, tuple[Member, ...]]:
    return dealt(SECRET, CONTEXT, AUDITOR, address_of(OPERATOR), "The examiner", members, threshold)


@cache
def table() -> Table:
    return Table.build(16)


def market_json() -> bytes:
    detail = MarketDetail.of(MarketView(TERMS, INSTRUMENT), tenures(TERMS), address_of(OPERATOR))
    return json.dumps(asdict(detail)).encode()


def an_answer(**changes: Any) -> Answer:  # noqa: ANN401 - fields of the query
    scope = {"first_day": DAY, "last_day": DAY, "authority": NAME, "legal_reference": REFERENCE}
    query = Query(**{"basis": Basis.POLICY, "market": MARKET, "account": ADA, **scope, **changes})
    rounds = tuple(ListedRound(n, RoundState.NO_CROSS) for n in LISTS)
    receipt = QueryReceipt(7, NOW, AUDITOR.account, bytes(32), bytes(32))
    mine = tuple(told(order) for name, order in orders().items() if name not in {"ben", "tomorrow"})
    return audited.answered(Answer(query, receipt, None, (), rounds, mine))


def a_file(
    given: Mapping[str, SealedOrder] | None = None, without: frozenset[str] = frozenset(), **lists: int
) -> AuditFile:
    """The audit file, of other orders if they are given, without the bytes of some."""
    known = orders() if given is None else given
    rounds = []
    for number, (names, after) in LISTS.items():
        if number <= lists.get("last", len(LISTS)):
            view = a_list([known[name] for name in names], number, DAY * DAY_SECONDS + after, TERMS)
            rounds.append(AuditedRound(MARKET, number, sealed_json(view), certified(view, NO_CROSS)))
    mine = {o.hash: o.raw for name, o in known.items() if name != "ben" and name not in without}
    answer = answer_json(an_answer())
    return AuditFile(NOW, "", answer, {MARKET: market_json()}, tuple(rounds), (), mine).signed(EVE)


def verified(file: AuditFile) -> Audit:
    return audit(file, AUDITOR.account, None)


@cache
def honest() -> Request:
    return request_of(verified(a_file()), ceremony()[0], AUDITOR, EVE)


def with_answer(answer: Answer) -> dict[str, bytes]:
    return {"answer_bytes": answer_json(answer)}


def changed(**fields: Any) -> Request:  # noqa: ANN401 - fields of a request
    """Changed by the auditor, who signs it."""
    return replace(honest(), **fields).signed(EVE)
