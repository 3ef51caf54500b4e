"""Free collateral without plaintext: what an account may still lock, as commitments (protocol, section 10).

F commits, per account and token, to the free balance in quanta. Deposits and returned locks raise it,
accepted orders lower it by their lock commitment. Only decreases bump the version: a proof that F' - C is not
negative holds for every later F >= F', so a proof against any F since the last decrease is as good as one
against the current. Operator and members keep the same ledger from the same public events.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from commitments.group import Point
from commitments.pedersen import generator_g
from darkpool.errors import OrderRefused
from darkpool.types import Address, Nonce, Quanta

NONCE_WINDOW: Final = 512
NONCES_PER_WORD: Final = 256

Request: TypeAlias = tuple[str, int]
"""An open request on chain: ("withdraw", token index) or ("cancel", word of nonces)."""

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
            f"prove anew, new salt, against version {self.version}: 0x{self.current.encode().hex()}",
            "collateral-decreased",
            {"token": name, "commitment": "0x" + self.current.encode().hex(), "version": self.version},
        )


@dataclass(slots=True)
class Nonces:
    """The nonces an account has used: all below `lowest_unused`, and some within the window above it.

    burnt: those it cancelled on chain, by word: bit i for nonce 256 * word + i. They count as used.
    """

    lowest_unused: int = 0
    used_above: set[int] = field(default_factory=set)
    burnt: dict[int, int] = field(default_factory=dict)

    def copy(self) -> Nonces:
        """An independent copy, for a tentative admission, during which nothing is burnt."""
        return Nonces(self.lowest_unused, set(self.used_above), self.burnt)

    def _is_burnt(self, nonce: int) -> bool:
        word, bit = divmod(nonce, NONCES_PER_WORD)
        return bool(self.burnt.get(word, 0) >> bit & 1)

    def check(self, nonce: Nonce) -> None:
        """Raises OrderRefused for a used one, or one beyond the window."""
        if nonce < self.lowest_unused or nonce in self.used_above or self._is_burnt(nonce):
            raise OrderRefused(
                f"nonce: {nonce} is used",
                f"use an unused one from {self.lowest_unused} upwards",
                "nonce-used",
                {"lowest_unused": self.lowest_unused},
            )
        if nonce >= self.lowest_unused + NONCE_WINDOW:
            raise OrderRefused(
                f"nonce: {nonce} is beyond {self.lowest_unused} + {NONCE_WINDOW}",
                f"use one from {self.lowest_unused} upwards",
                "nonce-beyond-window",
                {"lowest_unused": self.lowest_unused},
            )

    def use(self, nonce: Nonce) -> None:
        """It is spent, whatever becomes of its order."""
        self.used_above.add(nonce)
        self.advance()

    def advance(self) -> None:
        """Pass over what is used or burnt: the window must not be eaten up by it."""
        while self.lowest_unused in self.used_above or self._is_burnt(self.lowest_unused):
            self.used_above.discard(self.lowest_unused)
            self.lowest_unused += 1


class Ledger:
    """What holds for an account in every market: F and chain balance of each token, spent nonces, halts.

    Only accounts with a final deposit are known. Of others nothing is kept but what they did on chain: nonces
    burnt and requests made before the first deposit would break settlements after it.
    """

    def __init__(self) -> None:
        self.free: dict[tuple[Address, Address], FreeCollateral] = {}
        self.balances: dict[tuple[Address, Address], int] = {}  # quanta, as the final chain events add up
        self.nonces: dict[Address, Nonces] = {}
        self.burnt: dict[Address, dict[int, int]] = {}  # as in Nonces, also of accounts not known yet
        # Accounts that asked on chain to leave or to burn nonces: their requests without an answer yet.
        self.halted: dict[Address, set[Request]] = {}

    def known(self, account: Address) -> bool:
        """Whether it ever had a final deposit."""
        return account in self.nonces

    def check_may_trade(self, account: Address) -> None:
        """Raises OrderRefused for an account that is halted, or never deposited: flooding must cost."""
        if account not in self.nonces:
            raise OrderRefused(
                "account: it has no final deposit",
                "deposit first, and wait for finality",
                "account-unknown",
            )
        if account in self.halted:
            raise OrderRefused(
                "account: a withdrawal or cancel request is pending",
                "wait until it is resolved",
                "account-halted",
            )

    def use_nonce(self, account: Address, nonce: Nonce) -> None:
        """It is spent."""
        self.nonces[account].use(nonce)

    def burn(self, account: Address, word: int, mask: int) -> None:
        """Nonces cancelled on chain: the vault would refuse a settlement of them."""
        words = self.burnt.setdefault(account, {})
        words[word] = words.get(word, 0) | mask
        if account in self.nonces:
            self.nonces[account].burnt = words
            self.nonces[account].advance()

    def of(self, account: Address, token: Address) -> FreeCollateral:
        """The account's F of that token, to look at; identity and version 0 for one never seen."""
        return self.free.get((account, token)) or FreeCollateral()

    def changing(self, account: Address, token: Address) -> FreeCollateral:
        """As `of`, to change it."""
        return self.free.setdefault((account, token), FreeCollateral())

    def deposit(self, account: Address, token: Address, amount: Quanta) -> None:
        """A final deposit: F += amount * G. From the first one on the account is known."""
        if account not in self.nonces:
            self.nonces[account] = Nonces(burnt=self.burnt.get(account, {}))
            self.nonces[account].advance()
        self.move(account, token, amount)
        self.credit(account, token, amount)

    def move(self, account: Address, token: Address, amount: int) -> None:
        """The chain balance changed, by a final event."""
        key = (account, token)
        self.balances[key] = self.balances.get(key, 0) + amount

    def credit(self, account: Address, token: Address, amount: int) -> None:
        """F += amount * G."""
        self.changing(account, token).increase(generator_g() * amount)

    def restart(self, account: Address) -> None:
        """Every F from the public chain balance, so that mistakes and races heal; it may trade again.

        Called when its requests are answered and it has no order and no unsettled net anywhere.
        """
        del self.halted[account]
        for (owner, token), balance in list(self.balances.items()):
            if owner == account:
                free = self.changing(account, token)
                free.decrease(free.current)
                free.increase(generator_g() * balance)
                free.since_decrease = [free.current.encode()]
