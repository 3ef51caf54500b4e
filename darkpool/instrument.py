"""What people write and what the venue counts: exact conversion between decimals and integers, both ways.

People name amounts in tokens ("1.5"), quantities in base tokens ("0.25") and prices in quote tokens per base
token ("2000.05"). The venue counts quanta, lots, and quote quanta per lot (`darkpool.market`). Text is a
plain decimal of at most 18 digits on either side of its point; nothing is ever rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import gcd
from typing import Final, Self

from darkpool.errors import ConfigError
from darkpool.market import MAX_LOCKED, MAX_LOTS
from darkpool.orderfile import MAX_DIGITS, TickSize, decimal_units
from darkpool.types import Lots, Quanta

MAX_PER_LOT: Final = MAX_LOCKED // MAX_LOTS
"""Most base quanta in a lot, and most quote quanta for one: 2^32 - 1 lots stay below 2^64 quanta."""

MAX_QUANTUM: Final = 2**128 - 1
"""Most contract units in a quantum; the vault's bound."""

_ONE: Final = 10**MAX_DIGITS
_SHOWN: Final = 40


@dataclass(frozen=True, slots=True)
class TokenUnits:
    """A token: symbol, decimals of its contract (0 to 18), and how many of the contract's units a quantum is.

    Raises ConfigError if a number is out of range.
    """

    symbol: str
    decimals: int
    quantum: int

    def __post_init__(self) -> None:
        if not 0 <= self.decimals <= MAX_DIGITS:
            raise ConfigError(
                f"token {self.symbol}: {self.decimals} decimals, must be 0 to {MAX_DIGITS}",
                "tokens with more are not supported",
            )
        if not 1 <= self.quantum <= MAX_QUANTUM:
            raise ConfigError(
                f"token {self.symbol}: a quantum of {self.quantum} units, must be 1 to 2^128 - 1",
                "give another quantum",
            )

    @classmethod
    def parse(cls, symbol: str, decimals: int, quantum: str) -> Self:
        """The token whose quantum is this many tokens, like "0.000001". Raises ConfigError."""
        smallest = cls(symbol, decimals, 1)
        return cls(symbol, decimals, _whole(quantum, smallest.units, f"quantum of {symbol}", least=1))

    @property
    def units(self) -> int:
        """One quantum in 10^-18 tokens."""
        return self.quantum * int(10 ** (MAX_DIGITS - self.decimals))

    def quanta(self, text: str, name: str = "amount") -> Quanta:
        """A decimal of tokens in quanta, 0 to 2^64 - 1. Raises ConfigError, calling it by its name."""
        return Quanta(_whole(text, self.units, f"{name} of {self.symbol}", most=MAX_LOCKED))

    def text(self, quanta: Quanta) -> str:
        """Quanta as a decimal of tokens, without needless zeros; a negative change has a minus."""
        return _text(quanta * self.units)


