"""commitments/shamir.py: sharing, reconstruction, and every way in which shares can disagree."""

from __future__ import annotations

import random
from itertools import combinations

import pytest
from gmpy2 import is_prime
from hypothesis import given
from hypothesis import strategies as st

from commitments.errors import ParameterError, VerificationError
from commitments.params import FIELD_PRIME
from commitments.shamir import (
    MAX_MEMBERS,
    SHARE_BYTES,
    centred,
    false_shares,
    lagrange,
    reconstruct,
    share,
)

SIZES = [(3, 1), (4, 1), (5, 1), (5, 2), (7, 3)]
secrets_ = st.integers(0, FIELD_PRIME - 1)


class Seeded:
    """A seeded source with the one method sharing needs."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def randbelow(self, bound: int, /) -> int:
        return self._random.randrange(bound)


def test_the_field_is_a_blum_prime_of_16_bytes() -> None:
    assert is_prime(FIELD_PRIME)
    assert FIELD_PRIME % 4 == 3
    assert SHARE_BYTES == 16


@pytest.mark.parametrize("n, t", SIZES)
@given(secret=secrets_)
def test_any_t_plus_1_shares_and_more_give_the_secret(n: int, t: int, secret: int) -> None:
    shares = share(secret, n, t)
    assert list(shares) == list(range(1, n + 1))
    for size in range(t + 1, n + 1):
        for members in combinations(shares, size):
            assert reconstruct({i: shares[i] for i in members}, n, t) == secret


def test_t_shares_fit_every_secret() -> None:
    shares = share(5, 5, 2, Seeded(1))
    known = {i: shares[i] for i in (2, 4)}
    for guess in (0, 1, FIELD_PRIME - 1):
        # The polynomial through the guess and the known shares has the right degree: nothing excludes it.
        l0, l2, l4 = (_basis(x, (0, 2, 4), 1) for x in (0, 2, 4))
        first = (l0 * guess + l2 * known[2] + l4 * known[4]) % FIELD_PRIME
        assert reconstruct({**known, 1: first}, 5, 2) == guess


def _basis(i: int, points: tuple[int, ...], at: int) -> int:
    value = 1
    for j in points:
        if j != i:
            value = value * (at - j) * pow(i - j, -1, FIELD_PRIME) % FIELD_PRIME
    return value


def test_shares_of_a_seeded_source_are_the_evaluations_of_its_polynomial() -> None:
    source = Seeded(7)
    c1, c2 = source.randbelow(FIELD_PRIME), source.randbelow(FIELD_PRIME)
    shares = share(11, 5, 2, Seeded(7))
    assert shares == {i: (11 + c1 * i + c2 * i * i) % FIELD_PRIME for i in range(1, 6)}


@given(x=secrets_, y=secrets_, k=st.integers(0, 2**32))
def test_sharing_is_linear(x: int, y: int, k: int) -> None:
    a, b = share(x, 3, 1), share(y, 3, 1)
    combined = {i: (a[i] + k * b[i]) % FIELD_PRIME for i in a}
    assert reconstruct(combined, 3, 1) == (x + k * y) % FIELD_PRIME


@pytest.mark.parametrize("n, t", SIZES)
@given(secret=secrets_, data=st.data())
def test_up_to_t_false_shares_among_2t_plus_1_are_noticed(
    n: int, t: int, secret: int, data: st.DataObject
) -> None:
    shares = share(secret, n, t)
    members = data.draw(st.permutations(range(1, n + 1)))[: 2 * t + 1]
    given_shares = {i: shares[i] for i in members}
    for i in data.draw(st.lists(st.sampled_from(members), min_size=1, max_size=t, unique=True)):
        given_shares[i] = (given_shares[i] + data.draw(st.integers(1, FIELD_PRIME - 1))) % FIELD_PRIME
    with pytest.raises(VerificationError, match="degree of sharing"):
        reconstruct(given_shares, n, t)


def test_a_sharing_of_higher_degree_is_refused() -> None:
    with pytest.raises(VerificationError, match="degree-1 polynomial"):
        reconstruct(share(9, 5, 2), 5, 1)


def test_shares_of_two_secrets_do_not_mix() -> None:
    a, b = share(9, 3, 1), share(9, 3, 1)
    with pytest.raises(VerificationError, match="member 3"):
        reconstruct({1: a[1], 2: a[2], 3: b[3]}, 3, 1)


@pytest.mark.parametrize(
    "shares, message",
    [
        ({}, "0/2 shares; missing: member 1, 2, 3"),
        ({2: 1}, "1/2 shares; missing: member 1, 3"),
        ({1: 1, 4: 1}, "4 is not a member"),
        ({0: 1, 1: 1}, "0 is not a member"),
        ({1: 1, 2: FIELD_PRIME}, "member 2's share is not reduced"),
        ({1: -1, 2: 1}, "member 1's share is not reduced"),
    ],
)
def test_shares_that_cannot_be_are_refused(shares: dict[int, int], message: str) -> None:
    with pytest.raises(VerificationError, match=message):
        reconstruct(shares, 3, 1)


@pytest.mark.parametrize("n, t", [(0, 0), (3, 3), (3, -1), (MAX_MEMBERS + 1, 1)])
def test_impossible_committees_are_refused(n: int, t: int) -> None:
    with pytest.raises(ParameterError):
        share(1, n, t)
    with pytest.raises(ParameterError):
        reconstruct({1: 1, 2: 1}, n, t)


@pytest.mark.parametrize("indices", [(), (1, 1), (0, 1), (1, MAX_MEMBERS + 1)])
def test_interpolation_wants_distinct_indices(indices: tuple[int, ...]) -> None:
    with pytest.raises(ParameterError):
        lagrange(indices)


def test_lagrange_coefficients_interpolate_anywhere() -> None:
    shares = share(3, 4, 1, Seeded(2))
    coefficients = lagrange((1, 3), at=4)
    assert sum(c * shares[i] for i, c in coefficients.items()) % FIELD_PRIME == shares[4]


@given(value=st.integers(-(2**60), 2**60))
def test_signed_values_survive_the_field(value: int) -> None:
    assert centred(value % FIELD_PRIME) == value


def test_errors_quote_no_share() -> None:
    shares = share(123456789, 3, 1)
    shares[2] = (shares[2] + 1) % FIELD_PRIME
    with pytest.raises(VerificationError) as caught:
        reconstruct(shares, 3, 1)
    assert not any(str(value) in str(caught.value) for value in (*shares.values(), 123456789))


@pytest.mark.parametrize("n, t", SIZES)
@given(data=st.data())
def test_as_many_false_shares_as_can_be_named_are_and_no_others(n: int, t: int, data: st.DataObject) -> None:
    shares = share(data.draw(secrets_), n, t)
    most = (n - t - 1) // 2
    liars = data.draw(st.sets(st.sampled_from(range(1, n + 1)), max_size=n))
    for liar in liars:
        shares[liar] = (shares[liar] + data.draw(st.integers(1, FIELD_PRIME - 1))) % FIELD_PRIME
    named = false_shares(shares, t)
    if len(liars) <= most:
        assert named == tuple(sorted(liars))
    assert len(named) <= most


def test_of_three_shares_that_disagree_nobody_is_named() -> None:
    shares = share(5, 3, 1)
    shares[2] += 1
    assert false_shares(shares, 1) == ()
