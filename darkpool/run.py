"""`darkpool run`: a file of orders through the whole path, checked against a plain recomputation.

One process plays the operator and every trader; the members are processes of their own. Traders seal with
their own keys, the operator sees only what they send, and fills are what each trader opens for itself. At the
end the chain is read back and everything compared with an auction in the clear, which only this command can
do, because it alone knows the whole file.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from commitments.paillier import Ciphertext
from commitments.params import Profile
from darkpool.admission import unproven
from darkpool.auction import PlainBook, PlainOrder, PlainRound
from darkpool.book import End
from darkpool.chain import Chain, Receipt
from darkpool.committee.attempts import Failure
from darkpool.committee.seat import ceremony
from darkpool.committee.transport import Tap
from darkpool.draft import Draft, Standing
from darkpool.eip712 import fresh_key
from darkpool.engine import Closed
from darkpool.errors import DarkpoolError, OrderRefused, RoundAborted
from darkpool.house import House, open_house
from darkpool.listing import NO_CROSS, ListedOrder, RoundResult
from darkpool.market import Market
from darkpool.matcher import Matcher
from darkpool.message import Message
from darkpool.order import Order, Terms
from darkpool.plan import BASE, QUOTE, Options, Plan, plan
from darkpool.progress import Progress, silent
from darkpool.types import Address, Lots, Nonce, Quanta, RoundId
from darkpool.wallet import Wallet
from darkpool.windows import Pending

MEMBERS: Final = 3
THRESHOLD: Final = 1
_BATCH: Final = 16  # orders sealed while the members verify those before


class CheckFailed(DarkpoolError):  # noqa: N818 - says what happened
    """The encrypted path and the plain recomputation disagree: a fault of ours."""


@dataclass(slots=True)
class Desk:
    """One trader: its name in the file, its wallet, and its current round's fills by order id."""

    name: str
    wallet: Wallet = field(repr=False)
    deposited: tuple[Quanta, Quanta] = (Quanta(0), Quanta(0))
    nets: list[int] = field(default_factory=lambda: [0, 0])


@dataclass(frozen=True, slots=True)
class RoundOutcome:
    """One round as the command reports it: how it ended, and fills as their traders opened them.

    curves: the encrypted sums, which anyone can recompute from the sealed list; sum_seconds: what they took
    the operator (members repeat them); failures: attempts before the one that cleared it.
    """

    closed: Closed
    curves: tuple[Ciphertext, ...] = field(repr=False)
    fills: tuple[tuple[str, str, Lots], ...] = field(repr=False)  # order id, account, lots
    plain: PlainRound = field(repr=False)
    sum_seconds: float = 0.0
    failures: tuple[Failure, ...] = ()

    @property
    def result(self) -> RoundResult:
        """What the clearing revealed."""
        certificate = self.closed.certificate
        return NO_CROSS if certificate is None or certificate.result is None else certificate.result

    @property
    def orders(self) -> int:
        """Orders of the sealed list."""
        return len(self.closed.sealed.orders)

    @property
    def accounts(self) -> int:
        """Accounts of the sealed list."""
        return len(self.closed.sealed.accounts)

    @property
    def consumed(self) -> list[ListedOrder]:
        """Orders spent by the result."""
        return [e.order for e in self.closed.effects.ended if e.end is End.CONSUMED]


@dataclass(frozen=True, slots=True)
class SettlementOutcome:
    """Rounds that were netted and settled together; seconds: for signatures, and until it was mined."""

    pending: Pending
    receipt: Receipt
    rounds: tuple[RoundOutcome, ...] = field(repr=False)
    seconds: float


@dataclass(slots=True)
class RunReport:
    """Everything `darkpool run` has to say."""

    plan: Plan
    terms: Terms
    profile: Profile
    names: Mapping[Address, str]
    rounds: list[RoundOutcome] = field(default_factory=list)
    settlements: list[SettlementOutcome] = field(default_factory=list)
    sealed: int = 0
    seal_seconds: float = 0.0
    verify_seconds: float = 0.0
    members: Mapping[int, Message] = field(default_factory=dict)


