"""Every request the client makes of the venue: how it is built, signed, answered, refused and tried again.

All are idempotent: an order by its hash, a cancellation by its digest, reads anyway. So what got no answer,
or was refused for now, is sent again; a signed request is signed anew, as each is good for one use.
"""

from __future__ import annotations

import json
import time
from binascii import b2a_base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar
from urllib.parse import urlencode

from commitments.errors import DecodeError
from darkpool import jsontext
from darkpool.client.access import Access
from darkpool.client.answers import (
    MAX_TEXT,
    Collateral,
    FillRecord,
    KeptReceipt,
    MarketInfo,
    MarketItem,
    OrderRecord,
    RoundRecord,
    picked,
    result_payload,
)
from darkpool.client.steps import Answer, Send, Sleep, Unreachable
from darkpool.eip712 import Domain, address_of
from darkpool.errors import DarkpoolError, OrderRefused, PeerFault
from darkpool.inclusion import Evidence
from darkpool.jsonfields import hex_text
from darkpool.order import MAX_ORDER_BYTES
from darkpool.receipt import Receipt
from darkpool.request import sign_request
from darkpool.sealed_view import SealedListView
from darkpool.store.records import OrderState
from darkpool.types import PrivateKey, address_hex

T = TypeVar("T")

ORDER_TYPE: Final = "application/vnd.darkpool.order"
PAGE: Final = 100
REQUEST_SECONDS: Final = 30
PATIENCE_SECONDS: Final = 30.0
"""For how long a request that may succeed later is sent again."""

_PROBLEM: Final = "urn:darkpool:problem:"
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 10.0
HALTED: Final = "venue-halted"
# Refusals that pass by themselves; others would be the same again.
_PASSING: Final = frozenset(
    {"busy", "queue-full", "rate-limited", "database-away", "chain-away", "committee-away"}
)


