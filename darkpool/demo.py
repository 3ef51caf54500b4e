"""`darkpool demo`: a built-in flow at production size, and who saw what of it, side by side."""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table

from commitments.params import PRODUCTION, Profile
from darkpool.committee import faulty, members
from darkpool.committee.home import open_store
from darkpool.committee.seat import ceremony
from darkpool.committee.transport import NUMBER_BYTES, Kind
from darkpool.house import open_house
from darkpool.market import Side
from darkpool.message import Message
from darkpool.orderfile import OrderRow, TickSize, write_orders
from darkpool.plan import Options, plan
from darkpool.progress import Progress
from darkpool.report import as_tables, price_of
from darkpool.run import MEMBERS, THRESHOLD, Run, RunReport, run_file
from darkpool.types import Lots, address_hex

_SEED: Final = 2026
_DESKS: Final = ("alder", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple")
_ORDERS: Final = 60
_TICK: Final = "0.05"
_REFERENCE: Final = "100.00"
_HEX: Final = 24
FAULT_MEMBERS: Final = 4
_STEP_SECONDS: Final = 20  # a silent member is waited for so long


@dataclass(slots=True)
class OperatorView:
    """What passes the operator's links to the members, by operation. Shape only is kept here."""

    frames: Counter[str] = field(default_factory=Counter)
    octets: Counter[str] = field(default_factory=Counter)

    def __call__(self, direction: str, kind: int, body: bytes) -> None:
        """The tap."""
        if kind in (Kind.REQUEST, Kind.REPLY):
            label = f"{Message.decode(body[NUMBER_BYTES:]).op} {direction.split(maxsplit=1)[0]}"
            self.frames[label] += 1
            self.octets[label] += len(body)


def flow(tick: TickSize) -> list[OrderRow]:
    """Sixty orders of eight desks around the reference: the same every time."""
    rng = random.Random(_SEED)  # noqa: S311 - a seeded example, not a secret
    reference = tick.ticks(_REFERENCE)
    rows = []
    for number in range(1, _ORDERS + 1):
        side = Side(rng.randrange(2))
        lean = 1 if side is Side.BUY else -1
        price = None if rng.random() < 0.1 else reference + lean * rng.randrange(-9, 7)  # noqa: PLR2004
        rows.append(
            OrderRow(
                f"order-{number:02d}", _DESKS[rng.randrange(8)], side, Lots(rng.randrange(1, 5_000)), price
            )
        )
    return rows


def demonstrate(progress: Progress) -> RenderableType:
    """Run the flow with production cryptography, ceremony included, and lay the views side by side."""
    tick = TickSize.parse(_TICK)
    options = Options(_TICK, PRODUCTION, _REFERENCE)
    seen = OperatorView()
    with tempfile.TemporaryDirectory(prefix="darkpool-demo-") as folder:
        path = Path(folder) / "orders.csv"
        write_orders(path, flow(tick), tick)
        report = run_file(path, options, progress, seen)
    return Group(as_tables(report), "", _views(report), "", _traffic(report, seen))


def demonstrate_fault(
    progress: Progress, member: int, fault: str, profile: Profile = PRODUCTION
) -> RenderableType:
    """The same with four members, one of which has that fault (faulty.py): the round completes without it."""
    tick = TickSize.parse(_TICK)
    options = Options(_TICK, profile, _REFERENCE)
    seen = OperatorView()
    modules = [faulty.__name__ if i == member else members.MODULE for i in range(1, FAULT_MEMBERS + 1)]

    seats = ceremony(profile, FAULT_MEMBERS, THRESHOLD, lambda tested: progress("key ceremony", tested, None))

    async def run(folder: Path) -> RunReport:
        write_orders(folder / "orders.csv", flow(tick), tick)
        prepared = plan(folder / "orders.csv", options)
        async with open_house(seats, folder, modules=modules, tap=seen, clear_timeout=_STEP_SECONDS) as house:
            return await Run(prepared, options, progress).execute(house)

    with tempfile.TemporaryDirectory(prefix="darkpool-demo-") as folder:
        os.environ[faulty.VARIABLE] = fault
        try:
            report = asyncio.run(run(Path(folder)))
        finally:
            del os.environ[faulty.VARIABLE]
        digest = report.rounds[0].closed.sealed.digest(report.terms.domain)
        revealed = {seat.index: _revealed(Path(folder, f"member-{seat.index}"), digest) for seat in seats}
    tables = (_attempts(report, member, fault), "", _members(report, revealed))
    return Group(
        as_tables(report), "", _views(report, FAULT_MEMBERS), "", *tables, "", _traffic(report, seen)
    )


def _revealed(home: Path, digest: bytes) -> list[str]:
    """What a member kept of the values that were opened to it, once it has ended."""
    store = open_store(home)
    try:
        return store.revealed(digest)
    finally:
        store.database.close()


def _attempts(report: RunReport, member: int, fault: str) -> Table:
    """Who played, and who charged whom with what."""
    outcome = report.rounds[0]
    table = Table(title=f"Member {member} is faulty ({fault}): the attempts at the round", show_lines=True)
    for name in ("attempt", "members", "how it ended"):
        table.add_column(name)
    for number, failure in enumerate(outcome.failures, 1):
        charges: dict[str, list[str]] = {}
        for accuser, blame in sorted(failure.reports.items()):
            for charge in blame:
                charges.setdefault(str(charge), []).append(str(accuser))
        said = [f"{charge}, say {', '.join(who)}" for charge, who in charges.items()]
        table.add_row(
            str(number), _names(failure.players), "\n".join(["failed, nothing settled; charged:", *said])
        )
    signed = _signed(report)
    table.add_row(
        str(len(outcome.failures) + 1), _names(signed), f"completed: signed by members {_names(signed)}"
    )
    return table


def _members(report: RunReport, revealed: Mapping[int, list[str]]) -> Table:
    """From the members' own databases, read once they have ended."""
    table = Table(title="What was opened to each member of the round, before its result was published")
    for name in ("member", "opened to it", "signed the result"):
        table.add_column(name)
    signed = _signed(report)
    for index, steps in revealed.items():
        table.add_row(str(index), ", ".join(steps) or "nothing", "yes" if index in signed else "no")
    return table


def _signed(report: RunReport) -> list[int]:
    """Whose sealed totals came with the result."""
    certificate = report.rounds[0].closed.certificate
    return sorted(next(iter(certificate.boxes.values()))) if certificate is not None else []


def _names(indices: Sequence[int]) -> str:
    return ", ".join(map(str, indices))


def _views(report: RunReport, count: int = MEMBERS) -> Table:
    outcome = report.rounds[0]
    sealed, result = outcome.closed.sealed, outcome.result
    settled = report.settlements[0]  # the built-in flow crosses
    order_id, desk, filled = next(f for f in outcome.fills if f[2])
    row = next(r for r, _ in report.plan.rows if r.order_id == order_id)
    order = next(o for o, f in zip(sealed.orders, outcome.fills, strict=True) if f[0] == order_id)
    limit = "at market" if row.price is None else f"limit {report.plan.tick.text(row.price)}"
    account = address_hex(order.account)
    net = result.nets[order.account]
    word = next(n for n in settled.pending.settlement.nullifiers if n.account == order.account)
    curve = report.terms.key.encode_ciphertext(outcome.curves[0])
    sum_text = f"{curve.hex()[:_HEX]}… ({len(curve)} bytes x {len(outcome.curves)})"
    price = price_of(report, outcome)
    public = f"{price}, {result.volume} lots"
    table = Table(title="Who saw what", show_lines=True)
    member = f"each member ({len(_signed(report))} of {count})"
    for name in ("", "operator", member, f"trader {desk}", "chain, everybody"):
        table.add_column(name, ratio=1 if name else None)
    table.add_row(
        f"{order_id}",
        f"sealed bytes from {account[:10]}…, arrival {sealed.orders.index(order) + 1}: "
        f"{report.terms.key.encode_ciphertext(order.ciphertexts[0]).hex()[:_HEX]}…",
        "the same bytes; its proof verified by the member itself",
        f"{row.side.name.lower()} {row.quantity} lots {limit}",
        "nothing",
    )
    table.add_row(
        "demand and supply",
        f"only encrypted: {sum_text}",
        "masked values and its own Shamir shares; t = 1 of them say nothing",
        "nothing",
        "nothing",
    )
    table.add_row("price and volume", public, public, public, "inside the transcript hash")
    table.add_row(
        "long side, last price level, cut",
        "nothing",
        "side, level, position of the cut",
        "nothing",
        "nothing",
    )
    table.add_row(
        "fills",
        "nothing",
        "only shares of account totals",
        f"{filled} of {row.quantity} lots of {order_id}",
        "nothing",
    )
    table.add_row(
        f"net of {desk}",
        f"{net:+d} lots",
        f"{net:+d} lots",
        f"{net:+d} lots",
        f"{net:+d} base quanta of {account[:10]}…",
    )
    table.add_row(
        "orders spent",
        f"account and nonce of {len(outcome.consumed)} orders",
        "the same",
        "its own",
        f"nullifier bits, e.g. word {word.word} mask {word.mask:#x}; "
        f"tx 0x{settled.receipt.tx_hash.hex()[:16]}…",
    )
    return table


def _traffic(report: RunReport, seen: OperatorView) -> Table:
    table = Table(title="All that passed between operator and members")
    table.add_column("message")
    for name in ("count", "bytes"):
        table.add_column(name, justify="right")
    for label, count in sorted(seen.frames.items()):
        table.add_row(label, str(count), str(seen.octets[label]))
    for index, status in report.members.items():
        table.add_row(
            f"member {index} with its peers, unseen by the operator",
            str(status.fields["peer_frames"]),
            str(status.fields["peer_bytes"]),
        )
    return table
