"""What an auditor named by policy asks the authorities: to open the handles of certain orders.

    darkpool message (darkpool/message.py), op "authority-request": a JSON head and blobs in this order
    the venue's answer to the query (JSON, with the legal reference and the operator's receipt)
    the market's description, as the venue wrote it (JSON)
    each order, in the head's order
    || signature of the auditor, over SHA-256("darkpool/v1/authority-request" || all before)

One canonical encoding. An authority believes none of it: the auditor is the one it deals with, the query is
on record at the venue (so that the account will see it), and orders are those the venue named in its answer,
signed by the account asked about.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from typing import Any, Final

from commitments.auditor_shares import MAX_HANDLES
from commitments.errors import CommitmentsError, DecodeError, VerificationError
from commitments.group import Point
from commitments.params import POINT_BYTES
from compliance.auditor import Auditor
from compliance.authority import Authority
from compliance.disclosure_answer import MAX_ORDERS as MAX_NAMED
from compliance.disclosure_answer import Answer
from compliance.disclosure_query import Basis
from compliance.grants import GrantRefused
from darkpool import jsontext
from darkpool.client.answers import MarketInfo
from darkpool.eip712 import SIGNATURE_BYTES, check_signer, sign_digest
from darkpool.errors import ConfigError, OrderRefused, PeerFault
from darkpool.jsonfields import Fields, hex_text, read_hex
from darkpool.message import Message
from darkpool.order import MAX_ORDER_BYTES, SealedOrder, check_order_signature, order_hash
from darkpool.types import PrivateKey, Signature

OP: Final = "authority-request"
LABEL_AUTHORITY_REQUEST: Final = b"darkpool/v1/authority-request"
VERSION: Final = 1
MAX_ORDERS: Final = MAX_HANDLES // 2
MAX_FILE: Final = 1 << 28
_MAX_MARKET_BYTES: Final = 1 << 20
_NAMES: Final = ("version", "auditor", "key", "orders", "without")
_HASH_BYTES: Final = 32


@dataclass(frozen=True)
class Request:
    """key: the auditor key A; orders: bytes by hash; without: hashes of orders that carry no handle for A."""

    auditor: Auditor
    key: Point
    answer_bytes: bytes = field(repr=False)
    market_bytes: bytes = field(repr=False)
    orders: Mapping[bytes, bytes] = field(repr=False)
    without: tuple[bytes, ...] = ()
    signature: Signature = field(default=Signature(b""), repr=False)

    @cached_property
    def answer(self) -> Answer:
        """The venue's answer to the query. Raises DecodeError."""
        try:
            return Answer.from_json(jsontext.parsed(self.answer_bytes, "answer"))
        except (GrantRefused, ConfigError) as error:
            raise DecodeError("answer", error.message) from None

    @cached_property
    def info(self) -> MarketInfo:
        """The market. Raises DecodeError."""
        return MarketInfo.of(jsontext.parsed(self.market_bytes, "market"))

    @property
    def legal_reference(self) -> str:
        """What it rests on."""
        return self.answer.query.legal_reference

    @cached_property
    def sealed(self) -> tuple[SealedOrder, ...]:
        """Its orders, not checked. Raises DecodeError."""
        return tuple(self.info.order(raw) for raw in self.orders.values())

    @cached_property
    def digest(self) -> bytes:
        """32 bytes that name the request; what the auditor signs."""
        return sha256(LABEL_AUTHORITY_REQUEST + self.body).digest()

    @cached_property
    def body(self) -> bytes:
        """The file without its signature."""
        fields: dict[str, Any] = {
            "version": VERSION,
            "auditor": self.auditor.export(),
            "key": hex_text(self.key.encode()),
            "orders": [hex_text(digest) for digest in self.orders],
            "without": [hex_text(digest) for digest in self.without],
        }
        return Message(OP, fields, [self.answer_bytes, self.market_bytes, *self.orders.values()]).encode()

    def encode(self) -> bytes:
        """The file."""
        return self.body + self.signature

    def signed(self, key: PrivateKey) -> Request:
        """With the auditor's signature."""
        return replace(self, signature=sign_digest(self.digest, key))

    @staticmethod
    def decode(data: bytes) -> Request:
        """Of its form only; what it says is for `check`. Raises DecodeError naming the field."""
        if len(data) > MAX_FILE:
            raise DecodeError(OP, f"above {MAX_FILE} bytes")
        message = Message.decode(data[:-SIGNATURE_BYTES])
        if message.op != OP:
            raise DecodeError(OP, "not a request to authorities")
        fields = Fields(message.fields, OP, _NAMES)
        fields.uint("version", VERSION, VERSION)
        try:
            auditor = Auditor.parse(fields.text("auditor"))
        except ConfigError as error:
            raise DecodeError("auditor", error.message) from None
        key = Point.decode(fields.octets("key", POINT_BYTES), "key")
        hashes = _hashes(fields, "orders", MAX_ORDERS)
        if not hashes:
            raise DecodeError("orders", "none; at least 1")
        without = _hashes(fields, "without", MAX_NAMED)
        if len(message.blobs) != 2 + len(hashes):
            raise DecodeError("orders", f"{len(hashes)} are named, {len(message.blobs) - 2} are given")
        answer, market, *orders = message.blobs
        if len(market) > _MAX_MARKET_BYTES:
            raise DecodeError("market", f"above {_MAX_MARKET_BYTES} bytes")
        for digest, raw in zip(hashes, orders, strict=True):
            if len(raw) > MAX_ORDER_BYTES or order_hash(raw) != digest:
                raise DecodeError("orders", f"the bytes of {digest.hex()[:16]} are of another")
        given = dict(zip(hashes, orders, strict=True))
        signature = Signature(data[-SIGNATURE_BYTES:])
        found = Request(auditor, key, answer, market, given, without, signature)
        if found.body != data[:-SIGNATURE_BYTES]:
            raise DecodeError(OP, "not in its canonical form")
        _ = found.answer, found.info, found.sealed
        return found

    def check(self, authority: Authority, auditor: Auditor | None = None) -> None:
        """Raises OrderRefused naming what does not hold of a request to that authority.

        1. its auditor, or the one given instead, signed it; 2. it is for the authority's key, vault and
        venue; 3. the operator has the query on record, by the authority's name, about this answer; 4. every
        order is of the account and market asked about, signed, named in the answer, and of no later day.
        Whether the orders' proofs hold is for compliance/handles.py `answer`.
        """
        for name, problem in self._problems(authority, auditor or authority.auditor):
            raise OrderRefused(
                f"request, {name}: {problem}",
                "ask the auditor for the request as `audit policy-query` writes it",
                "request-refused",
            )

    def _problems(self, authority: Authority, auditor: Auditor) -> Iterator[tuple[str, str]]:
        if self.auditor != auditor:  # 1
            yield "auditor", "not the one these authorities answer"
        try:
            check_signer(self.digest, self.signature, auditor.account)
        except VerificationError as error:
            yield "signature", error.problem
        yield from self._scope_problems(authority)  # 2
        yield from self._record_problems(authority, auditor)  # 3
        named = {order.hash for order in self.answer.orders}
        for order in self.sealed:  # 4
            problem = self._order_problem(order, named)
            if problem:
                yield f"order {order.hash.hex()[:16]}", problem

    def _scope_problems(self, authority: Authority) -> Iterator[tuple[str, str]]:
        terms = self.info.terms
        if self.key != authority.sharing.key:
            yield "key", "it is for another auditor key"
        if (terms.domain, terms.venue) != (authority.domain, authority.registration.context.venue):
            yield "market", "it is of another vault or venue"
        if terms.market.id != self.answer.query.market:
            yield "market", "not the one that was asked about"

    def _record_problems(self, authority: Authority, auditor: Auditor) -> Iterator[tuple[str, str]]:
        query, receipt = self.answer.query, self.answer.receipt
        if query.basis is not Basis.POLICY:
            yield "query", "it rests on a grant: its orders open by the grant's keys"
        if query.authority != authority.name:
            yield "query", f"it names {query.authority!r}"
        try:
            receipt.check(authority.domain, authority.operator, auditor.account, query.hash, self.answer.hash)
        except PeerFault as error:
            yield "receipt", error.message

    def _order_problem(self, order: SealedOrder, named: set[bytes]) -> str:
        query, terms, statement = self.answer.query, self.info.terms, order.statement
        due = (query.account, query.market, terms.chain_id, terms.contract)
        found = (order.account, statement.market, statement.chain_id, statement.contract)
        for name, is_, should in zip(("account", "market", "chain", "contract"), found, due, strict=True):
            if is_ != should:
                return f"its {name} is not the one asked about"
        if statement.utc_day > query.last_day:
            return "it was signed after the days asked about"
        if order.hash not in named:
            return "the venue did not name it in its answer"
        try:
            check_order_signature(terms.domain, statement, order.hash, order.signature)
        except OrderRefused as error:
            return error.message
        return ""


def read_request(data: bytes) -> Request:
    """A request's file. Raises OrderRefused naming the field that is malformed."""
    try:
        return Request.decode(data)
    except CommitmentsError as error:
        raise OrderRefused(
            f"request, {error}", "take the file as `audit policy-query` wrote it", "request-refused"
        ) from None


def _hashes(fields: Fields, name: str, limit: int) -> tuple[bytes, ...]:
    found = tuple(read_hex(text, name, _HASH_BYTES) for text in fields.array(name, limit))
    if len(set(found)) != len(found):
        raise DecodeError(name, "one is named twice")
    return found
