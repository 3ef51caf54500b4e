"""From a result to the chain and the accounts: sums, rows, hashes, and boxes of shares that must agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from commitments.encoding import Writer
from commitments.params import FIELD_PRIME
from commitments.sealing import BoxKey, box_seal
from commitments.shamir import share
from darkpool.eip712 import Domain, address_of
from darkpool.errors import ConfigError, PeerFault
from darkpool.listing import NO_CROSS, RoundResult, SealedList, token_movements
from darkpool.market import Side
from darkpool.netting import (
    Signers,
    Totals,
    open_totals,
    seal_totals,
    token_index,
    transcript_hash,
)
from darkpool.settlement import NullifierRow
from darkpool.types import Address, Lots, PrivateKey, RoundId, Tick
from darkpool.windows import cleared_round
from tests.venue_log import Venue
from tests.venue_support import BASE, NOW, QUOTE, buy, sell, some_terms

ADA = Address(b"\x01" * 20)
DIGEST = bytes(range(32))
DOMAIN = Domain(1, Address(b"\x09" * 20))
KEY = BoxKey.derive(b"\x05" * 32)


@st.composite
def results(draw: st.DrawFn) -> RoundResult:
    accounts = draw(
        st.lists(st.binary(min_size=20, max_size=20).filter(any), min_size=2, max_size=6, unique=True)
    )
    first = draw(
        st.lists(st.integers(-(2**32), 2**32), min_size=len(accounts) - 1, max_size=len(accounts) - 1)
    )
    nets = dict(zip(sorted(map(Address, accounts)), [*first, -sum(first)], strict=True))
    volume = sum(abs(net) for net in nets.values())
    return RoundResult(crossed=True, price=Tick(draw(st.integers(0, 3))), volume=Lots(volume), nets=nets)


def a_list(market: bytes) -> SealedList:
    return SealedList(RoundId(5), market, Tick(2), NOW, (), bytes(range(1, 33)), bytes(32))


@given(results())
def test_movements_sum_to_zero_per_token(result: RoundResult) -> None:
    terms = some_terms()
    rows = token_movements(terms, result)
    for token in (BASE, QUOTE):
        assert sum(row.amount for row in rows if row.token == token) == 0
    assert {row.account for row in rows} == {a for a, net in result.nets.items() if net}


@given(results())
def test_a_cleared_round_has_the_movements_by_the_vaults_token_list(result: RoundResult) -> None:
    terms = some_terms()
    cleared = cleared_round(terms, a_list(terms.market.id), (), result, NOW + 9)
    assert (cleared.sealed_at, cleared.at, cleared.ends) == (NOW, NOW + 9, NOW + 600)
    assert cleared.root == bytes(range(1, 33))
    expected = {}
    for account, net in result.nets.items():
        if net:
            expected[1, account] = net * 7
            expected[2, account] = -net * terms.market.grid.price(result.price)
    assert {(d.token, d.account): d.amount for d in cleared.deltas} == expected
    keys = [(d.token, d.account) for d in cleared.deltas]
    assert keys == sorted(keys)
    price = terms.market.grid.price(result.price)
    assert cleared.gross == ((1, result.volume * 7), (2, result.volume * price))


def test_a_cleared_round_spends_the_nonces_of_its_consumed_orders() -> None:
    venue = Venue()
    venue.place("ada", buy(3, 5))
    venue.place("cyd", buy(0, 1))
    venue.place("ben", sell(0, 4))
    venue.place("ada", buy(0, 0))
    sealed = venue.seal()
    result, _ = venue.finish(sealed)
    (cleared,) = venue.state.unsettled
    masks = {"ada": 0b11, "ben": 0b1}
    rows = sorted(
        (NullifierRow(venue.wallets[n].address, 0, mask) for n, mask in masks.items()), key=lambda r: r.key
    )
    assert cleared.nullifiers == tuple(rows)
    assert cleared.transcript == transcript_hash(venue.terms, sealed, result)


@given(results(), st.integers(1, 2**63), st.integers(0, 2**63))
def test_the_transcript_hash_is_abi_encoded(result: RoundResult, number: int, sealed_at: int) -> None:
    terms = some_terms()
    sealed = replace(a_list(terms.market.id), round=RoundId(number), sealed_at=sealed_at)
    types = [
        "bytes32",
        "uint64",
        "uint64",
        "bytes32",
        *["uint256"] * 6,
        "uint8",
        "uint8",
        "bytes32",
    ]
    price = 1_000 + 10 * result.price
    words = (
        terms.market.id,
        number,
        sealed_at,
        sealed.root,
        0,
        price,
        1_000,
        10,
        7,
        result.volume,
        1,
        2,
        sealed.audit_root,
    )
    assert transcript_hash(terms, sealed, result) == keccak(encode(types, words))


def test_every_part_of_the_transcript_counts() -> None:
    terms = some_terms()
    sealed = a_list(terms.market.id)
    result = RoundResult(crossed=True, price=Tick(1), volume=Lots(3))
    tokens = (BASE, QUOTE)
    hashes = {
        transcript_hash(*parts)
        for parts in (
            (terms, sealed, result),
            (some_terms(id=bytes(32)), sealed, result),
            (terms, replace(sealed, round=RoundId(6)), result),
            (terms, replace(sealed, sealed_at=NOW + 1), result),
            (terms, replace(sealed, root=bytes(32)), result),
            (terms, sealed, replace(result, price=Tick(2))),
            (terms, sealed, replace(result, volume=Lots(4))),
            (some_terms(lot=8), sealed, result),
            (replace(terms, tokens=tokens), sealed, result),
            (replace(terms, tokens=tokens[::-1]), sealed, result),
        )
    }
    assert len(hashes) == 10


def test_a_token_is_known_by_its_place_in_the_vault() -> None:
    terms = some_terms()
    assert [token_index(terms, token) for token in (BASE, QUOTE)] == [1, 2]
    with pytest.raises(ConfigError, match="tokens"):
        replace(terms, tokens=(BASE,))


def test_what_did_not_cross_moves_nothing() -> None:
    assert token_movements(some_terms(), NO_CROSS) == []


# --- boxes ------------------------------------------------------------------------------------------


def signing_key(index: int) -> PrivateKey:
    return PrivateKey(bytes([index + 1]) * 32)


def signers(members: int = 3, threshold: int = 1) -> Signers:
    return Signers(threshold, {i: address_of(signing_key(i)) for i in range(1, members + 1)})


def sealed_by(
    index: int,
    bought: int,
    sold: int,
    key: bytes = KEY.public,
    digest: bytes = DIGEST,
    account: Address = ADA,
    domain: Domain = DOMAIN,
) -> bytes:
    """A box member `index` could send: its own signature over whatever it says."""
    return seal_totals(signing_key(index), domain, key, digest, account, (bought, sold))


def boxes(bought: int, sold: int, members: int = 3, threshold: int = 1) -> dict[int, bytes]:
    shares = [share(total, members, threshold) for total in (bought, sold)]
    return {i: sealed_by(i, shares[0][i], shares[1][i]) for i in range(1, members + 1)}


def opened(
    sent: dict[int, bytes],
    digest: bytes = DIGEST,
    account: Address = ADA,
    members: int = 3,
    threshold: int = 1,
) -> Totals:
    return open_totals(signers(members, threshold), DOMAIN, KEY, sent, digest, account)


@pytest.mark.parametrize("members,threshold", [(3, 1), (4, 1), (5, 2)])
@settings(max_examples=15)
@given(bought=st.integers(0, 2**48), sold=st.integers(0, 2**48))
def test_totals_open_for_the_account_and_have_one_length(
    members: int, threshold: int, bought: int, sold: int
) -> None:
    sent = boxes(bought, sold, members, threshold)
    assert opened(sent, members=members, threshold=threshold) == Totals(Lots(bought), Lots(sold))
    assert len({len(box) for box in sent.values()}) == 1
    assert len(sent[1]) == len(boxes(0, 0)[1])


def test_2t_plus_1_of_more_members_are_enough() -> None:
    sent = boxes(5, 6, members=4)
    del sent[2]
    assert opened(sent, members=4) == Totals(Lots(5), Lots(6))


def change(index: int, box: Callable[[bytes], bytes]) -> Callable[[dict[int, bytes]], dict[int, bytes]]:
    return lambda sent: sent | {index: box(sent[index])}


BAD: dict[str, tuple[Callable[[dict[int, bytes]], dict[int, bytes]], str]] = {
    "none": (lambda _: {}, "0/3 boxes"),
    "one missing": (lambda s: {i: s[i] for i in (1, 2)}, "2/3 boxes"),
    "swapped": (lambda s: s | {1: s[2], 2: s[1]}, "member 1: .*signature"),
    "one twice": (lambda s: s | {3: s[1]}, "member 3: .*signature"),
    "not a member": (lambda s: {1: s[1], 2: s[2], 4: sealed_by(4, 1, 1)}, "member 4"),
    "member 0": (lambda s: {1: s[1], 2: s[2], 0: sealed_by(0, 1, 1)}, "member 0"),
    "cut short": (change(2, lambda b: b[:-1]), "member 2"),
    "too long": (change(2, lambda b: b + b"\0"), "member 2"),
    "empty": (change(2, lambda _: b""), "member 2"),
    "flipped": (change(2, lambda b: b[:40] + bytes([b[40] ^ 1]) + b[41:]), "member 2"),
    "of another key": (
        change(3, lambda _: sealed_by(3, 1, 1, key=BoxKey.generate().public)),
        "member 3",
    ),
    "of another round": (change(3, lambda _: sealed_by(3, 1, 1, digest=bytes(32))), "member 3"),
    "of another account": (
        change(3, lambda _: sealed_by(3, 1, 1, account=Address(bytes(20)))),
        "member 3",
    ),
    "signed by another member": (
        change(3, lambda _: seal_totals(signing_key(2), DOMAIN, KEY.public, DIGEST, ADA, (1, 1))),
        "member 3: .*signature",
    ),
    "signed for another vault": (
        change(3, lambda _: sealed_by(3, 1, 1, domain=Domain(2, Address(bytes(20))))),
        "member 3: .*signature",
    ),
    "a false share": (change(3, lambda _: sealed_by(3, 1, 1)), "committee: .*off the degree-1"),
    "a share not reduced": (change(3, lambda _: sealed_by(3, FIELD_PRIME, 0)), "member 3: .*bought"),
    "a sold share not reduced": (change(3, lambda _: sealed_by(3, 0, 2**128 - 1)), "member 3: .*sold"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_boxes_are_a_peers_fault_that_names_it(name: str) -> None:
    spoil, message = BAD[name]
    with pytest.raises(PeerFault, match=message):
        opened(spoil(boxes(5, 6)))


def test_a_longer_plaintext_is_refused() -> None:
    body = Writer().uint(1, 16).uint(1, 16).fixed(bytes(65), 65).uint(0, 1)
    aad = bytes(Writer().fixed(DIGEST, 32).fixed(ADA, 20))
    box = box_seal(KEY.public, bytes(body), b"darkpool/v1/account-totals", aad)
    with pytest.raises(PeerFault, match="trailing"):
        opened(boxes(5, 6) | {3: box})


@pytest.mark.parametrize("bought,sold", [(1 << 64, 0), (0, 1 << 64), (-1, 0), (0, FIELD_PRIME - 1)])
def test_totals_out_of_range_are_refused(bought: int, sold: int) -> None:
    with pytest.raises(PeerFault, match="out of range"):
        opened(boxes(bought, sold))


def test_the_wrong_round_or_account_opens_nothing() -> None:
    for digest, account in ((bytes(32), ADA), (DIGEST, Address(bytes(20)))):
        with pytest.raises(PeerFault, match="member 1"):
            opened(boxes(5, 6), digest, account)


def test_totals_are_checked_against_net_and_orders() -> None:
    totals = Totals(Lots(5), Lots(2))
    totals.check_net(3)
    totals.check_assigned(Side.BUY, 0)
    for net in (-3, 0, 4):
        with pytest.raises(PeerFault, match="contradict its public net"):
            totals.check_net(net)
    with pytest.raises(PeerFault, match="the sell total"):
        totals.check_assigned(Side.SELL, 1)
    assert "5" not in repr(totals)
