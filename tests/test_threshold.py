"""Threshold decryption: every quorum opens, every lie is noticed, and `phe`'s private key agrees."""

from __future__ import annotations

import secrets
from dataclasses import replace
from itertools import combinations
from typing import Any

import gmpy2
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st
from phe import PaillierPrivateKey, PaillierPublicKey

from commitments.errors import DecodeError, ParameterError, VerificationError
from commitments.paillier import Ciphertext, fresh_randomness
from commitments.threshold import (
    Committee,
    KeyShare,
    Opening,
    check_share,
    combine,
    deal,
    decode_residue,
    lagrange_at_zero,
    partial,
    safe_prime,
    verify_openings,
)
from tests.commitments_support import committee, primes, published_key

KEY = published_key()
P, Q = primes()
N = int(KEY.n)
PRIVATE = PaillierPrivateKey(PaillierPublicKey(N), P, Q)
SIZES = [(3, 1), (4, 1), (5, 1), (5, 2)]
SEATS, SHARES = committee()


def all_partials(seats: Committee, shares: list[KeyShare], c: Ciphertext) -> dict[int, mpz]:
    return {share.index: partial(seats, share, c) for share in shares}


def opened(message: int) -> tuple[Ciphertext, Opening]:
    c = KEY.encrypt(message, fresh_randomness())
    return c, combine(SEATS, c, all_partials(SEATS, SHARES, c))


# --- combination ------------------------------------------------------------------------------------


@pytest.mark.parametrize("members, threshold", SIZES)
def test_every_quorum_opens_the_same(members: int, threshold: int) -> None:
    seats, shares = committee(members, threshold)
    message = secrets.randbelow(N)
    c = KEY.encrypt(message, fresh_randomness())
    partials = all_partials(seats, shares, c)
    roots = set()
    for quorum in combinations(seats.indices, threshold + 1):
        opening = combine(seats, c, {i: partials[i] for i in quorum})
        assert opening.plaintext == message
        roots.add(int(opening.root))
    assert roots == {int(gmpy2.powmod(c % KEY.n, int(gmpy2.invert(N, (P - 1) * (Q - 1))), N))}
    assert combine(seats, c, partials).plaintext == message


@given(message=st.integers(0, N - 1), randomness=st.integers(0, 2**512), sign=st.booleans())
@settings(max_examples=20)
def test_it_opens_what_phe_decrypts(message: int, randomness: int, sign: bool) -> None:
    c = KEY.encrypt(message, randomness)
    c = KEY.n2 - c if sign else c
    opening = combine(SEATS, c, all_partials(SEATS, SHARES, c))
    assert opening.plaintext == message == PRIVATE.raw_decrypt(int(c))
    verify_openings(KEY, [(c, opening)])


@given(st.integers(1, N**2 - 1).filter(lambda c: gmpy2.gcd(c, N) == 1))
@settings(max_examples=20)
def test_it_opens_every_unit(value: int) -> None:
    # Not only what encryption with short randomness makes: a ciphertext comes from outside.
    c = mpz(value)
    opening = combine(SEATS, c, all_partials(SEATS, SHARES, c))
    assert opening.plaintext == PRIVATE.raw_decrypt(value)


def test_the_sign_is_carried_by_the_root() -> None:
    c, opening = opened(99)
    minus = KEY.n2 - c
    other = combine(SEATS, minus, all_partials(SEATS, SHARES, minus))
    assert other == Opening(opening.plaintext, KEY.n - opening.root)


@pytest.mark.parametrize("members, threshold", SIZES)
def test_too_few_partials(members: int, threshold: int) -> None:
    seats, shares = committee(members, threshold)
    c = KEY.encrypt(1, 2)
    partials = all_partials(seats, shares, c)
    for quorum in combinations(seats.indices, threshold):
        with pytest.raises(ParameterError, match=f"{threshold}/{threshold + 1} partial decryptions"):
            combine(seats, c, {i: partials[i] for i in quorum})
    with pytest.raises(ParameterError, match="missing: members"):
        combine(seats, c, {})


