"""One round's clearing as a member runs it, top to bottom (protocol, section 7).

    curves -> shares -> auction -> does it cross? -> price and volume -> the cut -> nets -> sealed totals

Everything opened to members is listed here: whether the round crosses; if so price, volume, the long side,
its marginal tick u, the cut, and per account the net and whether it traded. Only price, volume, nets and
traded accounts leave the committee.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from commitments.errors import VerificationError
from commitments.params import FIELD_PRIME, INTEGER_BITS
from darkpool.committee.evaluator import Evaluator
from darkpool.committee.opening import Session
from darkpool.listing import NO_CROSS, RoundResult, SealedList
from darkpool.market import MAX_VOLUME, Side
from darkpool.matcher import Matcher
from darkpool.netting import seal_totals
from darkpool.order import Terms
from darkpool.types import Address, Lots, Tick

ABORT_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class _Long:
    """Which side is long, its marginal tick u, and the tick just better than u (None at the edge)."""

    side: Side
    u: int
    better: int | None


class Clearing:
    """A member's part in clearing one sealed list.

    `keep` is given this member's boxes, one an account, before nets are revealed, and keeps them durably.
    """

    def __init__(
        self,
        session: Session,
        evaluator: Evaluator,
        terms: Terms,
        sealed: SealedList,
        keep: Callable[[Mapping[Address, bytes]], None],
    ) -> None:
        self._session, self._evaluator, self._terms, self._sealed = session, evaluator, terms, sealed
        self._keep = keep
        self._matcher = Matcher(terms, sealed)
        self._packing = terms.packing
        self._slots = {j: self._packing.slots_of(j) for j in range(self._packing.ciphertexts)}

    async def run(self) -> RoundResult:
        """Clear. Raises RoundAborted or a CommitmentsError if it cannot go on.

        An attempt after the first opens and reveals the same values: the session refuses any other.
        """
        # 1. Sums and shares: the encrypted curves of the whole list.
        demand, supply = await self._curves()
        # 2. The auction rule on shares; first only whether enough crosses.
        crosses, price_, volume_, long_, u_, exact = await self._auction(demand, supply)
        if await self._bits("crosses", (crosses,)) != [True]:
            return NO_CROSS
        price, volume = await self._session.reveal("price", (price_, volume_))
        self._check_price(price, volume)
        # 3. Priority: long side by tick, then arrival; the cut is the order at u that fills in part.
        buys_long, u = await self._session.reveal("long", (long_, u_))
        long = self._long(buys_long, u, price)
        better = self._at(demand, supply, long.side, long.better)
        room = (volume - better) % FIELD_PRIME  # lots left for tick u, shared
        # With u filled exactly nobody is cut: the search for one lot more runs off the end of the list.
        cut, prefix = await self._cut(long, (room + exact) % FIELD_PRIME)
        # 4. Nets.
        bought, sold = await self._account_totals(long, price, cut, (room - prefix) % FIELD_PRIME)
        return await self._result(price, volume, bought, sold)

    async def _evaluate(self, program: str, public: tuple[int, ...], shares: list[int]) -> list[int]:
        """Our shares of the outputs; given up as soon as a peer aborts, since it will not send its part."""
        session = self._session
        evaluation = asyncio.create_task(self._evaluator.evaluate(program, public, shares, session.timeout))
        abort = asyncio.create_task(session.aborted(program))
        try:
            await asyncio.wait((evaluation, abort), return_when=asyncio.FIRST_COMPLETED)
            if evaluation.done() and evaluation.exception() is not None:
                # Most likely because of a peer, and the mesh is about to say which.
                await asyncio.wait((abort,), timeout=ABORT_SECONDS)
            if abort.done() and (not evaluation.done() or evaluation.exception() is not None):
                raise abort.result()
            return evaluation.result()
        finally:
            for task in (evaluation, abort):
                task.cancel()
            await asyncio.gather(evaluation, abort, return_exceptions=True)

    async def _bits(self, step: str, shares: Sequence[int]) -> list[bool]:
        bits = await self._session.reveal(step, shares)
        if not set(bits) <= {0, 1}:
            raise VerificationError(step, "neither 0 nor 1: some member's evaluation is wrong")
        return [bit == 1 for bit in bits]

    async def _curves(self) -> tuple[list[int], list[int]]:
        opened = await self._session.open(
            "curves", self._matcher.curves(), self._slots, self._packing.ciphertexts
        )
        values = [share for part in opened for share in part]
        return values[0::2], values[1::2]

    async def _auction(self, demand: list[int], supply: list[int]) -> list[int]:
        market = self._terms.market
        levels = market.grid.levels
        pressure = min(market.pressure_ticks, levels)
        public = (levels, self._sealed.reference, pressure, market.min_volume)
        return await self._evaluate("auction", public, demand + supply)

    def _check_price(self, price: int, volume: int) -> None:
        market = self._terms.market
        if price >= market.grid.levels or not market.min_volume <= volume <= MAX_VOLUME:
            raise VerificationError(
                "auction", "price or volume is out of range: a member's evaluation is wrong"
            )

    def _long(self, buys_long: int, u: int, price: int) -> _Long:
        """Every order of the long side that trades has a limit of u or better, so u bounds the price.

        With the totals adding up to the volume, no order trades beyond its limit, whatever a member did to P.
        """
        levels = self._terms.market.grid.levels
        if u >= levels or buys_long not in (0, 1) or (price > u if buys_long else price < u):
            raise VerificationError("auction", "the price lies beyond u: some member's evaluation is wrong")
        if buys_long:
            return _Long(Side.BUY, u, u + 1 if u + 1 < levels else None)
        return _Long(Side.SELL, u, u - 1 if u else None)

    @staticmethod
    def _at(demand: list[int], supply: list[int], side: Side, tick: int | None) -> int:
        """The share of D or S at a tick; zero beyond the grid."""
        return 0 if tick is None else (demand if side is Side.BUY else supply)[tick]

    def _value(self, side: Side, tick: int | None) -> int | None:
        """Position of D_i or S_i among the cumulative values."""
        return None if tick is None else 2 * tick + side

    def _parts(self, *values: int | None) -> list[int]:
        """The ciphertexts that hold those cumulative values."""
        return sorted({self._packing.place(v)[0] for v in values if v is not None})

    def _pick(self, opened: Mapping[int, list[int]], value: int | None) -> int:
        """The share of one cumulative value among opened parts; zero where nothing was opened."""
        if value is None or not opened:
            return 0
        part, slot = self._packing.place(value)
        return opened[part][slot]

    async def _cut(self, long: _Long, target: int) -> tuple[int, int]:
        """Arrival position of the first order with which tick u reaches the target, and the lots before it.

        Returns (n, lots of the whole list) if none does. Every step asks of three prefixes at once and leaves
        a quarter of the candidates; the steps are as many for every list of n orders, and of one shape.
        """
        n = len(self._sealed.orders)
        at_u, at_better = self._value(long.side, long.u), self._value(long.side, long.better)
        parts = self._parts(at_u, at_better)
        low, high = 1, n + 1  # the shortest prefix that reaches the target; n + 1 if none
        before = {0: 0}
        for step in range(-(-n.bit_length() // 2)):
            size = high - low + 1
            # At the end some prefixes repeat what is known, so that every step looks and takes the same.
            lengths = [max(low - 1 + size * quarter // 4, 1) for quarter in (1, 2, 3)]
            products = [p for length in lengths for p in self._matcher.prefix(length, parts)]
            opened = await self._session.open(f"cut/{step}", products, self._slots, 2 * len(lengths))
            at_tick = []
            for start in range(0, len(products), len(parts)):
                by_part = dict(zip(parts, opened[start : start + len(parts)], strict=True))
                at_tick.append((self._pick(by_part, at_u) - self._pick(by_part, at_better)) % FIELD_PRIME)
            before |= zip(lengths, at_tick, strict=True)
            targets = [target] * len(lengths)
            reached_ = await self._evaluate("at_least", (len(lengths),), [*at_tick, *targets])
            for length, reached in zip(lengths, await self._bits(f"cut/{step}/bits", reached_), strict=True):
                low, high = (low, min(high, length)) if reached else (max(low, length + 1), high)
            if low > high:
                raise VerificationError(
                    "cut", "a longer prefix has fewer lots: some member's evaluation is wrong"
                )
        return low - 1, before[low - 1]

    async def _account_totals(
        self, long: _Long, price: int, cut: int, marginal: int
    ) -> tuple[dict[Address, int], dict[Address, int]]:
        """Shares of every account's bought and sold lots. `marginal`: lots left for the order at the cut."""
        at_u, at_better = self._value(long.side, long.u), self._value(long.side, long.better)
        at_price = self._value(long.side.opposite, price)
        before, after, whole = map(self._parts, (at_u, at_better, at_price))
        accounts = self._sealed.accounts
        products = {a: self._matcher.account(a, cut, before, after, whole) for a in accounts}
        flat = [p for a in accounts for p in products[a]]
        opened = dict(
            zip(
                (p.name for p in flat),
                await self._session.open("accounts", flat, self._slots, 3 * len(accounts)),
                strict=True,
            )
        )
        totals: dict[Side, dict[Address, int]] = {Side.BUY: {}, Side.SELL: {}}
        owner = self._sealed.orders[cut].account if cut < len(self._sealed.orders) else None
        for account in accounts:
            sides = {
                prefix: {p.part: opened[p.name] for p in products[account] if p.name.startswith(prefix)}
                for prefix in (b"before", b"after", b"whole")
            }
            long_lots = self._pick(sides[b"before"], at_u) + self._pick(sides[b"after"], at_better)
            if account == owner:
                long_lots += marginal
            # One product over both sides, where they were not opened apart for that part anyway.
            halves = [sides[b"whole"]] if sides[b"whole"] else [sides[b"before"], sides[b"after"]]
            short_lots = sum(self._pick(half, at_price) for half in halves)
            totals[long.side][account] = long_lots % FIELD_PRIME
            totals[long.side.opposite][account] = short_lots % FIELD_PRIME
        return totals[Side.BUY], totals[Side.SELL]

    async def _result(
        self, price: int, volume: int, bought: dict[Address, int], sold: dict[Address, int]
    ) -> RoundResult:
        accounts = self._sealed.accounts
        # What must be zero if every member evaluated honestly: opened first, and before any net.
        excess = ((sum(side.values()) - volume) % FIELD_PRIME for side in (bought, sold))
        if any(await self._session.reveal("conservation", tuple(excess), local=True)):
            raise VerificationError("conservation", "bought or sold totals do not add up to the volume")
        turnover = [(bought[a] + sold[a]) % FIELD_PRIME for a in accounts]
        flags = await self._evaluate("nonzero", (len(accounts),), turnover)
        self._keep(self._boxes(bought, sold))
        nets_ = [(bought[a] - sold[a]) % FIELD_PRIME for a in accounts]
        values = await self._session.reveal("nets", (*flags, *nets_))
        traded, nets = values[: len(accounts)], [_signed(v) for v in values[len(accounts) :]]
        if any(t not in (0, 1) for t in traded) or any(
            n and not t for n, t in zip(nets, traded, strict=True)
        ):
            raise VerificationError(
                "nets", "a flag is neither 0 nor 1, or an account that did not trade has a net"
            )
        if sum(nets) or any(abs(n) > volume for n in nets):
            raise VerificationError("nets", "they do not sum to zero or exceed the volume")
        return RoundResult(
            crossed=True,
            price=Tick(price),
            volume=Lots(volume),
            nets={a: net for a, net, t in zip(accounts, nets, traded, strict=True) if t},
        )

    def _boxes(self, bought: dict[Address, int], sold: dict[Address, int]) -> dict[Address, bytes]:
        """This member's shares of every account's totals, each sealed to the account."""
        fill_keys = {o.account: o.statement.fill_key for o in self._sealed.orders}  # the latest order's
        signing_key, digest = self._session.seat.signing_key, self._session.attempt.digest
        domain = self._terms.domain
        return {
            a: seal_totals(signing_key, domain, fill_keys[a], digest, a, (bought[a], sold[a]))
            for a in self._sealed.accounts
        }


def _signed(value: int) -> int:
    """A field element as a signed integer. Raises VerificationError if it is too large to be a net."""
    value = value - FIELD_PRIME if value > FIELD_PRIME // 2 else value
    if abs(value) >> INTEGER_BITS:
        raise VerificationError("nets", "a net is out of range: some member's evaluation is wrong")
    return value
