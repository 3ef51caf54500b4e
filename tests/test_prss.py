"""Pseudo-random secret sharing of masks: true shares, masks bound to everything, sizes that fit."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import combinations
from math import comb

import pytest
from Crypto.Hash import KMAC256
from hypothesis import given, settings
from hypothesis import strategies as st
from phe import PaillierPrivateKey, PaillierPublicKey

from commitments import shamir
from commitments.errors import ParameterError, VerificationError
from commitments.paillier import unpack
from commitments.params import FIELD_PRIME, MASK_BITS, MAX_MASK_SETS, SLOT_BITS
from commitments.prss import Mask, MaskKeys, MaskSet, deal_mask_keys, mask, mask_sets, opened_shares
from tests.commitments_support import primes, published_key

SIZES = [(n, t) for n in range(3, 17) for t in range(1, n) if n > 2 * t and comb(n, t) <= MAX_MASK_SETS]
ROOT = bytes(range(32))
KEY = bytes(range(100, 132))
MOST = (1 << 48) - 1


def masks_of(keys: MaskKeys, slots: int, name: bytes = b"curves") -> dict[MaskSet, Mask]:
    return {holders: mask(key, 31_337, ROOT, name, slots) for holders, key in keys.keys.items()}


def everybody(keys: dict[int, MaskKeys]) -> MaskKeys:
    return MaskKeys({holders: key for held in keys.values() for holders, key in held.keys.items()})


# --- shares -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("members, threshold", SIZES, ids=str)
def test_local_shares_are_a_sharing_of_the_true_values(members: int, threshold: int) -> None:
    rng = random.Random(members * 100 + threshold)
    values = [0, 1, MOST, *(rng.randrange(1 << 48) for _ in range(3))]
    keys = deal_mask_keys(members, threshold)
    total = [sum(m.slots[j] for m in masks_of(everybody(keys), 6).values()) for j in range(6)]
    masked = [x + r for x, r in zip(values, total, strict=True)]
    shares = {i: opened_shares(i, members, masked, masks_of(held, 6)) for i, held in keys.items()}
    for j, value in enumerate(values):
        column = {i: row[j] for i, row in shares.items()}
        # All n lie on one polynomial of degree t through the value ...
        assert shamir.reconstruct(column, members, threshold) == value
        for quorum in list(combinations(column, threshold + 1))[:20]:
            assert shamir.reconstruct({i: column[i] for i in quorum}, members, threshold) == value
    # ... and of no lower degree.
    column = {i: row[2] for i, row in shares.items()}
    with pytest.raises(VerificationError):
        shamir.reconstruct(column, members, threshold - 1)


def test_shares_add_up_across_openings() -> None:
    keys = deal_mask_keys(4, 1)
    shares = []
    for name, value in ((b"one", 1000), (b"two", 234)):
        masked = [value + sum(m.slots[0] for m in masks_of(everybody(keys), 1, name).values())]
        shares.append({i: opened_shares(i, 4, masked, masks_of(k, 1, name))[0] for i, k in keys.items()})
    total = {i: (shares[0][i] - shares[1][i]) % FIELD_PRIME for i in keys}
    assert shamir.reconstruct(total, 4, 1) == 766


def test_a_member_with_another_mask_is_off_the_polynomial() -> None:
    keys = deal_mask_keys(4, 1)
    masked = [5 + sum(m.slots[0] for m in masks_of(everybody(keys), 1).values())]
    shares = {i: opened_shares(i, 4, masked, masks_of(held, 1))[0] for i, held in keys.items()}
    for liar in keys:
        held = masks_of(keys[liar], 1)
        holders = next(iter(held))
        held[holders] = replace(held[holders], slots=(held[holders].slots[0] ^ 1,))
        with pytest.raises(VerificationError, match="degree"):
            shamir.reconstruct(shares | {liar: opened_shares(liar, 4, masked, held)[0]}, 4, 1)


# --- keys -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("members, threshold", SIZES, ids=str)
def test_t_members_lack_exactly_one_key(members: int, threshold: int) -> None:
    keys = deal_mask_keys(members, threshold)
    every = set(mask_sets(members, threshold))
    assert len(every) == comb(members, threshold)
    assert all(len(holders) == members - threshold for holders in every)
    for corrupt in combinations(keys, threshold):
        known = {holders for i in corrupt for holders in keys[i].keys}
        assert every - known == {tuple(i for i in keys if i not in corrupt)}
    for i, held in keys.items():
        assert set(held.keys) == {holders for holders in every if i in holders}


def test_holders_share_a_key_and_no_two_sets_do() -> None:
    keys = deal_mask_keys(5, 2)
    by_set: dict[MaskSet, set[bytes]] = {}
    for held in keys.values():
        for holders, key in held.keys.items():
            by_set.setdefault(holders, set()).add(key)
    assert all(len(found) == 1 for found in by_set.values())
    assert len({key for found in by_set.values() for key in found}) == 10
    assert all(len(key) == 32 for found in by_set.values() for key in found)


@pytest.mark.parametrize("members, threshold", [(7, 2), (8, 3), (17, 1), (16, 2), (7, 3)])
def test_committees_that_need_more_than_sixteen_keys_are_refused(members: int, threshold: int) -> None:
    with pytest.raises(ParameterError, match=f"n = {members}, t = {threshold}"):
        deal_mask_keys(members, threshold)


# --- the function -----------------------------------------------------------------------------------


def test_the_mask_is_the_documented_kmac() -> None:
    data = (31_337).to_bytes(8, "big") + ROOT + (4).to_bytes(4, "big") + b"name" + (3).to_bytes(2, "big")
    mac = KMAC256.new(key=KEY, data=data, mac_len=3 * 11 + 64, custom=b"darkpool/v1/prss-mask").digest()
    made = mask(KEY, 31_337, ROOT, b"name", 3)
    assert b"".join(r.to_bytes(11, "big") for r in made.slots) + made.randomness.to_bytes(64, "big") == mac


def test_a_mask_depends_on_every_input() -> None:
    first = mask(KEY, 1, ROOT, b"ab", 4)
    assert first == mask(KEY, 1, ROOT, b"ab", 4)
    others = [
        mask(KEY[:-1] + b"\0", 1, ROOT, b"ab", 4),
        mask(KEY, 2, ROOT, b"ab", 4),
        mask(KEY, 1, ROOT[:-1] + b"\0", b"ab", 4),
        mask(KEY, 1, ROOT, b"ac", 4),
        mask(KEY, 1, ROOT, b"ab\0", 4),
        mask(KEY, 1, ROOT, b"", 4),
        mask(KEY, 1, ROOT, b"ab", 5),
        mask(KEY, 1, ROOT, b"ab", 3),
    ]
    slots = [r for m in (first, *others) for r in m.slots]
    assert len(set(slots)) == len(slots)
    assert len({m.randomness for m in (first, *others)}) == len(others) + 1


@given(st.integers(1, 64), st.binary(max_size=64))
@settings(max_examples=30)
def test_masks_have_their_size(slots: int, name: bytes) -> None:
    made = mask(KEY, 1, ROOT, name, slots)
    assert len(made.slots) == slots
    assert all(0 <= r < 1 << MASK_BITS for r in made.slots)
    assert 0 <= made.randomness < 1 << 512


def test_masks_use_their_whole_range() -> None:
    drawn = [r for i in range(40) for r in mask(KEY, i, ROOT, b"x", 32).slots]
    assert max(r.bit_length() for r in drawn) == MASK_BITS
    mean = sum(drawn) / len(drawn) / (1 << MASK_BITS)
    assert 0.45 < mean < 0.55  # standard deviation 0.008


@pytest.mark.parametrize("root", [b"", ROOT[:-1], ROOT + b"\0"])
def test_a_root_has_32_bytes(root: bytes) -> None:
    with pytest.raises(ParameterError, match="32 are due"):
        mask(KEY, 1, root, b"x", 1)


@pytest.mark.parametrize("chain_id", [-1, 1 << 64])
def test_a_chain_id_has_64_bits(chain_id: int) -> None:
    with pytest.raises(ParameterError):
        mask(KEY, chain_id, ROOT, b"x", 1)


def test_repr_shows_neither_keys_nor_masks() -> None:
    assert repr(deal_mask_keys(3, 1)[1]) == "MaskKeys()"
    assert repr(mask(KEY, 1, ROOT, b"x", 1)) == "Mask()"


# --- on ciphertexts ---------------------------------------------------------------------------------


def test_the_mask_ciphertext_is_the_mask() -> None:
    key = published_key()
    private = PaillierPrivateKey(PaillierPublicKey(int(key.n)), *primes())
    made = mask(KEY, 1, ROOT, b"x", 8)
    c = made.ciphertext(key)
    assert unpack(private.raw_decrypt(int(c)), 8) == list(made.slots)
    assert c == key.encrypt(sum(r << SLOT_BITS * j for j, r in enumerate(made.slots)), made.randomness)


def test_sixteen_largest_masks_and_a_full_round_stay_inside_their_slots() -> None:
    key = published_key()
    private = PaillierPrivateKey(PaillierPublicKey(int(key.n)), *primes())
    largest = Mask(((1 << MASK_BITS) - 1,) * 8, 1)
    total = key.product([largest.ciphertext(key)] * MAX_MASK_SETS)
    total = key.product([total, key.encrypt(sum(MOST << SLOT_BITS * j for j in range(8)), 1)])
    expected = MAX_MASK_SETS * ((1 << MASK_BITS) - 1) + MOST
    assert unpack(private.raw_decrypt(int(total)), 8) == [expected] * 8
    assert expected < FIELD_PRIME
