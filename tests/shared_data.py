"""Finds the data that lies beside the repository, which is never copied into it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from darkpool.market import Grid, Side
from darkpool.orderfile import OrderRow, TickSize
from darkpool.types import Lots, Quanta, Tick

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
AUCTION_CASES = "auction-cases.json"
BITSTAMP = "bitstamp-btcusd-2015-05-01-part1.csv"


@dataclass(frozen=True, slots=True)
class AuctionCase:
    """An order list with the price and volume a published rule gives.

    Prices are in ticks from zero; `price` is None and the volume zero where nothing crosses.
    """

    name: str
    tick: TickSize
    reference: int
    pressure_ticks: int
    rows: tuple[OrderRow, ...]
    price: int | None
    volume: Lots
    filled: tuple[Lots, ...]

    def grid(self, levels: int = 64) -> Grid:
        """The grid centred on the reference, one quote quantum per tick."""
        return Grid.centred(Quanta(self.reference), Quanta(1), levels)

    def reference_level(self, levels: int = 64) -> Tick:
        """The level of the reference on `grid(levels)`."""
        return self.grid(levels).level(Quanta(self.reference))


def shared_file(name: str) -> Path:
    """The path of a shared data file; skips the calling test, saying so, if it is absent."""
    path = SHARED_DATA / name
    if not path.is_file():
        pytest.skip(f"../shared/data/{name} is absent")
    return path


def auction_cases() -> list[Any]:
    """The cases as pytest parameters, each an `AuctionCase`; one skipped parameter if the file is absent."""
    path = SHARED_DATA / AUCTION_CASES
    if not path.is_file():
        reason = f"../shared/data/{AUCTION_CASES} is absent"
        return [pytest.param(None, id="absent", marks=pytest.mark.skip(reason=reason))]
    # Numbers with a point stay text, so that prices are exact.
    cases = json.loads(path.read_text(encoding="utf-8"), parse_float=str)
    return [pytest.param(_case(raw), id=raw["name"]) for raw in cases]


def _case(raw: dict[str, Any]) -> AuctionCase:
    tick = TickSize.parse(raw["tick"])
    rows = tuple(
        OrderRow(
            order_id=str(number),
            account=order["account"],
            side=Side[order["side"].upper()],
            quantity=Lots(order["quantity"]),
            price=None if order["limit_price"] is None else tick.ticks(order["limit_price"]),
        )
        for number, order in enumerate(raw["orders"], start=1)
    )
    return AuctionCase(
        name=raw["name"],
        tick=tick,
        reference=tick.ticks(raw["reference"]),
        pressure_ticks=raw["pressure_ticks"],
        rows=rows,
        price=None if raw["price"] is None else tick.ticks(raw["price"]),
        volume=Lots(raw["volume"]),
        filled=tuple(Lots(filled) for filled in raw["filled"]),
    )
