"""The arbiter reads real orders, and computes the commitments that both group libraries compute."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from commitments.group import Point, using_backend
from commitments.params import GROUP_ORDER
from commitments.pedersen import commit
from darkpool.contest import OpenOrder
from darkpool.draft import Standing
from darkpool.errors import OrderRefused, PeerFault
from darkpool.market import Side
from darkpool.order import SealedOrder, Terms
from darkpool.types import Lots, PrivateKey, Quanta, RoundId, Tick
from darkpool.wallet import Wallet
from tests.commitments_support import auditor_keys
from tests.contracts.contest_ground import BASE, QUOTE, TOKENS, Ground, Made, a_round, trade, with_holdings
from tests.contracts.world import ALICE, BOB, DELAY, World, addresses
from tests.venue_support import NOW, buy, finish, signers, some_terms

SEED = b"\x07" * 32


@pytest.fixture(scope="module", autouse=True)
def endowed(deployed: World) -> Iterator[None]:
    with with_holdings(deployed):
        yield


@dataclass(frozen=True)
class Real(Made):
    """A sealed order in the place of one made by hand."""

    sealed: SealedOrder | None = None
    named: Terms | None = None

    @staticmethod
    def of(world: World, owner: PrivateKey, auditors: int) -> Real:
        terms = some_terms()
        terms = replace(
            terms,
            market=replace(terms.market, base=TOKENS[BASE], quote=TOKENS[QUOTE]),
            tokens=TOKENS,
            chain_id=world.domain.chain_id,
            contract=world.domain.contract,
            auditor_keys=tuple(sorted(auditor_keys(auditors), key=Point.encode)),
        )
        wallet = Wallet(terms, signers(), owner, SEED)
        for token in TOKENS:
            wallet.deposited(token, Quanta(10**9))
        draft = wallet.draft(buy(3, 5), Standing(RoundId(1), NOW))
        sealed = finish(draft, terms, owner)
        opened = OpenOrder.of(sealed.raw, SEED, {terms.hash: terms.preimage}.get)
        made = Real(
            owner, sealed.nonce, opened.slot, opened.quantity, opened.blindings, sealed=sealed, named=terms
        )
        object.__setattr__(made, "body", sealed.raw[:-65])
        return made

    @property
    def terms(self) -> bytes:
        assert self.named is not None
        return self.named.preimage

    def signature(self, world: World) -> bytes:  # type: ignore[override]
        assert world is not None
        assert self.sealed is not None
        return self.sealed.signature


@pytest.mark.parametrize("auditors", [0, 2])
def test_a_real_order_is_opened_and_shown_as_the_venue_lists_it(world: World, auditors: int) -> None:
    """Its leaf is computed from the opening; its bytes refute a denial."""
    ground, made = Ground(world), Real.of(world, ALICE, auditors)
    assert made.sealed is not None
    assert made.opened == OpenOrder.of(made.sealed.raw, SEED, lambda _: made.terms)
    assert made.leaf == made.sealed.leaf
    case = ground.settled([a_round([made], 3)], trade(5), [(ALICE, made.nonce)])
    evidence = ground.found(case, ALICE, [])
    ground.contest(ALICE, evidence)
    ground.done(BOB, "refute_order", *ground.refutation(case, 0, made, 0))
    world.wait(DELAY // 4)
    arguments = (world.vault.address, case.record.id, addresses([ALICE])[0])
    assert ground.reason(BOB, "uphold", *arguments).startswith("contests: none is open")
    later = ground.settled([a_round([made], 3)], {(QUOTE, ALICE): -1, (QUOTE, BOB): 1})
    ground.contest(ALICE, ground.found(later, ALICE, [made]))
    assert world.vault.functions.frozen().call()


def test_another_seed_opens_nothing(world: World) -> None:
    made = Real.of(world, ALICE, 0)
    assert made.sealed is not None
    raw = made.sealed.raw
    with pytest.raises(PeerFault, match="does not open"):
        OpenOrder.of(raw, bytes(32), lambda _: made.terms)
    for end in (0, 2, 100, 700):
        with pytest.raises(PeerFault):
            OpenOrder.of(raw[:end], SEED, lambda _: made.terms)
    for terms in (None, b"", made.terms + b"0"):
        with pytest.raises(OrderRefused, match="the terms it was signed for"):
            OpenOrder.of(raw, SEED, {made.sealed.statement.terms_hash: terms}.get)
    shown = repr(OpenOrder.of(raw, SEED, lambda _: made.terms))
    assert not any(name in shown for name in ("slot", "quantity", "blindings"))


@pytest.mark.parametrize(
    "slot, quantity, blindings",
    [
        (0, 1, (1, 2)),
        (6, 2**32 - 1, (GROUP_ORDER - 1, 3)),
        (510, 7, (0, GROUP_ORDER - 1)),
        (8, 0, (5, 0)),  # a decoy; C_m is the point at infinity
    ],
)
def test_commitments_are_those_of_both_libraries(
    world: World, slot: int, quantity: int, blindings: tuple[int, int]
) -> None:
    """A leaf made with py_ecc is accepted as the one that the precompile's points make."""
    ground = Ground(world)
    made = Made(ALICE, 7, slot, quantity, blindings)
    native = made.points
    with using_backend("reference"):
        values = zip((quantity, slot * quantity), blindings, strict=True)
        assert tuple(commit(v, r).encode_xy() for v, r in values) == native
    case = ground.settled([a_round([made], 3)], {(QUOTE, ALICE): -1, (QUOTE, BOB): 1}, [(ALICE, 7)])
    evidence = ground.found(case, ALICE, [made])
    assert len(evidence.shown) == 1
    ground.contest(ALICE, evidence)
    assert world.vault.functions.frozen().call()


def test_a_commitment_opens_in_one_way_only(world: World) -> None:
    """The slot under C_m is bound by the quantity under C_q: neither can be shown as something else."""
    ground = Ground(world)
    made = Made(ALICE, 7, 2 * 3 + Side.BUY, 6, (11, 12))
    case = ground.settled([a_round([made], 3)], {(QUOTE, ALICE): -1, (QUOTE, BOB): 1}, [(ALICE, 7)])
    for slot, quantity in ((7, 6), (6, 7), (18, 2), (12, 3), (36, 1)):
        claimed = replace(made, slot=slot, quantity=quantity)
        object.__setattr__(claimed, "hash", made.hash)
        assert claimed.leaf != made.leaf
        evidence = ground.found(case, ALICE, [claimed])
        assert evidence.claimed == [7]
    assert Lots(made.quantity) == 6
    assert Tick(3) == made.slot >> 1
