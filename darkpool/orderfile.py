"""Order files: a strict CSV reader and its writer, placing limits on a grid, and the Bitstamp converter.

The format. UTF-8 without byte-order mark, at most 16 MiB and 65,536 orders. The first line is exactly
`account,side,quantity,limit_price`, optionally with a column `order_id` before the first or after the last.
Every further line is one order:

* `account`      1 to 64 characters of A-Z a-z 0-9 . _ -
* `side`         `buy` or `sell`
* `quantity`     whole lots, 0 (a decoy) to 2^32 - 1
* `limit_price`  a decimal above zero and on the tick; empty for a market order
* `order_id`     like `account`, unique in the file; empty to have the order numbered

Orders without an id are numbered `1`, `2`, ... in file order. Nothing is guessed and nothing is trimmed: the
first thing that does not fit is refused with its file, line, column, value and what is allowed.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final, Literal

from darkpool.errors import ConfigError, OrderRefused
from darkpool.market import MAX_LOTS, MAX_ORDERS, Grid, Side
from darkpool.types import Lots, Tick

MAX_FILE_BYTES: Final = 16 * 2**20
MAX_LINE: Final = 1024
"""Most characters of one line; the longest valid one has under 200."""

MAX_DIGITS: Final = 18
"""Most digits of a decimal before its point, and most after it."""

COLUMNS: Final = ("account", "side", "quantity", "limit_price")
ORDER_ID: Final = "order_id"
HEADERS: Final = (COLUMNS, (*COLUMNS, ORDER_ID), (ORDER_ID, *COLUMNS))
BITSTAMP_HEADER: Final = ("order_id", "timestamp_ms", "side", "price_usd", "volume_satoshi")

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_WHOLE: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_DECIMAL: Final = re.compile(rf"(0|[1-9][0-9]{{0,{MAX_DIGITS - 1}}})(?:\.([0-9]{{1,{MAX_DIGITS}}}))?")
_SIDES: Final = {"buy": Side.BUY, "sell": Side.SELL}
_SHOWN: Final = 40
_SATOSHI: Final = 10 ** (MAX_DIGITS - 8)
"""1e-8 of a coin in units of 10^-18."""


class OrderFileError(OrderRefused):
    """A file that is not an order file. One line: file, line, column, value, what is allowed."""

    def __init__(
        self, file: str, line: int | None, column: str | None, value: str | None, allowed: str
    ) -> None:
        place = "" if line is None else f", line {line}"
        place += "" if column is None else f", column {column}"
        got = "" if value is None else f"got {_quoted(value)}; "
        super().__init__(
            f"{_escaped(file, 200)}{place}: {got}allowed: {allowed}", "correct the file; nothing was sealed"
        )
        self.file, self.line, self.column, self.value, self.allowed = file, line, column, value, allowed

    def __reduce__(self) -> tuple[object, ...]:
        """Pickles by what it was built from."""
        return OrderFileError, (self.file, self.line, self.column, self.value, self.allowed)


class Outside(Enum):
    """The placement of a limit beyond the passive edge of a grid: it cannot trade there."""

    OUTSIDE = "outside the band"


OUTSIDE: Final = Outside.OUTSIDE


@dataclass(frozen=True, slots=True)
class TickSize:
    """The price step of an order file: `units` of 10^-18 quote tokens, written with `decimals` digits."""

    units: int
    decimals: int

    @classmethod
    def parse(cls, text: str, name: str = "tick") -> TickSize:
        """Read a decimal above zero like `0.10`. Raises ConfigError, calling the argument by its name."""
        try:
            units = decimal_units(text)
        except ValueError as error:
            raise _argument_error(name, text, str(error)) from None
        if units == 0:
            raise _argument_error(name, text, "a decimal above zero")
        return cls(units, len(text.partition(".")[2]))

    def argument(self, text: str, name: str = "reference") -> int:
        """The price of a command-line argument in ticks. Raises ConfigError, calling it by its name."""
        try:
            return self.ticks(text)
        except ValueError as error:
            raise _argument_error(name, text, str(error)) from None

    def ticks(self, text: str) -> int:
        """A decimal price in ticks from zero. Raises ValueError, saying what is allowed."""
        ticks, rest = divmod(decimal_units(text), self.units)
        if rest:
            raise ValueError(f"multiples of the tick {self.text(1)}")
        if ticks == 0:
            raise ValueError("a price above zero")
        return ticks

    def text(self, ticks: int) -> str:
        """A price in ticks as a decimal with as many digits as the tick has."""
        whole, part = divmod(ticks * self.units, 10**MAX_DIGITS)
        digits = f"{part:0{MAX_DIGITS}d}"[: self.decimals]
        return f"{whole}.{digits}" if digits else str(whole)


@dataclass(frozen=True, slots=True)
class OrderRow:
    """One order of a file: `quantity` in lots, `price` in ticks from zero or None for a market order."""

    order_id: str
    account: str
    side: Side = field(repr=False)
    quantity: Lots = field(repr=False)
    price: int | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a converter did: orders read, written, and left out because they are under one lot or one tick."""

    read: int
    written: int
    under_one_lot: int
    under_one_tick: int


