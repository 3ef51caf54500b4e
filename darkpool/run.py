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

from commitments.params import Profile
from darkpool.auction import PlainBook, PlainOrder, PlainRound
from darkpool.chain import Chain, Token, VaultTerms
from darkpool.committee.coordinator import Coordinator
from darkpool.committee.seat import ceremony
from darkpool.committee.transport import Tap
from darkpool.draft import Draft, Standing
from darkpool.eip712 import address_of, fresh_key
from darkpool.engine import RoundReport, Venue
from darkpool.errors import DarkpoolError, OrderRefused, RoundAborted
from darkpool.market import Market, RoundState
from darkpool.message import Message
from darkpool.order import Order, Terms
from darkpool.plan import BASE, QUOTE, Options, Plan, plan
from darkpool.progress import Progress, silent
from darkpool.types import Address, Lots, Nonce, PrivateKey, Quanta, RoundId
from darkpool.wallet import Wallet

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
    """One round as the command reports it: the engine's report, and fills as their traders opened them."""

    report: RoundReport
    orders: int
    accounts: int
    fills: tuple[tuple[str, str, Lots], ...] = field(repr=False)  # order id, account, lots


@dataclass(slots=True)
class RunReport:
    """Everything `darkpool run` has to say."""

    plan: Plan
    terms: Terms
    profile: Profile
    names: Mapping[Address, str]
    rounds: list[RoundOutcome] = field(default_factory=list)
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

    async def execute(self, committee: Coordinator) -> RunReport:
        """From deposits to the final check. Raises RoundAborted, PeerFault, CheckFailed, ChainError."""
        operator = fresh_key()
        chain = Chain.embedded()
        terms = self._deploy(chain, committee, operator)
        venue = Venue(terms, chain, committee, operator)
        self._open_desks(terms, committee, chain, operator)
        names = {d.wallet.address: d.name for d in self._desks.values()}
        self.report = RunReport(self.plan, terms, self._options.profile, names)
        await venue.start()
        renewals: list[tuple[Desk, Order]] = []
        for number, batch in enumerate(self.plan.batches, 1):
            market_round = await venue.open(batch.reference)
            orders = [
                (self._desks[row.account], Order(row.side, level, row.quantity, row.order_id))
                for row, level in batch.rows
            ]
            for desk, order in orders:  # renewals are in the plain book since the round they come from
                self._plain.add(
                    order.reference, PlainOrder(desk.name, order.side, order.level, order.quantity)
                )
            await self._submit(venue, market_round.id, [*renewals, *orders])
            self._progress("clear", number - 1, len(self.plan.batches))
            outcome, remainders = self._fills(await venue.close())
            self._progress("clear", number, len(self.plan.batches))
            renewals = remainders if self._options.renew else []
            self._check_round(outcome, chain)
            self.report.rounds.append(outcome)
        self.report.members = await committee.status()
        return self.report

    # --- setting up ---------------------------------------------------------------------------------

    def _deploy(self, chain: Chain, committee: Coordinator, operator: PrivateKey) -> Terms:
        chain.fund(address_of(operator), 10**20)
        tokens = [chain.deploy_token(operator, name, name[:4].upper(), 18) for name in ("Base", "Quote")]
        members = tuple(sorted(committee.signers.addresses.values()))
        vault_terms = VaultTerms(members, committee.committee.threshold, tuple(Token(t, 1) for t in tokens))
        chain.deploy_vault(operator, vault_terms)
        market = Market(
            id=secrets.token_bytes(32),
            name="BASE-QUOTE",
            base=tokens[0],
            quote=tokens[1],
            lot=Quanta(1),
            grid=self.plan.grid,
            pressure_ticks=self._options.pressure_ticks,
            min_volume=Lots(self._options.min_volume),
        )
        return Terms(
            chain_id=chain.chain_id,
            contract=chain.vault,
            venue=secrets.token_bytes(32),
            market=market,
            key=committee.committee.key,
            policy_hash=bytes(32),
            tokens=tuple(tokens),
            settle_window=chain.settle_window(),
        )

    def _open_desks(self, terms: Terms, committee: Coordinator, chain: Chain, operator: PrivateKey) -> None:
        needs = self.plan.deposits()
        for done, (name, amounts) in enumerate(needs.items(), 1):
            key = fresh_key()
            wallet = Wallet(terms, committee.signers, key, secrets.token_bytes(32))
            chain.fund(wallet.address)
            for index, amount in zip((BASE, QUOTE), amounts, strict=True):
                if amount:
                    chain.mint(operator, index, wallet.address, amount)
                    chain.deposit(key, index, amount)
                    wallet.deposited(terms.tokens[index], amount)
            self._desks[name] = Desk(name, wallet, amounts)
            self._progress("deposit", done, len(needs))

    # --- a round ------------------------------------------------------------------------------------

    async def _submit(self, venue: Venue, number: RoundId, orders: Sequence[tuple[Desk, Order]]) -> None:
        """Seal in batches; while one is sealed, the members verify the one before."""
        verifying: asyncio.Task[None] | None = None
        terms = venue.terms
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
            answers = venue.admit(raws, now)
            self.report.verify_seconds += time.perf_counter() - started
            accepted = []
            for (desk, _), answer in zip(drafts, answers, strict=True):
                if isinstance(answer, OrderRefused):
                    raise OrderRefused(f"an order of {desk.name}: {answer}", answer.hint)
                accepted.append(answer)
            if verifying is not None:
                await verifying
            verifying = asyncio.create_task(venue.forward(accepted, now))
            self.report.sealed += len(batch)
            self._progress("seal, prove, verify", min(start + _BATCH, len(orders)), len(orders))
        if verifying is not None:
            await verifying

    def _fills(self, report: RoundReport) -> tuple[RoundOutcome, list[tuple[Desk, Order]]]:
        """Every trader opens its own totals; the rest got nothing. Also what is left of consumed orders."""
        if report.round.state is RoundState.ABORTED:
            raise RoundAborted(f"round {report.round.id}: {report.reason}", "every order was released")
        if report.round.state is RoundState.SUBMITTED:
            raise RoundAborted(
                f"round {report.round.id} was not settled: {report.reason}", "look at the chain"
            )
        if report.sealed is None:
            return RoundOutcome(report, 0, 0, ()), []
        digest = report.sealed.digest(self.report.terms.domain)
        filled: dict[tuple[Address, Nonce], Lots] = {}
        desks = {desk.wallet.address: desk for desk in self._desks.values()}
        orders = {(a, live.nonce): live.order for a, d in desks.items() for live in d.wallet.live}
        for address, boxes in report.boxes.items():
            desk = desks[address]
            nonces = [live.nonce for live in desk.wallet.live]
            listed = {o.nonce for o in report.sealed.orders if o.account == address}
            fills = desk.wallet.cleared(report.round.id, digest, report.result, boxes, listed)
            filled |= {(address, nonce): fill.filled for nonce, fill in zip(nonces, fills, strict=True)}
            desk.wallet.settled(report.round.id)
        rows, remainders = [], []
        for key in ((o.account, o.nonce) for o in report.sealed.orders):
            order, desk, lots = orders[key], desks[key[0]], filled.get(key, Lots(0))
            rows.append((order.reference, desk.name, lots))
            if key in filled and lots < order.quantity:
                rest = Order(order.side, order.level, Lots(order.quantity - lots), order.reference)
                remainders.append((desk, rest))
        outcome = RoundOutcome(report, len(report.sealed.orders), len(report.sealed.accounts), tuple(rows))
        return outcome, remainders

    # --- the check ----------------------------------------------------------------------------------

    def _check_round(self, outcome: RoundOutcome, chain: Chain) -> None:
        """Compare with the auction in the clear, then with the chain. Raises CheckFailed."""
        plain = self._plain.clear(outcome.report.round.reference)
        result, number = outcome.report.result, outcome.report.round.id
        expected = plain.outcome
        _same(number, "crossing", result.crossed, expected is not None)
        if expected is not None:
            _same(number, "price", result.price, expected.price)
            _same(number, "volume", result.volume, expected.volume)
            nets = {self.report.names[a]: n for a, n in result.nets.items()}
            _same(number, "nets", nets, {a: expected.base_net(a) for a in expected.traded})
        _same(number, "fills", {i: f for i, _, f in outcome.fills}, plain.fills)
        if self._options.renew:
            self._plain.renew(plain)
        self._check_chain(outcome, plain, chain)

    def _check_chain(self, outcome: RoundOutcome, plain: PlainRound, chain: Chain) -> None:
        number = outcome.report.round.id
        for account, amounts in plain.nets(self.plan.grid.first_tick).items():
            for index, amount in enumerate(amounts):
                self._desks[account].nets[index] += amount
        for desk in self._desks.values():
            for index in (BASE, QUOTE):
                held = chain.balance(index, desk.wallet.address)
                _same(
                    number, f"{desk.name}'s balance on chain", held, desk.deposited[index] + desk.nets[index]
                )
        spent: defaultdict[tuple[Address, int], int] = defaultdict(int)
        for order in outcome.report.consumed:
            spent[order.account, order.nonce >> 8] |= 1 << (order.nonce & 255)
        for (address, word), mask in spent.items():
            _same(number, "nullifier bits", chain.nullifier_word(address, word) & mask, mask)
        _same(number, "spent orders", len(outcome.report.consumed), len(plain.consumed))


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

    async def with_committee(home: Path) -> RunReport:
        async with Coordinator(seats, home, tap=tap) as committee:
            return await Run(prepared, options, progress).execute(committee)

    with tempfile.TemporaryDirectory(prefix="darkpool-") as folder:
        return asyncio.run(with_committee(Path(folder)))
