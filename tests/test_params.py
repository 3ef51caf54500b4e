"""Sizes that must fit each other, and domain-separation labels over the whole source tree."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import permutations
from math import comb
from pathlib import Path

import gmpy2
import pytest
from py_ecc.optimized_bls12_381 import curve_order

from commitments import params
from commitments.errors import ParameterError
from commitments.paillier import Packing
from commitments.params import PROFILES, profile

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(path for package in ("commitments", "darkpool") for path in (ROOT / package).rglob("*.py"))
LABEL_NAME = re.compile(r"_?(LABEL|DST)_[A-Z_]+|_?[A-Z_]+_LABEL")
VERSIONED = re.compile(rb"darkpool/v1/[a-z0-9]+([-/][a-z0-9]+)*/?|DARKPOOL-V01-CS01-with-[A-Z0-9:_-]+_")


def declared() -> Iterator[tuple[str, str, bytes]]:
    """(file, name, value) of every constant that is called a label, by its source text."""
    for path in SOURCES:
        for node in ast.parse(path.read_text()).body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            for target in targets:
                if isinstance(target, ast.Name) and LABEL_NAME.fullmatch(target.id):
                    value = getattr(node, "value", None)
                    if isinstance(value, ast.Constant) and isinstance(value.value, bytes):
                        yield str(path.relative_to(ROOT)), target.id, value.value


LABELS = list(declared())
VALUES = [value for _, _, value in LABELS]


def test_every_module_with_labels_is_seen() -> None:
    files = {file for file, _, _ in LABELS}
    assert {"commitments/params.py", "commitments/transcript.py", "commitments/sealing.py"} <= files
    assert len(LABELS) > 20


@pytest.mark.parametrize("file, name, value", LABELS, ids=[name for _, name, _ in LABELS])
def test_a_label_is_versioned(file: str, name: str, value: bytes) -> None:
    assert VERSIONED.fullmatch(value), (file, name)


def test_labels_are_unique() -> None:
    assert len(set(VALUES)) == len(VALUES)


def test_every_domain_string_is_a_named_constant() -> None:
    # A label written where it is used escapes the tests above.
    written = [
        (path.name, node.value)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, bytes)
        and node.value.startswith((b"darkpool/", b"DARKPOOL-"))
    ]
    assert sorted(value for _, value in written) == sorted(VALUES), written


def bare_labels() -> set[str]:
    """Names of the labels that are joined to data with +, where no length keeps them apart."""
    names = {name for _, name, _ in LABELS}
    return {
        node.left.id
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Add)
        and isinstance(node.left, ast.Name)
        and node.left.id in names
    }


def test_no_label_joined_to_data_is_a_prefix_of_another() -> None:
    bare = bare_labels()
    assert {
        "LABEL_GENERATOR",
        "LABEL_PAILLIER_BASE",
        "LABEL_KEY_ID",
        "LABEL_ORDER_HASH",
        "LABEL_LEAF_KEY",
    } <= bare
    for (_, a, first), (_, b, second) in permutations(LABELS, 2):
        if a in bare or b in bare:
            assert not second.startswith(first), (a, b)


def test_a_label_that_begins_another_is_always_behind_a_length() -> None:
    # HKDF paths, Writer.var, TupleHash and KMAC's S: nothing that follows can turn one label into the other.
    pairs = {(a, b) for (_, a, first), (_, b, second) in permutations(LABELS, 2) if second.startswith(first)}
    assert pairs <= {("LABEL_NOTE", "_NOTE_LABEL")}


# --- sizes ------------------------------------------------------------------------------------------


def test_the_group_order() -> None:
    assert curve_order == params.GROUP_ORDER
    assert gmpy2.is_prime(params.GROUP_ORDER)


def test_a_slot_holds_a_full_round_and_all_its_masks() -> None:
    most = params.MAX_ORDERS_PER_ROUND * ((1 << params.QUANTITY_BITS) - 1)
    assert most < 1 << params.SUM_BITS
    masks = params.MAX_MASK_SETS * ((1 << params.MASK_BITS) - 1)
    assert masks < 1 << 92
    assert most + masks < 1 << params.SLOT_BITS
    assert params.MASK_BITS - params.SUM_BITS >= 40  # statistical distance of an opened slot


def test_shares_and_comparisons_of_the_clearing_have_room() -> None:
    assert gmpy2.is_prime(params.FIELD_PRIME)
    assert params.FIELD_PRIME % 4 == 3
    assert params.FIELD_PRIME > 1 << params.SLOT_BITS
    assert params.INTEGER_BITS > params.SUM_BITS + 1
    # MPyC's rule for secure integers: field of l + k + 2 bits.
    assert params.FIELD_PRIME.bit_length() >= params.INTEGER_BITS + params.STATISTICAL_BITS + 2


def test_responses_fit_their_bounds_and_masks_hide_them() -> None:
    e, h = (1 << params.CHALLENGE_BITS) - 1, (1 << params.QUANTITY_BITS) - 1
    assert (1 << params.SLOT_MASK_BITS) - 1 + e * h < 1 << params.SLOT_RESPONSE_BITS
    assert params.SLOT_MASK_BITS >= params.CHALLENGE_BITS + params.QUANTITY_BITS + 80
    s = (1 << params.RANDOMNESS_BITS) - 1
    assert (1 << params.RANDOMNESS_MASK_BITS) - 1 + e * s < 1 << params.RANDOMNESS_RESPONSE_BITS
    assert params.RANDOMNESS_MASK_BITS >= params.CHALLENGE_BITS + params.RANDOMNESS_BITS + 80
    # |z| below r on either side of zero, so that equal in the group is equal.
    assert 1 << (params.SLOT_RESPONSE_BITS + 1) < params.GROUP_ORDER
    assert 1 << params.POWERS_CHALLENGE_BITS < params.GROUP_ORDER
    assert 8 * params.SLOT_RESPONSE_BYTES >= params.SLOT_RESPONSE_BITS
    assert 8 * params.RANDOMNESS_RESPONSE_BYTES >= params.RANDOMNESS_RESPONSE_BITS
    assert params.CHALLENGE_BITS % 8 == params.GROUP_WEIGHT_BITS % 8 == params.CIPHERTEXT_WEIGHT_BITS % 8 == 0


def test_the_largest_amount_fits_a_remainder() -> None:
    assert params.QUANTITY_BITS + params.COLLATERAL_BITS < 128
    assert 1 << params.COLLATERAL_BITS < params.GROUP_ORDER


def test_default_committees_need_few_mask_keys() -> None:
    for members, threshold in ((3, 1), (4, 1), (5, 1), (5, 2)):
        assert comb(members, threshold) <= params.MAX_MASK_SETS


@pytest.mark.parametrize("name, bits, ciphertexts", [("production", 3072, 4), ("development", 2048, 7)])
def test_profiles(name: str, bits: int, ciphertexts: int) -> None:
    assert profile(name).modulus_bits == bits
    assert Packing(64, bits).ciphertexts == ciphertexts


def test_an_unknown_profile_is_refused_with_the_choice() -> None:
    for name in ("", "Production", "prod", "fast"):
        with pytest.raises(ParameterError, match="production, development, insecure-test"):
            profile(name)
    assert all(PROFILES[name].name == name for name in PROFILES)