class VenueRefused(OrderRefused):
    """The venue's refusal: `status` of HTTP, and its code, hint and facts."""

    def __init__(
        self, message: str, hint: str, code: str, facts: dict[str, str | int] | None = None, status: int = 400
    ) -> None:
        super().__init__(message, hint, code, facts)
        self.status = status
        self.args = (self.message, self.hint, code, self.facts, status)


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request. `path` has its query; `read` gives the result of the body, and may raise DecodeError."""

    method: str
    path: str
    read: Callable[[bytes], T]
    body: bytes = field(default=b"", repr=False)
    content_type: str = ""
    private: bool = False

    def send(self, key: PrivateKey | None, domain: Domain | None) -> Send:
        """The request to be sent now, signed if it is private."""
        target = f"/v1{self.path}"
        headers = {"Content-Type": self.content_type} if self.content_type else {}
        if self.private:
            if key is None or domain is None:
                raise AssertionError("a private request before the venue is known")
            expires = int(time.time()) + REQUEST_SECONDS
            headers["Authorization"] = sign_request(key, domain, self.method, target, self.body, expires)
        return Send(self.method, target, headers, self.body)

    def result(self, answer: Answer) -> T:
        """What was asked for. Raises VenueRefused, or PeerFault for what is no answer to it."""
        if answer.status >= 300:  # noqa: PLR2004
            raise refusal(answer)
        try:
            return self.read(answer.body)
        except DecodeError as error:
            raise PeerFault(f"{self.method} {self.path.partition('?')[0]}: {error}", peer="venue") from None


def refusal(answer: Answer) -> DarkpoolError:
    """The error of an answer that is none."""
    try:
        fields = picked(jsontext.parsed(answer.body, "problem"), "problem", "type", "detail", "hint")
        kind, detail, hint = (fields.text(name)[:MAX_TEXT] for name in ("type", "detail", "hint"))
    except DecodeError:
        return PeerFault(f"status {answer.status}, and no reason with it", peer="venue")
    if answer.status >= 500 and answer.status != 503:  # noqa: PLR2004
        return PeerFault(f"it failed: {detail}", hint, "venue")
    return VenueRefused(detail, hint, kind.removeprefix(_PROBLEM), _facts(answer.body), answer.status)


def _facts(body: bytes) -> dict[str, str | int]:
    value = jsontext.parsed(body, "problem")
    known = {"type", "title", "status", "detail", "hint"}
    return {
        str(k)[:64]: v[:MAX_TEXT] if isinstance(v, str) else v
        for k, v in (value.items() if isinstance(value, dict) else ())
        if k not in known and isinstance(v, str | int)
    }


def _asked_pause(answer: Answer) -> float:
    """Retry-After in seconds, if it is given so."""
    asked = answer.headers.get("retry-after", "")
    return float(asked) if asked.isascii() and asked.isdigit() and len(asked) <= 4 else 0.0  # noqa: PLR2004


class VenueApi:
    """The venue's requests on behalf of one account; without a key, public ones only.

    Every method raises VenueRefused, Unreachable (no answer for PATIENCE_SECONDS) or PeerFault (nonsense). It
    is Unreachable too if a later attempt was put off or found the venue halted: the one without an answer
    may have had its effect.
    """

    def __init__(self, key: PrivateKey | None = None, patience: float = PATIENCE_SECONDS) -> None:
        self._key, self._patience = key, patience
        self.domain: Domain | None = None
        """Of the vault, once it is known."""

    @property
    def _me(self) -> str:
        if self._key is None:
            raise AssertionError("a private request without a key")
        return address_hex(address_of(self._key))

    async def ask(self, call: Call[T]) -> T:
        """The call's result, in the end."""
        waited, attempt = 0.0, 0
        lost: Unreachable | None = None
        while True:
            failure: DarkpoolError
            pause = _FIRST_PAUSE * float(2**attempt)
            try:
                answer = await call.send(self._key, self.domain)
            except Unreachable as error:
                failure = lost = error
            else:
                try:
                    return call.result(answer)
                except VenueRefused as error:
                    if error.code == HALTED and lost is not None:
                        raise lost from None
                    if error.code not in _PASSING:
                        raise
                    failure, pause = error, max(_asked_pause(answer), pause)
            pause = min(pause, _LONGEST_PAUSE)
            waited, attempt = waited + pause, attempt + 1
            if waited > self._patience:
                raise lost or failure
            await Sleep(pause)

    # --- public -------------------------------------------------------------------------------------

    async def markets(self) -> list[MarketItem]:
        """Every market with its latest round."""
        return await self.ask(Call("GET", "/markets", lambda body: _items(body, MarketItem.of)))

    async def market(self, market: bytes) -> MarketInfo:
        """A market's terms, units and keys."""
        return await self.ask(Call("GET", f"/markets/{hex_text(market)}", _one(MarketInfo.of)))

    async def round(self, market: bytes, number: int) -> RoundRecord:
        """One round."""
        return await self.ask(Call("GET", f"/rounds/{hex_text(market)}/{number}", _one(RoundRecord.of)))

    async def sealed(self, market: bytes, number: int) -> SealedListView:
        """A sealed list; not checked yet."""
        path = f"/rounds/{hex_text(market)}/{number}/sealed"
        return await self.ask(Call("GET", path, _one(SealedListView.from_json)))

    async def result(self, market: bytes, number: int) -> bytes:
        """A round's result as the members signed it; not checked yet."""
        path = f"/rounds/{hex_text(market)}/{number}/result"
        return await self.ask(Call("GET", path, _one(result_payload)))

    async def receipt(self, subject: bytes) -> KeptReceipt | None:
        """The receipt given for an order or a cancellation, if one was; not checked yet."""
        try:
            return await self.ask(Call("GET", f"/receipts/{hex_text(subject)}", _one(KeptReceipt.of)))
        except VenueRefused as refused:
            if refused.code != "receipt-unknown":
                raise
            return None

    # --- the account's own --------------------------------------------------------------------------

    async def register(self, signature: bytes) -> None:
        """Register the account."""
        body = _json({"account": self._me, "signature": hex_text(signature)})
        await self.ask(Call("POST", "/accounts", lambda _: None, body, "application/json"))

    async def collateral(self) -> Collateral:
        """What the next order is proven against."""
        path = f"/accounts/{self._me}/collateral"
        return await self.ask(Call("GET", path, _one(Collateral.of), private=True))

    async def access(self) -> list[Access]:
        """What the account may do in each market."""
        path = f"/accounts/{self._me}/access"
        return await self.ask(Call("GET", path, lambda body: _items(body, Access.of), private=True))

    async def present(self, credential: bytes) -> None:
        """Present the account's own credential, as its issuer's file has it."""
        path = f"/accounts/{self._me}/credential"
        await self.ask(Call("PUT", path, lambda _: None, credential, "application/json", private=True))

    async def publish(self, revocations: bytes) -> None:
        """Hand in an issuer's revocation list, as its file has it."""
        path = "/revocation-lists"
        await self.ask(Call("POST", path, lambda _: None, revocations, "application/json"))

    async def orders(self, after: int = -1, *, standing: bool = False) -> list[OrderRecord]:
        """The account's orders above a sequence, oldest first; all, or those that stand."""
        query = [("state", OrderState.STANDING.value)] if standing else []
        return await self._all(f"/accounts/{self._me}/orders", query, after, OrderRecord.of)

    async def fills(self, after: int = -1) -> list[FillRecord]:
        """The account's nets of rounds above a sequence, oldest first."""
        return await self._all(f"/accounts/{self._me}/fills", [], after, FillRecord.of)

    async def _all(
        self, path: str, query: list[tuple[str, str]], after: int, of: Callable[[object], T]
    ) -> list[T]:
        found: list[T] = []
        cursor: int | None = after
        while cursor is not None:
            seen = [] if cursor < 0 else [("after", str(cursor))]
            target = f"{path}?{urlencode([*query, *seen, ('limit', str(PAGE))])}"
            items, following = await self.ask(Call("GET", target, _page(of), private=True))
            if following is not None and following <= cursor:
                raise PeerFault(f"{path}: its pages do not end", peer="venue")
            found += items
            cursor = following
        return found

    async def evidence(self, order: bytes) -> Evidence:
        """The log entries of an own order with their places; not checked yet."""
        path = f"/orders/{hex_text(order)}/evidence"
        return await self.ask(Call("GET", path, _one(Evidence.from_json), private=True))

    async def submit(self, raw: bytes) -> Receipt:
        """Submit a sealed order; the receipt is not checked yet."""
        if len(raw) > MAX_ORDER_BYTES:
            raise AssertionError("no order is that long")
        return await self.ask(Call("POST", "/orders", _one(Receipt.from_json), raw, ORDER_TYPE))

    async def replace(self, raw: bytes, nonce: int, signature: bytes) -> Receipt:
        """Put a sealed order in the place of the one of that nonce; `signature` cancels it."""
        order = b2a_base64(raw, newline=False).decode()
        body = _json({"order": order, "signature": hex_text(signature)})
        path = f"/orders/{nonce}/replacement"
        return await self.ask(Call("PUT", path, _one(Receipt.from_json), body, "application/json"))

    async def cancel(self, market: bytes, nonce: int, signature: bytes) -> Receipt:
        """Take an order out of the book."""
        return await self._wish("/orders/cancellations", market, "nonce", nonce, signature)

    async def cancel_all(self, market: bytes, below: int, signature: bytes) -> Receipt:
        """Take all orders with lower nonces out of a market's book."""
        return await self._wish("/orders/mass-cancellations", market, "below", below, signature)

    async def _wish(self, path: str, market: bytes, name: str, number: int, signature: bytes) -> Receipt:
        fields = {
            "market": hex_text(market),
            "account": self._me,
            name: number,
            "signature": hex_text(signature),
        }
        return await self.ask(Call("POST", path, _one(Receipt.from_json), _json(fields), "application/json"))

    def events(self, last: int | None) -> Send:
        """The account's event stream, from the one after `last`: a shell keeps it open."""
        call: Call[None] = Call("GET", f"/accounts/{self._me}/events", lambda _: None, private=True)
        request = call.send(self._key, self.domain)
        seen = {} if last is None else {"Last-Event-ID": str(last)}
        return Send(request.method, request.target, {**request.headers, **seen})


def _json(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def _one(of: Callable[[object], T]) -> Callable[[bytes], T]:
    return lambda body: of(jsontext.parsed(body, "answer"))


def _items(body: bytes, of: Callable[[object], T]) -> list[T]:
    rows = jsontext.parsed(body, "answer")
    return [of(row) for row in picked({"items": rows}, "answer", "items").array("items", PAGE)]


def _page(of: Callable[[object], T]) -> Callable[[bytes], tuple[list[T], int | None]]:
    def read(body: bytes) -> tuple[list[T], int | None]:
        page = picked(jsontext.parsed(body, "answer"), "page", "items", "next")
        following = None if page.member("next") is None else page.uint("next")
        return [of(row) for row in page.array("items", PAGE)], following

    return read
