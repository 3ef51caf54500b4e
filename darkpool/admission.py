"""What is checked of an order before it is listed, cheapest first.

    screened    length, statement, the market's terms, times, signature           (stateless, 0.5 ms)
    Book.check  round, account, nonce, quotas, free collateral                    (state)
    unproven    the rest of the encoding, then the proofs, in batches             (stateless, the dear part)

The operator runs the last in worker processes, and the second again when the order gets its place in the log.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from commitments.encoding import Reader
from commitments.errors import DecodeError
from commitments.order_statement import Statement
from commitments.order_verify import invalid_claims
from commitments.paillier import PublicKey
from commitments.sealing import check_public
from darkpool import eip712
from darkpool.account import NONCES_PER_WORD, FreeCollateral, Ledger, Nonces
from darkpool.errors import OrderRefused
from darkpool.listing import ListedOrder
from darkpool.order import MAX_ORDER_BYTES, SealedOrder, Terms, TimeInForce, check_order_signature, order_hash
from darkpool.types import Address, Nonce

DAY_SLACK_SECONDS: Final = 60  # around midnight UTC both days are right
_SECONDS_PER_DAY: Final = 86_400

Tokens: TypeAlias = tuple[Address, Address]
"""Base and quote of a market."""


def screened(markets: Mapping[bytes, Terms], raw: bytes, now: int) -> Statement:
    """The statement of an order of one of the markets, checked with the signature; `now` in unix seconds.

    Raises OrderRefused naming the field.
    """
    if len(raw) > MAX_ORDER_BYTES:
        raise OrderRefused(
            f"order: {len(raw)} bytes are above the limit {MAX_ORDER_BYTES}",
            "send one order",
            "order-malformed",
        )
    try:
        statement = Statement.read(Reader(raw))
        terms = markets.get(statement.market)
        if terms is None:
            raise OrderRefused(
                f"market: {statement.market.hex()} is none of this venue",
                "list the markets",
                "market-unknown",
            )
        check_statement(statement, terms, now)
    except DecodeError as error:
        raise _malformed(error) from None
    try:
        check_public(statement.fill_key)
    except DecodeError as error:
        raise OrderRefused(
            f"fill_key: {error.problem}", "send an X25519 public key", "order-malformed"
        ) from None
    try:
        check_order_signature(terms.domain, statement, order_hash(raw), raw[-eip712.SIGNATURE_BYTES :])
    except OrderRefused:
        _check_form(raw, terms)
        raise
    return statement


def _check_form(raw: bytes, terms: Terms) -> None:
    """Why a signature may not fit: an order cut short, or changed in form. Raises OrderRefused if so."""
    try:
        SealedOrder.decode(raw, terms.key)
    except DecodeError as error:
        raise _malformed(error) from None


def _malformed(error: DecodeError) -> OrderRefused:
    if error.field == "key_id":  # the committee's key was changed while it waited
        return OrderRefused(str(error), "fetch the market's terms and seal anew", "terms-mismatch")
    hint = "send the canonical encoding of an order of this market"
    return OrderRefused(str(error), hint, "order-malformed")


def check_statement(statement: Statement, terms: Terms, now: int) -> None:
    """What of a statement may change while its order waits: terms and times. Raises OrderRefused.

    Checked again when the order gets its place in the log, at that entry's time, as members will.
    """
    _check_terms(statement, terms)
    _check_times(statement, now)


def _check_terms(statement: Statement, terms: Terms) -> None:
    market = terms.market
    expected: dict[str, object] = {
        "chain_id": terms.chain_id,
        "contract": terms.contract,
        "venue": terms.venue,
        "p_0": market.grid.p_0,
        "tick": market.grid.tick,
        "levels": market.grid.levels,
        "lot": market.lot,
        "pressure": market.pressure_ticks,
        "key_id": terms.key.key_id,
        "policy_hash": terms.policy_hash,
        "terms_hash": terms.hash,
    }
    for name, value in expected.items():
        if getattr(statement, name) != value:
            raise OrderRefused(
                f"{name}: not that of market {market.name}",
                "fetch the market's terms and seal anew",
                "terms-mismatch",
            )
    # Which of them an order owes depends on who its account is: that is the operator's to judge.
    if not set(statement.auditor_keys) <= set(terms.auditor_keys):
        raise OrderRefused(
            f"auditor_keys: one is none of market {market.name}",
            "fetch the market's terms and seal anew",
            "terms-mismatch",
        )


def _check_times(s: Statement, now: int) -> None:
    code = "order-times"
    days = {(now + slack) // _SECONDS_PER_DAY for slack in (-DAY_SLACK_SECONDS, DAY_SLACK_SECONDS)}
    if s.utc_day not in days:
        raise OrderRefused(
            f"utc_day: {s.utc_day} is not today ({now // _SECONDS_PER_DAY})", "seal anew", code
        )
    if s.time_in_force not in set(TimeInForce):
        raise OrderRefused(f"time_in_force: {s.time_in_force} is unknown", "use 0, 1 or 2", code)
    if (s.time_in_force == TimeInForce.GOOD_TILL_TIME) != (s.valid_until != 0):
        raise OrderRefused("valid_until: belongs to time in force 1, and to no other", "set it to 0", code)
    if s.valid_until and s.valid_until <= now:
        raise OrderRefused(f"valid_until: {s.valid_until} has passed ({now})", "choose a later time", code)


def unproven(key: PublicKey, raws: Sequence[bytes]) -> dict[int, OrderRefused]:
    """The positions of screened orders that do not decode or whose proofs do not hold; verified together."""
    refused: dict[int, OrderRefused] = {}
    positions, claims = [], []
    for position, raw in enumerate(raws):
        try:
            claims.append(SealedOrder.decode(raw, key).claim)
            positions.append(position)
        except DecodeError as error:
            refused[position] = _malformed(error)
    for index, problem in invalid_claims(key, claims).items():
        refused[positions[index]] = OrderRefused(
            f"proof: {problem}",
            "the order is signed but not proven; build it with the client",
            "order-unproven",
        )
    return refused


class Tentative:
    """What a batch of orders would do, one by one, before the first of them is accepted.

    An order checked with it has the answer it would have if those before it were accepted already: whoever
    has the same entries in other batches must come to the same answers.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._free: dict[tuple[Address, Address], FreeCollateral] = {}
        self._nonces: dict[Address, Nonces] = {}
        self.gone: set[tuple[Address, Nonce]] = set()  # replaced
        self.orders: defaultdict[bytes, Counter[Address]] = defaultdict(Counter)  # more by then, by market
        self.words: defaultdict[bytes, Counter[tuple[Address, int]]] = defaultdict(Counter)  # by nonces' word

    def of(
        self, account: Address, tokens: Tokens, replaced: Iterable[ListedOrder] = ()
    ) -> tuple[FreeCollateral, FreeCollateral]:
        """The account's F of both tokens as they would be, with those orders' locks returned."""
        base, quote = (self._of(account, token) for token in tokens)
        for order in replaced:
            base, quote = base.copy(), quote.copy()
            base.increase(order.c_base)
            quote.increase(order.c_quote)
        return base, quote

    def _of(self, account: Address, token: Address) -> FreeCollateral:
        if (account, token) not in self._free:
            self._free[account, token] = self._ledger.of(account, token).copy()
        return self._free[account, token]

    def nonces(self, account: Address) -> Nonces:
        """Those a known account would have used."""
        if account not in self._nonces:
            self._nonces[account] = self._ledger.nonces[account].copy()
        return self._nonces[account]

    def accept(self, order: ListedOrder, tokens: Tokens, replaced: Iterable[ListedOrder] = ()) -> None:
        """As if it were accepted, in the place of orders of the same account and market."""
        account, base, quote = order.account, *self.of(order.account, tokens, replaced)
        base.decrease(order.c_base)
        quote.decrease(order.c_quote)
        self._free[account, tokens[0]], self._free[account, tokens[1]] = base, quote
        self.nonces(account).use(order.nonce)
        orders, words = self.orders[order.statement.market], self.words[order.statement.market]
        orders[account] += 1
        words[account, order.nonce // NONCES_PER_WORD] += 1
        for old in replaced:
            self.gone.add((account, old.nonce))
            orders[account] -= 1
            words[account, old.nonce // NONCES_PER_WORD] -= 1
