"""Products of powers against the plain ones, by both methods; units against the same; what is no unit."""

from __future__ import annotations

import random
from math import prod

import gmpy2
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from commitments import multi_power as module
from commitments.errors import ParameterError, VerificationError
from commitments.multi_power import multi_power, unit_power
from tests.commitments_support import primes, published_key

KEY = published_key()
P, Q = primes()
N, N2 = int(KEY.n), int(KEY.n2)
EXPONENTS = st.integers(0, 2**208) | st.integers(0, 3) | st.sampled_from([2**80 - 1, 2**80, 2**400])
UNITS = st.integers(1, N2 - 1).filter(lambda u: gmpy2.gcd(u, N) == 1) | st.sampled_from(
    [1, 2, N2 - 1, N + 1, N - 1, N2 - N + 1, N2 - N - 1, P + Q]
)


def plain(bases: list[int], exponents: list[int], modulus: int) -> int:
    return prod(pow(b, e, modulus) for b, e in zip(bases, exponents, strict=True)) % modulus


@given(
    st.lists(st.tuples(st.integers(0, N2), EXPONENTS), max_size=12), st.sampled_from([N2, N, 3, 2**61 - 1])
)
@settings(max_examples=60)
def test_the_product_of_powers(pairs: list[tuple[int, int]], modulus: int) -> None:
    bases, exponents = [b for b, _ in pairs], [e for _, e in pairs]
    assert multi_power([mpz(b) for b in bases], exponents, mpz(modulus)) == plain(bases, exponents, modulus)


@pytest.mark.parametrize("by_buckets", [False, True], ids=["tables", "buckets"])
@pytest.mark.parametrize("window", [1, 2, 5, 9])
def test_each_method_at_each_window(window: int, by_buckets: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_plans", lambda *_: [(0, window, by_buckets)])
    rng = random.Random(window)
    bases = [rng.randrange(N2) for _ in range(9)]
    exponents = [rng.getrandbits(bits) for bits in (0, 1, 80, 80, 128, 208, 208, 209, 7)]
    assert multi_power([mpz(b) for b in bases], exponents, mpz(N2)) == plain(bases, exponents, N2)


def test_few_bases_are_taken_by_tables_and_many_by_buckets() -> None:
    chosen = [min(module._plans([80] * count, 80, 5))[2] for count in (1, 8, 1_000)]
    assert chosen == [False, False, True]


@pytest.mark.parametrize("count", [1, 2, 50, 300])
def test_many_short_exponents(count: int) -> None:
    rng = random.Random(count)
    bases = [rng.randrange(2, N) for _ in range(count)]
    exponents = [rng.getrandbits(80) for _ in range(count)]
    expected = plain(bases, exponents, N)
    assert multi_power([mpz(b) for b in bases], exponents, KEY.n) == expected
    assert unit_power([mpz(b) for b in bases], exponents, KEY.n) == plain(bases, exponents, N2)


@given(st.lists(st.tuples(UNITS, EXPONENTS), max_size=12))
@settings(max_examples=60)
def test_the_product_of_powers_of_units(pairs: list[tuple[int, int]]) -> None:
    units, exponents = [u for u, _ in pairs], [e for _, e in pairs]
    assert unit_power([mpz(u) for u in units], exponents, KEY.n) == plain(units, exponents, N2)


def test_a_change_by_an_encryption_of_anything_is_seen() -> None:
    # The part that only adds up, (1 + t n), is where a plaintext lies: it must not get lost.
    rng = random.Random(3)
    units, exponents = [mpz(rng.randrange(2, N)) for _ in range(10)], [rng.getrandbits(80) for _ in range(10)]
    right = unit_power(units, exponents, KEY.n)
    for at in range(10):
        for shift in (1, 1 << 96, N - 1):
            changed = [u * (1 + shift * N) % N2 if i == at else u for i, u in enumerate(units)]
            assert unit_power(changed, exponents, KEY.n) == right * pow(1 + N, shift * exponents[at], N2) % N2
            assert unit_power(changed, exponents, KEY.n) != right


def test_elements_of_order_two_are_not_lost() -> None:
    # 1 modulo p and -1 modulo q: whoever knows one knows the factors.
    root = int(gmpy2.invert(P, Q)) * P * 2 % N
    odd = (1 - root) % N
    assert odd not in (1, N - 1)
    assert odd * odd % N == 1
    lifted = pow(odd, N, N2)
    assert unit_power([mpz(lifted)], [3], KEY.n) == lifted
    assert unit_power([mpz(lifted), mpz(N2 - 1)], [3, 5], KEY.n) == N2 - lifted


@pytest.mark.parametrize("bad", [0, N, P, Q, 5 * P, P * P, N2 - N, N2 - Q, N2])
@pytest.mark.parametrize("at", [0, 1, 4])
def test_what_is_no_unit_is_refused_wherever_it_stands(bad: int, at: int) -> None:
    units = [mpz(u) for u in (2, 3, N + 1, N2 - 1)]
    units.insert(at, mpz(bad))
    for exponents in ([1] * 5, [0] * 5, [1 << 80] * 5):
        with pytest.raises(VerificationError, match="ciphertexts: one shares a factor with N"):
            unit_power(units, exponents, KEY.n)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_unequal_lengths_are_refused(count: int) -> None:
    with pytest.raises(ParameterError, match=f"2 bases and {count} exponents"):
        multi_power([mpz(2), mpz(3)], [1] * count, mpz(7))
    with pytest.raises(ParameterError, match=f"2 units and {count} exponents"):
        unit_power([mpz(2), mpz(3)], [1] * count, KEY.n)


def test_of_nothing_it_is_one() -> None:
    assert multi_power([], [], mpz(7)) == 1
    assert unit_power([], [], KEY.n) == 1
