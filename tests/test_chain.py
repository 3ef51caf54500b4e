"""The vault's life through `Chain`, on the embedded chain and on anvil: the same code, the same results."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from darkpool.chain import Chain
from darkpool.eip712 import address_of, sign_digest
from darkpool.errors import ChainError, ChainRefused, ConfigError
from darkpool.settlement import (
    Settlement,
    check_signatures,
    committee_digest,
    delta_rows,
    nullifier_rows,
    ordered_signatures,
    sign,
)
from darkpool.types import Address, Nonce, PrivateKey, Quanta, Signature, TokenIndex
from darkpool.vault import DEFAULT_COMMITTEE_DELAY, DEFAULT_DELAY, Token, VaultTerms
from tests.anvil import running_anvil

OPERATOR, ALICE, BOB = (PrivateKey(bytes([i]) * 32) for i in (1, 2, 3))
A, B = address_of(ALICE), address_of(BOB)
MEMBERS = tuple(sorted((PrivateKey(bytes([9] * 31 + [i])) for i in range(4)), key=address_of))
BASE, QUOTE = TokenIndex(0), TokenIndex(1)
QUANTUM = {BASE: 10, QUOTE: 1_000}


def deployed(chain: Chain) -> Chain:
    for key in (OPERATOR, ALICE, BOB):
        chain.fund(address_of(key))
    tokens = tuple(
        Token(chain.deploy_token(OPERATOR, name, name, 6), quantum)
        for name, quantum in zip(("Base", "Quote"), QUANTUM.values(), strict=True)
    )
    chain.deploy_vault(OPERATOR, VaultTerms(tuple(map(address_of, MEMBERS)), 1, tokens))
    return chain


def enter(chain: Chain, key: PrivateKey, token: TokenIndex, quanta: int) -> None:
    chain.mint(OPERATOR, token, address_of(key), Quanta(quanta))
    chain.deposit(key, token, Quanta(quanta))


@pytest.fixture(params=["embedded", "anvil"])
def chain(request: pytest.FixtureRequest) -> Iterator[Chain]:
    if request.param == "embedded":
        yield deployed(Chain.embedded())
        return
    with running_anvil() as url:
        yield deployed(Chain.rpc(url, finality=0))


@pytest.fixture(scope="module")
def embedded() -> Chain:
    return deployed(Chain.embedded())


def trade(chain: Chain, sealed_at: int) -> tuple[Settlement, tuple[Signature, ...]]:
    """Bob gives Alice 30 base for 7 quote; three orders are consumed."""
    settlement = Settlement(
        id=chain.next_id(),
        epoch=chain.epoch(),
        sealed_at=sealed_at,
        root=b"\x11" * 32,
        transcript=b"\x22" * 32,
        deltas=delta_rows({(BASE, A): 30, (BASE, B): -30, (QUOTE, A): -7, (QUOTE, B): 7}),
        nullifiers=nullifier_rows([(A, Nonce(0)), (A, Nonce(300)), (B, Nonce(1))]),
    )
    signatures = [sign(settlement, chain.domain(), key) for key in MEMBERS[:3]]
    ordered = ordered_signatures(settlement, chain.domain(), signatures)
    check_signatures(settlement, chain.domain(), ordered, chain.members(), chain.quorum())
    return settlement, ordered


def test_life_of_a_vault(chain: Chain) -> None:
    first = chain.head()
    enter(chain, ALICE, QUOTE, 100)
    enter(chain, BOB, BASE, 200)
    assert [(e.token, e.account, e.quanta) for e in chain.deposits()] == [(QUOTE, A, 100), (BASE, B, 200)]
    assert chain.deposits(0, first) == []

    settlement, signatures = trade(chain, int(time.time()))
    receipt = chain.settle(settlement, signatures, OPERATOR)
    assert receipt.block == chain.head()
    assert 100_000 < receipt.gas_used < 400_000
    assert [chain.balance(token, a) for token in (BASE, QUOTE) for a in (A, B)] == [30, 170, 93, 7]
    assert [chain.nullifier_word(A, 0), chain.nullifier_word(A, 1), chain.nullifier_word(B, 0)] == [
        1,
        1 << 44,
        2,
    ]
    assert chain.next_id() == 2
    with pytest.raises(ChainRefused) as caught:
        chain.settle(settlement, signatures, OPERATOR)
    assert caught.value.reason == "settle: id is not the next one"

    (settled,) = chain.settlements()
    assert (settled.id, settled.root, settled.transcript) == (1, settlement.root, settlement.transcript)
    assert settled.place.tx_hash == receipt.tx_hash
    assert settled.deltas == tuple((d.token, d.account, d.amount) for d in settlement.deltas)
    assert settled.nullifiers == tuple((n.account, n.word, n.mask) for n in settlement.nullifiers)

    chain.request_withdrawal(ALICE, BASE, Quanta(1_000))
    chain.request_cancel(ALICE, 0, 0b110)
    with pytest.raises(ChainRefused, match="withdraw: the delay has not passed"):
        chain.withdraw(ALICE, BASE)
    with pytest.raises(ChainRefused, match="finalize_cancel: the delay has not passed"):
        chain.finalize_cancel(ALICE, 0)
    before = chain.now()
    chain.advance(DEFAULT_DELAY)
    assert chain.now() >= before + DEFAULT_DELAY
    chain.withdraw(ALICE, BASE)
    chain.finalize_cancel(ALICE, 0)
    assert (chain.balance(BASE, A), chain.nullifier_word(A, 0)) == (0, 0b111)
    assert [(e.token, e.account, e.quanta) for e in chain.withdrawal_requests()] == [(BASE, A, 1_000)]
    assert [(e.token, e.account, e.quanta) for e in chain.withdrawals()] == [(BASE, A, 30)]
    assert [(e.account, e.word, e.mask) for e in chain.cancel_requests()] == [(A, 0, 0b110)]
    assert [(e.account, e.word, e.mask) for e in chain.cancellations()] == [(A, 0, 0b110)]
    assert rebuilt(chain) == {(BASE, A): 0, (BASE, B): 170, (QUOTE, A): 93, (QUOTE, B): 7}

    # The chain is now hours ahead of the wall clock; a round sealed by its own clock settles still.
    chain.settle(*resealed(chain), OPERATOR)


def resealed(chain: Chain) -> tuple[Settlement, tuple[Signature, ...]]:
    settlement = Settlement(chain.next_id(), 1, chain.sealing_time(), bytes(32), bytes(32), (), ())
    signatures = [sign(settlement, chain.domain(), key) for key in MEMBERS]
    return settlement, ordered_signatures(settlement, chain.domain(), signatures)


def rebuilt(chain: Chain) -> dict[tuple[TokenIndex, Address], int]:
    """Every balance from the events alone."""
    balances: dict[tuple[TokenIndex, Address], int] = {}
    changes = [(e.token, e.account, int(e.quanta)) for e in chain.deposits()]
    changes += [(e.token, e.account, -e.quanta) for e in chain.withdrawals()]
    changes += [(token, account, int(net)) for e in chain.settlements() for token, account, net in e.deltas]
    for token, account, change in changes:
        balances[token, account] = balances.get((token, account), 0) + change
    return balances


def test_committee_changes_hands(chain: Chain) -> None:
    members = tuple(map(address_of, MEMBERS[:3]))
    message = committee_digest(chain.last_epoch() + 1, members, 1, A, chain.domain())
    chain.propose_committee(OPERATOR, members, 1, A, [sign_digest(message, key) for key in MEMBERS[1:]])
    with pytest.raises(ChainRefused, match="activate_committee: the delay has not passed"):
        chain.activate_committee(OPERATOR)
    chain.advance(DEFAULT_COMMITTEE_DELAY)
    chain.activate_committee(OPERATOR)
    assert (chain.epoch(), chain.members(), chain.quorum(), chain.guardian()) == (2, members, 3, A)


def test_the_guardian_pauses_settling_and_resumes(chain: Chain) -> None:
    assert chain.guardian() == address_of(OPERATOR)  # whoever deploys, unless the terms name another
    with pytest.raises(ChainRefused, match="pause_settling: the caller is not the guardian"):
        chain.pause_settling(ALICE)
    chain.pause_settling(OPERATOR)
    assert chain.paused()
    settlement = resealed(chain)
    with pytest.raises(ChainRefused, match="settle: settling is paused"):
        chain.settle(*settlement, OPERATOR)
    chain.resume_settling(OPERATOR)
    assert not chain.paused()
    chain.settle(*settlement, OPERATOR)


def test_an_attached_vault_is_the_same_vault() -> None:
    with running_anvil() as url:
        first = deployed(Chain.rpc(url, finality=0))
        second = Chain.rpc(url)
        with pytest.raises(ConfigError, match="no vault is attached"):
            second.next_id()
        second.attach(first.vault)
        assert (second.tokens, second.domain(), second.members()) == (
            first.tokens,
            first.domain(),
            first.members(),
        )
        enter(first, ALICE, BASE, 5)
        assert second.balance(BASE, A) == 5
        # Two blocks deep by default: the deposit is not final yet.
        assert second.deposits() == []
        second.advance(1)
        second.advance(1)
        assert len(second.deposits()) == 1
        for nothing in (A, first.tokens[0].contract):
            with pytest.raises(ChainError):
                second.attach(nothing)


def test_deposit_approves_only_what_is_missing(embedded: Chain) -> None:
    embedded.mint(OPERATOR, BASE, A, Quanta(100))
    head = embedded.head()
    embedded.deposit(ALICE, BASE, Quanta(60))
    assert embedded.head() == head + 2
    with pytest.raises(ChainRefused, match="balance is too small"):
        embedded.deposit(ALICE, BASE, Quanta(41))
    embedded.deposit(ALICE, BASE, Quanta(40))
    # The refused deposit had approved 41 already.
    assert embedded.head() == head + 4
    assert embedded.balance(BASE, A) == 100


def test_refusals_cost_nothing_and_name_the_reason(embedded: Chain) -> None:
    head = embedded.head()
    with pytest.raises(ChainRefused) as caught:
        embedded.withdraw(BOB, QUOTE)
    assert caught.value.rendered() == "error: withdraw: nothing was requested"
    with pytest.raises(ChainRefused, match="request_withdrawal: zero quanta"):
        embedded.request_withdrawal(BOB, QUOTE, Quanta(0))
    assert embedded.head() == head


def test_what_cannot_be_sent_is_refused(embedded: Chain) -> None:
    penniless = PrivateKey(b"\x08" * 32)
    with pytest.raises(ChainError, match="afford"):
        embedded.request_withdrawal(penniless, BASE, Quanta(1))
    with pytest.raises(ConfigError, match="does not fit its type"):
        embedded.request_withdrawal(ALICE, BASE, Quanta(2**256))
    with pytest.raises(ConfigError, match="token 2: the vault has 2"):
        embedded.deposit(ALICE, TokenIndex(2), Quanta(1))
    with pytest.raises(ConfigError, match="advance: 0 seconds"):
        embedded.advance(0)
    with pytest.raises(ConfigError, match="finality"):
        Chain.embedded(finality=-1)


def test_terms_the_contract_refuses() -> None:
    chain = Chain.embedded()
    chain.fund(address_of(OPERATOR))
    token = Token(chain.deploy_token(OPERATOR, "T", "T", 0), 1)
    members = tuple(map(address_of, MEMBERS))
    with pytest.raises(ChainRefused, match="vault: cancel_delay is not above settle_window"):
        chain.deploy_vault(OPERATOR, VaultTerms(members, 1, (token,), cancel_delay=4500))
    with pytest.raises(ChainRefused, match="committee: fewer than 2t"):
        chain.deploy_vault(OPERATOR, VaultTerms(members, 2, (token,)))


def test_only_final_events_are_reported() -> None:
    chain = deployed(Chain.embedded(finality=3))
    enter(chain, ALICE, BASE, 5)
    seen = []
    for _ in range(4):
        seen.append(len(chain.deposits()))
        chain.advance(1)
    assert seen == [0, 0, 0, 1]
    assert chain.final_block() == chain.head() - 3
    assert len(chain.deposits(to_block=10**9)) == 1


def test_embedded_time_follows_the_wall_clock_and_what_was_advanced() -> None:
    chain = deployed(Chain.embedded())
    assert abs(chain.sealing_time() - time.time()) < 60
    chain.advance(10_000)
    assert 9_990 < chain.now() - time.time() < 10_060
    before = chain.now()
    chain.fund(A)
    assert before < chain.now() <= before + 5


def test_a_stale_chain_accepts_a_round_sealed_now(embedded: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    later = int(time.time()) + 5_000
    monkeypatch.setattr(time, "time", lambda: float(later))
    assert embedded.now() < later - 4_000
    embedded.settle(*resealed(embedded), OPERATOR)
    assert later <= embedded.now() <= later + 60


@pytest.mark.parametrize("url", ["", "localhost:8545", "ftp://127.0.0.1/", "http://", "file:///etc/passwd"])
def test_urls_that_are_none_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="neither http nor https"):
        Chain.rpc(url)


def test_a_node_that_is_away_is_an_error_of_one_line() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with pytest.raises(ChainError) as caught:
        Chain.rpc(f"http://127.0.0.1:{port}")
    assert "\n" not in caught.value.message


def test_a_node_that_takes_the_call_and_says_nothing_is_given_up_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once, not again and again: whoever asks tries anew itself, and status must know."""
    monkeypatch.setattr("darkpool.evm.REQUEST_TIMEOUT", 0.3)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        started = time.monotonic()
        with pytest.raises(ChainError) as caught:
            Chain.rpc(f"http://user:secret@127.0.0.1:{port}")
    assert time.monotonic() - started < 3
    assert caught.value.message.startswith(f"chain: no answer from the node at 127.0.0.1:{port} (")
    assert "URL of one that answers" in caught.value.hint


def test_import_is_light() -> None:
    heavy = (
        "import sys, darkpool.chain; sys.exit(any(m in sys.modules for m in ('web3', 'eth_tester', 'vyper')))"
    )
    assert subprocess.run([sys.executable, "-c", heavy], check=False).returncode == 0
