"""A member takes only what follows from the log it has, and says whether asking again could help."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from commitments import merkle
from darkpool.chain import Chain, Token, VaultTerms
from darkpool.chain_events import chain_message
from darkpool.committee import member as module
from darkpool.committee.evaluator import MAX_MESSAGE_BYTES, EvaluatorFailed
from darkpool.eip712 import address_of
from darkpool.errors import ChainError
from darkpool.log import Log
from darkpool.message import Message
from darkpool.netting import Signers
from darkpool.order import Terms
from darkpool.store.database import StoreError
from darkpool.store.log_store import LogStore
from darkpool.timing import CLOCK_SLACK_SECONDS
from darkpool.types import Quanta, TokenIndex
from tests.member_host import Host, fresh_venue, refusal, sealed_venue
from tests.test_admission import broken
from tests.venue_log import Venue, portrait
from tests.venue_support import buy, key_of, seats, sell, signers, some_terms

OPERATOR = key_of("operator")
QUOTE = TokenIndex(1)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def venue() -> Venue:
    """Tests only read it."""
    made = fresh_venue()
    for name in ("ada", "ben", "ada"):
        made.place(name, buy(1, 1))
    made.cancel(made.book.standing[0])
    made.place("cyd", sell(0, 1))
    made.seal()
    made.finish(made.sealed_list)
    made.open(2)
    return made


# --- evaluators' traffic -----------------------------------------------------------------------------


class Heard:
    """An evaluator's place among all, that keeps what it is fed."""

    def __init__(self, **_: object) -> None:
        self.members, self.fed, self.alive, self.unheard = (1, 2, 3), list[tuple[int, bytes]](), False, (3,)

    def feed(self, peer: int, data: bytes) -> None:
        self.fed.append((peer, data))

    async def start(self, _seconds: float) -> None:
        raise EvaluatorFailed("bytes of a peer", 2)

    async def close(self) -> None:
        pass


def at(generation: int, data: bytes) -> bytes:
    return generation.to_bytes(4, "big") + data


@pytest.fixture
def evaluators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Evaluator", Heard)


def started(host: Host, generation: int) -> list[tuple[int, bytes]]:
    """What the evaluator of that generation was fed when it was made."""
    host.ask("start", generation=generation, members=[1, 2, 3])
    evaluator = host.member.rounds.evaluator
    assert isinstance(evaluator, Heard)
    return evaluator.fed


@pytest.mark.usefixtures("evaluators")
def test_a_peer_cannot_use_up_what_is_kept_of_others(host: Host) -> None:
    host.member._mpc(2, at(1, bytes(module.MAX_EARLY_BYTES + 1)))
    host.member._mpc(2, at(1, bytes(module.MAX_EARLY_BYTES)))
    host.member._mpc(2, at(1, b"more"))
    host.member._mpc(3, at(1, b"hello"))
    host.member._mpc(3, at(1, b"again"))
    assert started(host, 1) == [(2, bytes(module.MAX_EARLY_BYTES)), (3, b"hello"), (3, b"again")]


@pytest.mark.usefixtures("evaluators")
def test_of_a_peers_early_traffic_its_latest_evaluators_counts(host: Host) -> None:
    for generation, data in ((3, b"old"), (4, b"new"), (3, b"late"), (5_000, b"far")):
        host.member._mpc(2, at(generation, data))
    host.member._mpc(3, at(5, b"ahead"))
    assert started(host, 4) == [(2, b"new")]
    assert started(host, 5) == [(3, b"ahead")]
    assert started(host, 6) == []


@pytest.mark.usefixtures("evaluators")
@pytest.mark.parametrize("data", [b"", bytes(MAX_MESSAGE_BYTES + 1)])
def test_what_no_evaluator_sends_ends_none(host: Host, data: bytes) -> None:
    """Neither the running one nor the next, on which the others would wait in vain."""
    host.member._mpc(2, at(1, data))
    fed = started(host, 1)
    host.member._mpc(2, at(1, data))
    assert fed == []


@pytest.mark.usefixtures("evaluators")
def test_whose_bytes_ended_an_evaluator_is_said(host: Host) -> None:
    reply = host.ask("start", generation=1, members=[1, 2, 3])
    assert reply.fields["blame"] == [[2, "off", "start"]]


