"""Order files: what is read, every way to be refused, placing on a grid."""

from __future__ import annotations

import pickle
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkpool.errors import EXIT_REFUSED, ConfigError, OrderRefused
from darkpool.market import MAX_LOTS, MAX_ORDERS, Grid, Side
from darkpool.orderfile import (
    MAX_FILE_BYTES,
    MAX_LINE,
    OUTSIDE,
    OrderFileError,
    OrderRow,
    TickSize,
    decimal_units,
    parse_orders,
    place,
    read_orders,
    write_orders,
)
from darkpool.types import Lots, Quanta
from tests.strategies import order_rows

CENT = TickSize.parse("0.01")
HEADER = "account,side,quantity,limit_price"
HEADERS = f"the header {HEADER} or {HEADER},order_id or order_id,{HEADER}"


def parse(text: str | bytes, tick: TickSize = CENT) -> tuple[OrderRow, ...]:
    return parse_orders(text if isinstance(text, bytes) else text.encode(), "orders.csv", tick)


def row(price: int | None, side: Side = Side.BUY, quantity: int = 1, order_id: str = "1") -> OrderRow:
    return OrderRow(order_id, "ada", side, Lots(quantity), price)


# --- what is read -----------------------------------------------------------------------------------


def test_orders_without_ids_are_numbered_in_file_order() -> None:
    rows = parse(f"{HEADER}\nada,buy,10,10.02\nben,sell,0,\ncy-d_2.x,sell,4294967295,9.9\n")
    assert rows == (
        OrderRow("1", "ada", Side.BUY, Lots(10), 1002),
        OrderRow("2", "ben", Side.SELL, Lots(0), None),
        OrderRow("3", "cy-d_2.x", Side.SELL, Lots(MAX_LOTS), 990),
    )


@pytest.mark.parametrize(
    "text",
    [
        "order_id,account,side,quantity,limit_price\nA-1,ada,buy,1,10\n,ben,sell,1,10\n,cyd,sell,1,10\n",
        "account,side,quantity,limit_price,order_id\nada,buy,1,10,A-1\nben,sell,1,10,\ncyd,sell,1,10,\n",
    ],
)
def test_the_id_column_stands_at_either_end(text: str) -> None:
    assert [(r.order_id, r.account) for r in parse(text)] == [("A-1", "ada"), ("1", "ben"), ("2", "cyd")]


@pytest.mark.parametrize(
    "text",
    [
        f"{HEADER}\nada,buy,1,10.5",
        f"{HEADER}\nada,buy,1,10.5\n",
        f"{HEADER}\r\nada,buy,1,10.5\r\n",
        f'{HEADER}\n"ada","buy","1","10.50"\n',
    ],
)
def test_line_ends_and_plain_quotes_do_not_matter(text: str) -> None:
    assert parse(text) == (row(1050),)


@given(order_rows(), st.sampled_from(["0.01", "0.10", "1", "0.5", "2.50", "0.000000000000000001", "25"]))
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: tuple[OrderRow, ...], tick: str
) -> None:
    path = tmp_path_factory.mktemp("written") / "orders.csv"
    write_orders(path, rows, TickSize.parse(tick))
    assert read_orders(path, TickSize.parse(tick)) == rows


def test_a_row_shows_neither_side_nor_size_nor_price() -> None:
    assert repr(row(1050)) == "OrderRow(order_id='1', account='ada')"


# --- what is refused --------------------------------------------------------------------------------

LOTS_ALLOWED = f"a whole number from 0 to {MAX_LOTS}"
NAME_ALLOWED = "1 to 64 characters of A-Z a-z 0-9 . _ -"
OR_MARKET = ", or nothing for a market order"
DECIMAL_ALLOWED = f"a decimal like 236.10, up to 18 digits on either side of the point{OR_MARKET}"


