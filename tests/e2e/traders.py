"""Traders that place orders over HTTP for as long as they are let, and send again what got no answer."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from darkpool.book import cancel_digest
from darkpool.chain import Chain
from darkpool.client.account_state import openings
from darkpool.client.answers import Collateral as CollateralAnswer
from darkpool.client.answers import MarketInfo, OrderRecord
from darkpool.client.own_order import OwnOrder, open_order
from darkpool.draft import Collateral, Standing, draft
from darkpool.eip712 import address_of, fresh_key, sign_digest
from darkpool.errors import PeerFault
from darkpool.market import Side
from darkpool.order import Order, TimeInForce, order_hash
from darkpool.receipt import Receipt
from darkpool.request import sign_request
from darkpool.types import Address, Lots, Nonce, PrivateKey, Quanta, RoundId, Tick, TokenIndex, address_hex

DEPOSIT = Quanta(10**15)
MAX_STANDING = 12
_LATER: Final = {429, 503}
# What a trader may hear who acts on what it read a moment ago. Not nonce-used: that would be an order taken
# in twice, or one that was acknowledged and forgotten.
_LATE: Final = {"collateral-decreased", "round-closed", "order-not-standing", "order-sealed", "order-times"}


@dataclass
class Trader:
    """One account on one side of the market; it never signs twice for a nonce."""

    http: httpx.AsyncClient
    side: Side
    rng: random.Random
    key: PrivateKey = field(default_factory=fresh_key, repr=False)
    seed: bytes = b"\x07" * 32
    receipts: dict[bytes, Receipt] = field(default_factory=dict)
    refused: dict[bytes, str] = field(default_factory=dict)
    orders: dict[bytes, bytes] = field(default_factory=dict)
    cancelled: dict[bytes, Receipt] = field(default_factory=dict)
    unanswered: Counter[str] = field(default_factory=Counter)
    _own: dict[bytes, OwnOrder] = field(default_factory=dict)
    _nonce: int = 0

    def __post_init__(self) -> None:
        self.address = address_of(self.key)
        self.info: MarketInfo

    def deposit(self, rpc_url: str) -> None:
        """Buyers bring the quote token, sellers the base token."""
        chain, terms = Chain.rpc(rpc_url, 0), self.info.terms
        chain.attach(terms.contract)
        token = terms.market.quote if self.side is Side.BUY else terms.market.base
        index = TokenIndex([t.contract for t in chain.tokens].index(token))
        chain.fund(self.address)
        chain.mint(self.key, index, self.address, DEPOSIT)
        chain.deposit(self.key, index, DEPOSIT)

    async def known(self) -> None:
        """Wait until the venue has taken the deposit in."""
        while not (await self.collateral()).known:  # noqa: ASYNC110  # blocks come once a second
            await asyncio.sleep(0.2)

    # --- requests -----------------------------------------------------------------------------------

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        content_type: str = "application/json",
        *,
        private: bool = False,
    ) -> httpx.Response:
        """The answer to a request sent until there is one that is not 'later'. Fails the test on a 500."""
        while True:
            headers = {"Content-Type": content_type} if body else {}
            if private:
                domain, expires = self.info.terms.domain, int(time.time()) + 30
                headers["Authorization"] = sign_request(self.key, domain, method, path, body, expires)
            try:
                answer = await self.http.request(method, path, content=body, headers=headers)
            except httpx.HTTPError as error:
                self.unanswered[type(error).__name__] += 1
            else:
                assert answer.status_code < 500 or answer.status_code in _LATER, answer.text
                if answer.status_code not in _LATER:
                    return answer
                self.unanswered[_code(answer)] += 1
            await asyncio.sleep(self.rng.uniform(0.1, 0.4))

    async def market(self) -> MarketInfo:
        """The one market, with its round."""
        (item,) = (await self.ask("GET", "/v1/markets")).json()
        return MarketInfo.of((await self.ask("GET", f"/v1/markets/{item['id']}")).json())

    async def collateral(self) -> CollateralAnswer:
        path = f"/v1/accounts/{address_hex(self.address)}/collateral"
        return CollateralAnswer.of(_read(await self.ask("GET", path, private=True)))

    async def records(self, query: str = "") -> list[OrderRecord]:
        """Own orders as the venue has them, all pages."""
        found: list[OrderRecord] = []
        path, after = f"/v1/accounts/{address_hex(self.address)}/orders?limit=100{query}", ""
        while True:
            page = _read(await self.ask("GET", path + after, private=True))
            found += [OrderRecord.of(item) for item in page["items"]]
            if page["next"] is None:
                return found
            after = f"&after={page['next']}"

    def own(self, digest: bytes) -> OwnOrder:
        """An own order, opened from the bytes that were sent."""
        if digest not in self._own:
            self._own[digest] = open_order(self.orders[digest], self.info.terms, self.address, self.seed)
        return self._own[digest]

    async def state(self) -> tuple[list[OwnOrder], Mapping[Address, Collateral]]:
        """Standing orders, and the openings of F. Raises PeerFault if they do not open it."""
        answer, standing = await self.collateral(), await self.records("&state=standing")
        own = [self.own(record.hash) for record in standing]
        return own, openings(answer, own, {self.info.terms.market.id: self.info.terms})

    # --- trading ------------------------------------------------------------------------------------

    async def trade(self, stop: asyncio.Event) -> None:
        """Place orders, now and then cancel one, until told to stop."""
        while not stop.is_set():
            try:
                standing, free = await self.state()
            except PeerFault:  # between the two answers an order came or went
                continue
            if len(standing) >= MAX_STANDING or (standing and self.rng.random() < 0.1):
                await self._cancel(self.rng.choice(standing))
            else:
                await self._place(free)
            await asyncio.sleep(self.rng.uniform(0.1, 0.8))

    async def _place(self, free: Mapping[Address, Collateral]) -> None:
        info = self.info = await self.market()
        market, now = info.terms.market, int(time.time())
        nonce, self._nonce = Nonce(self._nonce), self._nonce + 1
        until = self.rng.choice(list(TimeInForce))
        standing = Standing(
            RoundId(max(info.round, 1)),
            now,
            until,
            now + self.rng.randrange(5, 60) if until is TimeInForce.GOOD_TILL_TIME else 0,
        )
        level = market.grid.levels // 2 + self.rng.randrange(-1, 4) * (1 if self.side is Side.BUY else -1)
        order = Order(self.side, Tick(level), Lots(self.rng.randrange(50)))
        base, quote = free[market.base], free[market.quote]
        made = draft(info.terms, self.address, self.seed, nonce, order, standing, base, quote)
        terms = info.terms
        sealed = await asyncio.to_thread(made.finish, terms.key, terms.chain_id, terms.contract, self.key)
        raw = sealed.raw
        self.orders[order_hash(raw)] = raw
        answer = await self.ask("POST", "/v1/orders", raw, "application/vnd.darkpool.order")
        if answer.status_code == 201:
            receipt = Receipt.from_json(answer.json())
            receipt.check(terms.domain, info.operator)
            assert receipt.subject == order_hash(raw)
            self.receipts[receipt.subject] = receipt
        else:
            assert _code(answer) in _LATE, answer.text
            self.refused[order_hash(raw)] = _code(answer)

    async def _cancel(self, own: OwnOrder) -> None:
        terms = self.info.terms
        digest = cancel_digest(terms, self.address, own.nonce)
        body = {
            "market": "0x" + terms.market.id.hex(),
            "account": address_hex(self.address),
            "nonce": own.nonce,
            "signature": "0x" + sign_digest(digest, self.key).hex(),
        }
        answer = await self.ask("POST", "/v1/orders/cancellations", json.dumps(body).encode())
        if answer.status_code == 200:
            self.cancelled[own.hash] = Receipt.from_json(answer.json())
        else:
            assert _code(answer) in _LATE, answer.text


def _read(answer: httpx.Response) -> Any:  # noqa: ANN401  # JSON
    assert answer.status_code == 200, answer.text
    return answer.json()


def _code(answer: httpx.Response) -> str:
    return str(answer.json()["type"]).rpartition(":")[2]
