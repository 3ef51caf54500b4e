"""What a round leaves behind: its shape depends on public facts alone, and hidden numbers are nowhere in it.

Everything is recorded from a real run: all frames on the operator's links, all frames among members (MPC
traffic included), members' logs and databases, the venue's database, the operator process's log, and what the
chain holds.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from commitments.params import INSECURE_TEST
from darkpool.auction import PlainOrder
from darkpool.chain import Chain
from darkpool.committee.seat import Seat
from darkpool.committee.transport import NUMBER_BYTES, Kind
from darkpool.draft import Draft
from darkpool.house import open_house
from darkpool.market import Grid, Side
from darkpool.message import Message
from darkpool.order import Order
from darkpool.orderfile import OrderRow, TickSize
from darkpool.plan import Batch, Options, Plan
from darkpool.run import Run, RunReport
from darkpool.types import Lots, Quanta, Tick
from darkpool.wallet import Wallet
from tests.encrypted import plan_of, seats
from tests.recording_member import RECORD, frames

RECORDING = "tests.recording_member"
# Which member is up first; at the end, which link goes first and who waits for the evaluator.
CHANCE = re.compile(rb": does not listen |link ended: |Unknown child process")
# Process numbers have as many digits as they happen to have.
PROCESS = re.compile(r"(?<= runs as process )\d+")


@dataclass(slots=True)
class Records:
    """Everything a run leaves outside of its traders, by source."""

    operator: list[tuple[str, int, bytes]] = field(default_factory=list)
    members: list[tuple[str, int, bytes]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    chain: list[bytes] = field(default_factory=list)
    databases: dict[str, Counter[tuple[str, *tuple[int, ...]]]] = field(default_factory=dict)

    def shape(self) -> dict[str, object]:
        """Types, counts and lengths."""
        return {
            "operator": Counter(part for frame in self.operator for part in self._parts(*frame)),
            "members": Counter(part for frame in self.members for part in self._parts(*frame)),
            "logs": {
                name: sorted(len(line) for line in data.splitlines() if not CHANCE.search(line))
                for name, data in self.files.items()
                if name.endswith(".log")
            },
            "databases": self.databases,
            "log": sorted(len(PROCESS.sub("", line)) for line in self.log),
            "chain": [len(item) for item in self.chain],
        }

    @staticmethod
    def _parts(direction: str, kind: int, body: bytes) -> list[tuple[str, str, int]]:
        """A frame; but how the log was cut into pages is a matter of the hour, so its entries one by one."""
        if kind not in (Kind.REQUEST, Kind.REPLY):
            return [(direction, Kind(kind).name, len(body))]
        message = Message.decode(body[NUMBER_BYTES:])
        if message.op in {"append", "appended", "status"}:
            return [(direction, "entry", len(blob)) for blob in message.blobs]
        return [(direction, f"{Kind(kind).name} {message.op}", len(body))]

    def everything(self) -> bytes:
        """All of it in one string of bytes, to search."""
        parts = [b for _, _, b in (*self.operator, *self.members)] + list(self.files.values())
        return b"\n".join([*parts, *(line.encode() for line in self.log), *self.chain])


class _Handler(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(("asyncio", "web3", "eth", "hypothesis", "alembic")):
            self._lines.append(self.format(record))


def record(dealt: Sequence[Seat], prepared: Plan) -> tuple[RunReport, Records]:
    """Run a plan with recording members and keep everything."""
    records = Records()

    def tap(direction: str, kind: int, body: bytes) -> None:
        records.operator.append((direction, kind, body))

    async def run(folder: Path) -> RunReport:
        async with open_house(dealt, folder, modules=[RECORDING] * 3, tap=tap) as house:
            options = Options("0.01", INSECURE_TEST, levels=prepared.grid.levels)
            report = await Run(prepared, options).execute(house)
            records.chain = chain_data(house.chain)
            return report

    handler, root = _Handler(records.log), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with tempfile.TemporaryDirectory(prefix="dp-record-") as folder:
            report = asyncio.run(run(Path(folder)))
            for path in sorted(Path(folder).rglob("*")):
                if path.name == RECORD:
                    records.members += frames(path)
                elif path.is_file() and path.name != "seat.json":
                    records.files[str(path.relative_to(folder))] = path.read_bytes()
                if path.suffix == ".db":
                    records.databases[str(path.relative_to(folder))] = row_lengths(path)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    return report, records


def row_lengths(database: Path) -> Counter[tuple[str, *tuple[int, ...]]]:
    """Table and lengths of all values, of all rows."""
    with closing(sqlite3.connect(database)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        return Counter(
            (table, *(len(v if isinstance(v, bytes) else str(v)) for v in row))
            for table in tables
            for row in connection.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - our own names
        )


def chain_data(chain: Chain) -> list[bytes]:
    """Calldata and logs of every transaction but the deployments."""
    web3: Any = chain._evm._web3
    data = []
    for number in range(chain.head() + 1):
        for transaction in web3.eth.get_block(number, full_transactions=True)["transactions"]:
            if transaction["to"] is not None:
                receipt = web3.eth.get_transaction_receipt(transaction["hash"])
                data.append(bytes(transaction["input" if "input" in transaction else "data"]))
                data += [b"".join(map(bytes, log["topics"])) + bytes(log["data"]) for log in receipt["logs"]]
    return data


@pytest.fixture(scope="module")
def dealt() -> list[Seat]:
    Chain.embedded()
    return seats(INSECURE_TEST)


def _orders(*rows: tuple[str, str, int, int]) -> list[PlainOrder]:
    return [PlainOrder(a, Side[s], Tick(t), Lots(q)) for a, s, t, q in rows]


# Two books with the same public end: 16 levels, reference 8, price 8, volume 50, A +50, B -50, C and D roll.
# Sides, sizes, limits, the long side, u (in another ciphertext) and the cut all differ. The greatest needs
# have as many bits, which is what the (public, equal) deposits tell of them.
ONE = _orders(
    ("A", "BUY", 8, 30), ("B", "SELL", 8, 50), ("A", "BUY", 8, 20),
    ("B", "SELL", 15, 70), ("C", "BUY", 2, 9), ("D", "SELL", 12, 4),
)  # fmt: skip
OTHER = _orders(
    ("A", "BUY", 12, 60), ("B", "SELL", 1, 25), ("A", "BUY", 0, 4),
    ("B", "SELL", 7, 25), ("C", "SELL", 15, 100), ("D", "BUY", 0, 60),
)  # fmt: skip


def test_the_shape_of_records_depends_on_public_facts_alone(dealt: list[Seat]) -> None:
    shapes, results = [], []
    for orders in (ONE, OTHER):
        report, records = record(dealt, plan_of(16, [(Tick(8), orders)]))
        (outcome,) = report.rounds
        result = outcome.result
        results.append((result.price, result.volume, sorted(result.nets.values()), outcome.orders))
        shapes.append(records.shape())
        folders = {Path(name).parent.name for name in records.databases}
        assert folders == {"", "member-1", "member-2", "member-3"}
        assert all([records.operator, records.members, records.chain, *records.databases.values()])
    assert results[0] == results[1] == (8, 50, [-50, 50], 6)
    for part in shapes[0]:
        assert shapes[0][part] == shapes[1][part], part


@pytest.mark.slow
def test_a_mutation_whose_lengths_tell_a_hidden_number_is_noticed(
    dealt: list[Seat], monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted = Wallet.accepted

    def leaky(self: Wallet, order: Order, sealed: Draft) -> None:
        logging.getLogger("darkpool.wallet").debug("accepted %s", "." * order.quantity)
        accepted(self, order, sealed)

    monkeypatch.setattr(Wallet, "accepted", leaky)
    one, other = (record(dealt, plan_of(16, [(Tick(8), orders)]))[1].shape() for orders in (ONE, OTHER))
    assert one["log"] != other["log"]


# --- sentinels --------------------------------------------------------------------------------------

REFERENCE = 2_718_281_828  # ticks; any price of the grid has ten digits
QUANTITIES = (3_141_592_653, 2_236_067_977)
LEVELS = (35, 29)  # of 64: a buy below the sell, so nothing crosses


def _sentinel_plan() -> Plan:
    grid = Grid.centred(Quanta(REFERENCE), Quanta(1), 64)
    rows = []
    for number, (account, side, level, quantity) in enumerate(
        (("A", Side.SELL, LEVELS[0], QUANTITIES[0]), ("B", Side.BUY, LEVELS[1], QUANTITIES[1])), 1
    ):
        price = int(grid.price(Tick(level)))
        rows.append((OrderRow(f"order-{number}", account, side, Lots(quantity), price), Tick(level)))
    # Deposits of round sums, so that what is on chain is not the sentinel itself.
    return Plan(TickSize.parse("0.01"), grid, (Batch(Tick(32), tuple(rows)),), ())


def _sentinels(grid: Grid) -> list[bytes]:
    """Every way the hidden numbers could be written down: quantity, limit price, what the order locks."""
    values = list(QUANTITIES)
    prices = [int(grid.price(Tick(level))) for level in LEVELS]
    locks = [quantity * price for quantity, price in zip(QUANTITIES, prices, strict=True)]
    needles = []
    for value in (*values, *prices, *locks):
        needles += [str(value).encode(), f"{value:x}".encode(), f"{value:X}".encode()]
        width = 4 if value < 1 << 32 else 8
        needles += [value.to_bytes(width, "big"), value.to_bytes(width, "little")]
    return [*needles, *(f"{p // 100}.{p % 100:02d}".encode() for p in prices)]


def _found(records: Records, grid: Grid) -> set[bytes]:
    haystack = records.everything()
    return {needle for needle in _sentinels(grid) if needle in haystack}


def _generous(_: Plan) -> dict[str, tuple[Quanta, Quanta]]:
    return {"A": (Quanta(1 << 40), Quanta(1 << 40)), "B": (Quanta(1 << 40), Quanta(1 << 63))}


def test_hidden_numbers_appear_nowhere_outside_their_trader(
    dealt: list[Seat], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Plan, "deposits", _generous)
    prepared = _sentinel_plan()
    report, records = record(dealt, prepared)
    assert not report.rounds[0].result.crossed
    found = _found(records, prepared.grid)
    if found:  # four bytes can turn up by chance once in many runs, but not the same ones twice
        _, again = record(dealt, prepared)
        found &= _found(again, prepared.grid)
    assert not found
    assert len(records.everything()) > 100_000


@pytest.mark.parametrize(
    "text", ["quantity", *(pytest.param(text, marks=pytest.mark.slow) for text in ("limit", "json"))]
)
def test_a_mutation_that_logs_a_hidden_number_is_noticed(
    dealt: list[Seat], monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(Plan, "deposits", _generous)
    prepared = _sentinel_plan()
    accepted = Wallet.accepted

    def leaky(self: Wallet, order: Order, sealed: Draft) -> None:
        price = int(prepared.grid.price(order.level))
        messages = {
            "quantity": f"accepted {order.quantity}",
            "limit": f"limit {price // 100}.{price % 100:02d}",
            "json": json.dumps({"q": order.quantity}),
        }
        logging.getLogger("darkpool.wallet").debug(messages[text])
        accepted(self, order, sealed)

    monkeypatch.setattr(Wallet, "accepted", leaky)
    _, records = record(dealt, prepared)
    assert _found(records, prepared.grid)
