"""Evidence against a settlement, as contracts/src/Arbiter.vy takes it: from public data and the seed.

    Case (public)  +  OpenOrder of each own order  ->  Evidence  ->  the arguments of `contest`

A case is what was settled and which rounds it is made of, with the places of the account's orders in their
lists. What is consumed and not shown is denied: the arbiter then waits whether anybody can show it. An order
is shown in a list only if it is there exactly as the trader signed it, for the book it was signed for. One
whose place is not known is opened without it: the arbiter then waits whether anybody can show another order
of its nonce. A round is shown only if its words hash to its part of the transcript. So an honest trader never
denies an order that could be shown, whatever is withheld.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from commitments import merkle
from commitments.encoding import Reader
from commitments.errors import CommitmentsError, DecodeError
from commitments.order_statement import Statement
from commitments.params import LABEL_ORDER_HASH, LABEL_TERMS, MAX_ORDERS_PER_ROUND
from commitments.pedersen import commit
from darkpool.draft import open_own
from darkpool.eip712 import SIGNATURE_BYTES, keccak256, word
from darkpool.entitlement import Book, RoundWords, Stake, Valuation, disproof
from darkpool.errors import OrderRefused, PeerFault
from darkpool.market import MAX_NAME
from darkpool.settlement import MAX_TOKENS, NONCES_PER_WORD, Delta, NullifierRow, row_hashes
from darkpool.types import Address, Lots, Nonce, Quanta, TokenIndex
from darkpool.vault import Settled
from darkpool.windows import MAX_ROUNDS

BOND: Final = 10**17
"""What a contest costs, wei."""

MAX_SHOWN: Final = 64
"""Most orders of one contest."""

UNLISTED: Final = 2**256 - 1
"""Index of an order that is opened without its place in a list."""


@dataclass(frozen=True, slots=True)
class SettledRecord:
    """A settlement in force as the vault recorded it. settled_at: time of its block, unix seconds."""

    id: int
    settled_at: int
    root: bytes
    transcript: bytes
    deltas: tuple[Delta, ...] = field(repr=False)
    nullifiers: tuple[NullifierRow, ...] = field(repr=False)

    @staticmethod
    def of(event: Settled, settled_at: int) -> SettledRecord:
        """The record of an event of that block time. Raises SettlementRefused for rows that are none."""
        return SettledRecord(
            event.id,
            settled_at,
            event.root,
            event.transcript,
            tuple(Delta(TokenIndex(t), a, Quanta(q)) for t, a, q in event.deltas),
            tuple(NullifierRow(a, w, m) for a, w, m in event.nullifiers),
        )

    @property
    def words(self) -> tuple[int, int, bytes, bytes, bytes, bytes]:
        """What the vault's record hashes, and what a refutation takes as `record`."""
        deltas, nullifiers = row_hashes(self.deltas, self.nullifiers)
        return self.id, self.settled_at, self.root, self.transcript, deltas, nullifiers

    @property
    def hash(self) -> bytes:
        """The vault's `records(id)`."""
        return keccak256(b"".join([word(w) for w in self.words]))

    def packed(self) -> tuple[Any, ...]:
        """With all rows, as `contest` takes it."""
        deltas = [row.packed() for row in self.deltas]
        return (
            self.id,
            self.settled_at,
            self.root,
            self.transcript,
            deltas,
            [r.packed() for r in self.nullifiers],
        )

    def deltas_of(self, account: Address) -> dict[int, int]:
        """By token, quanta."""
        return {row.token: int(row.amount) for row in self.deltas if row.account == account}

    def consumed(self, account: Address) -> list[Nonce]:
        """The account's nonces that it spent, ascending."""
        return [
            Nonce(NONCES_PER_WORD * row.word + bit)
            for row in self.nullifiers
            if row.account == account
            for bit in range(NONCES_PER_WORD)
            if row.mask >> bit & 1
        ]


