"""Whether a venue that was killed over and over kept every promise: receipts, log, books, chain, openings."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field

from commitments.merkle import Frontier, leaf_hash
from darkpool.chain import Chain
from darkpool.client.answers import Collateral, OrderRecord
from darkpool.committee.home import DATABASE
from darkpool.config import Settings
from darkpool.deployment import Deployment, operator_key
from darkpool.effects import Effects
from darkpool.jsonfields import read_hex
from darkpool.listing import RoundResult
from darkpool.log import listed
from darkpool.market import RoundState
from darkpool.message import Message
from darkpool.netting import token_index
from darkpool.order import Terms
from darkpool.receipt import Receipt
from darkpool.request import sign_request
from darkpool.state import VenueState
from darkpool.store.database import Database, sqlite_url
from darkpool.store.log_store import LogStore
from darkpool.types import Address, TokenIndex
from darkpool.vault import Deposit, Settled
from darkpool.windows import Cleared, Pending
from tests.e2e.service import Service
from tests.e2e.traders import Trader

QUIET_SECONDS = 120.0
_UNDER_WAY = {RoundState.SEALED, RoundState.CLEARING}


@dataclass(frozen=True)
class Seen:
    """What the running venue and the chain say, once all is quiet."""

    records: dict[Address, list[OrderRecord]]
    collateral: dict[Address, Collateral]
    deposits: list[Deposit]
    settlements: list[Settled]
    balances: dict[tuple[int, Address], int]


@dataclass
class Folded:
    """The log folded from its first entry, by nobody's snapshot."""

    state: VenueState
    roots: list[bytes] = field(default_factory=list)
    entries: list[bytes] = field(default_factory=list)
    accepted: dict[bytes, int] = field(default_factory=dict)
    ended: dict[bytes, tuple[str, str]] = field(default_factory=dict)
    results: dict[int, RoundResult] = field(default_factory=dict)
    settled: list[Pending] = field(default_factory=list)
    busted: list[Cleared] = field(default_factory=list)

    def take(self, sequence: int, effects: Effects) -> None:
        for order in effects.accepted:
            assert order.hash not in self.accepted
            self.accepted[order.hash] = sequence
        for gone in effects.ended:
            assert gone.order.hash not in self.ended
            self.ended[gone.order.hash] = (gone.end, gone.reason)
        if effects.result is not None and effects.cleared is not None:
            self.results[effects.cleared.round] = effects.result
        self.settled += effects.settled
        self.busted += effects.busted


async def audit(service: Service, traders: Sequence[Trader]) -> Folded:
    """Halt the venue, wait until all is quiet, end it, and compare everything with everything."""
    await _quiet(service, traders[0])
    await asyncio.gather(*(_check_receipts(trader) for trader in traders))
    seen = await _look(service, traders)
    service.stop()
    folder = service.folder
    deployment = Deployment.load(folder)
    assert deployment is not None
    folded = _folded(Settings.load(folder).database_url(folder), deployment, service)
    for home in sorted(folder.glob("member-*")):
        assert _entries(sqlite_url(home / DATABASE)) == folded.entries, f"{home.name} has another log"
    for trader in traders:
        _check_orders(trader, folded, seen)
        _check_collateral(trader.address, folded, seen)
    assert folded.accepted.keys() == {digest for trader in traders for digest in trader.receipts}
    _check_chain(traders[0].info.terms, [trader.address for trader in traders], folded, seen)
    return folded


async def _quiet(service: Service, trader: Trader) -> None:
    """No round under way, every settlement final, every member with the whole log, nothing coming in."""
    await asyncio.to_thread(service.wait)
    key, path, body = operator_key(service.folder), "/v1/operator/halt", b'{"reason":"audit"}'
    headers = {"Content-Type": "application/json"}
    authorization = sign_request(key, trader.info.terms.domain, "POST", path, body, int(time.time()) + 30)
    answer = await trader.http.post(path, content=body, headers=headers | {"Authorization": authorization})
    assert answer.status_code == 204, answer.text
    size, ends = -1, time.monotonic() + QUIET_SECONDS
    while True:
        found, info = service.ready(), await trader.market()
        assert found is not None
        sizes = {_size(sqlite_url(home / DATABASE)) for home in service.folder.glob("member-*")}
        unsettled = found["pending_settlements"] or found["unsettled_rounds"]
        busy = unsettled or info.round_state in _UNDER_WAY
        if not busy and size == found["log_size"] and sizes == {size}:
            return
        assert time.monotonic() < ends, f"not quiet: {found}, round {info.round_state}, members {sizes}"
        size = found["log_size"]
        await asyncio.sleep(1.5)


async def _check_receipts(trader: Trader) -> None:
    """The venue still has every receipt as it gave it, with a path from the entry to its root."""
    for receipt in [*trader.receipts.values(), *trader.cancelled.values()]:
        kept = (await trader.ask("GET", f"/v1/receipts/0x{receipt.subject.hex()}")).json()
        assert Receipt.from_json(kept["receipt"]) == receipt
        entry = (await trader.ask("GET", f"/v1/log/{receipt.sequence}/inclusion?size={receipt.size}")).json()
        assert entry["path"] == kept["path"]
        assert read_hex(entry["root"], "root", 32) == receipt.root


