"""What an account's opened orders must have got in a crossing round, and whether the chain moved just that.

Public of a round are price, volume and the account's net; its bought and sold totals are the account's own.
With its orders opened they follow. Let it have B lots of eligible buys, S of eligible sells, and net n. The
rule of the auction fills one side of the round, the short one, whole: so it bought B and sold B - n, or sold
S and bought S + n. Nothing can be sold beyond S or bought beyond B: the first needs n >= B - S, the second
n <= B - S, and where both hold they are the same. A net that fits neither is false: these orders cannot have
traded it. What stays unseen is a committee that gave the long side's last lots to the wrong account.

How the totals fall to its orders is the committee's rule: better price first, then arrival.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from compliance.opening import Opened
from darkpool.errors import PeerFault
from darkpool.listing import RoundResult, token_movements
from darkpool.market import Side
from darkpool.netting import Totals
from darkpool.order import Terms
from darkpool.types import Address, Lots
from darkpool.wallet import assign

_COMMITTEE: Final = "committee"


@dataclass(frozen=True, slots=True)
class OrderFill:
    """What one order got of a round, in lots, at the round's price."""

    opened: Opened
    filled: Lots = field(repr=False)


def account_totals(result: RoundResult, account: Address, orders: Sequence[Opened]) -> Totals:
    """What the account bought and sold in a round, in lots. `orders`: all of its own in the list.

    1. its orders at the price or better are eligible; 2. the totals follow from those and its net; 3. neither
    is negative, above what was eligible or above the volume; 4. the account is among those that traded
    exactly if it traded. Raises PeerFault if that cannot be: the result is false.
    """
    if not result.crossed:
        return Totals(Lots(0), Lots(0))
    buys = sum(o.quantity for o in orders if o.side is Side.BUY and o.order.level >= result.price)  # 1
    sells = sum(o.quantity for o in orders if o.side is Side.SELL and o.order.level <= result.price)
    net = result.nets.get(account, 0)
    bought, sold = (buys, buys - net) if net >= buys - sells else (sells + net, sells)  # 2
    bounds = ((bought, buys), (sold, sells))
    if not all(0 <= total <= min(eligible, result.volume) for total, eligible in bounds):  # 3
        raise PeerFault("a false fill: the account's orders cannot have traded its net", peer=_COMMITTEE)
    if (bought + sold > 0) != (account in result.nets):  # 4
        raise PeerFault("a false fill: the account's orders say otherwise whether it traded", peer=_COMMITTEE)
    return Totals(Lots(bought), Lots(sold))


def round_fills(result: RoundResult, account: Address, orders: Sequence[Opened]) -> list[OrderFill]:
    """What each order got. `orders`: all of the account's in the list, in list order.

    Raises PeerFault for a false result.
    """
    fills = assign([o.order for o in orders], result, account_totals(result, account, orders))
    return [OrderFill(opened, fill.filled) for opened, fill in zip(orders, fills, strict=True)]


def check_settled(
    rounds: Iterable[tuple[Terms, RoundResult]], account: Address, moved: Mapping[Address, int]
) -> None:
    """Whether a settlement moved what the results of its rounds say, for one account.

    `rounds`: every round of the settlement, of whatever market, with the terms it was cleared under; `moved`:
    token -> quanta by the chain's own record, negative for a debit. Raises PeerFault naming the token.
    """
    expected: dict[Address, int] = {}
    for terms, result in rounds:
        for movement in token_movements(terms, result):
            if movement.account == account:
                expected[movement.token] = expected.get(movement.token, 0) + movement.amount
    for token in sorted(expected.keys() | moved.keys()):
        due, found = expected.get(token, 0), moved.get(token, 0)
        if due != found:
            raise PeerFault(
                f"a false fill: the chain moved {found} quanta of 0x{token.hex()}, its rounds say {due}",
                peer=_COMMITTEE,
            )
