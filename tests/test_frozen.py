"""A committee that was convicted on chain: nothing is sealed, nothing is sent, and all see why."""

from __future__ import annotations

from pathlib import Path

from darkpool import arbiter
from darkpool.chain import Chain, Token, VaultTerms
from darkpool.client.contesting import Contesting
from darkpool.contest import Case, evidence
from darkpool.delivery import Verdict, finding
from darkpool.eip712 import address_of, keccak256
from darkpool.entitlement import RoundWords
from darkpool.keystore import Keystore
from darkpool.settlement import Settlement, delta_rows, ordered_signatures, sign
from darkpool.signed_settlement import SignedSettlement
from darkpool.timing import handover
from darkpool.types import Quanta, TokenIndex
from tests.venue_support import key_of, seats, signers

OPERATOR, ADA, THIEF = (key_of(name) for name in ("operator", "ada", "thief"))
BASE = TokenIndex(0)
WORDS = RoundWords((3, 1, 0, 0, 2, 1_030, 1_000, 10, 7, 1, 0, 1, 0))


def a_chain() -> Chain:
    chain = Chain.embedded()
    for key in (OPERATOR, ADA):
        chain.fund(address_of(key), 10**20)
    token = Token(chain.deploy_token(OPERATOR, "Base", "BASE", 18), 1)
    members = tuple(sorted(signers().addresses.values()))
    chain.deploy_vault(OPERATOR, VaultTerms(members, 1, (token,)))
    chain.mint(OPERATOR, BASE, address_of(ADA), Quanta(100))
    chain.deposit(ADA, BASE, Quanta(100))
    return chain


def signed(chain: Chain, amount: int) -> SignedSettlement:
    """So much of ada's goes to the thief, who has no order either."""
    nets = {(BASE, address_of(ADA)): -amount, (BASE, address_of(THIEF)): amount}
    transcript = keccak256(WORDS.hash)
    deltas = delta_rows(nets) if amount else ()
    settlement = Settlement(chain.next_id(), 1, chain.now(), b"\x11" * 32, transcript, deltas, ())
    signatures = [sign(settlement, chain.domain(), seat.signing_key) for seat in seats()]
    ordered = ordered_signatures(settlement, chain.domain(), signatures)
    return SignedSettlement(chain.domain(), settlement, ordered)


def convict(chain: Chain) -> None:
    """Ada contests the latest settlement, and all is undone."""
    (*_, record) = arbiter.settled_of_late(chain)
    found = evidence(Case.of(record, [WORDS]), address_of(ADA), {})
    assert found is not None
    assert found.complete
    keystore = Keystore(Path("unused"), address_of(ADA), ADA, ADA[::-1])
    assert Contesting(chain, keystore, record).run(found, lambda *_: None, print, wait=False)


def test_a_frozen_committee_seals_and_settles_nothing() -> None:
    chain = a_chain()
    members = chain.members()
    assert handover(chain, chain.now(), members) == ""
    for amount in (30, 5):
        robbery = signed(chain, amount)
        chain.settle(robbery.settlement, robbery.signatures, OPERATOR)
    assert not chain.frozen()
    convict(chain)
    assert chain.frozen()
    assert chain.balance(BASE, address_of(ADA)) == 70  # the older one nobody contested yet
    assert "frozen" in handover(chain, chain.now(), members)
    found = finding(signed(chain, 0), chain)
    assert (found.verdict, "frozen" in found.text) == (Verdict.PAUSED, True)
    convict(chain)
    assert chain.balance(BASE, address_of(ADA)) == 100
    assert arbiter.settled_of_late(chain) == []
    assert [found.id for found in arbiter.contested(chain)] == [2, 1]
