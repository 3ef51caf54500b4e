"""Shares change, the key does not: what decrypts after, what no longer does, which dealings are refused."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import combinations

import gmpy2
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from commitments.errors import CommitmentsError, DecodeError, ParameterError, VerificationError
from commitments.paillier import fresh_randomness
from commitments.resharing import Change, Dealing, deal, next_committee, next_share
from commitments.share_proof import prove_partial, verify_partial
from commitments.threshold import (
    MAX_EPOCH,
    MAX_SCALE,
    Committee,
    KeyShare,
    check_share,
    combine,
    lagrange_at_zero,
    partial,
)
from tests.commitments_support import committee, primes

P, Q = primes()
ORDER = (P - 1) // 2 * ((Q - 1) // 2)
SIZES = [(3, 1), (4, 1), (5, 1), (5, 2)]
SEATS, SHARES = committee(4, 1)
N = SEATS.key.n
REFRESH = Change(SEATS, (), (1, 2, 3, 4))
REPLACEMENT = Change(SEATS, (3,), (1, 4))

Shares = Mapping[int, KeyShare]


def by_index(shares: list[KeyShare]) -> dict[int, KeyShare]:
    return {s.index: s for s in shares}


def changed(change: Change, shares: Shares) -> tuple[Committee, dict[int, KeyShare]]:
    """Everybody honest, every check made."""
    dealt = {i: deal(change, shares[i]) for i in change.dealers}
    dealings = [Dealing.decode(d.encode(change.committee), i, change) for i, (d, _) in dealt.items()]
    after, fresh = next_committee(change, dealings), {}
    for j in change.committee.indices:
        for dealing in dealings:
            dealing.check_sub_share(change, j, dealt[dealing.dealer][1][j])
        old = None if j in change.replaced else shares[j]
        fresh[j] = next_share(change, j, {i: subs[j] for i, (_, subs) in dealt.items()}, old)
        check_share(after, fresh[j])
    return after, fresh


def opens(seats: Committee, shares: Shares, message: int = 0) -> bool:
    message = message or secrets.randbelow(int(N))
    c = seats.key.encrypt(message, fresh_randomness())
    try:
        opening = combine(seats, c, {i: partial(seats, s, c) for i, s in shares.items()})
    except VerificationError:
        return False
    return bool(opening.plaintext == message)


def constant(seats: Committee, shares: Shares) -> int:
    """F(0), which all quorums must agree on."""
    found = set()
    for quorum in combinations(shares, seats.threshold + 1):
        total = sum(lagrange_at_zero(seats.delta, quorum, i) * shares[i].value for i in quorum)
        assert total % seats.delta == 0
        found.add(total // seats.delta)
    (value,) = found
    return value


# --- what changes and what stays --------------------------------------------------------------------


@given(st.sampled_from(SIZES), st.lists(st.integers(0, 31), min_size=1, max_size=4), st.randoms())
@settings(max_examples=12)
def test_any_quorum_opens_after_any_changes(size: tuple[int, int], steps: list[int], random: object) -> None:
    seats, dealt = committee(*size)
    shares: dict[int, KeyShare] = by_index(dealt)
    secret = constant(seats, shares)
    for step in steps:
        indices = list(seats.indices)
        room = len(indices) - seats.threshold - 1
        replaced = tuple(i for i in indices if step >> (i - 1) & 1)[:room]
        staying = [i for i in indices if i not in replaced]
        random.shuffle(staying)  # type: ignore[attr-defined]
        dealers = tuple(sorted(staying[: seats.threshold + 1])) if replaced else tuple(indices)
        old_seats, old = seats, shares
        seats, shares = changed(Change(seats, replaced, dealers), shares)
        secret *= seats.delta if replaced else 1
        assert constant(seats, shares) == secret
        assert seats.epoch == old_seats.epoch + 1
        assert seats.scale == old_seats.scale + bool(replaced)
        assert seats.key is old_seats.key
        assert all(0 < s.value < seats.share_bound for s in shares.values())
        for quorum in combinations(seats.indices, seats.threshold + 1):
            assert opens(seats, {i: shares[i] for i in quorum})
        # One old share among new ones, or new ones too few to make up for an old one: nothing.
        mixed = {i: shares[i] for i in indices[: seats.threshold]} | {indices[-1]: old[indices[-1]]}
        assert not opens(seats, mixed)
        assert not opens(old_seats, mixed)
        for share in old.values():
            with pytest.raises(VerificationError):
                check_share(seats, share)


def test_shares_after_changes_are_proven_like_dealt_ones() -> None:
    seats, shares = changed(REPLACEMENT, by_index(SHARES))
    seats, shares = changed(Change(seats, (), (1, 2, 3, 4)), shares)
    c = seats.key.encrypt(5, 6)
    for i, share in shares.items():
        x_i, proof = prove_partial(seats, share, c)
        verify_partial(seats, i, c, x_i, proof)
        with pytest.raises(VerificationError):
            verify_partial(replace(seats, epoch=seats.epoch + 1), i, c, x_i, proof)
        old, _ = prove_partial(SEATS, SHARES[i - 1], c)
        with pytest.raises(VerificationError):
            verify_partial(seats, i, c, old, proof)


def test_the_replaced_members_share_is_worth_nothing() -> None:
    seats, shares = changed(REPLACEMENT, by_index(SHARES))
    leaver = SHARES[2]
    for i in (1, 2, 4):
        assert not opens(seats, {i: shares[i], 3: leaver})
    assert opens(seats, {1: shares[1], 3: shares[3]})
    # What members that did not erase could still do, with the old public state.
    assert opens(SEATS, {1: SHARES[0], 3: leaver})


def test_many_changes_stay_within_the_stated_bound() -> None:
    seats, shares = SEATS, by_index(SHARES)
    for step in range(20):
        replaced, dealers = ((2,), (3, 4)) if step % 3 == 0 else ((), (1, 2, 3, 4))
        seats, shares = changed(Change(seats, replaced, dealers), shares)
    assert max(s.value for s in shares.values()) < seats.share_bound
    assert (seats.epoch, seats.scale) == (20, 7)
    assert opens(seats, {2: shares[2], 3: shares[3]})


def test_a_change_leaves_every_residue_possible() -> None:
    # The constant of a dealing is moved by multiples of Delta only; its coefficients do the rest.
    seen: dict[int, set[int]] = {j: set() for j in SEATS.indices}
    for _ in range(40):
        for j, share in changed(REFRESH, by_index(SHARES))[1].items():
            assert (share.value - SHARES[j - 1].value) % j == 0
            seen[j].add((share.value - SHARES[j - 1].value) // j % 2)
    assert all(residues == {0, 1} for residues in seen.values())
    assert constant(SEATS, by_index(SHARES)) % SEATS.delta**2 == 0


def test_dealings_are_fresh() -> None:
    one, two = deal(REFRESH, SHARES[0]), deal(REFRESH, SHARES[0])
    assert one[0].commitments[0] == two[0].commitments[0] == 1
    assert not set(one[1].values()) & set(two[1].values())
    assert all(str(v) not in repr(one[0]) for v in one[1].values())


@pytest.mark.parametrize("members, threshold", [*SIZES, (16, 1), (7, 3)])
def test_honest_sub_shares_lie_within_their_bounds(members: int, threshold: int) -> None:
    seats, shares = committee(members, threshold)
    lowest, highest = tuple(range(1, threshold + 2)), tuple(range(members - threshold, members + 1))
    for replaced, dealers in (((members,), lowest), ((1,), highest), ((), tuple(seats.indices))):
        change = Change(seats, replaced, dealers)
        for i in dealers:
            assert abs(change.factor(i)) <= seats.largest_lambda
            _, sub_shares = deal(change, shares[i - 1])
            assert all(0 <= s < change.sub_share_bound for s in sub_shares.values())
            assert change.sub_share_bound < 1 << 8 * change.sub_share_bytes
        most = change.sub_share_bound - 1
        old = 0 if replaced else seats.share_bound - 1
        assert old + len(dealers) * most < change.template.share_bound


# --- dealings that are refused ----------------------------------------------------------------------


def dealt(change: Change, dealer: int = 1) -> tuple[Dealing, dict[int, int]]:
    return deal(change, SHARES[dealer - 1])


def commitment(at: int, value: Callable[[mpz], mpz]) -> Callable[[Dealing], Dealing]:
    def corrupt(dealing: Dealing) -> Dealing:
        c = list(dealing.commitments)
        c[at] = value(c[at])
        return replace(dealing, commitments=tuple(c))

    return corrupt


SEEN_BY_ALL: dict[str, Callable[[Dealing], Dealing]] = {
    "constant times a power of V": commitment(0, lambda c: c * SEATS.base % N),
    "constant minus": commitment(0, lambda c: N - c),
    "constant random": commitment(0, lambda c: c * 4 % N),
    "zero": commitment(1, lambda _: mpz(0)),
    "N": commitment(1, lambda _: N),
    "a factor of N": commitment(1, lambda _: mpz(P)),
    "out of range": commitment(1, lambda c: c + N),
    "negative": commitment(1, lambda c: c - N),
    "too few": lambda d: replace(d, commitments=d.commitments[:1]),
    "too many": lambda d: replace(d, commitments=(*d.commitments, mpz(1))),
    "none": lambda d: replace(d, commitments=()),
}
SEEN_BY_THE_RECEIVER: dict[str, Callable[[Dealing], Dealing]] = {
    "slope times V": commitment(1, lambda c: c * SEATS.base % N),
    "slope random": commitment(1, lambda c: c * 4 % N),
    "slope inverted": commitment(1, lambda c: gmpy2.invert(c, N)),
}


@pytest.mark.parametrize("change", [REFRESH, REPLACEMENT], ids=["refresh", "replacement"])
@pytest.mark.parametrize("lie", SEEN_BY_ALL)
def test_commitments_everybody_refuses(change: Change, lie: str) -> None:
    with pytest.raises(VerificationError, match="dealing of member 4: "):
        SEEN_BY_ALL[lie](dealt(change, 4)[0]).check(change)


@pytest.mark.parametrize("change", [REFRESH, REPLACEMENT], ids=["refresh", "replacement"])
@pytest.mark.parametrize("lie", SEEN_BY_THE_RECEIVER)
def test_commitments_a_receiver_refuses(change: Change, lie: str) -> None:
    dealing, sub_shares = dealt(change)
    wrong = SEEN_BY_THE_RECEIVER[lie](dealing)
    for j, sub_share in sub_shares.items():
        dealing.check_sub_share(change, j, sub_share)
        with pytest.raises(VerificationError, match=f"dealing of member 1: the sub-share of member {j}"):
            wrong.check_sub_share(change, j, sub_share)


def test_a_minus_on_the_slope_is_seen_by_someone() -> None:
    dealing, sub_shares = dealt(REFRESH)
    wrong = commitment(1, lambda c: N - c)(dealing)
    with pytest.raises(VerificationError):
        wrong.check_sub_share(REFRESH, 1, sub_shares[1])


@pytest.mark.parametrize("change", [REFRESH, REPLACEMENT], ids=["refresh", "replacement"])
def test_sub_shares_a_receiver_refuses(change: Change) -> None:
    dealing, sub_shares = dealt(change)
    right = sub_shares[2]
    for wrong in (right + 1, right - 1, sub_shares[1], sub_shares[3], 0, right ^ (1 << 500)):
        with pytest.raises(
            VerificationError, match="dealing of member 1: the sub-share of member 2 is not on"
        ):
            dealing.check_sub_share(change, 2, wrong)
    # The same residue, but another integer: bounded, so that shares stay short.
    for wrong in (-right, right - ORDER * change.sub_share_bound, change.sub_share_bound):
        with pytest.raises(VerificationError, match="member 2 is outside"):
            dealing.check_sub_share(change, 2, wrong)
    other, _ = dealt(change, 4)
    with pytest.raises(VerificationError, match="dealing of member 4"):
        other.check_sub_share(change, 2, right)


def test_a_refresh_that_is_no_sharing_of_zero_is_refused() -> None:
    # By an honest-looking dealer of a share: everything fits, only the constant is not zero.
    wrong, _ = deal(Change(SEATS, (2,), (1, 3)), SHARES[0])
    with pytest.raises(VerificationError, match="member 1: its constant"):
        wrong.check(REFRESH)


def test_a_replacement_by_another_multiple_is_refused() -> None:
    # Dealt for other dealers, or for other replaced members' sake a zero.
    for change in (Change(SEATS, (4,), (1, 3)), REFRESH):
        wrong, _ = deal(change, SHARES[0])
        with pytest.raises(VerificationError, match="member 1: its constant"):
            wrong.check(REPLACEMENT)


def test_who_does_not_deal_cannot() -> None:
    with pytest.raises(ParameterError, match="member 2 deals not"):
        deal(REPLACEMENT, SHARES[1])
    other, _ = deal(Change(SEATS, (3,), (1, 2)), SHARES[1])
    with pytest.raises(VerificationError, match="dealing of member 2: the dealers are"):
        other.check(REPLACEMENT)
    with pytest.raises(VerificationError, match="not that of its verification value"):
        deal(REPLACEMENT, KeyShare(1, SHARES[1].value))


@pytest.mark.parametrize("cut", [0, 1, 95, 96, 191, 193, 288])
def test_a_dealing_has_one_length(cut: int) -> None:
    data = dealt(REFRESH)[0].encode(SEATS) + bytes(96)
    with pytest.raises(DecodeError, match=f"dealing of member 1: {cut} bytes where 192 are due"):
        Dealing.decode(data[:cut], 1, REFRESH)


def test_every_bit_of_an_encoded_dealing_counts() -> None:
    dealing, sub_shares = dealt(REPLACEMENT)
    data = dealing.encode(SEATS)
    for at in range(0, len(data), 13):
        wrong = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(CommitmentsError, match="dealing of member 1"):
            Dealing.decode(wrong, 1, REPLACEMENT).check_sub_share(REPLACEMENT, 2, sub_shares[2])


# --- changes that cannot be -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "replaced, dealers",
    [
        ((), (1, 2, 3)),
        ((), (1, 2)),
        ((), (2, 1, 3, 4)),
        ((), (1, 2, 3, 4, 5)),
        ((), ()),
        ((3,), (1,)),
        ((3,), (1, 2, 4)),
        ((3,), (1, 3)),
        ((3,), (2, 1)),
        ((3,), (1, 1)),
        ((3,), (0, 1)),
        ((3,), (1, 5)),
        ((5,), (1, 2)),
        ((0,), (1, 2)),
        ((3, 2), (1, 4)),
        ((2, 2), (1, 4)),
        ((1, 2, 3), (4,)),
    ],
    ids=str,
)
def test_impossible_changes(replaced: tuple[int, ...], dealers: tuple[int, ...]) -> None:
    with pytest.raises(ParameterError, match=r"replaced|dealers"):
        Change(SEATS, replaced, dealers)


def test_committees_that_cannot_change() -> None:
    with pytest.raises(ParameterError, match="no verification value"):
        Change(Committee(SEATS.key, 4, 1), (), (1, 2, 3, 4))
    with pytest.raises(ParameterError, match="a new key is due"):
        Change(replace(SEATS, epoch=MAX_EPOCH), (), (1, 2, 3, 4))
    with pytest.raises(ParameterError, match="a new key is due"):
        Change(replace(SEATS, epoch=MAX_SCALE, scale=MAX_SCALE), (3,), (1, 2))


def test_a_change_needs_all_its_dealings() -> None:
    dealings = [dealt(REPLACEMENT, 1)[0], dealt(REPLACEMENT, 4)[0]]
    for some in (dealings[:1], [], [*dealings, dealings[0]]):
        with pytest.raises(ParameterError, match="where \\(1, 4\\) deal"):
            next_committee(REPLACEMENT, some)
    for given_ in ({1: 5}, {}, {1: 5, 2: 6}, {1: 5, 4: 6, 2: 7}):
        with pytest.raises(ParameterError, match="where \\(1, 4\\) deal"):
            next_share(REPLACEMENT, 2, given_, None)
    for old in (None, SHARES[0]):
        with pytest.raises(ParameterError, match="member 2 has no share to refresh"):
            next_share(REFRESH, 2, dict.fromkeys((1, 2, 3, 4), 1), old)
