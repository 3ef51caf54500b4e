"""Free collateral without plaintext: what an account may still lock, as commitments (protocol, section 10).

F commits, per account and token, to the free balance in quanta. Deposits and returned locks raise it,
accepted orders lower it by their lock commitment. Only decreases bump the version: a proof that F' - C is not
negative holds for every later F >= F', so a proof against any F since the last decrease is as good as one
against the current. Operator and members keep the same ledger from the same public events.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from commitments.group import Point
from commitments.pedersen import generator_g
from darkpool.errors import OrderRefused
from darkpool.types import Address, Quanta

# Values of F since the last decrease that are remembered; older ones are as if decreased.
_MAX_REMEMBERED = 256


@dataclass(slots=True)
class FreeCollateral:
    """One account's F of one token: current commitment, version, the values a proof may be against."""

    current: Point = field(default_factory=Point.identity)
    version: int = 0
    since_decrease: list[bytes] = field(default_factory=lambda: [Point.identity().encode()])

    def copy(self) -> FreeCollateral:
        """An independent copy, for a tentative admission."""
        return FreeCollateral(self.current, self.version, list(self.since_decrease))

    def increase(self, by: Point) -> None:
        """A deposit, a returned lock, or a lock returned less its debit: the value does not fall."""
        self.current += by
        self.since_decrease = [*self.since_decrease[-_MAX_REMEMBERED + 1 :], self.current.encode()]

    def decrease(self, by: Point) -> None:
        """An accepted order's lock."""
        self.current -= by
        self.version += 1
        self.since_decrease = [self.current.encode()]

    def check(self, name: str, commitment: Point, version: int) -> None:
        """Raises OrderRefused, with what to prove against, unless a proof against it still holds."""
        if version == self.version and commitment.encode() in self.since_decrease:
            return
        raise OrderRefused(
            f"collateral: {name} commitment of version {version} has been spent from since",
            hint=f"prove anew, new salt, against version {self.version}: {self.current.encode().hex()}",
        )


class Ledger:
    """F of every account and token."""

    def __init__(self) -> None:
        self._free: dict[tuple[Address, Address], FreeCollateral] = {}

    def of(self, account: Address, token: Address) -> FreeCollateral:
        """The account's F of that token; identity and version 0 for one never seen."""
        return self._free.setdefault((account, token), FreeCollateral())

    def deposit(self, account: Address, token: Address, amount: Quanta) -> None:
        """A final deposit: F += amount * G."""
        self.of(account, token).increase(generator_g() * amount)

    def restart(self, account: Address, token: Address, value: Quanta) -> None:
        """F from the public value (chain balance + final nets - requested), so that mistakes and races heal.

        Called when a withdrawal or cancel request is resolved and the account has no order anywhere.
        """
        free = self.of(account, token)
        free.decrease(free.current)
        free.increase(generator_g() * value)
        free.since_decrease = [free.current.encode()]