async def _look(service: Service, traders: Sequence[Trader]) -> Seen:
    records = {trader.address: await trader.records() for trader in traders}
    collateral = {trader.address: await trader.collateral() for trader in traders}
    for trader in traders:
        await trader.state()  # its openings, made from seed and public data, open the venue's commitments
    terms = traders[0].info.terms
    chain = Chain.rpc(service.rpc_url, 0)
    chain.attach(terms.contract)
    balances = {
        (token, trader.address): int(chain.balance(TokenIndex(token), trader.address))
        for token in range(len(chain.tokens))
        for trader in traders
    }
    return Seen(records, collateral, chain.deposits(), chain.settlements(), balances)


def _size(url: str) -> int:
    with closing(Database.open(url)) as database:
        return LogStore(database).size()


def _entries(url: str) -> list[bytes]:
    found: list[bytes] = []
    with closing(Database.open(url)) as database:
        store = LogStore(database)
        while page := store.entries(len(found), 500):
            found += page
    return found


def _folded(url: str, deployment: Deployment, service: Service) -> Folded:
    url = service.environment.get("DARKPOOL_DATABASE__URL", url)
    folded, tree = Folded(VenueState(deployment.key, deployment.signers)), Frontier()
    folded.entries = _entries(url)
    for sequence, data in enumerate(folded.entries):
        entry = Message.decode(data)
        folded.take(sequence, folded.state.checked(entry, listed(entry, deployment.key))(sequence))
        tree.append(leaf_hash(data))
        folded.roots.append(tree.root())
    return folded


def _check_orders(trader: Trader, folded: Folded, seen: Seen) -> None:
    """Each order sent is in the log once, where its receipt says, or nowhere; and ended as the venue says."""
    assert trader.orders.keys() == trader.receipts.keys() | trader.refused.keys()
    assert not trader.receipts.keys() & trader.refused.keys()
    for digest, receipt in trader.receipts.items():
        assert folded.accepted[digest] == receipt.sequence
        assert folded.roots[receipt.size - 1] == receipt.root
        (raw,) = Message.decode(folded.entries[receipt.sequence]).blobs
        assert raw == trader.orders[digest]
    records = {record.hash: record for record in seen.records[trader.address]}
    assert len(records) == len(seen.records[trader.address])
    assert records.keys() == trader.receipts.keys()
    for digest, record in records.items():
        state, reason = folded.ended.get(digest, ("standing", ""))
        assert (record.state, record.reason) == (state, reason)
        assert reason or state in {"standing", "consumed", "cancelled"}
    assert all(folded.ended[digest][0] == "cancelled" for digest in trader.cancelled)


def _check_collateral(account: Address, folded: Folded, seen: Seen) -> None:
    ledger, answer = folded.state.ledger, seen.collateral[account]
    for row in answer.tokens:
        free = ledger.of(account, row.token)
        assert (row.commitment, row.version) == (free.current.encode(), free.version)
        assert row.balance == ledger.balances.get((account, row.token), 0)
        assert (row.pending_debit, row.pending_credit) == (0, 0)
    nonces = ledger.nonces[account]
    assert (answer.lowest_unused, set(answer.used_above)) == (nonces.lowest_unused, nonces.used_above)


def _check_chain(terms: Terms, accounts: Sequence[Address], folded: Folded, seen: Seen) -> None:
    """Every settlement once, every round in one, moving what the results say; nothing made or lost."""
    assert not folded.busted
    assert not folded.state.not_final
    assert [s.id for s in seen.settlements] == list(range(1, len(seen.settlements) + 1))
    assert len({s.root for s in seen.settlements}) == len(seen.settlements)
    rounds = [cleared.round for pending in folded.settled for cleared in pending.rounds]
    assert sorted(folded.results) == rounds
    for pending, event in zip(folded.settled, seen.settlements, strict=True):
        assert (pending.settlement.root, pending.settlement.transcript) == (event.root, event.transcript)
        base, quote = (token_index(terms, t) for t in (terms.market.base, terms.market.quote))
        due: Counter[tuple[int, Address]] = Counter()
        for result in (folded.results[cleared.round] for cleared in pending.rounds):
            price = terms.market.grid.price(result.price)
            for account, net in result.nets.items():
                due[base, account] += net * terms.market.lot
                due[quote, account] -= net * price
        moved = {(token, account): int(amount) for token, account, amount in event.deltas}
        assert moved == {key: amount for key, amount in due.items() if amount}
    for token, contract in enumerate(terms.tokens):
        deposited = sum(d.quanta for d in seen.deposits if d.token == token)
        assert sum(seen.balances[token, account] for account in accounts) == deposited
        for account in accounts:
            assert folded.state.ledger.balances.get((account, contract), 0) == seen.balances[token, account]
