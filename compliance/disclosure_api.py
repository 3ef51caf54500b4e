"""The requests of disclosure, for accounts and for auditors: on top of the client's own (darkpool/client)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import urlencode

from commitments.errors import DecodeError
from compliance.disclosure_answer import Answer
from compliance.disclosure_query import Basis, Query
from compliance.grant_revocations import Revocation
from compliance.grants import Grant, GrantRefused
from darkpool import jsontext
from darkpool.client.answers import picked
from darkpool.client.venue_api import PAGE, Call, VenueApi
from darkpool.errors import PeerFault
from darkpool.jsonfields import hex_text
from darkpool.order import MAX_ORDER_BYTES
from darkpool.types import Address, address_hex

T = TypeVar("T")

JSON_TYPE: Final = "application/json"
GRANT_TYPE: Final = "application/vnd.darkpool.grant"
REVOCATION_TYPE: Final = "application/vnd.darkpool.grant-revocation"
MAX_PAGES: Final = 1_000
_MAX_TEXT: Final = 256


@dataclass(frozen=True, slots=True)
class HeldGrant:
    """A grant as the venue keeps it, with when it came; not checked yet."""

    grant: Grant
    received_at: int
    revocation: Revocation | None

    @staticmethod
    def of(value: object) -> HeldGrant:
        """Raises DecodeError."""
        fields = picked(value, "grants", "grant", "received_at", "revocation")
        revocation = fields.member("revocation")
        return HeldGrant(
            _sound(lambda: Grant.from_json(fields.member("grant"))),
            fields.uint("received_at"),
            None if revocation is None else _sound(lambda: Revocation.from_json(revocation)),
        )


@dataclass(frozen=True, slots=True)
class Access:
    """A query about the account, by the venue's word. auditor: the account that signed it."""

    number: int
    at: int
    auditor: Address
    basis: Basis
    grant: bytes
    authority: str
    legal_reference: str
    market: bytes
    first_day: int
    last_day: int
    outcome: str

    @staticmethod
    def of(value: object) -> Access:
        """Raises DecodeError."""
        names = ("number", "at", "auditor", "basis", "grant", "authority", "legal_reference", "market")
        fields = picked(value, "accesses", *names, "first_day", "last_day", "outcome")
        basis = fields.text("basis")
        if basis not in set(Basis):
            raise DecodeError("basis", f"not one of {', '.join(Basis)}")
        texts = [fields.text(name) for name in ("authority", "legal_reference", "outcome")]
        if any(len(text) > _MAX_TEXT or not text.isprintable() for text in texts):
            raise DecodeError("accesses", f"a text of above {_MAX_TEXT} characters, or not printable")
        return Access(
            fields.uint("number"),
            fields.uint("at"),
            fields.address("auditor"),
            Basis(basis),
            b"" if fields.member("grant") is None else fields.octets("grant", 32),
            texts[0],
            texts[1],
            fields.octets("market", 32),
            fields.uint("first_day"),
            fields.uint("last_day"),
            texts[2],
        )


class DisclosureApi:
    """On behalf of one account, whose key `api` signs with. Every method raises as those of VenueApi."""

    def __init__(self, api: VenueApi, account: Address) -> None:
        self.api: Final = api
        self._me = address_hex(account)

    # --- an account's ---------------------------------------------------------------------------------

    async def grant(self, grant: Grant) -> None:
        """Hand a grant to the venue."""
        await self.api.ask(Call("POST", "/grants", lambda _: None, grant.encode(), GRANT_TYPE))

    async def revoke(self, revocation: Revocation) -> None:
        """Hand a revocation to the venue."""
        path = f"/grants/{hex_text(revocation.grant)}/revocation"
        await self.api.ask(Call("POST", path, lambda _: None, revocation.encode(), REVOCATION_TYPE))

    async def grants(self, side: str) -> list[HeldGrant]:
        """Grants that the account gave ("grantor"), or that were given to it ("auditor"), oldest first."""
        return await self._all(f"/accounts/{self._me}/grants", [("as", side)], HeldGrant.of)

    async def accesses(self) -> list[Access]:
        """Who asked about the account, oldest first."""
        return await self._all(f"/accounts/{self._me}/disclosures", [], Access.of)

    async def _all(self, path: str, query: list[tuple[str, str]], of: Callable[[object], T]) -> list[T]:
        found: list[T] = []
        cursor = 0
        for _ in range(MAX_PAGES):
            seen = [("after", str(cursor))] if cursor else []
            target = f"{path}?{urlencode([*query, *seen, ('limit', str(PAGE))])}"
            items, following = await self.api.ask(Call("GET", target, _page(of), private=True))
            found += items
            if following is None:
                return found
            if following <= cursor:
                break
            cursor = following
        raise PeerFault(f"{path}: its pages do not end", peer="venue")

    async def log_size(self) -> int:
        """Number of entries in the venue's log."""

        def read(body: bytes) -> int:
            return picked(jsontext.parsed(body, "log"), "log", "size").uint("size")

        return await self.api.ask(Call("GET", "/log", read))

    # --- an auditor's ---------------------------------------------------------------------------------

    async def query(self, query: Query) -> Answer:
        """Ask where to look; the receipt is not checked yet."""
        body = json.dumps(query.as_json(), separators=(",", ":")).encode()

        def read(data: bytes) -> Answer:
            return _sound(lambda: Answer.from_json(jsontext.parsed(data, "answer")))

        return await self.api.ask(Call("POST", "/audit/queries", read, body, JSON_TYPE, private=True))

    async def market(self, market: bytes) -> bytes:
        """A market's terms, units and keys, as the venue wrote them."""
        return await self.api.ask(Call("GET", f"/markets/{hex_text(market)}", bytes))

    async def settlement(self, digest: bytes) -> bytes:
        """A settlement, as the venue wrote it."""
        return await self.api.ask(Call("GET", f"/settlements/{hex_text(digest)}", bytes))

    async def order(self, market: bytes, number: int, order: bytes) -> bytes:
        """The bytes of an order of a sealed list; not checked yet."""

        def read(data: bytes) -> bytes:
            if len(data) > MAX_ORDER_BYTES:
                raise DecodeError("order", f"above {MAX_ORDER_BYTES} bytes")
            return data

        path = f"/rounds/{hex_text(market)}/{number}/orders/{hex_text(order)}"
        return await self.api.ask(Call("GET", path, read))


def _page(of: Callable[[object], T]) -> Callable[[bytes], tuple[list[T], int | None]]:
    def read(body: bytes) -> tuple[list[T], int | None]:
        page = picked(jsontext.parsed(body, "answer"), "page", "items", "next")
        following = None if page.member("next") is None else page.uint("next")
        return [of(row) for row in page.array("items", PAGE)], following

    return read


def _sound(read: Callable[[], T]) -> T:
    """What it reads. Raises DecodeError where the document itself would be refused."""
    try:
        return read()
    except GrantRefused as error:
        raise DecodeError("grant", error.message) from None