@pytest.mark.parametrize(
    "cells,column,value,allowed",
    [
        ("ada,buy,-1,10", "quantity", '"-1"', LOTS_ALLOWED),
        ("ada,buy,+1,10", "quantity", '"+1"', LOTS_ALLOWED),
        ("ada,buy,1.5,10", "quantity", '"1.5"', LOTS_ALLOWED),
        ("ada,buy,1e3,10", "quantity", '"1e3"', LOTS_ALLOWED),
        ("ada,buy,1_000,10", "quantity", '"1_000"', LOTS_ALLOWED),
        ("ada,buy,007,10", "quantity", '"007"', LOTS_ALLOWED),
        ("ada,buy, 7,10", "quantity", '" 7"', LOTS_ALLOWED),
        ("ada,buy,,10", "quantity", "nothing", LOTS_ALLOWED),
        ("ada,buy,ten,10", "quantity", '"ten"', LOTS_ALLOWED),
        ("ada,buy,\u0661,10", "quantity", '"\\u0661"', LOTS_ALLOWED),
        (f"ada,buy,{MAX_LOTS + 1},10", "quantity", '"4294967296"', LOTS_ALLOWED),
        (f"ada,buy,{'9' * 99},10", "quantity", f'"{"9" * 40}..."', LOTS_ALLOWED),
        ("ada,BUY,1,10", "side", '"BUY"', "buy or sell"),
        ("ada,short,1,10", "side", '"short"', "buy or sell"),
        ("ada,,1,10", "side", "nothing", "buy or sell"),
        ("ada,buy ,1,10", "side", '"buy "', "buy or sell"),
        (",buy,1,10", "account", "nothing", NAME_ALLOWED),
        ("a b,buy,1,10", "account", '"a b"', NAME_ALLOWED),
        ("ada\x1b[2J,buy,1,10", "account", '"ada\\x1b[2J"', NAME_ALLOWED),
        ("ada\u202e,buy,1,10", "account", '"ada\\u202e"', NAME_ALLOWED),
        (f"{'a' * 65},buy,1,10", "account", f'"{"a" * 40}..."', NAME_ALLOWED),
        ("ada,buy,1,10.005", "limit_price", '"10.005"', f"multiples of the tick 0.01{OR_MARKET}"),
        (
            "ada,buy,1,10.0000000000000001",
            "limit_price",
            '"10.0000000000000001"',
            f"multiples of the tick 0.01{OR_MARKET}",
        ),
        ("ada,buy,1,0.00", "limit_price", '"0.00"', f"a price above zero{OR_MARKET}"),
        ("ada,buy,1,-10", "limit_price", '"-10"', DECIMAL_ALLOWED),
        ("ada,buy,1,1e1", "limit_price", '"1e1"', DECIMAL_ALLOWED),
        ("ada,buy,1,NaN", "limit_price", '"NaN"', DECIMAL_ALLOWED),
        ("ada,buy,1,inf", "limit_price", '"inf"', DECIMAL_ALLOWED),
        ("ada,buy,1,1_0", "limit_price", '"1_0"', DECIMAL_ALLOWED),
        ("ada,buy,1,.5", "limit_price", '".5"', DECIMAL_ALLOWED),
        ("ada,buy,1,5.", "limit_price", '"5."', DECIMAL_ALLOWED),
        ("ada,buy,1,010", "limit_price", '"010"', DECIMAL_ALLOWED),
        ("ada,buy,1, ", "limit_price", '" "', DECIMAL_ALLOWED),
        ('ada,buy,1,"10,5"', "limit_price", '"10,5"', DECIMAL_ALLOWED),
        (f"ada,buy,1,1{'0' * 18}", "limit_price", f'"1{"0" * 18}"', DECIMAL_ALLOWED),
        (f"ada,buy,1,1.{'0' * 19}", "limit_price", f'"1.{"0" * 19}"', DECIMAL_ALLOWED),
    ],
)
def test_a_bad_value_is_named(cells: str, column: str, value: str, allowed: str) -> None:
    with pytest.raises(OrderFileError) as caught:
        parse(f"{HEADER}\nada,buy,1,10\n{cells}\nada,sell,bad,too\n")
    assert str(caught.value) == f"orders.csv, line 3, column {column}: got {value}; allowed: {allowed}"
    assert (caught.value.line, caught.value.column) == (3, column)
    assert isinstance(caught.value, OrderRefused)
    assert caught.value.exit_code == EXIT_REFUSED


