"""Free collateral without plaintext: what an account may still lock, as commitments (protocol, section 10).

F commits, per account and token, to the free balance in quanta. Deposits and returned locks raise it,
accepted orders lower it by their lock commitment. Only decreases bump the version: a proof that F' - C is not
negative holds for every later F >= F', so a proof against any F since the last decrease is as good as one
against the current. Operator and members keep the same ledger from the same public events.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from commitments.group import Point
from commitments.pedersen import generator_g
from darkpool.errors import OrderRefused
from darkpool.types import Address, Nonce, Quanta

NONCE_WINDOW: Final = 512
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


@dataclass(slots=True)
class Nonces:
    """The nonces an account has used: all below `lowest_unused`, and some within the window above it."""

    lowest_unused: int = 0
    used_above: set[int] = field(default_factory=set)

    def check(self, nonce: Nonce) -> None:
        """Raises OrderRefused for a used one, or one beyond the window."""
        if nonce < self.lowest_unused or nonce in self.used_above:
            raise OrderRefused(
                f"nonce: {nonce} is used", hint=f"use an unused one from {self.lowest_unused} upwards"
            )
        if nonce >= self.lowest_unused + NONCE_WINDOW:
            raise OrderRefused(
                f"nonce: {nonce} is beyond {self.lowest_unused} + {NONCE_WINDOW}",
                hint=f"use one from {self.lowest_unused} upwards",
            )

    def use(self, nonce: Nonce) -> None:
        """It is spent, whatever becomes of its order."""
        self.used_above.add(nonce)
        while self.lowest_unused in self.used_above:
            self.used_above.remove(self.lowest_unused)
            self.lowest_unused += 1


class Ledger:
    """What holds for an account in every market: F of each token, spent nonces, halts.

    Only accounts with a final deposit are known: nothing is kept of anybody else.
    """

    def __init__(self) -> None:
        self._free: dict[tuple[Address, Address], FreeCollateral] = {}
        self._nonces: dict[Address, Nonces] = {}
        self.halted: set[Address] = set()

    def check_known(self, account: Address) -> None:
        """Raises OrderRefused for an account that never deposited: flooding the book must cost something."""
        if account not in self._nonces:
            raise OrderRefused(
                "account: it has no final deposit", hint="deposit first, and wait for finality"
            )

    def nonces(self, account: Address) -> Nonces:
        """The account's nonces, one sequence for all markets, as the vault keeps its nullifiers."""
        return self._nonces[account]

    def of(self, account: Address, token: Address) -> FreeCollateral:
        """The account's F of that token; identity and version 0 for one never seen."""
        return self._free.setdefault((account, token), FreeCollateral())

    def deposit(self, account: Address, token: Address, amount: Quanta) -> None:
        """A final deposit: F += amount * G. From the first one on the account is known."""
        self._nonces.setdefault(account, Nonces())
        self.of(account, token).increase(generator_g() * amount)

    def restart(self, account: Address, token: Address, value: Quanta) -> None:
        """F from the public value (chain balance + final nets - requested), so that mistakes and races heal.

        Called when a withdrawal or cancel request is resolved and the account has no order anywhere.
        """
        free = self.of(account, token)
        free.decrease(free.current)
        free.increase(generator_g() * value)
        free.since_decrease = [free.current.encode()]
