"""The file of a predicate proof: the days its orders are of, and the proof (compliance/predicates.py).

    label || first day || last day || proof

The days are only a pointer: a verifier takes all orders of the account on them from the sealed lists, and
these must be exactly those the proof names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from commitments.encoding import Reader, Writer
from commitments.errors import DecodeError, VerificationError
from compliance.day_orders import DayOrders
from compliance.predicates import MAX_BOUND, OwnOrder, Predicate, PredicateProof, prove
from compliance.report_view import day_text
from darkpool.client.answers import MarketInfo
from darkpool.draft import open_own
from darkpool.errors import ConfigError, OrderRefused
from darkpool.instrument import TokenUnits
from darkpool.jsonfields import hex_text
from darkpool.order import SealedOrder
from darkpool.types import Address, Quanta, address_hex

LABEL_PREDICATE_FILE: Final = b"darkpool/v1/predicate-file"
MAX_FILE: Final = 1 << 18
_DAY_BYTES: Final = 4
_BOUNDS: Final = ("max_buy", "max_sell", "net_low", "net_high")


@dataclass(frozen=True, slots=True)
class PredicateFile:
    """first_day, last_day: UTC days since 1970-01-01."""

    first_day: int
    last_day: int
    proof: PredicateProof

    @property
    def predicate(self) -> Predicate:
        """What is claimed."""
        return self.proof.predicate

    def encode(self) -> bytes:
        """The file."""
        writer = Writer().var(LABEL_PREDICATE_FILE).uint(self.first_day, _DAY_BYTES)
        return bytes(writer.uint(self.last_day, _DAY_BYTES).var(self.proof.encode()))

    @staticmethod
    def decode(data: bytes) -> PredicateFile:
        """Of its form only. Raises OrderRefused naming the field."""
        try:
            first, last, proof = _read(Reader(data))
        except DecodeError as error:
            raise OrderRefused(
                f"predicate, {error}", "take the file as `disclose prove` wrote it", "predicate-refused"
            ) from None
        return PredicateFile(first, last, PredicateProof.decode(proof))


def _read(reader: Reader) -> tuple[int, int, bytes]:
    """First day, last day, proof. Raises DecodeError."""
    if reader.var("label", len(LABEL_PREDICATE_FILE)) != LABEL_PREDICATE_FILE:
        raise DecodeError("label", "not a predicate file of this version")
    first, last = reader.uint("first_day", _DAY_BYTES), reader.uint("last_day", _DAY_BYTES)
    if first > last:
        raise DecodeError("first_day", "after the last")
    proof = reader.var("proof", MAX_FILE)
    reader.end("file")
    return first, last, proof


def proven(
    found: DayOrders,
    info: MarketInfo,
    account: Address,
    seed: bytes,
    purpose: str,
    bounds: Mapping[str, str],
) -> PredicateFile:
    """The account's own proof about all of those orders; seed: of its keystore.

    bounds: decimals of base tokens by name, "" where nothing is claimed. Raises OrderRefused if it is not so,
    if there is no order, or if an order is none of that seed's; ConfigError for a bound that is no number.
    """
    if not found.orders:
        raise OrderRefused("orders: no sealed list of these days has one of this account", "nothing to prove")
    terms, base, lot = info.terms, info.instrument.base, found.orders[0].statement.lot
    given = {name: lots_of(text, base, lot, name.replace("_", "-")) for name, text in bounds.items() if text}
    predicate = Predicate(
        terms.chain_id,
        terms.contract,
        account,
        terms.market.id,
        lot,
        purpose,
        tuple(sorted(order.hash for order in found.orders)),
        *(given.get(name) for name in _BOUNDS),
    )
    own = [_own(order, seed) for order in found.orders]
    return PredicateFile(found.lists.first_day, found.lists.last_day, prove(predicate, own))


def _own(sealed: SealedOrder, seed: bytes) -> OwnOrder:
    try:
        _, order, blindings = open_own(sealed.raw, seed)
    except (DecodeError, VerificationError):
        raise OrderRefused(
            f"order {sealed.hash.hex()[:16]}: this keystore does not open it", "use the one that made it"
        ) from None
    return OwnOrder(sealed, order, blindings)


# --- for people ---------------------------------------------------------------------------------------


def lots_of(text: str, base: TokenUnits, lot: int, name: str) -> int:
    """A decimal of base tokens, also below zero, in lots of so many quanta. Raises ConfigError."""
    quanta = base.quanta(text.removeprefix("-"), name)
    lots, rest = divmod(quanta, lot)
    if rest or lots > MAX_BOUND:
        raise ConfigError(
            f"{name}: {text[:40]} {base.symbol} is no number of lots up to {MAX_BOUND}",
            f"write a multiple of {base.text(Quanta(lot))}",
        )
    return -lots if text.startswith("-") else lots


def words(file: PredicateFile, info: MarketInfo, open_points: Sequence[str]) -> tuple[list[str], list[str]]:
    """What a proof that holds says, and what it does not say."""
    predicate, count = file.predicate, len(file.predicate.orders)
    base, lot = info.instrument.base, predicate.lot
    amount = {name: f"{base.text(Quanta(lots * lot))} {base.symbol}" for name, lots in predicate.bounds()}
    days = f"{day_text(file.first_day)} to {day_text(file.last_day)}"
    yes = [f"the {count} orders of the account that sealed lists of {days} hold are those of the proof"]
    no = [f"that there are no others: {point}" for point in open_points]
    for name, verb, done in (("max_buy", "buy", "bought"), ("max_sell", "sell", "sold")):
        if name in amount:
            yes.append(f"they were to {verb} at most {amount[name]}, so no more was {done} by them")
    sides = (("net_low", "at least"), ("net_high", "at most"))
    net = [f"{text} {amount[name]}" for name, text in sides if name in amount]
    if net:
        yes.append(f"what they were to buy less what they were to sell is {' and '.join(net)}")
        no.append("that the net which traded is in these bounds: one side may trade and the other not")
    no += [
        "how much traded, when, and at what price",
        "anything about other markets, days or accounts of the same holder",
        "orders that were cancelled or expired before any list was sealed: they could not trade",
    ]
    return yes, no


def view(file: PredicateFile, info: MarketInfo, open_points: Sequence[str]) -> dict[str, Any]:
    """As plain values; bounds in base tokens."""
    predicate, base = file.predicate, info.instrument.base
    yes, no = words(file, info, open_points)
    return {
        "account": address_hex(predicate.account),
        "market": info.name,
        "first_day": day_text(file.first_day),
        "last_day": day_text(file.last_day),
        "purpose": predicate.purpose,
        "orders": [hex_text(digest) for digest in predicate.orders],
        "bounds": {name: base.text(Quanta(lots * predicate.lot)) for name, lots in predicate.bounds()},
        "complete": not open_points,
        "proven": yes,
        "not_proven": no,
    }