@pytest.mark.parametrize(
    "text,message",
    [
        ("", f"line 1: got nothing; allowed: {HEADERS}"),
        ("\n", f"line 1: got nothing; allowed: {HEADERS}"),
        (HEADER, "line 2: got nothing; allowed: at least one order after the header"),
        (f"{HEADER}\n", "line 2: got nothing; allowed: at least one order after the header"),
        ("account,side,quantity\na,buy,1\n", f'line 1: got "account,side,quantity"; allowed: {HEADERS}'),
        (HEADER.replace(",", ";"), f'line 1: got "account;side;quantity;limit_price"; allowed: {HEADERS}'),
        (HEADER.upper(), f'line 1: got "{HEADER.upper()}"; allowed: {HEADERS}'),
        (f" {HEADER}", f'line 1: got " {HEADER}"; allowed: {HEADERS}'),
        (f"{HEADER},note", f'line 1: got "{HEADER},note"; allowed: {HEADERS}'),
        (f"order_id,{HEADER},order_id", f'line 1: got "order_id,{HEADER[:31]}..."; allowed: {HEADERS}'),
        (f"\ufeff{HEADER}\na,buy,1,\n", f'line 1: got "\\ufeff{HEADER}"; allowed: {HEADERS}'),
        (f"{HEADER}\nada,buy,1\n", f'line 2: got "ada,buy,1"; allowed: 4 values: {HEADER}'),
        (f"{HEADER}\nada,buy,1,10,\n", f'line 2: got "ada,buy,1,10,"; allowed: 4 values: {HEADER}'),
        (f"{HEADER}\n\nada,buy,1,10\n", f"line 2: got nothing; allowed: 4 values: {HEADER}"),
        (f"{HEADER}\nada,buy,1,10\n\n", f"line 3: got nothing; allowed: 4 values: {HEADER}"),
        (
            f'{HEADER}\n"ada,buy,1,10\n',
            'line 2: got "\\"ada,buy,1,10"; allowed: comma-separated values on one line',
        ),
        (f"{HEADER}\nada,buy,1,10\rben,sell,1,10\n", "allowed: comma-separated values on one line"),
        (f"{HEADER}\nada,buy,{'1' * MAX_LINE},\n", f"allowed: at most {MAX_LINE} characters on a line"),
        (
            f"{HEADER},order_id\na,buy,1,,x\nb,buy,1,,x\n",
            'line 3, column order_id: got "x"; allowed: unique ids; line 2 has this one',
        ),
        (
            f"{HEADER},order_id\na,buy,1,,\nb,buy,1,,1\n",
            'line 3, column order_id: got "1"; allowed: unique ids; the order of line 2 has this number',
        ),
        (
            f"{HEADER},order_id\na,buy,1,,2\nb,buy,1,,\nc,buy,1,,\n",
            'line 2, column order_id: got "2"; allowed: unique ids; the order of line 4 has this number',
        ),
        (
            f"{HEADER},order_id\na,buy,1,,x y\n",
            f'line 2, column order_id: got "x y"; allowed: {NAME_ALLOWED}',
        ),
    ],
)
def test_a_file_of_the_wrong_form_is_refused(text: str, message: str) -> None:
    with pytest.raises(OrderFileError) as caught:
        parse(text)
    assert str(caught.value).endswith(message)


@pytest.mark.parametrize(
    "data,message",
    [
        (b"\x7fELF\x02\x01\x01\x00\x00", 'line 1: got "byte 00"; allowed: text without NUL'),
        (b"\x89PNG\r\n\x1a\n", 'line 1: got "byte 89"; allowed: UTF-8 text'),
        (HEADER.encode() + b"\nada,buy,1,\xff\n", 'line 2: got "byte ff"; allowed: UTF-8 text'),
        (HEADER.encode() + b"\nada,buy,1,\nada,\0,1,\n", 'line 3: got "byte 00"; allowed: text without NUL'),
        (HEADER.encode("utf-16"), 'line 1: got "byte ff"; allowed: UTF-8 text'),
        (b" " * (MAX_FILE_BYTES + 1), f"allowed: at most {MAX_FILE_BYTES} bytes"),
    ],
)
def test_a_binary_or_huge_file_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(OrderFileError) as caught:
        parse(data)
    assert str(caught.value).endswith(message)


def test_a_round_holds_65536_orders() -> None:
    text = f"{HEADER}\n" + "a,buy,1,\n" * MAX_ORDERS
    assert len(parse(text)) == MAX_ORDERS
    with pytest.raises(OrderFileError, match="line 65538: allowed: at most 65536 orders"):
        parse(text + "a,buy,1,\n")


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_anything_after_the_header_is_read_or_refused_on_one_printable_line(body: bytes) -> None:
    for data in (body, HEADER.encode() + b"\n" + body):
        try:
            rows = parse(data)
        except OrderFileError as error:
            shown = str(error)
        else:
            shown = "read"
            assert len(rows) == data.removesuffix(b"\n").count(b"\n")
        assert shown.isascii()
        assert shown.isprintable()
        assert len(shown) < 500


@pytest.mark.parametrize("name", ["absent.csv", ".", "nul\0name", "x" * 300])
def test_an_unreadable_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(OrderFileError, match=r"allowed: a readable file \(") as caught:
        read_orders(tmp_path / name, CENT)
    assert "\0" not in str(caught.value)


def test_a_hostile_file_name_is_shown_escaped(tmp_path: Path) -> None:
    with pytest.raises(OrderFileError) as caught:
        read_orders(tmp_path / "a\x1b[2J\nb", CENT)
    assert "a\\x1b[2J\\nb: allowed: a readable file" in str(caught.value)