@pytest.mark.parametrize("members, threshold", SIZES)
def test_a_wrong_partial_opens_nothing(members: int, threshold: int) -> None:
    seats, shares = committee(members, threshold)
    c = KEY.encrypt(7, fresh_randomness())
    partials = all_partials(seats, shares, c)
    for liar in range(1, threshold + 2):
        x = partials[liar]
        lies = [x + 1, x * x, gmpy2.invert(x, KEY.n), mpz(1), mpz(2), c % KEY.n]
        for lie in lies:
            with pytest.raises(VerificationError, match="do not combine"):
                combine(seats, c, partials | {liar: lie % KEY.n})


def test_a_partial_may_lie_only_about_its_sign() -> None:
    # Squares are combined, so -x_i serves as x_i; that is why blame compares squares.
    c, opening = opened(5)
    partials = all_partials(SEATS, SHARES, c)
    assert combine(SEATS, c, partials | {1: KEY.n - partials[1]}) == opening


def test_partials_of_another_ciphertext_member_or_key() -> None:
    c, d = KEY.encrypt(1, 11), KEY.encrypt(1, 12)
    right, wrong = all_partials(SEATS, SHARES, c), all_partials(SEATS, SHARES, d)
    _, strangers = committee()  # the same N, another polynomial
    twin = {1: right[1], 2: partial(SEATS, strangers[1], c)}
    for partials in (right | {1: wrong[1]}, {1: right[2], 2: right[1]}, {1: right[1], 3: right[2]}, twin):
        with pytest.raises(VerificationError):
            combine(SEATS, c, partials)
    assert combine(SEATS, c, all_partials(SEATS, strangers, c)).plaintext == 1
    other, shares = deal(safe_prime(300), safe_prime(300), 3, 1)
    with pytest.raises(VerificationError):
        combine(SEATS, c, {i: x % KEY.n for i, x in all_partials(other, shares, c).items()})


def test_shares_of_a_wrong_value() -> None:
    c = KEY.encrypt(3, fresh_randomness())
    for bad in (SHARES[0].value + 1, 0, SHARES[1].value):
        partials = all_partials(SEATS, [replace(SHARES[0], value=bad), *SHARES[1:]], c)
        with pytest.raises(VerificationError):
            combine(SEATS, c, partials)
        assert combine(SEATS, c, {i: partials[i] for i in (2, 3)}).plaintext == 3


def test_repr_shows_no_share_and_no_plaintext() -> None:
    c, opening = opened(123_456_789)
    assert repr(SHARES[0]) == "KeyShare(index=1)"
    assert repr(opening) == "Opening()"
    assert str(c) not in repr(opening)


# --- residues from outside --------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, N, N + 1, P, Q, 3 * P, N - Q, (1 << 768) - 1])
def test_what_is_no_unit_is_not_decoded(value: int) -> None:
    with pytest.raises(DecodeError, match="partial: not a unit"):
        decode_residue(KEY, value.to_bytes(KEY.modulus_bytes, "big"), "partial")


@pytest.mark.parametrize("width", [0, 95, 97, 192])
def test_a_residue_has_one_width(width: int) -> None:
    with pytest.raises(DecodeError, match=f"{width} bytes where 96 are due"):
        decode_residue(KEY, bytes(width), "root")


@given(st.integers(1, N - 1))
def test_a_unit_round_trips(value: int) -> None:
    data = value.to_bytes(KEY.modulus_bytes, "big")
    assert decode_residue(KEY, data, "root") == value


# --- verification of openings -----------------------------------------------------------------------


