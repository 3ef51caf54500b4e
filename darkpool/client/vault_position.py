"""An account in a vault, as the chain shows it, and the calls it takes to have everything out.

No venue is asked. The rules are the vault's (contracts/src/Vault.vy): a request, a delay, then a withdrawal,
or the burning of order nonces, without anybody's consent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from darkpool.chain import Chain
from darkpool.errors import ChainError
from darkpool.evm import Evm
from darkpool.instrument import TokenUnits
from darkpool.orderfile import MAX_DIGITS
from darkpool.settlement import NONCES_PER_WORD
from darkpool.types import Address, Quanta, TokenIndex, address_hex

MAX_WORDS: Final = 64
"""Most words of nonces that are looked at, the highest ones: 16,384 orders."""

GAS: Final = {
    "request_withdrawal": 110_000,
    "withdraw": 120_000,
    "request_cancel": 75_000,
    "finalize_cancel": 60_000,
}
"""Bounds of what a call uses, of `withdraw` with a plain token; measured in tests/client/test_exit.py."""

_ALL: Final = (1 << NONCES_PER_WORD) - 1
_MAX_SYMBOL: Final = 16


@dataclass(frozen=True, slots=True)
class Call:
    """A transaction to the vault; possible from `ready_at` (unix seconds) on, at once if that is 0."""

    function: str
    arguments: tuple[int, ...]
    ready_at: int = 0


@dataclass(frozen=True, slots=True)
class Holding:
    """One token. `balance`, `requested`, `set_aside` in quanta; `wallet`, `held`, `owed` in its own units.

    set_aside: what the open request would pay. It is below what was requested if settlements took of it, and
    does not grow again if they are unwound.

    held, owed: what the vault has of the token, and what it owes to all accounts together. wallet and held
    are None if the token does not say.
    """

    token: TokenIndex
    contract: Address
    units: TokenUnits
    balance: Quanta
    requested: Quanta
    set_aside: Quanta
    ready_at: int
    wallet: int | None
    held: int | None
    owed: int

    def text(self, quanta: int) -> str:
        """Quanta as a decimal of tokens."""
        return self.units.text(Quanta(quanta))

    def unit_text(self, units: int | None) -> str:
        """Units of the token's contract as a decimal of tokens."""
        if units is None:
            return "unknown"
        return TokenUnits(self.units.symbol, self.units.decimals, 1).text(Quanta(units))


@dataclass(frozen=True, slots=True)
class Word:
    """Order nonces 256 * word + i, as masks with bit i.

    unused: below the mark, and used by no settlement; requested: asked to be burnt, from `ready_at` on.
    """

    word: int
    unused: int
    requested: int
    ready_at: int


@dataclass(frozen=True, slots=True)
class Position:
    """An account at a block of time `now`. `ether` in wei; `max_fee` in wei per gas; delays in seconds."""

    account: Address
    now: int
    ether: int
    max_fee: int
    withdraw_delay: int
    cancel_delay: int
    holdings: tuple[Holding, ...]
    words: tuple[Word, ...]

    def requests(self, *, cancel: bool) -> list[Call]:
        """What to ask for: every whole balance, and with `cancel` every nonce.

        An open request is not lost for a late credit: one that is ready is collected first, and one that set
        aside at least half of the balance is left to run.
        """
        calls = [
            Call("request_withdrawal", (h.token, h.balance))
            for h in self.holdings
            if h.balance > 2 * h.set_aside and not self._is_ready(h)
        ]
        for w in self.words if cancel else ():
            missing = w.unused & ~w.requested
            if missing and not self._is_ready(w):
                calls.append(Call("request_cancel", (w.word, missing)))
        return calls

    def collections(self, *, cancel: bool) -> list[Call]:
        """What open requests lead to; of balances that are gone, nothing."""
        calls = [Call("withdraw", (h.token,), h.ready_at) for h in self.holdings if h.requested and h.balance]
        burnt = self.words if cancel else ()
        return calls + [Call("finalize_cancel", (w.word,), w.ready_at) for w in burnt if w.requested]

    def steps(self, *, cancel: bool) -> list[Call]:
        """All that is left to do: what is ready, requests, and what follows after their delays."""
        requests = self.requests(cancel=cancel)
        again = {(c.function, c.arguments[0]) for c in requests}
        opened = [
            c
            for c in self.collections(cancel=cancel)
            if (_REQUEST_OF[c.function], c.arguments[0]) not in again
        ]
        following = [
            Call("withdraw", c.arguments[:1], self.now + self.withdraw_delay)
            if c.function == "request_withdrawal"
            else Call("finalize_cancel", c.arguments[:1], self.now + self.cancel_delay)
            for c in requests
        ]
        return [*requests, *sorted([*opened, *following], key=lambda c: c.ready_at)]

    def cost(self, calls: Iterable[Call]) -> int:
        """Most that these calls cost at present, wei."""
        return self.max_fee * sum(GAS[c.function] for c in calls)

    def _is_ready(self, request: Holding | Word) -> bool:
        return bool(request.requested) and request.ready_at <= self.now