def test_the_error_survives_pickling() -> None:
    with pytest.raises(OrderFileError) as caught:
        parse(f"{HEADER}\nada,buy,x,\n")
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    assert (str(again), again.hint, again.column) == (str(caught.value), caught.value.hint, "quantity")


@pytest.mark.parametrize(
    "bad",
    [
        (),
        (row(1), row(2)),
        (OrderRow("", "ada", Side.BUY, Lots(1), 1),),
        (OrderRow("1", "ada,buy", Side.BUY, Lots(1), 1),),
        (OrderRow("1", "ada\nben", Side.BUY, Lots(1), 1),),
        (row(0),),
        (row(-1),),
        (row(1, quantity=-1),),
        (row(1, quantity=MAX_LOTS + 1),),
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path: Path, bad: tuple[OrderRow, ...]) -> None:
    with pytest.raises(OrderFileError):
        write_orders(tmp_path / "orders.csv", bad, CENT)
    assert not (tmp_path / "orders.csv").exists()


def test_an_unwritable_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OrderFileError, match=r"allowed: a writable file \("):
        write_orders(tmp_path / "absent" / "orders.csv", (row(1),), CENT)


# --- decimals and ticks -----------------------------------------------------------------------------

decimals = st.from_regex(r"(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?", fullmatch=True).filter(str.isascii)


@given(decimals)
def test_decimals_are_exact(text: str) -> None:
    assert Decimal(decimal_units(text)).scaleb(-18) == Decimal(text) or len(text) > 28  # Decimal's own limit
    whole, _, part = text.partition(".")
    assert decimal_units(text) == int(whole) * 10**18 + int(part or "0") * 10 ** (18 - len(part))


@given(st.integers(1, 10**12), st.sampled_from(["0.01", "0.10", "5", "0.25", "0.5", "0.000000000000000001"]))
def test_ticks_and_text_are_inverse(ticks: int, tick: str) -> None:
    assert TickSize.parse(tick).ticks(TickSize.parse(tick).text(ticks)) == ticks


def test_a_price_is_written_with_the_digits_of_its_tick() -> None:
    assert [TickSize.parse(t).text(2361) for t in ("0.10", "0.1", "1", "0.25")] == [
        "236.10",
        "236.1",
        "2361",
        "590.25",
    ]


@pytest.mark.parametrize("tick", ["0", "0.00", "-0.01", "", "1e-2", "abc", "0.0000000000000000001"])
def test_a_tick_is_a_decimal_above_zero(tick: str) -> None:
    with pytest.raises(ConfigError, match=r"^tick: got .*; allowed: a decimal"):
        TickSize.parse(tick)


def test_a_price_argument_is_named() -> None:
    assert CENT.argument("236.10") == 23610
    for text, allowed in [
        ("236.105", "multiples of the tick 0.01"),
        ("0", "a price above zero"),
        ("x", "a decimal"),
    ]:
        with pytest.raises(ConfigError, match=f'^reference: got "{text}"; allowed: {allowed}'):
            CENT.argument(text)


# --- placing ----------------------------------------------------------------------------------------

BAND = Grid(Quanta(980), Quanta(1), 64)  # 9.80 to 10.43


@pytest.mark.parametrize(
    "side,price,level",
    [
        (Side.BUY, None, 63),
        (Side.BUY, 5000, 63),
        (Side.BUY, 1044, 63),
        (Side.BUY, 1043, 63),
        (Side.BUY, 1000, 20),
        (Side.BUY, 980, 0),
        (Side.BUY, 979, OUTSIDE),
        (Side.BUY, 1, OUTSIDE),
        (Side.SELL, None, 0),
        (Side.SELL, 1, 0),
        (Side.SELL, 979, 0),
        (Side.SELL, 980, 0),
        (Side.SELL, 1000, 20),
        (Side.SELL, 1043, 63),
        (Side.SELL, 1044, OUTSIDE),
        (Side.SELL, 10**36, OUTSIDE),
    ],
)
def test_limits_are_placed_on_the_band(side: Side, price: int | None, level: object) -> None:
    assert place(row(price, side), BAND) == level


def test_the_grid_counts_in_ticks_of_the_file_whatever_a_tick_is_worth() -> None:
    in_quanta = Grid(Quanta(980 * 250), Quanta(250), 64)
    for price in (979, 980, 1000, 1050):
        assert place(row(price), in_quanta) == place(row(price), BAND)
    with pytest.raises(ConfigError, match="not a multiple of the tick"):
        place(row(1000), Grid(Quanta(981), Quanta(2), 64))
