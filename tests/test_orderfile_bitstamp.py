"""The Bitstamp converter of `darkpool.orderfile`."""

from __future__ import annotations

from pathlib import Path

import pytest

from darkpool.errors import ConfigError
from darkpool.market import MAX_LOTS, Side
from darkpool.orderfile import Conversion, OrderFileError, OrderRow, TickSize, convert_bitstamp, read_orders
from darkpool.types import Lots
from tests.shared_data import BITSTAMP, shared_file

RECORDING = """order_id,timestamp_ms,side,price_usd,volume_satoshi
11,1430438404518,buy,236.47,200000000
12,1430438405943,sell,236.41,1999999
13,1430438406082,buy,235.45,999999
14,1430438406223,sell,0.01,1000000
15,1430438406224,buy,0.09,1000000
16,1430438406225,sell,236.40,1000000
"""


def convert(tmp_path: Path, text: str, accounts: int = 2, first: int = 300) -> tuple[Conversion, list[str]]:
    recording, out = tmp_path / "recording.csv", tmp_path / "orders.csv"
    recording.write_text(text)
    done = convert_bitstamp(recording, out, first=first, accounts=accounts)
    return done, out.read_text().splitlines()


def test_bitstamp_prices_move_away_from_aggression_and_volumes_down(tmp_path: Path) -> None:
    done, lines = convert(tmp_path, RECORDING)
    assert done == Conversion(read=6, written=4, under_one_lot=1, under_one_tick=1)
    assert lines == [
        "account,side,quantity,limit_price,order_id",
        "desk-01,buy,200,236.40,11",
        "desk-02,sell,1,236.50,12",
        "desk-01,sell,1,0.10,14",
        "desk-02,sell,1,236.40,16",
    ]


def test_only_the_first_orders_are_converted(tmp_path: Path) -> None:
    done, lines = convert(tmp_path, RECORDING, first=2)
    assert (done.read, len(lines)) == (2, 3)


def test_three_digit_desks_line_up(tmp_path: Path) -> None:
    assert convert(tmp_path, RECORDING, accounts=100)[1][1].startswith("desk-001,")


@pytest.mark.parametrize(
    "line,column",
    [
        ("1 1,0,buy,1,1000000", "order_id"),
        ("11,0,bid,1,1000000", "side"),
        ("11,0,buy,-1,1000000", "price_usd"),
        ("11,0,buy,1,1.5", "volume_satoshi"),
        (f"11,0,buy,1,{(MAX_LOTS + 1) * 10**6}", "volume_satoshi"),
    ],
)
def test_a_bad_recording_is_refused(tmp_path: Path, line: str, column: str) -> None:
    with pytest.raises(OrderFileError, match=f"line 2, column {column}: got "):
        convert(tmp_path, f"{RECORDING.splitlines()[0]}\n{line}\n")


def test_an_order_file_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(
        OrderFileError, match="the header order_id,timestamp_ms,side,price_usd,volume_satoshi"
    ):
        convert(tmp_path, "account,side,quantity,limit_price\nada,buy,1,\n")


@pytest.mark.parametrize(
    "first,accounts,lot,tick", [(0, 20, "1", "1"), (1, 0, "1", "1"), (1, 1, "0", "1"), (1, 1, "1", "0")]
)
def test_arguments_of_the_converter_are_positive(
    tmp_path: Path, first: int, accounts: int, lot: str, tick: str
) -> None:
    with pytest.raises(ConfigError, match=r"^(first|accounts|lot|tick): got \"0\""):
        convert_bitstamp(tmp_path / "a", tmp_path / "b", first=first, accounts=accounts, lot=lot, tick=tick)


def test_the_first_300_bitstamp_orders(tmp_path: Path) -> None:
    out = tmp_path / "orders.csv"
    done = convert_bitstamp(shared_file(BITSTAMP), out)
    assert done == Conversion(read=300, written=300, under_one_lot=0, under_one_tick=0)
    rows = read_orders(out, TickSize.parse("0.10"))
    assert {r.account for r in rows} == {f"desk-{k:02d}" for k in range(1, 21)}
    assert rows[0] == OrderRow("65595247", "desk-01", Side.BUY, Lots(200), 2364)
    assert rows[3] == OrderRow("65595250", "desk-04", Side.SELL, Lots(671), 2365)


def test_the_whole_bitstamp_recording_converts(tmp_path: Path) -> None:
    done = convert_bitstamp(shared_file(BITSTAMP), tmp_path / "orders.csv", first=20_000)
    assert done == Conversion(read=12_447, written=12_447, under_one_lot=0, under_one_tick=0)
