"""Orders, rounds and settlements that a test makes by hand, true or false, and contests of them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any, Final

from eth_tester.exceptions import TransactionFailed

from commitments.encoding import Writer
from commitments.merkle import Tree
from commitments.params import GROUP_ORDER, LABEL_ORDER_HASH, LABEL_TERMS
from commitments.pedersen import commit
from darkpool.contest import BOND, Case, Evidence, Listed, OpenOrder, SettledRecord, evidence
from darkpool.eip712 import digest, keccak256, sign_digest
from darkpool.entitlement import RoundWords
from darkpool.market import Side
from darkpool.types import Address, Lots, PrivateKey, Signature, address_hex, parse_address
from tests.contracts.world import ALICE, BOB, CAROL, GAS, World, address_of

MARKET: Final = b"\x03" * 32
P_0, TICK, LOT = 1_000, 10, 7
BASE, QUOTE = 0, 1
PRICE: Final = P_0 + 3 * TICK
HELD: Final = 1_000_000
_GRID_AT, _LOT_AT, _TERMS_AT, _KEYS_AT, _POINTS_AT = 94, 112, 267, 299, 508
TOKENS: Final = tuple(
    map(
        parse_address,
        ("0xA3183498b579bd228aa2B62101C40CC1da978F24", "0x63f58053c9499E1104a6f6c6d2581d6D83067EEB"),
    )
)
"""Where a world has its tokens."""


@dataclass(frozen=True)
class Made:
    """An order by its opening; its bytes have what the arbiter reads of them where it reads it."""

    owner: PrivateKey
    nonce: int
    slot: int
    quantity: int
    blindings: tuple[int, int]
    market: bytes = MARKET
    p_0: int = P_0
    tick: int = TICK
    lot: int = LOT
    length: int = 900
    places: tuple[int, int] = (BASE, QUOTE)
    tokens: tuple[Address, ...] = TOKENS

    @property
    def account(self) -> Address:
        return address_of(self.owner)

    @property
    def terms(self) -> bytes:
        """What its terms' hash is of."""
        writer = Writer().var(LABEL_TERMS).uint(1, 8).fixed(bytes(20), 20).fixed(bytes(32), 32)
        writer.fixed(self.market, 32).var(b"X-Y")
        for place in self.places:
            writer.fixed(self.tokens[place], 20)
        for _ in range(9):
            writer.uint(1, 8)
        writer.uint(len(self.tokens), 8)
        for token in self.tokens:
            writer.fixed(token, 20)
        return bytes(writer.fixed(bytes(32), 32).fixed(bytes(32), 32))

    @cached_property
    def points(self) -> tuple[bytes, bytes]:
        """C_q and C_m: x and y."""
        values = (self.quantity, self.slot * self.quantity)
        c_q, c_m = (commit(v, r) for v, r in zip(values, self.blindings, strict=True))
        return c_q.encode_xy(), c_m.encode_xy()

    @cached_property
    def body(self) -> bytes:
        """All but the signature."""
        body = bytearray(b"\xa5" * self.length)  # calldata of other than zeros
        body[_KEYS_AT] = 0
        body[_GRID_AT : _GRID_AT + 16] = self.p_0.to_bytes(8) + self.tick.to_bytes(8)
        body[_TERMS_AT : _TERMS_AT + 32] = sha256(self.terms).digest()
        body[_LOT_AT : _LOT_AT + 8] = self.lot.to_bytes(8)
        values = (self.quantity, self.slot * self.quantity)
        for i, (value, blinding) in enumerate(zip(values, self.blindings, strict=True)):
            at = _POINTS_AT + 240 * i
            body[at : at + 48] = commit(value, blinding).encode()
        body[-8:] = self.nonce.to_bytes(8)  # no two are alike
        return bytes(body)

    @cached_property
    def hash(self) -> bytes:
        return sha256(LABEL_ORDER_HASH + self.body).digest()

    @property
    def opened(self) -> OpenOrder:
        book = (int.from_bytes(self.market), self.p_0, self.tick, self.lot, *self.places)
        return OpenOrder(
            self.account, self.nonce, self.hash, self.slot, Lots(self.quantity), self.blindings, book
        )

    @property
    def leaf(self) -> bytes:
        return self.opened.leaf

    def signature(self, world: World) -> Signature:
        kind = "SealedOrder(address account,uint64 nonce,bytes32 market,bytes32 order)"
        return sign_digest(
            digest(world.domain, kind, (self.account, self.nonce, self.market, self.hash)), self.owner
        )


