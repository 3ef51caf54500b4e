"""Cases as a client makes them of a venue's data, keeps them, and contests with what it kept."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from commitments.errors import DecodeError
from darkpool import arbiter, contest
from darkpool.chain import Chain
from darkpool.client.contesting import Contesting
from darkpool.client.disputes import judged, kept_case
from darkpool.client.event_stream import Event
from darkpool.client.live import Live
from darkpool.client.refuting import AtVenue, Published, refutation
from darkpool.client.trader_home import TraderHome
from darkpool.contest import Case, SettledRecord
from darkpool.contest_file import decoded, encoded
from darkpool.errors import ChainRefused, ConfigError, OrderRefused
from darkpool.evm import Receipt
from darkpool.jsonfields import hex_text
from darkpool.settlement import Settlement, delta_rows, ordered_signatures, sign
from darkpool.types import Address, TokenIndex
from tests.client.plain_venue import OPERATOR, PlainVenue, seats
from tests.client.test_settlements import Pair, pair

STOLEN = 1_000


def land(chain: Chain, settlement: Settlement) -> None:
    """As the venue does, whatever the settlement says: all members sign it."""
    signed = [sign(settlement, chain.domain(), seat.signing_key) for seat in seats()]
    chain.settle(settlement, ordered_signatures(settlement, chain.domain(), signed), OPERATOR)


async def settled(p: Pair, stolen: int) -> SettledRecord:
    """A crossing round is netted, and so much quote of ada's goes to ben beside."""
    await p.cross()
    await p.v.venue.settling.close_now()
    pending = p.v.engine.state.pending[-1].settlement
    nets = {(d.token, d.account): int(d.amount) for d in pending.deltas}
    for account, sign_ in ((p.ada.address, -1), (p.ben.address, 1)):
        nets[TokenIndex(1), account] += sign_ * stolen
    false = replace(pending, deltas=delta_rows(nets))
    await p.v.threads.chain(land, p.v.chain, false)
    (*_, record) = await p.v.threads.chain(arbiter.settled_of_late, p.v.chain)
    assert record.id == false.id
    return record


def home_of(v: PlainVenue, name: str) -> TraderHome:
    return TraderHome(v.folder / f"home-{name}")


def at_venue(p: Pair) -> AtVenue:
    return AtVenue(p.ada._trading.connection, home_of(p.v, "ada"))


async def case_of(p: Pair, record: SettledRecord) -> Case:
    return await p.ada._run(p.ada._trading.disputes.case(record))


def balances(p: Pair) -> list[int]:
    return [
        p.v.chain.balance(TokenIndex(token), trader.address) for trader in (p.ada, p.ben) for token in (0, 1)
    ]


def reads_strictly(record: SettledRecord, case: Case) -> None:
    good = encoded(case)
    assert decoded(good, record) == case
    path = case.listed[0].path[0].hex().encode() if case.listed[0].path else b""
    for old, new, field in (
        (b'"version": 1', b'"version": 2', "version"),
        (b'"rounds"', b'"ground"', "lacks"),
        (b'"nonce": 0', b'"nonce": "0"', "nonce"),
        (b'"round": 0', b'"round": 1', "round"),
        (b'"index": ', b'"index": 70000', "index"),
        (path, b"zz" + path[2:], "path"),
        (hex_text(case.listed[0].hash).encode(), b"0x00", "hash"),
        (good, b"[]", "case"),
        (good, b"{", "case"),
    ):
        assert old in good
        with pytest.raises(DecodeError, match=field):
            decoded(good.replace(old, new, 1), record)
    with pytest.raises(DecodeError, match="above"):
        decoded(good + b" " * (1 << 20), record)
    volume = case.rounds[0].words[9].to_bytes(32).hex().encode()
    changed = decoded(good.replace(volume, bytes(64).replace(b"\0", b"0"), 1), record)
    assert (changed.rounds, changed.transcripts) == ({}, ())


async def false_denials_are_refuted(p: Pair, source: Published, record: SettledRecord, case: Case) -> None:
    """Ada denies the round, Ben his order; each is answered by what is published."""
    for accuser, said, shown in (
        (p.ada, Case(record), "round 1"),
        (p.ben, replace(case, listed=()), "nonce"),
    ):
        evidence = contest.evidence(said, accuser.address, {})
        assert evidence is not None
        assert not evidence.complete
        key = p.v.committee.keystores[accuser.address].private_key
        await p.v.threads.chain(arbiter.contest, p.v.chain, key, evidence)
        found = (await p.v.threads.chain(arbiter.contested, p.v.chain))[-1]
        assert found.account == accuser.address
        answer = await p.ada._run(refutation(source, found, record))
        assert answer is not None
        assert shown in answer.text
        await p.v.threads.chain(arbiter.refute, p.v.chain, OPERATOR, answer.function, answer.arguments)
        standing = await p.v.threads.chain(arbiter.standing, p.v.chain, record.id, accuser.address)
        assert standing.closed