# --- append -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 100])
def test_it_folds_the_log_as_everybody_does(host: Host, venue: Venue, size: int) -> None:
    for first in range(0, len(venue.entries), size):
        reply = host.append(venue.entries[first : first + size])
        done = min(first + size, len(venue.entries))
        assert (reply.op, reply.fields["size"]) == ("appended", done)
        assert reply.fields["root"] == merkle.root(venue.entries[:done]).hex()
    assert portrait(host.member.log.state) == portrait(venue.state)
    host.restart()
    assert portrait(host.member.log.state) == portrait(venue.state)
    status = host.ask("status").fields
    assert (status["size"], status["root"]) == (len(venue.entries), merkle.root(venue.entries).hex())


def test_what_it_has_may_be_sent_again_and_must_be_the_same(host: Host, venue: Venue) -> None:
    host.append(venue.entries[:5])
    for first, last in ((0, 5), (0, 3), (4, 5), (5, 5), (2, 8), (0, 8)):
        reply = host.append(venue.entries[first:last], first)
        assert (reply.op, reply.fields["size"]) == ("appended", max(5, host.member.log.size))
    fork = list(venue.entries)
    fork[3] = Message("chain", {"time": venue.now, "block": 1}).encode()
    for first, last in ((0, 4), (3, 4), (3, 10), (0, len(fork))):
        size = host.member.log.size
        assert "it forks at or after entry" in refusal(host.append(fork[first:last], first))
        assert host.member.log.size == size


def test_a_gap_is_refused(host: Host, venue: Venue) -> None:
    host.append(venue.entries[:3])
    for first in (4, 5, 1 << 40):
        assert "where 3 is next" in refusal(host.append(venue.entries[4:5], first))
    for value in (-1, None, "0", 1.0, 1 << 64):
        assert "first" in refusal(host.ask("append", venue.entries[3:4], first=value))
    assert host.member.log.size == 3


def test_what_is_right_before_a_wrong_entry_is_kept(host: Host, venue: Venue) -> None:
    wrong = Message("seal", {"time": venue.now}).encode()
    assert refusal(host.append([*venue.entries[:3], wrong, *venue.entries[3:]]))
    assert host.member.log.size == 3
    host.restart()
    assert host.member.log.size == 3
    host.follow(venue)


@pytest.mark.parametrize("data", [b"", b"noise", Message("launch", {"time": 5}).encode(), b"\0" * 100])
def test_what_is_no_entry_is_refused(host: Host, venue: Venue, data: bytes) -> None:
    host.append(venue.entries[:4])
    assert refusal(host.append([data]))
    assert host.member.log.size == 4


def test_an_entry_of_the_future_may_be_right_later(host: Host) -> None:
    """Clocks differ; it is only to be sent again."""
    ahead = Venue(now=int(time.time()) + CLOCK_SLACK_SECONDS + 60)
    assert "ahead of this member's clock" in refusal(host.append(ahead.entries), retry=True)
    assert host.member.log.size == 0
    near = Venue(now=int(time.time()) + CLOCK_SLACK_SECONDS - 10)
    near.place("ada", buy(1, 1))
    assert host.append(near.entries).op == "appended"
    again = Message.decode(near.entries[-1])
    late = Message("order", {"time": int(time.time()) + CLOCK_SLACK_SECONDS + 60}, again.blobs)
    assert "ahead" in refusal(host.append([late.encode()]), retry=True)


def orders(venue: Venue, raws: Sequence[bytes]) -> list[bytes]:
    return [venue.entry("order", {}, [raw]).encode() for raw in raws]


def test_an_order_the_operator_let_pass_is_checked_again(host: Host) -> None:
    """Whatever is wrong with one, the log is not followed, and nothing of that run of orders is kept."""
    venue = fresh_venue(names=("ada", "ben"))
    host.follow(venue)
    good = venue.sealed("ben", venue.draft("ben", buy(1, 1))).raw
    ada = venue.draft("ada", buy(1, 1))
    right = venue.sealed("ada", ada).raw
    flipped = right[:-1] + bytes([right[-1] ^ 1])
    other = venue.sealed("ada", replace(ada, statement=replace(ada.statement, first_round=2))).raw
    bad = {
        "proof": broken(venue, "ada", ada),
        "signature": flipped,
        "first_round": other,
        "version": b"\xff" * 9_000,
    }
    for field, raw in bad.items():
        size = host.member.log.size
        assert field in refusal(host.append(orders(venue, [good, raw])))
        assert host.member.log.size == size
    assert "nonce" in refusal(host.append(orders(venue, [good, good])))
    assert host.append(orders(venue, [good, right])).op == "appended"
    for blobs in ([], [right, right]):
        entry = Message("order", {"time": venue.now}, blobs).encode()
        assert "exactly one order" in refusal(host.append([entry]))


