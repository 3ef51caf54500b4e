"""Packed Paillier against `phe`'s private key, packing against its definition, refused ciphertexts."""

from __future__ import annotations

import pickle
import random
from hashlib import sha256, shake_256

import gmpy2
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st
from phe import PaillierPrivateKey, PaillierPublicKey

from commitments.errors import DecodeError, ParameterError
from commitments.paillier import (
    Packing,
    PublicKey,
    equal_up_to_sign,
    fresh_randomness,
    public_key,
    unpack,
)
from commitments.params import MASK_BITS, MAX_MASK_SETS, MAX_ORDERS_PER_ROUND, PROFILES, SLOT_BITS
from tests.commitments_equations import coefficient
from tests.commitments_support import LARGEST, primes, published_key

KEY = published_key()
P, Q = primes()
N, N2 = int(KEY.n), int(KEY.n2)
PRIVATE = PaillierPrivateKey(PaillierPublicKey(N), P, Q)
MESSAGES = st.integers(0, N - 1) | st.sampled_from([0, 1, N - 1])
EXPONENTS = st.integers(0, 2**320 - 1) | st.sampled_from([0, 1, 255, 256, 2**640 - 1, 2**640, 2**700])


def decrypt(c: mpz) -> int:
    return int(PRIVATE.raw_decrypt(int(c)))


# --- against phe ------------------------------------------------------------------------------------


@given(MESSAGES, EXPONENTS)
@settings(max_examples=30)
def test_phe_decrypts_what_we_encrypt(message: int, randomness: int) -> None:
    c = KEY.encrypt(message, randomness)
    assert decrypt(c) == message
    assert c == pow(1 + N, message, N2) * pow(int(KEY.h), randomness, N2) % N2
    assert KEY.decode_ciphertext(KEY.encode_ciphertext(c), "c") == c
    wrapped = KEY.to_phe(c)
    assert PRIVATE.raw_decrypt(wrapped.ciphertext(be_secure=False)) == message


@given(st.lists(st.tuples(MESSAGES, EXPONENTS), max_size=6))
@settings(max_examples=30)
def test_a_product_decrypts_to_the_sum(parts: list[tuple[int, int]]) -> None:
    total = KEY.product(KEY.encrypt(m, s) for m, s in parts)
    assert decrypt(total) == sum(m for m, _ in parts) % N
    assert total == KEY.encrypt(sum(m for m, _ in parts), sum(s for _, s in parts))


def test_of_nothing_the_product_is_one() -> None:
    assert KEY.product([]) == 1
    assert decrypt(KEY.product([])) == 0


def test_the_sign_changes_no_plaintext() -> None:
    c = KEY.encrypt(12345, 678)
    assert decrypt(KEY.n2 - c) == 12345
    assert equal_up_to_sign(c, KEY.n2 - c, KEY.n2)
    assert equal_up_to_sign(c, c + KEY.n2, KEY.n2)
    assert not equal_up_to_sign(c, c + 1, KEY.n2)
    assert not equal_up_to_sign(c, gmpy2.invert(c, KEY.n2), KEY.n2)


def test_packed_histograms_add_up_slot_by_slot() -> None:
    rng, packing = random.Random(5), Packing(9, KEY.bits)
    histograms = [[rng.randrange(1 << 32) for _ in range(packing.slots)] for _ in range(7)]
    products = [
        KEY.product(KEY.encrypt(packing.plaintexts(h)[j], fresh_randomness()) for h in histograms)
        for j in range(packing.ciphertexts)
    ]
    opened = [x for j, c in enumerate(products) for x in unpack(decrypt(c), packing.slots_of(j))]
    assert opened == packing.cumulate([sum(column) for column in zip(*histograms, strict=True)])


# --- the key ----------------------------------------------------------------------------------------


def test_the_base_is_hashed_from_label_and_modulus() -> None:
    encoded = N.to_bytes(96, "big")
    x = int.from_bytes(shake_256(b"darkpool/v1/paillier-base" + encoded).digest(96 + 16), "big") % N
    assert KEY.h == pow(-x * x % N, N, N2)
    assert KEY.key_id == sha256(b"darkpool/v1/committee-key-id" + encoded).digest()
    assert gmpy2.jacobi(KEY.h, KEY.n) == 1
    assert decrypt(KEY.h) == 0


def test_the_base_generates_the_largest_group_of_n_th_powers() -> None:
    # Order p'q' up to sign: h^(2 p' q') = 1 and no smaller quotient does it.
    half_p, half_q = (P - 1) // 2, (Q - 1) // 2
    assert pow(KEY.h, 2 * half_p * half_q, KEY.n2) == 1
    for order in (2 * half_p, 2 * half_q, half_p, half_q, 2):
        assert pow(KEY.h, order, KEY.n2) != 1


@given(EXPONENTS)
@settings(max_examples=30)
def test_the_table_agrees_with_the_library(exponent: int) -> None:
    assert KEY.h_power(exponent) == gmpy2.powmod(KEY.h, exponent, KEY.n2)


@pytest.mark.parametrize("n", [0, 1, 15, 2**511 - 1, 2**768, N + 1, N - 1])
def test_a_modulus_that_is_even_or_short_is_refused(n: int) -> None:
    with pytest.raises(ParameterError, match="odd and has at least 512 bits"):
        PublicKey(mpz(n))


def test_a_key_travels_as_its_modulus() -> None:
    data = pickle.dumps(KEY)
    assert len(data) < 300
    assert pickle.loads(data) is public_key(N)  # noqa: S301 - our own bytes
    assert str(N)[:20] not in repr(KEY)