def decimal_units(text: str) -> int:
    """A plain decimal in units of 10^-18, exactly.

    Digits and at most one point, up to 18 digits on either side; no sign, exponent, spaces or separators.
    Raises ValueError, saying what is allowed.
    """
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise ValueError(f"a decimal like 236.10, up to {MAX_DIGITS} digits on either side of the point")
    whole, part = match.group(1), match.group(2) or ""
    return int(whole + part.ljust(MAX_DIGITS, "0"))


def read_orders(path: Path, tick: TickSize) -> tuple[OrderRow, ...]:
    """Read a whole order file. Raises OrderFileError at the first thing that is not allowed."""
    return parse_orders(_read_bytes(path), str(path), tick)


def parse_orders(data: bytes, file: str, tick: TickSize) -> tuple[OrderRow, ...]:
    """Read the bytes of an order file; `file` is its name in errors. Raises OrderFileError."""
    rows: list[OrderRow] = []
    named: dict[str, int] = {}
    numbered: dict[str, int] = {}
    for line, cells in _records(data, file, HEADERS):
        if len(rows) == MAX_ORDERS:
            raise OrderFileError(file, line, None, None, f"at most {MAX_ORDERS} orders")
        order_id = cells.get(ORDER_ID, "")
        if order_id:
            _name(file, line, ORDER_ID, order_id)
            if order_id in named:
                raise OrderFileError(
                    file, line, ORDER_ID, order_id, f"unique ids; line {named[order_id]} has this one"
                )
            named[order_id] = line
        else:
            order_id = str(len(numbered) + 1)
            numbered[order_id] = line
        rows.append(_row(file, line, order_id, cells, tick))
    if not rows:
        raise OrderFileError(file, 2, None, "", "at least one order after the header")
    for order_id in named.keys() & numbered.keys():
        raise OrderFileError(
            file,
            named[order_id],
            ORDER_ID,
            order_id,
            f"unique ids; the order of line {numbered[order_id]} has this number",
        )
    return tuple(rows)


def write_orders(path: Path, rows: Sequence[OrderRow], tick: TickSize) -> None:
    """Write an order file that `read_orders` reads back as the same rows, ids in the last column.

    Raises OrderFileError if it would not, before it writes anything, or if the file cannot be written.
    """
    lines = [",".join((*COLUMNS, ORDER_ID))]
    for row in rows:
        price = "" if row.price is None else tick.text(row.price)
        lines.append(f"{row.account},{row.side.name.lower()},{row.quantity},{price},{row.order_id}")
    data = ("\n".join(lines) + "\n").encode()
    if parse_orders(data, str(path), tick) != tuple(rows):
        raise OrderFileError(str(path), None, None, None, "orders that have an id and prices of this tick")
    try:
        path.write_bytes(data)
    except (OSError, ValueError) as error:
        raise OrderFileError(str(path), None, None, None, f"a writable file ({_reason(error)})") from None


def place(row: OrderRow, grid: Grid) -> Tick | Literal[Outside.OUTSIDE]:
    """The level of an order on a grid whose prices are multiples of its tick, the tick being the file's.

    A market order, and a limit beyond the aggressive edge, is placed on that edge; a limit beyond the passive
    edge is OUTSIDE. Raises ConfigError if the grid's prices are not multiples of its tick.
    """
    if row.price is None:
        return grid.last if row.side is Side.BUY else Tick(0)
    level = row.price - grid.first_tick
    if row.side is Side.BUY:
        return Tick(min(level, grid.last)) if level >= 0 else OUTSIDE
    return Tick(max(level, 0)) if level <= grid.last else OUTSIDE


def convert_bitstamp(
    path: Path, out: Path, first: int = 300, accounts: int = 20, lot: str = "0.01", tick: str = "0.10"
) -> Conversion:
    """Turn the first orders of a Bitstamp book recording into an order file.

    The recording has the columns `order_id,timestamp_ms,side,price_usd,volume_satoshi`. Prices move to the
    tick away from aggression (buys down, sells up), volumes down to whole lots of `lot` coins; what is then
    under one lot or one tick is left out and counted. The orders written are dealt in turn to accounts
    desk-01, desk-02, ... and keep their order ids. Raises OrderFileError; ConfigError if an argument is not
    above zero.
    """
    for name, value in (("first", first), ("accounts", accounts)):
        if value < 1:
            raise _argument_error(name, str(value), "1 or more")
    step, lot_units = TickSize.parse(tick), TickSize.parse(lot, "lot").units
    file, width = str(path), max(2, len(str(accounts)))
    rows: list[OrderRow] = []
    read = small = cheap = 0
    for line, cells in _records(_read_bytes(path), file, (BITSTAMP_HEADER,)):
        if read == first:
            break
        read += 1
        _name(file, line, ORDER_ID, cells[ORDER_ID])
        side = _side(file, line, cells["side"])
        volume = _whole(file, line, "volume_satoshi", cells["volume_satoshi"], 10**18)
        quantity = volume * _SATOSHI // lot_units
        try:
            units = decimal_units(cells["price_usd"])
        except ValueError as error:
            raise OrderFileError(file, line, "price_usd", cells["price_usd"], str(error)) from None
        price = units // step.units if side is Side.BUY else -(-units // step.units)
        if quantity > MAX_LOTS:
            raise OrderFileError(
                file, line, "volume_satoshi", cells["volume_satoshi"], f"up to {MAX_LOTS} lots of {lot}"
            )
        if quantity == 0:
            small += 1
        elif price == 0:
            cheap += 1
        else:
            account = f"desk-{len(rows) % accounts + 1:0{width}d}"
            rows.append(OrderRow(cells[ORDER_ID], account, side, Lots(quantity), price))
    write_orders(out, rows, step)
    return Conversion(read, len(rows), small, cheap)