@pytest.mark.parametrize("error", [StoreError("database: away"), ChainError("node: away")])
def test_what_the_member_lacks_for_now_is_to_be_asked_again(
    host: Host, venue: Venue, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def away(*_: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(LogStore, "append", away)
        assert "away" in refusal(host.append(venue.entries), retry=True)
    assert host.member.log.size == 0
    host.follow(venue)


def test_snapshots_are_taken_as_it_follows(host: Host, venue: Venue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkpool.log.CHECKPOINT_EVERY", 1)
    host.follow(venue)
    found = host.store.checkpoint()
    assert found is not None
    assert found[0] == len(venue.entries)
    host.restart()
    assert portrait(host.member.log.state) == portrait(venue.state)


# --- requests ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["", "stop", "x" * 1_000, "APPEND"])
def test_another_request_is_refused(host: Host, op: str) -> None:
    assert "unknown operation" in refusal(host.ask(op))


@pytest.mark.parametrize(
    "op, fields",
    [
        ("start", {}),
        ("start", {"generation": 0}),
        ("start", {"generation": True}),
        ("start", {"generation": 1 << 32}),
        ("start", {"generation": 1}),
        ("start", {"generation": 1, "members": "123"}),
        ("start", {"generation": 1, "members": [1, 2, True]}),
        ("start", {"generation": 1, "members": [1, 2]}),
        ("start", {"generation": 1, "members": [1, 3, 2]}),
        ("start", {"generation": 1, "members": [1, 2, 2]}),
        ("start", {"generation": 1, "members": [1, 2, 3, 4]}),
        ("start", {"generation": 1, "members": [2, 3, 4]}),
        ("start", {"generation": 1, "members": [0, 1, 2]}),
        ("ready", {}),
        ("ready", {"epoch": 0}),
        ("handed_refused", {}),
        ("handed_refused", {"order": "zz", "reason": ""}),
        ("handed_refused", {"order": "00" * 32, "reason": "x" * 301}),
        ("sign", {}),
        ("clear", {"market": "00" * 32}),
    ],
)
def test_malformed_requests_are_refused(host: Host, op: str, fields: dict[str, Any]) -> None:
    assert refusal(host.ask(op, **fields))
    status = host.ask("status").fields
    assert (status["evaluator"], status["players"], status["generation"]) == (False, [], 0)
    assert status["refusals"][-1][1] == op


def test_a_log_of_others_is_none_of_its(tmp_path: Path) -> None:
    host, venue = Host(tmp_path), sealed_venue()
    host.signers = Signers(1, {1: address_of(key_of("ada")), 2: address_of(key_of("ben"))})
    host.restart()
    host.follow(venue)
    venue.abort()
    assert "0/1 members signed" in refusal(host.append(venue.entries[host.member.log.size :]))
    host.close()


# --- its own node -----------------------------------------------------------------------------------


class Watched:
    """A chain, a venue that follows it, and a member that looks at the chain itself."""

    def __init__(self, folder: Path, finality: int = 0) -> None:
        self.chain = Chain.embedded(finality)
        self.chain.fund(address_of(OPERATOR), 10**20)
        base, quote = (self.chain.deploy_token(OPERATOR, n, n[:4].upper(), 18) for n in ("Base", "Quote"))
        members = tuple(sorted(signers().addresses.values()))
        self.chain.deploy_vault(OPERATOR, VaultTerms(members, 1, (Token(base, 1), Token(quote, 1))))
        market = replace(some_terms().market, base=base, quote=quote)
        self.terms = Terms(
            chain_id=self.chain.chain_id,
            contract=self.chain.vault,
            venue=bytes(32),
            market=market,
            key=seats()[0].committee.key,
            policy_hash=bytes(32),
            tokens=(base, quote),
            settle_window=self.chain.settle_window(),
        )
        self.venue = Venue(terms=self.terms, names=("ada",), rich=Quanta(0), now=int(time.time()))
        self.host = Host(folder, self.chain)

    def deposit(self, amount: int) -> None:
        self.chain.fund(address_of(key_of("ada")))
        self.chain.mint(OPERATOR, QUOTE, address_of(key_of("ada")), Quanta(amount))
        self.chain.deposit(key_of("ada"), QUOTE, Quanta(amount))

    def seen(self) -> Message:
        """The entry of all that is final."""
        state, last = self.venue.state, self.chain.final_block()
        return chain_message(self.chain, state.block, last, self.venue.now)

    def answer(self, entry: Message, **changes: Any) -> Message:  # noqa: ANN401 - fields
        return self.host.append([replace(entry, fields={**entry.fields, **changes}).encode()])


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    made = Watched(tmp_path)
    yield made
    made.host.close()


def test_chain_events_are_those_of_its_own_node(watched: Watched) -> None:
    watched.host.follow(watched.venue)
    watched.deposit(500)
    entry = watched.seen()
    ((kind, account, token, amount),) = entry.fields["events"]
    wrong: list[dict[str, Any]] = [
        {"events": []},
        {"events": [[kind, account, token, amount + 1]]},
        {"events": [[kind, account, 0, amount]]},
        {"events": [[kind, "11" * 20, token, amount]]},
        {"events": [[kind, account, token, amount]] * 2},
        {"hash": "11" * 32},
        {"at": entry.fields["at"] + 1},
        {"block": entry.fields["block"] - 1},
    ]
    for changes in wrong:
        assert "is another at this member's node" in refusal(watched.answer(entry, **changes))
    assert watched.answer(entry).op == "appended"
    assert watched.host.member.log.state.ledger.known(address_of(key_of("ada")))


def test_a_block_that_its_node_does_not_have_yet_may_come(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.host.follow(watched.venue)
    watched.deposit(500)
    entry = watched.seen()
    ahead = {"block": entry.fields["block"] + 1}
    assert "is not final at this member's node yet" in refusal(watched.answer(entry, **ahead), retry=True)
    assert watched.answer(entry).op == "appended"
    watched.host.close()


@pytest.mark.parametrize("change", ["chain_id", "contract", "tokens", "settle_window"])
def test_a_market_is_of_the_vault_its_node_shows(watched: Watched, change: str) -> None:
    terms = watched.terms
    other = {
        "chain_id": terms.chain_id + 1,
        "contract": terms.market.base,
        "tokens": terms.tokens[::-1],
        "settle_window": terms.settle_window + 1,
    }[change]
    venue = Venue(
        terms=replace(terms, **{change: other}),  # type: ignore[arg-type]
        names=(),
        rich=Quanta(0),
        now=int(time.time()),
    )
    assert "are not those of this member's" in refusal(watched.host.append(venue.entries))
    assert watched.host.append(watched.venue.entries).op == "appended"


def test_it_would_sign_no_list_while_the_log_lacks_what_is_long_final(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else an account could trade what it has withdrawn."""
    watched.host.follow(watched.venue)
    assert watched.answer(watched.seen()).op == "appended"
    assert watched.host.ask("ready", epoch=1).op == "ready"
    assert "epoch" in refusal(watched.host.ask("ready", epoch=2), retry=True)
    watched.deposit(500)
    entry = chain_message(
        watched.chain, watched.host.member.log.state.block, watched.chain.final_block(), watched.venue.now
    )
    assert watched.host.ask("ready", epoch=1).op == "ready"  # the latest blocks may be missing
    monkeypatch.setattr(module, "FRESH_BLOCKS", 0)
    assert "lacks what happened" in refusal(watched.host.ask("ready", epoch=1), retry=True)
    assert watched.answer(entry).op == "appended"
    assert watched.host.ask("ready", epoch=1).op == "ready"


def test_a_node_that_is_away_is_to_be_asked_again(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    watched.host.follow(watched.venue)
    entry = watched.seen()

    def away(_: Chain) -> int:
        raise ChainError("node: no answer")

    with monkeypatch.context() as patched:
        patched.setattr(Chain, "final_block", away)
        assert "no answer" in refusal(watched.answer(entry), retry=True)
        assert "no answer" in refusal(watched.host.ask("ready", epoch=1), retry=True)
    assert watched.answer(entry).op == "appended"


def test_the_log_it_opens_is_the_one_it_wrote(host: Host, venue: Venue) -> None:
    host.follow(venue)
    log = Log.open(host.store, venue.terms.key, signers())
    assert (log.size, log.root) == (host.member.log.size, host.member.log.root)
