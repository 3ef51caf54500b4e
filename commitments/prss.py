"""Pseudo-random secret sharing of the masks under which a product of ciphertexts is opened.

Every set A of n-t members shares a key. Its masks for one opening are a function of the key, the chain, the
sealed root and the opening's name, so nobody chooses a mask after seeing another's, and the same masks never
meet two lists. A slot's mask is the sum over all sets; from the opened value v = x + sum r_A each member
derives its Shamir share of x locally:

    share_i(x) = v - sum_{A contains i} r_A f_A(i),   f_A(0) = 1, f_A(j) = 0 for j outside A, degree t.

Cramer, Damgard, Ishai 2005, section 3. t members lack the key of exactly one set; its 88-bit mask hides a
48-bit sum to within 2^-40 (statistical).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import comb

from Crypto.Hash import KMAC256

from commitments.encoding import Writer
from commitments.errors import ParameterError
from commitments.paillier import Ciphertext, PublicKey
from commitments.params import (
    FIELD_PRIME,
    LABEL_MASK,
    MASK_BITS,
    MASK_RANDOMNESS_BITS,
    MAX_MASK_SETS,
    SLOT_BITS,
)

_KEY_BYTES = 32
MaskSet = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MaskKeys:
    """The keys one member holds, by the set of members that share each. Secret."""

    keys: Mapping[MaskSet, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Mask:
    """One set's masks of one opening: a value per slot, and the randomness of their encryption. Secret."""

    slots: tuple[int, ...] = field(repr=False)
    randomness: int = field(repr=False)

    def ciphertext(self, key: PublicKey) -> Ciphertext:
        """Enc(sum slots_j 2^(96 j); randomness): what every holder of the key computes alike."""
        return key.encrypt(sum(r << (SLOT_BITS * j) for j, r in enumerate(self.slots)), self.randomness)


def mask_sets(members: int, threshold: int) -> list[MaskSet]:
    """All sets of n-t members, in lexicographic order. Raises ParameterError above 16 sets."""
    if comb(members, threshold) > MAX_MASK_SETS:
        raise ParameterError(f"n = {members}, t = {threshold} needs more than {MAX_MASK_SETS} mask keys")
    return list(combinations(range(1, members + 1), members - threshold))


def deal_mask_keys(members: int, threshold: int) -> dict[int, MaskKeys]:
    """Fresh keys of every set, handed to its members."""
    keys = {a: secrets.token_bytes(_KEY_BYTES) for a in mask_sets(members, threshold)}
    return {i: MaskKeys({a: key for a, key in keys.items() if i in a}) for i in range(1, members + 1)}


def mask(key: bytes, chain_id: int, sealed_root: bytes, opening_id: bytes, slots: int) -> Mask:
    """PRF(key, chain, root, opening): `slots` masks of 88 bits and 512 bits of randomness (KMAC256)."""
    width = MASK_BITS // 8
    tail = MASK_RANDOMNESS_BITS // 8
    data = bytes(Writer().uint(chain_id, 8).fixed(sealed_root, 32).var(opening_id).uint(slots, 2))
    stream = KMAC256.new(key=key, data=data, mac_len=slots * width + tail, custom=LABEL_MASK).digest()
    values = tuple(int.from_bytes(stream[i * width : (i + 1) * width], "big") for i in range(slots))
    return Mask(values, int.from_bytes(stream[slots * width :], "big"))


def _indicator(members: int, holders: MaskSet, x: int) -> int:
    """f_A(x) modulo the field prime."""
    value = 1
    for j in range(1, members + 1):
        if j not in holders:
            value = value * (j - x) * pow(j, -1, FIELD_PRIME) % FIELD_PRIME
    return value


def opened_shares(
    index: int, members: int, opened: Sequence[int], masks: Mapping[MaskSet, Mask]
) -> list[int]:
    """Member `index`'s shares of the slots behind an opened, masked vector.

    `masks` are those of every set the member belongs to, of the same opening.
    """
    factors = {a: _indicator(members, a, index) for a in masks}
    return [
        (value - sum(factors[a] * m.slots[j] for a, m in masks.items())) % FIELD_PRIME
        for j, value in enumerate(opened)
    ]