async def is_contested_again_once_its_rounds_are_shown(p: Pair, record: SettledRecord) -> None:
    """The venue withholds the rounds until Ada has denied them; then its lists, so her order has no place."""
    home, keystore = home_of(p.v, "ada"), p.v.committee.keystores[p.ada.address]
    hidden = judged(Case(record), keystore, home)
    assert hidden is not None
    assert (hidden.complete, hidden.denied) == (False, (0,))
    assert await p.v.threads.chain(arbiter.rounds_shown, p.v.chain) == {}
    await p.v.threads.chain(arbiter.contest, p.v.chain, keystore.private_key, hidden)
    (found,) = await p.v.threads.chain(arbiter.contested, p.v.chain)
    answer = await p.ada._run(refutation(at_venue(p), found, record))
    assert answer is not None
    assert answer.function == "refute_round"
    await p.v.threads.chain(arbiter.refute, p.v.chain, OPERATOR, answer.function, answer.arguments)
    with pytest.raises(ChainRefused, match="none is open"):  # before anything is sent
        await p.v.threads.chain(arbiter.refute, p.v.chain, OPERATOR, answer.function, answer.arguments)
    contesting = Contesting(p.v.chain, keystore, record)
    with pytest.raises(OrderRefused, match="stands") as refused:
        await p.v.threads.chain(lambda: contesting.run(hidden, print, print, wait=False))
    assert "contest again" in refused.value.hint
    shown = await p.v.threads.chain(arbiter.rounds_shown, p.v.chain)
    second = judged(Case.of(record, shown[record.id]), keystore, home)
    assert second is not None
    assert (second.claimed, second.denied, second.all_rounds) == ([0], (), True)
    assert await p.v.threads.chain(contesting.is_open_to, second)


async def are_not_denied_without_their_bytes(p: Pair, record: SettledRecord) -> None:
    case, keystore, home = (
        await case_of(p, record),
        p.v.committee.keystores[p.ada.address],
        home_of(p.v, "ada"),
    )
    for path in (home.folder / "orders").iterdir():
        path.unlink()
    with pytest.raises(OrderRefused, match="are not in"):
        judged(case, keystore, home)
    assert judged(await case_of(p, record), keystore, home) is not None


async def is_warned_of(p: Pair, record: SettledRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    live = Live(p.ada, renew=False)
    market = hex_text(p.v.view.terms.market.id)
    event = Event(1, "round", {"market": market, "round": 1, "state": "settled", "at": 1})
    assert [kind for kind, _ in await live._told(event)] == ["round"]  # the venue tells the old tale

    async def chain_says(*_: object) -> object:
        case = await case_of(p, record)
        return record, judged(case, p.v.committee.keystores[p.ada.address], home_of(p.v, "ada"))

    monkeypatch.setattr(p.ada, "look", chain_says)
    told = await live._told(event)
    assert [kind for kind, _ in told] == ["round", "warning"]
    assert f"--settlement {record.id}" in told[1][1]["hint"]
    assert [kind for kind, _ in await live._told(event)] == ["round"]


def test_an_honest_settlement_agrees_and_its_case_is_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with pair(tmp_path) as p:
            record = await settled(p, 0)
            case = await case_of(p, record)
            assert [words.number for words in case.rounds.values()] == [1]
            assert [at.nonce for at in case.listed] == record.consumed(p.ada.address) == [0]
            home = home_of(p.v, "ada")
            keystore = p.v.committee.keystores[p.ada.address]
            assert judged(case, keystore, home) is None
            assert kept_case(home, record) == case
            market = p.v.view.terms.market.id
            found, evidence = await p.ada.look(market, 1)
            assert (found.id, evidence) == (record.id, None)
            reads_strictly(record, case)
            await false_denials_are_refuted(p, at_venue(p), record, case)
            # Of another settlement the file says nothing.
            assert kept_case(home, replace(record, transcript=bytes(32))) is None
            for path in (home.folder / "cases").iterdir():
                path.write_bytes(path.read_bytes().replace(b'"index": 0', b'"index": -1'))
            with pytest.raises(ConfigError, match="index"):
                kept_case(home, record)

    asyncio.run(scenario())


def test_a_robbery_is_told_contested_and_undone_with_what_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with pair(tmp_path) as p:
            before = await p.v.threads.chain(balances, p)
            record = await settled(p, STOLEN)
            await are_not_denied_without_their_bytes(p, record)
            await is_contested_again_once_its_rounds_are_shown(p, record)
            await is_warned_of(p, record, monkeypatch)
            home, keystore = home_of(p.v, "ada"), p.v.committee.keystores[p.ada.address]
            case = kept_case(home, record)
            assert case is not None
            evidence = judged(case, keystore, home)
            assert evidence is not None
            assert evidence.complete
            contesting = Contesting(p.v.chain, keystore, record)
            sent: list[str] = []

            def tell(what: str, receipt: Receipt) -> None:
                assert receipt.gas_used < 1 << 24
                sent.append(what)

            penniless = Contesting(
                p.v.chain, replace(keystore, address=Address(keystore.address[::-1])), record
            )
            with pytest.raises(ChainRefused, match=r"bond: a contest takes 0\.1"):
                await p.v.threads.chain(penniless.plan, evidence)
            plan = await p.v.threads.chain(contesting.plan, evidence)
            assert plan.bond == 10**17
            assert await p.v.threads.chain(lambda: contesting.run(evidence, tell, print, wait=True))
            assert sent == ["contest", "unwind"]
            assert await p.v.threads.chain(balances, p) == before
            assert await p.v.threads.chain(p.v.chain.frozen)
            # Run again, it has nothing left to do.
            assert await p.v.threads.chain(lambda: contesting.run(evidence, tell, print, wait=False))
            assert sent == ["contest", "unwind"]
            assert await p.v.threads.chain(arbiter.settled_of_late, p.v.chain) == []

    asyncio.run(scenario())
