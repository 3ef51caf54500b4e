"""A trader's own state: keys, openings of free collateral, live orders, fills.

A wallet predicts its own F, so it can prove one order after another without asking; it learns its fills from
the totals the members seal to it, and assigns them to its orders by price and arrival, which is the rule the
committee used. It never signs two contents for one nonce.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from commitments.pedersen import Opening
from darkpool import eip712
from darkpool.draft import Collateral, Draft, Standing, draft, fill_key
from darkpool.listing import RoundResult
from darkpool.market import Side
from darkpool.netting import Signers, Totals, open_totals
from darkpool.order import Order, Terms
from darkpool.types import Address, Lots, Nonce, PrivateKey, Quanta, RoundId


@dataclass(frozen=True, slots=True)
class LiveOrder:
    """An accepted order as its trader knows it."""

    order: Order = field(repr=False)
    sealed: Draft = field(repr=False)
    nonce: Nonce


@dataclass(frozen=True, slots=True)
class Fill:
    """What an order got: `filled` lots of it in that round. Provisional until the settlement is final."""

    order: Order = field(repr=False)
    filled: Lots = field(repr=False)

    @property
    def remainder(self) -> Lots:
        """Lots still wanted."""
        return Lots(self.order.quantity - self.filled)


class Wallet:
    """One account in one market. `private_key` and `seed` are secret; `repr` shows the address only."""

    def __init__(self, terms: Terms, committee: Signers, private_key: PrivateKey, seed: bytes) -> None:
        self.terms = terms
        self._committee = committee
        self.address: Address = eip712.address_of(private_key)
        self._private_key, self._seed = private_key, seed
        self._fill_key = fill_key(terms, self.address, seed)
        self._free = {t: Collateral(Opening(0, 0), 0) for t in (terms.market.base, terms.market.quote)}
        self._next_nonce = Nonce(0)
        self._live: dict[Nonce, LiveOrder] = {}
        self._credits: dict[RoundId, dict[Address, int]] = {}

    def __repr__(self) -> str:
        return f"Wallet({self.address.hex()})"

    @property
    def private_key(self) -> PrivateKey:
        """For the account's transactions on chain. Secret."""
        return self._private_key

    @property
    def live(self) -> tuple[LiveOrder, ...]:
        """Accepted orders that stand, in arrival order."""
        return tuple(self._live.values())

    def free(self, token: Address) -> int:
        """Quanta of the token not locked and not owed."""
        return self._free[token].opening.value

    def deposited(self, token: Address, amount: Quanta) -> None:
        """A deposit of ours became final."""
        self._raise(token, Opening(amount, 0))

    def draft(self, order: Order, standing: Standing) -> Draft:
        """The next order, proven against the F we predict; `accepted` must follow before the one after it.

        Its nonce is used from here on, whatever becomes of it: nothing else is ever signed for it.
        """
        nonce, self._next_nonce = self._next_nonce, Nonce(self._next_nonce + 1)
        base, quote = (self._free[t] for t in (self.terms.market.base, self.terms.market.quote))
        return draft(self.terms, self.address, self._seed, nonce, order, standing, base, quote)

    def accepted(self, order: Order, sealed: Draft) -> None:
        """The venue took it (or will: pipelined); F falls by its lock."""
        nonce = Nonce(sealed.statement.nonce)
        self._live[nonce] = LiveOrder(order, sealed, nonce)
        for token, lock in zip(self._tokens, sealed.locked, strict=True):
            free = self._free[token]
            self._free[token] = Collateral(free.opening - lock, free.version + 1)

    def released(self, nonces: Iterable[Nonce]) -> None:
        """Orders of ours left the book without trading; their locks are free again."""
        for nonce in nonces:
            live = self._live.pop(nonce)
            for token, lock in zip(self._tokens, live.sealed.locked, strict=True):
                self._raise(token, lock)

    def refused(self, nonces: Iterable[Nonce]) -> None:
        """Pipelined orders that the venue did not take after all: F and its versions are as before them."""
        for nonce in nonces:
            live = self._live.pop(nonce)
            for token, lock in zip(self._tokens, live.sealed.locked, strict=True):
                free = self._free[token]
                self._free[token] = Collateral(free.opening + lock, free.version - 1)

    def restarted(self, token: Address, value: Quanta) -> None:
        """F starts again from the public value, as `Ledger.restart` has it; no order of ours may be live."""
        self._free[token] = Collateral(Opening(value, 0), self._free[token].version + 1)

    def cleared(
        self,
        round_id: RoundId,
        seal_digest: bytes,
        result: RoundResult,
        boxes: Mapping[int, bytes],
        nonces: Collection[Nonce] | None = None,
    ) -> list[Fill]:
        """A round in which we traded: our fills, from the members' boxes; our orders in it are consumed.

        `nonces` are those of ours in the sealed list; all live ones, if none was sent since. F follows the
        public net whatever the boxes hold. Raises PeerFault if they are not the members', or do not agree
        with each other, the public net or our own orders.
        """
        mine = [live for nonce, live in self._live.items() if nonces is None or nonce in nonces]
        movements = {self.terms.market.base: result.nets[self.address] * self.terms.market.lot}
        price = self.terms.market.grid.price(result.price)
        movements[self.terms.market.quote] = -result.nets[self.address] * price
        self.released([live.nonce for live in mine])
        for token, amount in movements.items():
            if amount < 0:
                free = self._free[token]
                self._free[token] = Collateral(free.opening + Opening(amount, 0), free.version + 1)
        self._credits[round_id] = movements
        totals = open_totals(
            self._committee, self.terms.domain, self._fill_key, boxes, seal_digest, self.address
        )
        totals.check_net(result.nets[self.address])
        return assign([live.order for live in mine], result, totals)

    def settled(self, round_id: RoundId) -> None:
        """The round's settlement is final: credits are ours to lock."""
        for token, amount in self._credits.pop(round_id, {}).items():
            if amount > 0:
                self._raise(token, Opening(amount, 0))

    def void(self, round_id: RoundId) -> None:
        """The settlement is void: fills are busted, debits are ours again."""
        for token, amount in self._credits.pop(round_id, {}).items():
            if amount < 0:
                self._raise(token, Opening(-amount, 0))

    @property
    def _tokens(self) -> tuple[Address, Address]:
        return self.terms.market.base, self.terms.market.quote

    def _raise(self, token: Address, by: Opening) -> None:
        free = self._free[token]
        self._free[token] = Collateral(free.opening + by, free.version)


def assign(orders: Sequence[Order], result: RoundResult, totals: Totals) -> list[Fill]:
    """The account's totals dealt to its own orders: eligible ones, better price first, then arrival.

    Raises PeerFault if the totals exceed what the orders could have traded.
    """
    filled = [0] * len(orders)
    better: dict[Side, Callable[[int], int]] = {
        Side.BUY: lambda i: -orders[i].level,
        Side.SELL: lambda i: orders[i].level,
    }
    for side, total in ((Side.BUY, totals.bought), (Side.SELL, totals.sold)):
        eligible = [
            i
            for i, o in enumerate(orders)
            if o.side is side and (o.level >= result.price if side is Side.BUY else o.level <= result.price)
        ]
        left = int(total)
        for i in sorted(eligible, key=better[side]):
            filled[i] = min(left, orders[i].quantity)
            left -= filled[i]
        totals.check_assigned(side, left)
    return [Fill(order, Lots(f)) for order, f in zip(orders, filled, strict=True)]