def order(
    owner: PrivateKey,
    nonce: int,
    side: Side,
    level: int,
    quantity: int,
    **changes: Any,  # noqa: ANN401 - fields of it
) -> Made:
    blindings = (secrets.randbelow(GROUP_ORDER), secrets.randbelow(GROUP_ORDER))
    return Made(owner, nonce, 2 * level + side, quantity, blindings, **changes)


@dataclass(frozen=True)
class MadeRound:
    """A round of those orders that cleared at that level, with strangers' leaves around."""

    orders: tuple[Made, ...]
    words: RoundWords
    tree: Tree

    def listed(self, place: int) -> list[Listed]:
        return [
            Listed(made.nonce, made.hash, place, i, self.tree.inclusion(i))
            for i, made in enumerate(self.orders)
        ]


def a_round(
    orders: Sequence[Made],
    level: int,
    *,
    number: int = 1,
    strangers: int = 2,
    tokens: tuple[int, int] = (BASE, QUOTE),
    **changes: int,
) -> MadeRound:
    tree = Tree([*(made.leaf for made in orders), *(i.to_bytes(2) * 142 for i in range(strangers))])
    p_0, tick, lot = (
        changes.get(name, default) for name, default in (("p_0", P_0), ("tick", TICK), ("lot", LOT))
    )
    market = orders[0].market if orders else MARKET
    price = changes.get("price", p_0 + level * tick)
    words = (market, number, 1_000, tree.root(), tree.size, price, p_0, tick, lot, 5, *tokens, bytes(32))
    return MadeRound(tuple(orders), RoundWords.of(words), tree)


def trade(lots: int, price: int = PRICE) -> dict[tuple[int, PrivateKey], int]:
    """Alice buys of Bob."""
    base, quote = lots * LOT, lots * price
    return {(BASE, ALICE): base, (BASE, BOB): -base, (QUOTE, ALICE): -quote, (QUOTE, BOB): quote}


@contextmanager
def with_holdings(world: World) -> Iterator[None]:
    """Alice and Bob hold HELD of both tokens meanwhile."""
    snapshot, logs = world.tester.take_snapshot(), list(world.logs)
    for owner in (ALICE, BOB):
        for token in (BASE, QUOTE):
            world.hold(owner, token, HELD)
    yield
    world.tester.revert_to_snapshot(snapshot)
    world.logs = logs


