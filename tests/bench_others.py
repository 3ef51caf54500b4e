"""The same books cleared in other ways: by `phe` without proofs, wholly under MPC, in the clear."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from phe import PaillierPrivateKey, PaillierPublicKey

from darkpool.auction import PlainOrder, clear, curves
from darkpool.committee.seat import Seat
from darkpool.types import Lots, Tick
from tests.bench_orders import LEVELS
from tests.bench_rounds import book_of, measured
from tests.bench_scale import Scale
from tests.commitments_support import primes
from tests.figures import Figure, Part, Series, median_ms

ACCOUNTS = 10
SAMPLE = 2  # orders encrypted by phe: each is 2T encryptions of full length
_ROOT = Path(__file__).resolve().parent.parent
_PROGRAM = "tests/bench_mpyc.py"
_REFERENCE = LEVELS // 2
_LIMIT_SECONDS = 1_800

NOTES = (
    "What leaks, and to whom:",
    "* in the clear: every order, to whoever clears;",
    "* phe alone: the book of every tick, and any order asked for, to whoever holds the one key; nothing is",
    "  proven, so an order may claim anything;",
    "* MPyC alone: price, volume, nets and who sent how many orders, to the members; they must all be there",
    "  for every order, and nobody else can check what they did;",
    "* here: price, volume and nets to all, u and the cut to members; anyone can check orders, sums and",
    "  signatures.",
    "",
    "phe's round is the time to add an order, measured on a sample, times the orders, plus one decryption of",
    "the sums; MPyC's is from shared orders to opened nets; here from sealed list to signatures, after every",
    "member has verified every order (see Orders).",
)


def others(scale: Scale, seats: Sequence[Seat]) -> Part:
    """Every book once in each way, and all that can be compared compared."""
    here, mpyc, plain = [], [], []
    encryption, addition, decryption = _of_phe(scale)
    for size in scale.books:
        accounts = min(ACCOUNTS, size)
        book = book_of(size, accounts)
        plain.append((size, median_ms(scale.runs, partial(_plain, book)) / 1_000))
        mpyc.append((size, _under_mpc(book)))
        here.append((size, measured(scale, seats, size, accounts).seconds))
    of_phe = [(size, size * addition + decryption) for size in scale.books]
    ways = (("here", here), ("MPyC alone", mpyc), ("phe alone", of_phe), ("in the clear", plain))
    figures = [
        Figure(f"{way}: round of {size} orders, {min(ACCOUNTS, size)} accounts", seconds, "s")
        for way, points in ways
        for size, seconds in points
    ]
    figures += [
        Figure(f"{way}: the round of {size} orders, per order", 1_000 * seconds / size, "ms")
        for way, points in ways
        for size, seconds in points[-1:]
    ]
    figures += [
        Figure(f"phe alone: encrypting an order, {2 * LEVELS} ciphertexts", encryption, "s"),
        Figure("phe alone: adding an order", 1_000 * addition, "ms"),
        Figure(f"phe alone: decrypting {2 * LEVELS} sums", decryption, "s"),
    ]
    series = [Series(f"round, {way}", "orders", "s", tuple(points)) for way, points in ways]
    return Part(figures, series, NOTES)


def _plain(book: Sequence[PlainOrder]) -> tuple[int, int, list[int]]:
    """Price, volume, nets by account number."""
    outcome = clear(book, LEVELS, Tick(_REFERENCE), 0, Lots(1))
    if outcome is None:
        raise RuntimeError("the book does not cross")
    names = sorted({order.account for order in book})
    return int(outcome.price), int(outcome.volume), [outcome.base_net(name) for name in names]


def _of_phe(scale: Scale) -> tuple[float, float, float]:
    """Seconds to encrypt an order's cumulative vector, to add one, to decrypt the sums."""
    p, q = primes(scale.profile.name)
    public = PaillierPublicKey(p * q)
    private, square = PaillierPrivateKey(public, p, q), int(public.nsquare)
    book = book_of(SAMPLE, SAMPLE)
    started = time.perf_counter()
    encrypted = [[public.raw_encrypt(value) for value in _cumulative([order])] for order in book]
    encryption = (time.perf_counter() - started) / len(book)
    totals = [1] * (2 * LEVELS)
    started = time.perf_counter()
    for row in encrypted:
        totals = [total * c % square for total, c in zip(totals, row, strict=True)]
    addition = (time.perf_counter() - started) / len(book)
    started = time.perf_counter()
    opened = [private.raw_decrypt(c) for c in totals]
    decryption = time.perf_counter() - started
    if opened != _cumulative(book):
        raise RuntimeError("phe's sums are not the curves")
    return encryption, addition, decryption


def _cumulative(book: Sequence[PlainOrder]) -> list[int]:
    demand, supply = curves(book, LEVELS)
    return [int(value) for pair in zip(demand, supply, strict=True) for value in pair]


def _under_mpc(book: Sequence[PlainOrder]) -> float:
    """Seconds of MPyC's three processes from shared orders to nets."""
    names = sorted({order.account for order in book})
    rows = [[names.index(o.account), 2 * o.tick + o.side, o.quantity] for o in book]
    with tempfile.TemporaryDirectory(prefix="dp-bench-") as folder:
        path = Path(folder) / "book.json"
        path.write_text(json.dumps({"levels": LEVELS, "reference": _REFERENCE, "orders": rows}))
        found = _run_mpyc(path)
    if (found["price"], found["volume"], found["nets"]) != _plain(book):
        raise RuntimeError("MPyC's auction differs from the one in the clear")
    return float(sum(found["seconds"]))


def _run_mpyc(book: Path) -> dict[str, Any]:
    # Other members' processes are MPyC's own: it starts this program again for each.
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(_ROOT / _PROGRAM), str(book), "-M3", "-B", str(_free_ports()), "--no-log"]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=_LIMIT_SECONDS
    )
    if done.returncode:
        raise RuntimeError(f"MPyC ended with {done.returncode}: {done.stderr[-500:]}")
    result: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    return result


def _free_ports() -> int:
    """The first of a few ports in a row that are probably free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return min(int(probe.getsockname()[1]), 65_000 - secrets.randbelow(1_000))