_REQUEST_OF: Final = {"withdraw": "request_withdrawal", "finalize_cancel": "request_cancel"}


def position(chain: Chain, account: Address, mark: int) -> Position:
    """The account in the attached vault at the latest block; of its nonces those below `mark`.

    Raises ChainError.
    """
    evm, vault = chain.evm, chain.vault
    return Position(
        account,
        evm.now(),
        evm.ether(account),
        evm.fees().most,
        int(evm.call("Vault", vault, "WITHDRAW_DELAY")),
        int(evm.call("Vault", vault, "CANCEL_DELAY")),
        tuple(_holding(chain, account, TokenIndex(i)) for i in range(len(chain.tokens))),
        tuple(_word(chain, account, word, mark) for word in _words(mark)),
    )


def _holding(chain: Chain, account: Address, index: TokenIndex) -> Holding:
    evm, vault, token = chain.evm, chain.vault, chain.token(index)
    requested, ready_at = evm.call("Vault", vault, "withdrawal_requests", address_hex(account), index)
    return Holding(
        index,
        token.contract,
        _units(evm, token.contract, token.quantum),
        chain.balance(index, account),
        Quanta(requested),
        Quanta(int(evm.call("Vault", vault, "set_aside_of", index, address_hex(account)))),
        int(ready_at),
        token_balance(chain, token.contract, account),
        token_balance(chain, token.contract, vault),
        int(evm.call("Vault", vault, "total_quanta", index)) * token.quantum,
    )


def token_balance(chain: Chain, contract: Address, owner: Address) -> int | None:
    """Units of a token that an owner has; None if its contract is broken, which must not keep others in."""
    try:
        return int(chain.evm.call("TestToken", contract, "balanceOf", address_hex(owner)))
    except ChainError:
        return None


def _units(evm: Evm, contract: Address, quantum: int) -> TokenUnits:
    """How to write amounts. A token need not say its name and decimals (EIP-20): then units are counted."""
    try:
        symbol = str(evm.call("TestToken", contract, "symbol"))
    except ChainError:
        symbol = ""
    if not (symbol.isprintable() and 0 < len(symbol) <= _MAX_SYMBOL):
        symbol = address_hex(contract)
    try:
        decimals = int(evm.call("TestToken", contract, "decimals"))
    except ChainError:
        decimals = 0
    return TokenUnits(symbol, decimals if decimals <= MAX_DIGITS else 0, quantum)


def _words(mark: int) -> range:
    end = -(-mark // NONCES_PER_WORD)
    return range(max(0, end - MAX_WORDS), end)


def _word(chain: Chain, account: Address, word: int, mark: int) -> Word:
    request = chain.evm.call("Vault", chain.vault, "cancel_requests", address_hex(account), word)
    below = (1 << min(mark - NONCES_PER_WORD * word, NONCES_PER_WORD)) - 1
    unused = below & ~chain.nullifier_word(account, word) & _ALL
    return Word(word, unused, *map(int, request))