class Run:
    """One run: the venue, its desks, and the plain book beside them."""

    def __init__(self, prepared: Plan, options: Options, progress: Progress = silent) -> None:
        self.plan, self._options, self._progress = prepared, options, progress
        self._plain = PlainBook(options.levels, options.pressure_ticks, Lots(options.min_volume))
        self._desks: dict[str, Desk] = {}
        self.report: RunReport

    async def execute(self, house: House) -> RunReport:
        """From deposits to the final check. Raises RoundAborted, PeerFault, CheckFailed, ChainError."""
        engine = house.engine
        terms = self._terms(house)
        market = terms.market.id
        self._open_desks(terms, house)
        names = {d.wallet.address: d.name for d in self._desks.values()}
        self.report = RunReport(self.plan, terms, self._options.profile, names)
        await engine.add_market(terms)
        await engine.follow_chain()
        unsettled: list[RoundOutcome] = []
        renewals: list[tuple[Desk, Order]] = []
        for number, batch in enumerate(self.plan.batches, 1):
            market_round = await engine.open(market, batch.reference)
            orders = [
                (self._desks[row.account], Order(row.side, level, row.quantity, row.order_id))
                for row, level in batch.rows
            ]
            for desk, order in orders:  # renewals are in the plain book since the round they come from
                self._plain.add(
                    order.reference, PlainOrder(desk.name, order.side, order.level, order.quantity)
                )
            await self._submit(house, market_round.id, [*renewals, *orders])
            self._progress("clear", number - 1, len(self.plan.batches))
            outcome, remainders = await self._close(house)
            self._progress("clear", number, len(self.plan.batches))
            renewals = remainders if self._options.renew else []
            if outcome is None:
                continue
            self.report.rounds.append(outcome)
            unsettled += [outcome] if outcome.result.crossed else []
            if len(unsettled) >= self._options.window:
                await self._settle(house, unsettled)
                unsettled = []
        await self._settle(house, unsettled)
        self.report.members = await engine.committee.status()
        return self.report

    # --- setting up ---------------------------------------------------------------------------------

    def _terms(self, house: House) -> Terms:
        base, quote = house.tokens
        market = Market(
            id=secrets.token_bytes(32),
            name="BASE-QUOTE",
            base=base,
            quote=quote,
            lot=Quanta(1),
            grid=self.plan.grid,
            pressure_ticks=self._options.pressure_ticks,
            min_volume=Lots(self._options.min_volume),
        )
        return Terms(
            chain_id=house.chain.chain_id,
            contract=house.chain.vault,
            venue=house.venue,
            market=market,
            key=house.engine.state.key,
            policy_hash=bytes(32),
            tokens=house.tokens,
            settle_window=house.chain.settle_window(),
        )

    def _open_desks(self, terms: Terms, house: House) -> None:
        chain, needs = house.chain, self.plan.deposits()
        for done, (name, amounts) in enumerate(needs.items(), 1):
            key = fresh_key()
            wallet = Wallet(terms, house.signers, key, secrets.token_bytes(32))
            chain.fund(wallet.address)
            for index, amount in zip((BASE, QUOTE), amounts, strict=True):
                if amount:
                    chain.mint(house.operator, index, wallet.address, amount)
                    chain.deposit(key, index, amount)
                    wallet.deposited(terms.tokens[index], amount)
            self._desks[name] = Desk(name, wallet, amounts)
            self._progress("deposit", done, len(needs))

    # --- a round ------------------------------------------------------------------------------------

    async def _submit(self, house: House, number: RoundId, orders: Sequence[tuple[Desk, Order]]) -> None:
        """Seal in batches; while one is sealed, the members verify the one before."""
        terms = self.report.terms
        for start in range(0, len(orders), _BATCH):
            batch = orders[start : start + _BATCH]
            now = int(time.time())
            drafts: list[tuple[Desk, Draft]] = []
            started = time.perf_counter()
            for desk, order in batch:
                sealed = desk.wallet.draft(order, Standing(number, now))
                desk.wallet.accepted(order, sealed)
                drafts.append((desk, sealed))
            raws = await asyncio.to_thread(_finish_all, terms, drafts)
            self.report.seal_seconds += time.perf_counter() - started
            started = time.perf_counter()
            for refusal in unproven(terms.key, raws).values():
                raise refusal
            self.report.verify_seconds += time.perf_counter() - started
            for (desk, _), answer in zip(drafts, await house.engine.admit(raws), strict=True):
                if isinstance(answer, OrderRefused):
                    raise OrderRefused(f"an order of {desk.name}: {answer}", answer.hint)
            self.report.sealed += len(batch)
            self._progress("seal, prove, verify", min(start + _BATCH, len(orders)), len(orders))

    async def _close(self, house: House) -> tuple[RoundOutcome | None, list[tuple[Desk, Order]]]:
        """Seal, clear, compare; every trader opens its own totals. None if there was nothing to seal."""
        engine, terms = house.engine, self.report.terms
        try:
            closed = await engine.close(terms.market.id)
        except OrderRefused as refusal:
            if refusal.code != "minima-not-met":
                raise
            return None, []
        if closed.certificate is None or closed.certificate.result is None:
            raise RoundAborted(f"round {closed.round.id}: {closed.reason}", "nothing was settled")
        started = time.perf_counter()
        curves = tuple(p.ciphertext for p in Matcher(terms, closed.sealed).curves())
        sum_seconds = time.perf_counter() - started
        fills, remainders = self._fills(closed, closed.certificate.result)
        plain, failures = self._plain.clear(closed.round.reference), tuple(engine.committee.attempts.failures)
        outcome = RoundOutcome(closed, curves, fills, plain, sum_seconds, failures)
        self._check_round(outcome)
        return outcome, remainders

    async def _settle(self, house: House, rounds: Sequence[RoundOutcome]) -> None:
        """Net the rounds into a settlement, or more if they are large, and see them on chain."""
        engine, left = house.engine, list(rounds)
        started = time.perf_counter()
        closed = await engine.close_window()
        await engine.sign_pending()
        landed = [(p, s.receipt) for p, s in await engine.settle() if s.receipt is not None]
        seconds = time.perf_counter() - started
        settled = [p for effects in await engine.follow_chain() for p in effects.settled]
        if [pending for pending in closed if pending not in settled]:
            raise RoundAborted("a settlement did not land", "look at the chain")
        for pending, receipt in landed:
            theirs, left = left[: len(pending.rounds)], left[len(pending.rounds) :]
            self.report.settlements.append(SettlementOutcome(pending, receipt, tuple(theirs), seconds))
            seconds = 0.0  # of all of them together
            for desk in self._desks.values():
                for outcome in theirs:
                    desk.wallet.settled(outcome.closed.round.id)
        if rounds:
            self._check_chain(rounds, house.chain)

    def _fills(
        self, closed: Closed, result: RoundResult
    ) -> tuple[tuple[tuple[str, str, Lots], ...], list[tuple[Desk, Order]]]:
        """What each order got as its trader opened it, and what is left of those consumed."""
        sealed, certificate = closed.sealed, closed.certificate
        digest = sealed.digest(self.report.terms.domain)
        filled: dict[tuple[Address, Nonce], Lots] = {}
        desks = {desk.wallet.address: desk for desk in self._desks.values()}
        orders = {(a, live.nonce): live.order for a, d in desks.items() for live in d.wallet.live}
        for address, boxes in (certificate.boxes if certificate is not None else {}).items():
            desk = desks[address]
            nonces = [live.nonce for live in desk.wallet.live]
            listed = {o.nonce for o in sealed.orders if o.account == address}
            fills = desk.wallet.cleared(closed.round.id, digest, result, boxes, listed)
            filled |= {(address, nonce): fill.filled for nonce, fill in zip(nonces, fills, strict=True)}
        rows, remainders = [], []
        for key in ((o.account, o.nonce) for o in sealed.orders):
            order, desk, lots = orders[key], desks[key[0]], filled.get(key, Lots(0))
            rows.append((order.reference, desk.name, lots))
            if key in filled and lots < order.quantity:
                rest = Order(order.side, order.level, Lots(order.quantity - lots), order.reference)
                remainders.append((desk, rest))
        return tuple(rows), remainders

    # --- the check ----------------------------------------------------------------------------------

    def _check_round(self, outcome: RoundOutcome) -> None:
        """Compare with the auction in the clear. Raises CheckFailed."""
        plain, result, number = outcome.plain, outcome.result, outcome.closed.round.id
        expected = plain.outcome
        _same(number, "crossing", result.crossed, expected is not None)
        if expected is not None:
            _same(number, "price", result.price, expected.price)
            _same(number, "volume", result.volume, expected.volume)
            nets = {self.report.names[a]: n for a, n in result.nets.items()}
            _same(number, "nets", nets, {a: expected.base_net(a) for a in expected.traded})
        _same(number, "spent orders", len(outcome.consumed), len(plain.consumed))
        _same(number, "fills", {i: f for i, _, f in outcome.fills}, plain.fills)
        if self._options.renew:
            self._plain.renew(plain)

    def _check_chain(self, rounds: Sequence[RoundOutcome], chain: Chain) -> None:
        """Compare balances and nullifiers with what settled rounds come to. Raises CheckFailed."""
        number = rounds[-1].closed.round.id
        for outcome in rounds:
            for account, amounts in outcome.plain.nets(self.plan.grid.first_tick).items():
                for index, amount in enumerate(amounts):
                    self._desks[account].nets[index] += amount
        for desk in self._desks.values():
            for index in (BASE, QUOTE):
                held = chain.balance(index, desk.wallet.address)
                _same(
                    number, f"{desk.name}'s balance on chain", held, desk.deposited[index] + desk.nets[index]
                )
        spent: defaultdict[tuple[Address, int], int] = defaultdict(int)
        for order in (order for outcome in rounds for order in outcome.consumed):
            spent[order.account, order.nonce >> 8] |= 1 << (order.nonce & 255)
        for (address, word), mask in spent.items():
            _same(number, "nullifier bits", chain.nullifier_word(address, word) & mask, mask)


def _same(number: RoundId, what: str, got: object, expected: object) -> None:
    if got != expected:
        raise CheckFailed(f"round {number}: {what} differs from the plain recomputation")


def _finish_all(terms: Terms, drafts: Sequence[tuple[Desk, Draft]]) -> list[bytes]:
    return [
        sealed.finish(terms.key, terms.chain_id, terms.contract, desk.wallet.private_key).raw
        for desk, sealed in drafts
    ]


def run_file(path: Path, options: Options, progress: Progress = silent, tap: Tap | None = None) -> RunReport:
    """Run a file from beginning to end, with a committee of its own, in a temporary data folder."""
    prepared = plan(path, options)
    prepared.deposits()
    seats = ceremony(
        options.profile, MEMBERS, THRESHOLD, lambda tested: progress("key ceremony", tested, None)
    )

    async def with_committee(folder: Path) -> RunReport:
        async with open_house(seats, folder, tap=tap) as house:
            return await Run(prepared, options, progress).execute(house)

    with tempfile.TemporaryDirectory(prefix="darkpool-") as folder:
        return asyncio.run(with_committee(Path(folder)))