def lies(opening: Opening) -> list[Opening]:
    m, root = opening.plaintext, opening.root
    return [
        replace(opening, plaintext=(m + 1) % N),
        replace(opening, plaintext=(m - 1) % N),
        replace(opening, plaintext=N - m - 1),
        replace(opening, plaintext=m ^ (1 << 300)),
        replace(opening, root=root % N + 1),
        replace(opening, root=root * 2 % N),
        replace(opening, root=gmpy2.invert(root, N)),
        replace(opening, root=mpz(1)),
        Opening(m + 1, root + 1),
    ]


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_each_wrong_component_is_noticed_alone_and_in_a_batch(batch: int) -> None:
    rows = [opened(secrets.randbelow(N // 2)) for _ in range(batch)]
    verify_openings(KEY, rows)
    at = batch // 2
    for lie in lies(rows[at][1]):
        with pytest.raises(VerificationError, match=f"at least one of {batch}"):
            verify_openings(KEY, [*rows[:at], (rows[at][0], lie), *rows[at + 1 :]])


def test_the_other_root_is_accepted() -> None:
    # (-rho)^N = -rho^N: the equation up to sign, which no plaintext depends on.
    rows = [opened(i) for i in range(4)]
    minus = [(c, replace(o, root=KEY.n - o.root)) for c, o in rows]
    for _ in range(4):
        verify_openings(KEY, minus)
        verify_openings(KEY, [*rows, *minus])
        verify_openings(KEY, minus[:1])


def test_errors_that_sum_to_zero_are_noticed() -> None:
    (c, one), (d, two) = opened(10), opened(20)
    with pytest.raises(VerificationError):
        verify_openings(KEY, [(c, replace(one, plaintext=mpz(11))), (d, replace(two, plaintext=mpz(19)))])
    with pytest.raises(VerificationError):
        verify_openings(KEY, [(c, two), (d, one)])
    x = mpz(3)
    swapped = [
        (c, replace(one, root=one.root * x % N)),
        (d, replace(two, root=two.root * gmpy2.invert(x, N) % N)),
    ]
    with pytest.raises(VerificationError):
        verify_openings(KEY, swapped)


@pytest.mark.parametrize(
    "change", [{"plaintext": N}, {"plaintext": -1}, {"root": 0}, {"root": N}, {"root": -1}], ids=str
)
def test_openings_out_of_range(change: dict[str, int]) -> None:
    c, opening = opened(4)
    with pytest.raises(VerificationError, match="out of range"):
        verify_openings(KEY, [(c, replace(opening, **{k: mpz(v) for k, v in change.items()}))])


def test_no_openings_hold() -> None:
    verify_openings(KEY, [])


# --- the ceremony -----------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [64, 128, 257])
def test_safe_primes(bits: int) -> None:
    seen: list[int] = []
    p = safe_prime(bits, seen.append)
    assert p.bit_length() == bits
    assert p >> (bits - 2) == 3  # so that a product of two has exactly twice the bits
    assert gmpy2.is_prime(p, 40)
    assert gmpy2.is_prime((p - 1) // 2, 40)
    assert seen == sorted(seen)
    assert safe_prime(bits) != p


def prime_that_is_not_safe() -> int:
    p = gmpy2.next_prime(P)
    while gmpy2.is_prime((p - 1) // 2):
        p = gmpy2.next_prime(p)
    return int(p)


@pytest.mark.parametrize(
    "p, q",
    [
        (P, P),
        (P, Q + 2),
        (P, prime_that_is_not_safe()),
        (prime_that_is_not_safe(), Q),
        (P * Q, Q),
        (P, (Q - 1) // 2 * 2 - 1),
        (P, 1),
        (P, 4),
        (P, -Q),
    ],
    ids=["equal", "even", "q not safe", "p not safe", "composite", "near", "one", "four", "negative"],
)
def test_the_ceremony_refuses_other_primes(p: int, q: int) -> None:
    with pytest.raises(ParameterError):
        deal(p, q, 3, 1)


def test_primes_that_divide_each_others_order_are_refused() -> None:
    # q = 2p + 1: p divides q - 1, so N is not invertible modulo p'q'.
    p = 5
    q = 11
    with pytest.raises(ParameterError, match="shares a factor"):
        deal(p, q, 3, 1)


@pytest.mark.parametrize(
    "members, threshold", [(3, 0), (2, 1), (4, 2), (1, 0), (0, 0), (3, -1), (17, 1), (5, 3)]
)
def test_committees_without_a_majority_are_refused(members: int, threshold: int) -> None:
    with pytest.raises(ParameterError, match=f"n = {members}, t = {threshold}"):
        Committee(KEY, members, threshold)
    with pytest.raises(ParameterError):
        deal(P, Q, members, threshold)


@pytest.mark.parametrize(
    "change, match",
    [
        ({"values": SEATS.values[:2]}, "2 verification values for 3 members"),
        ({"values": (*SEATS.values, mpz(4))}, "4 verification values for 3 members"),
        ({"values": (*SEATS.values[:2], mpz(0))}, "not a unit"),
        ({"values": (*SEATS.values[:2], KEY.n)}, "not a unit"),
        ({"values": (*SEATS.values[:2], mpz(P))}, "not a unit"),
        ({"values": (*SEATS.values[:2], mpz(-1))}, "not a unit"),
        ({"epoch": -1}, "epoch -1, scale 0"),
        ({"epoch": 1 << 16}, "a new key is due"),
        ({"epoch": 40, "scale": 33}, "or 32 of members"),
        ({"epoch": 1, "scale": 2}, "epoch 1, scale 2"),
        ({"epoch": 1, "scale": -1}, "scale -1"),
    ],
)
def test_impossible_public_states_are_refused(change: dict[str, Any], match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        replace(SEATS, **change)


@pytest.mark.parametrize("members, threshold", SIZES)
def test_shares_are_fresh_values_of_one_integer_polynomial(members: int, threshold: int) -> None:
    order = (P - 1) // 2 * ((Q - 1) // 2)
    (seats, one), (_, two) = committee(members, threshold), committee(members, threshold)
    assert [s.index for s in one] == [*seats.indices]
    assert all(0 < s.value < seats.share_bound for s in one)
    assert not {s.value for s in one} & {s.value for s in two}
    constants = set()
    for quorum in combinations(one, threshold + 1):
        indices = [s.index for s in quorum]
        scaled = sum(lagrange_at_zero(seats.delta, indices, s.index) * s.value for s in quorum)
        assert scaled % seats.delta == 0
        constants.add(scaled // seats.delta)
    (constant,) = constants
    assert constant % order == gmpy2.invert(N, order)
    assert constant % seats.delta**2 == 0
    assert 0 < constant < seats.delta**2 * order
    # One share less gives another value at zero.
    fewer = [s.index for s in one[:threshold]]
    assert sum(lagrange_at_zero(seats.delta, fewer, i) * one[i - 1].value for i in fewer) % order != (
        seats.delta * constant % order
    )


@pytest.mark.parametrize("members, threshold", [(3, 1), (4, 1), (5, 2), (16, 7)])
def test_coefficients_hide_the_secret(members: int, threshold: int) -> None:
    for scale in (0, 1, 32):
        seats = Committee(KEY, members, threshold, epoch=40, scale=scale)
        secret = seats.delta ** (2 + scale) * (N // 4)
        moved = secret * members ** (2 * threshold) * 2 * (threshold + 1)  # in a replacement, a refresh
        assert moved * threshold << 80 <= 1 << seats.coefficient_bits
        assert seats.dealing_bound >= secret + sum(
            members**k * ((1 << seats.coefficient_bits) - 1) for k in range(1, threshold + 1)
        )


def test_shares_grow_slowly() -> None:
    seats = Committee(published_key("production"), 4, 1)
    bits = [replace(seats, epoch=epoch).share_bits for epoch in (0, 1, 365, 3_650)]
    assert bits == [bits[0] + grown for grown in (0, 2, 10, 14)]
    assert replace(seats, epoch=1, scale=1).share_bits - bits[1] <= 16
    assert bits[0] < 3_072 + 110


def test_check_share() -> None:
    for share in SHARES:
        check_share(SEATS, share)
    first = SHARES[0]
    for wrong in (replace(first, index=2), replace(first, value=first.value + 1)):
        with pytest.raises(VerificationError, match="not that of its verification value"):
            check_share(SEATS, wrong)
    order = (P - 1) // 2 * ((Q - 1) // 2)
    check_share(SEATS, replace(first, value=first.value % order))  # another integer, the same share
    for value in (0, -first.value, SEATS.share_bound, first.value + order * SEATS.share_bound):
        with pytest.raises(VerificationError, match="member 1: outside 1 to"):
            check_share(SEATS, replace(first, value=value))
    for index in (0, 4):
        with pytest.raises(ParameterError, match="no verification value"):
            check_share(SEATS, replace(first, index=index))


def test_the_base_is_a_square_that_follows_from_the_modulus() -> None:
    assert SEATS.base == committee(5, 2)[0].base
    assert gmpy2.jacobi(SEATS.base, P) == gmpy2.jacobi(SEATS.base, Q) == 1
    assert gmpy2.gcd(SEATS.base - 1, N) == 1  # so it generates QR_N
