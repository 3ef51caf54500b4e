"""Orders as their trader thinks of them: one wish, whatever renewals and replacements carried it on."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from darkpool.client.history import KnownOrder
from darkpool.order import TimeInForce
from darkpool.store.records import OrderState
from darkpool.types import Lots


@dataclass(frozen=True, slots=True)
class Family:
    """Orders of one root, oldest first; `root` is the nonce of the first, and their name."""

    root: int
    members: tuple[KnownOrder, ...] = field(repr=False)

    @property
    def latest(self) -> KnownOrder:
        """The one that says how things stand."""
        return self.members[-1]

    @property
    def filled(self) -> Lots:
        """Lots that all of them got, those of void settlements included."""
        return Lots(sum(known.fill.filled for known in self.members if known.fill is not None))

    def waiting(self, now: int, ended: Collection[int] = ()) -> Lots:
        """Lots to be re-submitted: the remainder of an order consumed, all of one whose round was aborted.

        None of an order for one round, of one whose time is over, or of a family in `ended`.
        """
        known, s = self.latest, self.latest.own.statement
        expired = s.time_in_force == TimeInForce.GOOD_TILL_TIME and s.valid_until <= now
        if s.time_in_force == TimeInForce.ROUND or expired or self.root in ended:
            return Lots(0)
        if known.record.state is OrderState.CONSUMED and known.fill is not None:
            return known.fill.remainder
        return known.own.order.quantity if known.aborted else Lots(0)

    def state(self, now: int, ended: Collection[int] = ()) -> str:
        """A word for it: standing, renewing, filled, or how it ended."""
        known = self.latest
        if self.waiting(now, ended):
            return "renewing"
        if known.record.state is OrderState.CONSUMED and known.fill is not None and not known.fill.remainder:
            return "filled"
        return str(known.record.state)

    def remaining(self, now: int, ended: Collection[int] = ()) -> Lots:
        """Lots still wanted: of the one that stands, or waiting to be re-submitted."""
        if self.latest.record.state is OrderState.STANDING:
            return self.latest.own.order.quantity
        return self.waiting(now, ended)

    @property
    def quantity(self) -> Lots:
        """Lots wanted in all: what the latest asks for, and what those before it got."""
        earlier = sum(known.fill.filled for known in self.members[:-1] if known.fill is not None)
        return Lots(earlier + self.latest.own.order.quantity)


def families(orders: Iterable[KnownOrder]) -> dict[int, Family]:
    """Orders by the root their notes name, from own and venue's data alone; `orders` by sequence."""
    found: dict[int, list[KnownOrder]] = {}
    for known in orders:
        found.setdefault(known.own.root, []).append(known)
    return {root: Family(root, tuple(members)) for root, members in found.items()}
