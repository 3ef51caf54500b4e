"""A call auction wholly under MPC, for comparison: `python tests/bench_mpyc.py BOOK.json -M3`.

Written with MPyC as its authors do, over its own sockets and with its own launcher. Traders share one-hot
slots, quantities and their bits among the members; members check them, add up the curves, find price and
volume, and every order's fill by price, then arrival, on shares. Opened: whether it crosses, price, volume,
nets. No commitments, no signatures, no collateral; members see who sent how many orders.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from operator import gt as _above
from operator import lt as _below
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from mpyc.runtime import mpc

Shared: TypeAlias = Any  # MPyC has no types

QUANTITY_BITS = 32
_FAR = 1 << 49  # beyond every surplus


async def main(book: dict[str, Any]) -> None:
    """Party 0 stands in for the traders, and prints what was opened and how long each step took."""
    secint = mpc.SecInt(54)
    await mpc.start()
    slots, quantity, bits = await _shared(secint, book)
    clock = [time.perf_counter()]
    lots = await _checked(slots, quantity, bits)
    clock.append(time.perf_counter())
    price, volume = await _price(secint, lots, book["levels"], book["reference"])
    clock.append(time.perf_counter())
    nets = []
    if volume:
        nets = await _nets(slots, quantity, lots, book, price, volume)
    clock.append(time.perf_counter())
    await mpc.shutdown()
    seconds = [after - before for before, after in pairwise(clock)]
    if mpc.pid == 0:
        sys.stdout.write(json.dumps({"price": price, "volume": volume, "nets": nets, "seconds": seconds}))


async def _shared(secint: Shared, book: dict[str, Any]) -> tuple[Shared, Shared, Shared]:
    """Shares of one-hot slots (n, 2T), quantities (n) and their bits (n, 32)."""
    rows, width = book["orders"], 2 * book["levels"]
    slots = np.zeros((len(rows), width), dtype=object)
    for row, (_, slot, _lots) in zip(slots, rows, strict=True):
        row[slot] = 1
    quantities = np.array([lots for _, _, lots in rows], dtype=object)
    bits = np.array([[(lots >> i) & 1 for i in range(QUANTITY_BITS)] for _, _, lots in rows], dtype=object)
    shared = [mpc.input(secint.array(values), senders=0) for values in (slots, quantities, bits)]
    for each in shared:
        await mpc.gather(each)
    return shared[0], shared[1], shared[2]


async def _checked(slots: Shared, quantity: Shared, bits: Shared) -> Shared:
    """Lots by slot (n, 2T), after the check that every order is one: one slot, 32 bits."""
    weights = np.array([1 << i for i in range(QUANTITY_BITS)], dtype=object)
    zeros = [
        mpc.np_flatten(slots * (slots - 1)),
        mpc.np_flatten(bits * (bits - 1)),
        mpc.np_sum(slots, axis=1) - 1,
        mpc.np_sum(bits * weights, axis=1) - quantity,
    ]
    for each in zeros:
        if any(int(value) for value in await mpc.output(each)):
            raise ValueError("an order is not well formed")
    return slots * mpc.np_reshape(quantity, (-1, 1))


async def _price(secint: Shared, lots: Shared, levels: int, reference: int) -> tuple[int, int]:
    """Price tick and volume; most volume, then least surplus, then nearest the reference."""
    total = mpc.np_sum(lots, axis=0)
    reaches = np.array([[int(j >= i) for i in range(levels)] for j in range(levels)], dtype=object)
    demand, supply = total[0::2] @ reaches, total[1::2] @ reaches.T
    crossing = mpc.np_minimum(demand, supply)
    volume = mpc.np_amax(crossing)
    most = crossing == volume
    surplus = mpc.np_absolute(demand - supply) + (1 - most) * _FAR
    best = surplus == mpc.np_amin(surplus)
    zero = secint.array(np.zeros(1, dtype=object))
    lowest = best * (1 - mpc.np_concatenate((zero, best[:-1])))
    highest = best * (1 - mpc.np_concatenate((best[1:], zero)))
    ticks = np.arange(levels).astype(object)
    above, below = np.where(ticks > reference, ticks, 0), np.where(ticks < reference, ticks, 0)
    price = mpc.np_sum(lowest * above + highest * below) + reference * best[reference]
    if not int(await mpc.output(volume >= 1)):
        return 0, 0
    opened = await mpc.output([price, volume])
    return int(opened[0]), int(opened[1])


async def _nets(
    slots: Shared, quantity: Shared, lots: Shared, book: dict[str, Any], price: int, volume: int
) -> list[int]:
    """Every account's net in lots: fills by what stands before each order, then sums."""
    buys, sells = slots[:, 0::2], slots[:, 1::2]
    bought = _filled(buys[:, price:], lots[:, 0::2][:, price:], quantity, volume, _above)
    sold = _filled(sells[:, : price + 1], lots[:, 1::2][:, : price + 1], quantity, volume, _below)
    accounts = 1 + max(account for account, _, _ in book["orders"])
    owner = np.zeros((accounts, len(book["orders"])), dtype=object)
    for position, (account, _, _) in enumerate(book["orders"]):
        owner[account, position] = 1
    return [int(net) for net in await mpc.output(owner @ (bought - sold))]


def _filled(
    slots: Shared, lots: Shared, quantity: Shared, volume: int, better: Callable[[int, int], bool]
) -> Shared:
    """Lots each order of one side gets (n); slots and lots are those of the ticks that may trade."""
    ticks = range(slots.shape[1])
    before = np.array([[int(better(j, i)) for i in ticks] for j in ticks], dtype=object)
    earlier = mpc.np_cumsum(lots, axis=0) - lots
    ahead = mpc.np_sum(slots * (earlier + mpc.np_sum(lots, axis=0) @ before), axis=1)
    left = volume - ahead
    some, whole = left >= 1, left >= quantity
    return some * (left + whole * (quantity - left)) * mpc.np_sum(slots, axis=1)


if __name__ == "__main__":
    mpc.run(main(json.loads(Path(sys.argv[1]).read_text())))
