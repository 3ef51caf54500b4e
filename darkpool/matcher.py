"""Sums on ciphertexts: the encrypted curves of a list, of its prefixes, of an account around the cut.

A product of ciphertexts encrypts the sum of the cumulative vectors; computing one tells nobody anything.
Every member recomputes every product it helps open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from commitments.paillier import Ciphertext
from darkpool.listing import SealedList
from darkpool.order import Terms
from darkpool.types import Address

Name: TypeAlias = bytes


@dataclass(frozen=True, slots=True)
class Product:
    """One ciphertext to open: its name among the openings of the list, which part of the curves it holds."""

    name: Name
    part: int
    ciphertext: Ciphertext


class Matcher:
    """The products of one sealed list."""

    def __init__(self, terms: Terms, sealed: SealedList) -> None:
        self._key = terms.key
        self.packing = terms.packing
        self._orders = sealed.orders
        self._prefixes: dict[
            int, dict[int, Ciphertext]
        ] = {}  # by part and length: longer ones go on from them

    def curves(self) -> list[Product]:
        """The whole list's D and S, one product per ciphertext."""
        parts = range(self.packing.ciphertexts)
        return [self._product(b"curve/%d" % j, j, range(len(self._orders))) for j in parts]

    def prefix(self, length: int, parts: Sequence[int]) -> list[Product]:
        """The first `length` orders' products for those parts of the curves."""
        return [Product(b"prefix/%d/%d" % (length, j), j, self._prefix(length, j)) for j in parts]

    def _prefix(self, length: int, part: int) -> Ciphertext:
        known = self._prefixes.setdefault(part, {0: self._key.product(())})
        start = max(done for done in known if done <= length)
        more = (order.ciphertexts[part] for order in self._orders[start:length])
        known[length] = self._key.product((known[start], *more))
        return known[length]

    def account(
        self, account: Address, cut: int, before: Sequence[int], after: Sequence[int], whole: Sequence[int]
    ) -> list[Product]:
        """An account's orders before the cut and from the cut on, for the parts needed of each side.

        `whole` are the parts whose sum over both sides is enough: opened once, unless each side is anyway. A
        side without orders has nothing to open: its sums are zero.
        """
        mine = [i for i, o in enumerate(self._orders) if o.account == account]
        sides = [
            (b"before", [i for i in mine if i < cut], before),
            (b"after", [i for i in mine if i >= cut], after),
        ]
        opened = [set(parts) for _, positions, parts in sides if positions]
        summed = [j for j in whole if not all(j in parts for parts in opened)]
        return [
            self._product(b"%s/%s/%d/%d" % (side, account, cut, j), j, positions)
            for side, positions, parts in [*sides, (b"whole", mine, summed)]
            if positions
            for j in parts
        ]

    def _product(self, name: Name, part: int, positions: Sequence[int]) -> Product:
        ciphertexts = (self._orders[i].ciphertexts[part] for i in positions)
        return Product(name, part, self._key.product(ciphertexts))