def test_randomness_has_320_bits() -> None:
    drawn = [fresh_randomness() for _ in range(40)]
    assert len(set(drawn)) == 40
    assert 300 < max(x.bit_length() for x in drawn) <= 320


# --- what is no ciphertext --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [0, -1, N2, N2 + 1, 2 * N2, P, Q, N, 5 * P, P * P, Q * Q, N2 - N, N2 - P, N2 - Q, (Q - 1) * P * 4],
    ids=["0", "-1", "N2", "N2+1", "2N2", "p", "q", "N", "5p", "pp", "qq", "N2-N", "N2-p", "N2-q", "multiple"],
)
def test_what_is_no_unit_below_n_squared_is_refused(value: int) -> None:
    with pytest.raises(DecodeError, match=r"^c: "):
        KEY.check_ciphertext(mpz(value), "c")
    if 0 <= value < 1 << 8 * KEY.ciphertext_bytes:
        with pytest.raises(DecodeError, match=r"^c: "):
            KEY.decode_ciphertext(value.to_bytes(KEY.ciphertext_bytes, "big"), "c")


@pytest.mark.parametrize("value", [1, 2, N2 - 1, N + 1, N - 1, P + Q])
def test_units_are_ciphertexts(value: int) -> None:
    KEY.check_ciphertext(mpz(value), "c")


def test_a_ciphertext_has_one_width() -> None:
    data = KEY.encode_ciphertext(KEY.encrypt(1, 2))
    assert len(data) == KEY.ciphertext_bytes == 192
    for bad in (b"", data[1:], data + b"\0", b"\0" + data):
        with pytest.raises(DecodeError, match=f"192 bytes, not {len(bad)}"):
            KEY.decode_ciphertext(bad, "c")


# --- packing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, levels, per_ciphertext, ciphertexts",
    [
        ("production", 64, 32, 4),
        ("production", 256, 32, 16),
        ("production", 2, 32, 1),
        ("development", 64, 21, 7),
        ("insecure-test", 64, 8, 16),
        ("insecure-test", 4, 8, 1),
        ("insecure-test", 5, 8, 2),
    ],
)
def test_parts_of_every_profile(name: str, levels: int, per_ciphertext: int, ciphertexts: int) -> None:
    packing = Packing(levels, PROFILES[name].modulus_bits)
    assert (packing.per_ciphertext, packing.ciphertexts) == (per_ciphertext, ciphertexts)
    assert sum(packing.slots_of(j) for j in range(ciphertexts)) == packing.slots == 2 * levels
    places = [packing.place(v) for v in range(packing.slots)]
    assert len(set(places)) == len(places)
    assert all(place < packing.slots_of(j) for j, place in places)


@pytest.mark.parametrize("name", PROFILES)
def test_a_full_ciphertext_stays_below_any_modulus_and_inside_its_slots(name: str) -> None:
    packing = Packing(256, PROFILES[name].modulus_bits)
    # Worst case: a full round of largest orders on one side and the largest mask of every key.
    histogram = [MAX_ORDERS_PER_ROUND * LARGEST] + [0] * (packing.slots - 2)
    histogram += [MAX_ORDERS_PER_ROUND * LARGEST]
    mask = MAX_MASK_SETS * ((1 << MASK_BITS) - 1)
    curves = packing.cumulate(histogram)
    worst = [max(curves) + mask] * packing.slots
    smallest_modulus = 1 << (packing.modulus_bits - 1)
    for j, plaintext in enumerate(packing.pack(worst)):
        assert 0 < plaintext < smallest_modulus
        assert unpack(plaintext, packing.slots_of(j)) == worst[: packing.slots_of(j)]
    # One slot more would not be safe.
    assert ((max(worst) << SLOT_BITS * packing.per_ciphertext) + smallest_modulus) >> packing.modulus_bits


@given(
    st.integers(2, 20).flatmap(
        lambda t: st.lists(st.integers(-(2**250), 2**250), min_size=2 * t, max_size=2 * t)
    )
)
@settings(max_examples=60)
def test_the_curves_are_what_they_are_called(histogram: list[int]) -> None:
    packing = Packing(len(histogram) // 2, KEY.bits)
    values, ticks = packing.cumulate(histogram), range(packing.levels)
    for i in ticks:
        assert values[2 * i] == sum(histogram[2 * j] for j in ticks if j >= i)
        assert values[2 * i + 1] == sum(histogram[2 * j + 1] for j in ticks if j <= i)
    for j, plaintext in enumerate(packing.plaintexts(histogram)):
        coefficients = (
            coefficient(packing.per_ciphertext, packing.levels, k, j) for k in range(packing.slots)
        )
        assert plaintext == sum(c * h for c, h in zip(coefficients, histogram, strict=True))


@given(st.lists(st.integers(0, 2**96 - 1), max_size=10))
def test_unpack_undoes_pack(values: list[int]) -> None:
    plaintext = sum(v << (96 * i) for i, v in enumerate(values))
    assert unpack(plaintext, len(values)) == values
    assert unpack(plaintext, len(values) + 2) == [*values, 0, 0]
    with pytest.raises(ParameterError, match=f"exceeds its {len(values)} slots"):
        unpack(plaintext + (1 << 96 * len(values)), len(values))


@pytest.mark.parametrize("count", [0, 3, 5])
def test_a_histogram_of_another_size_is_refused(count: int) -> None:
    with pytest.raises(ParameterError, match=f"{count} slots where 4 are due"):
        Packing(2, KEY.bits).cumulate([0] * count)


def test_a_negative_plaintext_does_not_unpack() -> None:
    with pytest.raises(ParameterError, match="exceeds"):
        unpack(-1, 3)
