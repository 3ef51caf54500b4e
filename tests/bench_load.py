"""What the service's benchmark sends, by processes of its own: orders sealed beforehand, HTTP over sockets.

An account's orders go over one connection, one after another, as its proofs are against one F after another.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import uvloop

from api.body import JSON_TYPE, ORDER_TYPE
from commitments.paillier import public_key
from darkpool.book import cancel_all_digest
from darkpool.draft import Standing
from darkpool.eip712 import sign_digest
from darkpool.jsonfields import hex_text
from darkpool.market import Side
from darkpool.message import Message, read_terms
from darkpool.netting import Signers
from darkpool.order import Order, Terms
from darkpool.types import Lots, Nonce, PrivateKey, Quanta, RoundId, Tick, address_hex
from darkpool.wallet import Wallet

DEPOSIT = Quanta(1 << 56)  # of each token; all accounts together stay below the vault's 2^64
_OK = 200
STANDING = 10  # orders of an account, which then cancels them all: so the book does not grow
_HEAD = "POST {} HTTP/1.1\r\nHost: venue\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer: seconds from when the order was due to when its receipt was here."""

    seconds: float
    status: int
    body: bytes = field(repr=False)


def account_key(number: int) -> PrivateKey:
    """An account's wallet key."""
    return PrivateKey(sha256(b"bench account %d" % number).digest())


def sealed_orders(modulus: int, terms_entry: bytes, number: int, count: int) -> list[bytes]:
    """That many orders of an account of which nothing is in the log but its deposits, for round 1.

    After every STANDING of them comes the JSON that cancels them.
    """
    terms = read_terms(Message.decode(terms_entry), public_key(modulus))
    wallet = Wallet(terms, Signers(1, {}), account_key(number), bytes([number]) * 32)
    for token in (terms.market.base, terms.market.quote):
        wallet.deposited(token, DEPOSIT)
    rng = random.Random(number)
    sealed = []
    for _ in range(count):
        level = Tick(rng.randrange(terms.market.grid.levels))
        order = Order(Side(rng.randrange(2)), level, Lots(rng.randrange(1, 10_000)))
        draft = wallet.draft(order, Standing(RoundId(1), int(time.time())))
        wallet.accepted(order, draft)
        sealed.append(draft.finish(terms.key, terms.chain_id, terms.contract, wallet.private_key).raw)
        if len(wallet.live) == STANDING:
            sealed.append(_cancellation(terms, wallet))
            wallet.released([live.nonce for live in wallet.live])
    return sealed


def _cancellation(terms: Terms, wallet: Wallet) -> bytes:
    below = Nonce(wallet.live[-1].nonce + 1)
    digest = cancel_all_digest(terms, wallet.address, below)
    fields = {
        "market": hex_text(terms.market.id),
        "account": address_hex(wallet.address),
        "below": below,
        "signature": hex_text(sign_digest(digest, wallet.private_key)),
    }
    return json.dumps(fields).encode()


def is_order(body: bytes) -> bool:
    """Whether it is no cancellation."""
    return not body.startswith(b"{")


def load(port: int, accounts: Sequence[Sequence[bytes]], rate: int | None) -> tuple[float, list[Answered]]:
    """Send all orders to 127.0.0.1; the seconds it took, and the answers.

    With `rate` orders a second are due, accounts in turn, whatever the venue answers (an order waits only for
    its account's earlier ones, and that counts as its time); without it each account sends when it can.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_load(port, accounts, rate))


async def _load(
    port: int, accounts: Sequence[Sequence[bytes]], rate: int | None
) -> tuple[float, list[Answered]]:
    start = time.perf_counter() + 0.2  # when all are connected
    columns = len(accounts)
    tasks = [
        _account(port, raws, start, None if rate is None else (number / rate, columns / rate))
        for number, raws in enumerate(accounts)
    ]
    answers = [a for found in await asyncio.gather(*tasks) for a in found]
    return time.perf_counter() - start, answers


async def _account(
    port: int, bodies: Sequence[bytes], start: float, pace: tuple[float, float] | None
) -> list[Answered]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answers: list[Answered] = []
    for body in bodies:
        due = start if pace is None else start + pace[0] + len(answers) * pace[1]
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        if pace is None:
            due = time.perf_counter()
        writer.write(_request(body))
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(next(x for x in head.lower().split("\r\n") if x.startswith("content-length")).split()[1])
        answer = Answered(time.perf_counter() - due, int(head.split()[1]), await reader.readexactly(length))
        if is_order(body):
            answers.append(answer)
        elif answer.status != _OK:
            raise RuntimeError(f"a cancellation was refused: {answer.body[:500]!r}")
    writer.close()
    return answers


def _request(body: bytes) -> bytes:
    path, kind = (
        ("/v1/orders", ORDER_TYPE) if is_order(body) else ("/v1/orders/mass-cancellations", JSON_TYPE)
    )
    return _HEAD.format(path, kind, len(body)).encode() + body
