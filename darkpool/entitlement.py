"""What fills of an account's orders could have brought it, and the proof that something else happened.

An order trades at most its quantity, once, in one round of its market where its limit allows the price, or
not at all. A lot bought brings `lot` base quanta and costs `price` quote quanta; sold, the other way round.
So for any valuation v of the tokens

    sum over tokens of v * delta  <=  sum over orders of quantity * max(0, max over rounds of the lot's worth)

if the deltas come of fills. What fills can come to is a convex set, so where they cannot come to the deltas,
a valuation shows it; contracts/src/Arbiter.vy checks the one it is given. Here they are found: for markets
that share at most their quote token every face of that set is perpendicular to one of `_candidates`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import gcd, lcm
from typing import Final

from commitments.errors import ParameterError
from darkpool.eip712 import WORD_BYTES, keccak256, word
from darkpool.settlement import MAX_TOKENS
from darkpool.types import Lots

WORDS: Final = 13
MAX_VALUE: Final = 1 << 64
"""Greatest worth of a quantum, without sign."""

_RANGE: Final = 1 << 64

Valuation = tuple[int, ...]
"""Worth of a quantum of each of eight tokens, by index."""

Book = tuple[int, int, int, int, int, int]
"""Market, p_0, tick, lot, base and quote token by index: all of it is signed with an order."""


@dataclass(frozen=True, slots=True)
class RoundWords:
    """A cleared round as the settlement's transcript has it: `netting.transcript_words`, as integers.

    Raises ParameterError unless there are 13 below 2^256.
    """

    words: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.words) != WORDS or not all(0 <= w < 1 << 256 for w in self.words):
            raise ParameterError(f"a round: not {WORDS} words below 2^256")

    @staticmethod
    def of(words: Sequence[int | bytes]) -> RoundWords:
        """The round of `transcript_words`."""
        return RoundWords(tuple(w if isinstance(w, int) else int.from_bytes(w) for w in words))

    @property
    def hash(self) -> bytes:
        """Its part of the settlement's transcript, 32 bytes."""
        return keccak256(b"".join(map(word, self.words)))

    @property
    def market(self) -> bytes:
        """The market's id."""
        return self.words[0].to_bytes(WORD_BYTES)

    @property
    def number(self) -> int:
        """The round's number in its market."""
        return self.words[1]

    @property
    def root(self) -> bytes:
        """Of its sealed list."""
        return self.words[3].to_bytes(WORD_BYTES)

    @property
    def orders(self) -> int:
        """How many its list has."""
        return self.words[4]

    @property
    def price(self) -> int:
        """Quote quanta per lot."""
        return self.words[5]

    @property
    def book(self) -> Book:
        """An order stands in one book, round after round."""
        market, (p_0, tick, lot), (base, quote) = self.words[0], self.words[6:9], self.words[10:12]
        return market, p_0, tick, lot, base, quote

    @property
    def lot(self) -> int:
        """Base quanta per lot."""
        return self.words[8]

    @property
    def tokens(self) -> tuple[int, int]:
        """Base and quote, by index."""
        return self.words[10], self.words[11]

    @property
    def in_range(self) -> bool:
        """Whether its numbers are such that anybody can have traded in it, as the arbiter judges."""
        return all(w < _RANGE for w in self.words[5:9]) and all(t < MAX_TOKENS for t in self.tokens)

    def allows(self, slot: int) -> bool:
        """Whether an order of slot k = 2i + s may trade at the price."""
        limit = self.words[6] + (slot >> 1) * self.words[7]
        return self.in_range and (limit <= self.price if slot & 1 else limit >= self.price)

    def worth(self, valuation: Valuation) -> int:
        """Of one lot bought."""
        base, quote = self.tokens
        return valuation[base] * self.lot - valuation[quote] * self.price


@dataclass(frozen=True, slots=True)
class Stake:
    """An order by what it may do: its slot, its quantity, a round whose list it is in."""

    slot: int = field(repr=False)
    quantity: Lots = field(repr=False)
    listed: RoundWords

    def most(self, valuation: Valuation, rounds: Sequence[RoundWords]) -> int:
        """The greatest worth of its fills."""
        sign = -1 if self.slot & 1 else 1
        open_to = (r for r in rounds if r.book == self.listed.book and r.allows(self.slot))
        return self.quantity * max(0, *(sign * r.worth(valuation) for r in open_to), 0)


def brought(valuation: Valuation, deltas: Mapping[int, int]) -> int:
    """What deltas by token are worth."""
    return sum(valuation[token] * amount for token, amount in deltas.items())


def disproof(
    deltas: Mapping[int, int], stakes: Sequence[Stake], rounds: Sequence[RoundWords]
) -> Valuation | None:
    """A valuation that shows that the deltas are no fills of those orders; None if none is found.

    Rounds of books in which there is no such order say nothing, so they must not steer the search.
    """
    books = {stake.listed.book for stake in stakes}
    for valuation in _candidates(deltas, [r for r in rounds if r.book in books]):
        if brought(valuation, deltas) > sum(stake.most(valuation, rounds) for stake in stakes):
            return valuation
    return None


def _candidates(deltas: Mapping[int, int], rounds: Sequence[RoundWords]) -> Iterator[Valuation]:
    """Both signs of: each token alone; quote tokens at one, each base at the price of one of its rounds."""
    for token in deltas:
        yield from _signed({token: 1})
    sound = [r for r in rounds if r.in_range]
    by_base: dict[int, list[RoundWords]] = {}
    for r in sound:
        if r.price and r.lot:
            by_base.setdefault(r.tokens[0], []).append(r)
    for chosen in product(*by_base.values()):
        unit = lcm(*(r.lot for r in chosen)) if chosen else 1
        values = {quote: unit for r in chosen for quote in r.tokens[1:]}
        values |= {r.tokens[0]: r.price * unit // r.lot for r in chosen}
        yield from _signed(values)


def _signed(values: Mapping[int, int]) -> Iterator[Valuation]:
    divisor = gcd(*values.values()) or 1
    scaled = tuple(values.get(token, 0) // divisor for token in range(MAX_TOKENS))
    if max(scaled) <= MAX_VALUE:
        yield scaled
        yield tuple(-v for v in scaled)