class Ground:
    """Contests in a world."""

    def __init__(self, world: World) -> None:
        self.world = world

    def settled(
        self,
        rounds: Sequence[MadeRound],
        nets: Mapping[tuple[int, PrivateKey], int],
        spent: Sequence[tuple[PrivateKey, int]] = (),
        *,
        transcript: bytes | None = None,
    ) -> Case:
        """A quorum signs it and it lands; the case with all the orders' places."""
        if transcript is None:
            transcript = keccak256(b"".join(r.words.hash for r in rounds))
        settlement = self.world.settlement(dict(nets), spent, transcript=transcript)
        at = self.world.now()
        self.world.done(None, "settle", *self.world.signed(settlement))
        s = settlement
        record = SettledRecord(s.id, at, s.root, s.transcript, s.deltas, s.nullifiers)
        assert bytes(self.world.vault.functions.records(s.id).call()) == record.hash
        listed = [at for place, r in enumerate(rounds) for at in r.listed(place)]
        return Case.of(record, [r.words for r in rounds], listed)

    def evidence(self, case: Case, owner: PrivateKey, orders: Sequence[Made]) -> Evidence | None:
        return evidence(case, address_of(owner), {made.hash: made.opened for made in orders})

    def found(self, case: Case, owner: PrivateKey, orders: Sequence[Made]) -> Evidence:
        evidence = self.evidence(case, owner, orders)
        assert evidence is not None
        return evidence

    def robbery(self, quote: int = 50_000) -> tuple[Case, Made]:
        """Alice bids for 5 lots, and Carol gets quote of hers for nothing."""
        bid = order(ALICE, 7, Side.BUY, 4, 5)
        made = a_round([bid, order(BOB, 1, Side.SELL, 0, 5)], 3)
        nets = {(QUOTE, ALICE): -quote, (QUOTE, CAROL): quote}
        return self.settled([made], nets, [(ALICE, 7), (BOB, 1)]), bid

    def arguments(self, found: Evidence) -> list[Any]:
        return found.arguments(self.world.vault.address)

    # The arbiter

    def reason(self, sender: PrivateKey, function: str, *arguments: Any, wei: int = 0) -> str:  # noqa: ANN401
        """Why the arbiter refuses a call in the next block; empty if it does not."""
        transaction = {"from": address_hex(address_of(sender)), "gas": GAS, "value": wei}
        try:
            self.world.arbiter.functions[function](*arguments).call(transaction, "pending")
        except TransactionFailed as error:
            return str(error.args[0]).removeprefix("execution reverted: ")
        return ""

    def done(self, sender: PrivateKey, function: str, *arguments: Any, wei: int = 0) -> int:  # noqa: ANN401
        """A call that must succeed; its gas."""
        transaction = {"from": address_hex(address_of(sender)), "gas": GAS, "value": wei}
        tx = self.world.arbiter.functions[function](*arguments).transact(transaction)
        receipt = self.world.web3.eth.get_transaction_receipt(tx)
        assert receipt["status"] == 1, self.reason(sender, function, *arguments, wei=wei)
        self.world.logs += receipt["logs"]
        return int(receipt["gasUsed"])

    def contest(self, sender: PrivateKey, found: Evidence) -> int:
        """Sends it with the bond; its gas."""
        return self.done(sender, "contest", *self.arguments(found), wei=BOND)

    def unwind(self, case: Case) -> int:
        """Takes back the settlement of a case; its gas."""
        number, at, root, transcript, _, nullifiers = case.record.words
        deltas = [row.packed() for row in case.record.deltas]
        return self.world.done(None, "unwind", number, at, root, transcript, deltas, nullifiers).gas

    def bond(self) -> int:
        """Wei that the arbiter has."""
        return int(self.world.web3.eth.get_balance(self.world.arbiter.address))

    def rounds_of(self, case: Case, account: PrivateKey) -> list[Any]:
        """The arguments of `refute_round`, by all rounds."""
        rounds = [(place, list(words.words)) for place, words in case.rounds.items()]
        head = [self.world.vault.address, address_hex(address_of(account)), case.record.words]
        return [*head, list(case.transcripts), rounds]

    def refutation(
        self,
        case: Case,
        place: int,
        made: Made,
        index: int,
        shown: Sequence[int] = (),
        claims: Sequence[bytes] | None = None,
    ) -> list[Any]:
        """The arguments of `refute_order`, by an order of the round at that place."""
        words = case.rounds[place]
        path = next(at.path for at in case.listed if (at.hash, at.round) == (made.hash, place))
        signed = (
            made.nonce,
            made.body,
            bytes(made.signature(self.world)),
            *made.points,
            index,
            list(path),
        )
        nullifiers = [row.packed() for row in case.record.nullifiers]
        return [
            self.world.vault.address,
            address_hex(made.account),
            case.record.words,
            nullifiers,
            list(case.transcripts),
            (place, list(words.words)),
            list(shown),
            [bytes(32)] * len(shown) if claims is None else list(claims),
            signed,
            made.terms,
        ]