@dataclass(frozen=True, slots=True)
class Listed:
    """An own order's place in a round's list: the round by its place in the settlement, and its inclusion.

    With index UNLISTED and no path: opened without it, for a round of its book.
    """

    nonce: int
    hash: bytes
    round: int
    index: int
    path: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Case:
    """What was settled, and its rounds as published. Public data only; it may all be false.

    transcripts: of all rounds in the settlement's order, or none if they do not hash to what was settled;
    rounds: by place; listed: the account's orders in their lists.
    """

    record: SettledRecord
    transcripts: tuple[bytes, ...] = ()
    rounds: Mapping[int, RoundWords] = field(default_factory=dict)
    listed: tuple[Listed, ...] = ()

    @staticmethod
    def of(record: SettledRecord, rounds: Sequence[RoundWords], listed: Sequence[Listed] = ()) -> Case:
        """The case of those rounds in that order; of none if they are not those of the settlement."""
        transcripts = tuple(r.hash for r in rounds)
        if keccak256(b"".join(transcripts)) != record.transcript or len(rounds) > MAX_ROUNDS:
            return Case(record)
        return Case(record, transcripts, dict(enumerate(rounds)), tuple(listed))


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An own order as the arbiter is shown it. Secret until then: `repr` shows none of it.

    slot: k = 2i + s; blindings: of C_q and C_m; book: of what was signed.
    """

    account: Address
    nonce: int
    hash: bytes
    slot: int = field(repr=False)
    quantity: Lots = field(repr=False)
    blindings: tuple[int, int] = field(repr=False)
    book: Book

    @staticmethod
    def of(raw: bytes, seed: bytes, terms: Callable[[bytes], bytes | None]) -> OpenOrder:
        """The own order of those bytes; `terms`: preimages of terms' hashes.

        Raises PeerFault if the seed does not open it, OrderRefused if its terms are not known.
        """
        try:
            s, order, blindings = open_own(raw, seed)
        except (CommitmentsError, ValueError) as error:
            raise PeerFault(f"an order that this seed does not open ({error})", peer="venue") from None
        preimage = terms(s.terms_hash)
        if preimage is None or sha256(preimage).digest() != s.terms_hash:
            raise OrderRefused(
                f"order {s.nonce}: the terms it was signed for, {s.terms_hash.hex()}, are not known here",
                "run it once while the venue answers, or with the folder that signed it",
            )
        return OpenOrder(
            Address(s.account),
            s.nonce,
            sha256(LABEL_ORDER_HASH + raw[:-SIGNATURE_BYTES]).digest(),
            order.slot,
            order.quantity,
            (blindings[0], blindings[5]),
            (int.from_bytes(s.market), s.p_0, s.tick, s.lot, *tokens_of(preimage)),
        )

    @property
    def leaf(self) -> bytes:
        """The entry of a sealed list, computed from the opening."""
        c_q = commit(self.quantity, self.blindings[0])
        c_m = commit(self.slot * self.quantity, self.blindings[1])
        head = self.account + self.nonce.to_bytes(8) + self.book[0].to_bytes(32)
        return head + c_q.encode_xy() + c_m.encode_xy() + self.hash


def tokens_of(preimage: bytes) -> tuple[int, int]:
    """Base and quote of a market by their place in the vault's list, of `Terms.preimage`.

    Raises DecodeError for bytes that are none.
    """
    reader = Reader(preimage)
    reader.var("label", len(LABEL_TERMS))
    for name, width in (("chain_id", 8), ("contract", 20), ("venue", 32), ("market", 32)):
        reader.fixed(name, width)
    reader.var("name", MAX_NAME)
    base, quote = (reader.fixed(name, 20) for name in ("base", "quote"))
    for name in ("lot", "p_0", "tick", "levels", "pressure", "volume", "accounts", "orders", "window"):
        reader.uint(name, 8)
    tokens = [reader.fixed("token", 20) for _ in range(reader.uint("tokens", 8, MAX_TOKENS))]
    if not {base, quote} <= set(tokens):
        raise DecodeError("tokens", "without the market's")
    return tokens.index(base), tokens.index(quote)


def terms_hash_of(raw: bytes) -> bytes:
    """Hash of the terms that an order names. Raises DecodeError."""
    return Statement.read(Reader(raw)).terms_hash


def claim(leaf: bytes, words: RoundWords) -> bytes:
    """What the arbiter keeps of an order opened without its place: the order's leaf and the round's book."""
    return keccak256(b"".join([word(w) for w in (merkle.leaf_hash(leaf), *words.book)]))


@dataclass(frozen=True, slots=True)
class Evidence:
    """The arguments of `contest`. Secret until it is sent: it opens orders.

    shown: with their places, or UNLISTED; denied: consumed nonces not shown; all_rounds: whether no round is
    denied.
    """

    case: Case
    shown: tuple[tuple[OpenOrder, Listed], ...] = field(repr=False)
    denied: tuple[Nonce, ...]
    valuation: Valuation

    @property
    def all_rounds(self) -> bool:
        """Whether every round is shown."""
        return bool(self.case.transcripts) and len(self.case.rounds) == len(self.case.transcripts)

    @property
    def claimed(self) -> list[int]:
        """Nonces of orders opened without their place."""
        return [own.nonce for own, at in self.shown if at.index == UNLISTED]

    @property
    def complete(self) -> bool:
        """Whether it is judged at once. Where no order was consumed, rounds do not matter."""
        return not self.denied and not self.claimed and (self.all_rounds or not self.shown)

    def arguments(self, vault: str) -> list[Any]:
        """For the arbiter, of the vault of that address."""
        places = sorted(self.case.rounds)
        orders = [
            (
                own.nonce,
                places.index(at.round),
                own.slot,
                own.quantity,
                *own.blindings,
                own.hash,
                at.index,
                list(at.path),
            )
            for own, at in self.shown
        ]
        rounds = [(place, list(self.case.rounds[place].words)) for place in places]
        transcripts = list(self.case.transcripts)
        return [vault, self.case.record.packed(), transcripts, rounds, orders, list(self.valuation)]


def evidence(case: Case, account: Address, orders: Mapping[bytes, OpenOrder]) -> Evidence | None:
    """What shows that the settlement did to the account what no fills of its orders could have done.

    `orders`: its own by hash. None if it cannot be shown: the settlement agrees with them. Raises
    OrderRefused if the account had more orders in it than one contest can show.
    """
    shown: dict[int, tuple[OpenOrder, Listed]] = {}
    for at in case.listed:
        own = orders.get(at.hash)
        if own is not None and own.account == account and own.nonce == at.nonce and _is_there(case, own, at):
            shown[at.nonce] = (own, at)
    consumed = case.record.consumed(account)
    for own in orders.values():
        if own.account == account and own.nonce in consumed and own.nonce not in shown:
            place = next((place for place, r in case.rounds.items() if r.book == own.book), None)
            if place is not None:
                shown[own.nonce] = (own, Listed(own.nonce, own.hash, place, UNLISTED, ()))
    used = [shown[nonce] for nonce in consumed if nonce in shown]
    if len(used) > MAX_SHOWN:
        raise OrderRefused(
            f"contest: {len(used)} orders of the account were consumed, {MAX_SHOWN} can be shown",
            "leave the vault: `darkpool exit`",
        )
    rounds = list(case.rounds.values())
    stakes = [Stake(own.slot, own.quantity, case.rounds[at.round]) for own, at in used]
    found = disproof(case.record.deltas_of(account), stakes, rounds)
    if found is None:
        return None
    return Evidence(case, tuple(used), tuple(n for n in consumed if n not in shown), found)


def _is_there(case: Case, own: OpenOrder, at: Listed) -> bool:
    """Whether the round's list has the order there as it was signed, for the book it was signed for."""
    words = case.rounds.get(at.round)
    if words is None or words.book != own.book or words.orders > MAX_ORDERS_PER_ROUND:
        return False
    try:
        merkle.verify_entry(own.leaf, at.index, words.orders, at.path, words.root)
    except CommitmentsError:
        return False
    return True