@dataclass(frozen=True, slots=True)
class Instrument:
    """A market in human units: `lot` in base quanta, `tick` in quote quanta per lot.

    Raises ConfigError unless both are 1 to 2^32 and the tick is a decimal of at most 18 digits.
    """

    name: str
    base: TokenUnits
    quote: TokenUnits
    lot: Quanta
    tick: Quanta

    def __post_init__(self) -> None:
        for what, value in (("lot, base quanta", self.lot), ("tick, quote quanta per lot", self.tick)):
            if not 1 <= value <= MAX_PER_LOT:
                raise ConfigError(
                    f"market {self.name}: {what}: {value}, must be 1 to {MAX_PER_LOT}",
                    "2^32 - 1 lots must stay below 2^64 quanta: use another lot, tick or quantum",
                )
        if self.tick * self.quote.units * _ONE % self._lot_units:
            raise ConfigError(
                f"market {self.name}: a tick of {self.tick} quote quanta for a lot of {self.lot} base quanta "
                f"is no decimal of {MAX_DIGITS} digits",
                "use another tick or lot",
            )

    @classmethod
    def parse(cls, name: str, base: TokenUnits, quote: TokenUnits, lot: str, tick: str) -> Self:
        """From decimals: `lot` in base tokens, `tick` in quote tokens per base token.

        Raises ConfigError with the nearest that work if either is not a whole number of quanta.
        """
        per_lot = base.quanta(lot, f"market {name}: lot")
        if not per_lot:
            raise ConfigError(f"market {name}: lot is zero", f"at least {base.text(Quanta(1))}")
        lot_units, quote_unit = per_lot * base.units, quote.units * _ONE
        # The smallest tick, in 10^-18 quote tokens per base token, that is whole quanta for this lot.
        step = quote_unit // gcd(quote_unit, lot_units)
        ticks = _whole(tick, step, f"market {name}: tick for lots of {lot}", least=1)
        return cls(name, base, quote, per_lot, Quanta(ticks * step * lot_units // quote_unit))

    @property
    def prices(self) -> TickSize:
        """The tick in quote tokens per base token: reads and writes prices counted in ticks."""
        units = self.tick * self.quote.units * _ONE // self._lot_units
        return TickSize(units, len(_text(units).partition(".")[2]))

    def price(self, text: str, name: str = "price") -> Quanta:
        """A decimal on the tick, in quote quanta per lot. Raises ConfigError, calling it by its name."""
        price = self.prices.argument(text, name) * self.tick
        if price > MAX_PER_LOT:
            raise ConfigError(
                f"{name}: {text} is above {self.price_text(Quanta(MAX_PER_LOT // self.tick * self.tick))}",
                "a lot may cost less than 2^32 quote quanta",
            )
        return Quanta(price)

    def price_text(self, price: Quanta) -> str:
        """A price with as many digits as the tick has. Raises ConfigError unless it is on the tick."""
        ticks, rest = divmod(price, self.tick)
        if rest or ticks < 0:
            raise ConfigError(
                f"price: {price} quanta per lot is no multiple of the tick {self.tick}",
                "use a price of the grid",
            )
        return self.prices.text(ticks)

    def exact_price(self, text: str) -> Fraction:
        """Any decimal price in quote quanta per lot, on the tick or not. Raises ConfigError."""
        return Fraction(_units(text, "price") * self._lot_units, self.quote.units * _ONE)

    def lots(self, text: str) -> Lots:
        """A decimal of base tokens in lots, 0 (a decoy) to 2^32 - 1. Raises ConfigError."""
        return Lots(_whole(text, self._lot_units, f"quantity of {self.base.symbol}", most=MAX_LOTS))

    def quantity_text(self, lots: Lots) -> str:
        """Lots as a decimal of base tokens; a net that was sold has a minus."""
        return _text(lots * self._lot_units)

    def token(self, symbol: str) -> TokenUnits:
        """The base or the quote token. Raises ConfigError for any other."""
        for token in (self.base, self.quote):
            if token.symbol == symbol:
                return token
        raise ConfigError(
            f"market {self.name}: no token {symbol[:_SHOWN]!r}",
            f"one of {self.base.symbol}, {self.quote.symbol}",
        )

    def amount(self, text: str, token: str) -> Quanta:
        """A decimal of the token of that symbol in quanta. Raises ConfigError."""
        return self.token(token).quanta(text)

    def amount_text(self, quanta: Quanta, token: str) -> str:
        """Quanta of the token of that symbol as a decimal. Raises ConfigError."""
        return self.token(token).text(quanta)

    @property
    def _lot_units(self) -> int:
        """One lot in 10^-18 base tokens."""
        return self.lot * self.base.units


def _units(text: str, name: str) -> int:
    try:
        return decimal_units(text)
    except ValueError as error:
        raise ConfigError(f"{name}: got {text[:_SHOWN]!r}; allowed: {error}", "correct the number") from None


def _whole(text: str, step: int, name: str, least: int = 0, most: int = MAX_QUANTUM) -> int:
    """How many steps of 10^-18 a decimal is; `name` says what in errors. Raises ConfigError."""
    value = _units(text, name)
    count, rest = divmod(value, step)
    if rest:
        nearest = " and ".join(_text(n * step) for n in (count, count + 1) if n >= least)
        raise ConfigError(f"{name}: {text} is no multiple of {_text(step)}", f"the nearest: {nearest}")
    if not least <= count <= most:
        raise ConfigError(
            f"{name}: {text} is out of range", f"from {_text(least * step)} to {_text(most * step)}"
        )
    return count


def _text(units: int) -> str:
    """A number of 10^-18 as the shortest decimal."""
    whole, part = divmod(abs(units), _ONE)
    digits = f"{part:0{MAX_DIGITS}d}".rstrip("0")
    return ("-" if units < 0 else "") + (f"{whole}.{digits}" if digits else str(whole))