def _row(file: str, line: int, order_id: str, cells: Mapping[str, str], tick: TickSize) -> OrderRow:
    _name(file, line, "account", cells["account"])
    side = _side(file, line, cells["side"])
    quantity = _whole(file, line, "quantity", cells["quantity"], MAX_LOTS)
    price = None
    if cells["limit_price"]:
        try:
            price = tick.ticks(cells["limit_price"])
        except ValueError as error:
            allowed = f"{error}, or nothing for a market order"
            raise OrderFileError(file, line, "limit_price", cells["limit_price"], allowed) from None
    return OrderRow(order_id, cells["account"], side, Lots(quantity), price)


def _name(file: str, line: int, column: str, value: str) -> None:
    if not _NAME.fullmatch(value):
        raise OrderFileError(file, line, column, value, "1 to 64 characters of A-Z a-z 0-9 . _ -")


def _side(file: str, line: int, value: str) -> Side:
    if value not in _SIDES:
        raise OrderFileError(file, line, "side", value, "buy or sell")
    return _SIDES[value]


def _whole(file: str, line: int, column: str, value: str, most: int) -> int:
    if not _WHOLE.fullmatch(value) or int(value) > most:
        raise OrderFileError(file, line, column, value, f"a whole number from 0 to {most}")
    return int(value)


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise OrderFileError(str(path), None, None, None, f"a readable file ({_reason(error)})") from None


def _reason(error: OSError | ValueError) -> str:
    """ValueError is Python's answer to a NUL in a file name."""
    return error.strerror if isinstance(error, OSError) and error.strerror else "not a file name"


def _records(
    data: bytes, file: str, headers: Iterable[tuple[str, ...]]
) -> Iterator[tuple[int, Mapping[str, str]]]:
    """The records after the header, each as (line number, cell by column name)."""
    expected = " or ".join(",".join(h) for h in headers)
    lines = _text(data, file).split("\n")
    if lines[-1] == "":
        lines.pop()  # the file ends with a line end, as it should
    if not lines:
        raise OrderFileError(file, 1, None, "", f"the header {expected}")
    header = tuple(lines[0][:MAX_LINE].removesuffix("\r").split(","))
    if header not in headers:
        raise OrderFileError(file, 1, None, lines[0], f"the header {expected}")
    for number, line in enumerate(lines[1:], start=2):
        if len(line) > MAX_LINE:
            raise OrderFileError(file, number, None, line, f"at most {MAX_LINE} characters on a line")
        try:
            # One line at a time, so that a stray quote cannot swallow the lines after it.
            cells = next(csv.reader([line.removesuffix("\r")], strict=True), [])
        except csv.Error:
            raise OrderFileError(file, number, None, line, "comma-separated values on one line") from None
        if len(cells) != len(header):
            raise OrderFileError(file, number, None, line, f"{len(header)} values: {','.join(header)}")
        yield number, dict(zip(header, cells, strict=True))


def _text(data: bytes, file: str) -> str:
    if len(data) > MAX_FILE_BYTES:
        raise OrderFileError(file, None, None, None, f"at most {MAX_FILE_BYTES} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise OrderFileError(file, line, None, f"byte {data[error.start]:02x}", "UTF-8 text") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise OrderFileError(file, line, None, "byte 00", "text without NUL") from None
    return text


def _argument_error(name: str, value: str, allowed: str) -> ConfigError:
    return ConfigError(f"{name}: got {_quoted(value)}; allowed: {allowed}", f"give another {name}")


def _quoted(value: str) -> str:
    shown = _escaped(value, _SHOWN).replace('"', '\\"')
    return f'"{shown}"' if value else "nothing"


def _escaped(text: str, most: int) -> str:
    """At most that much plain ASCII on one line, whatever the file holds: no terminal sequences."""
    shown = ""
    for character in text:
        escaped = character.encode("unicode_escape").decode("ascii")
        if len(shown) + len(escaped) > most:
            return shown + "..."
        shown += escaped
    return shown
