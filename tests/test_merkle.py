"""RFC 9162 trees: the published vectors, a recursive restatement of the RFC, and refusals."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path as FilePath
from typing import Any

import pymerkle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commitments.errors import ParameterError, VerificationError
from commitments.merkle import (
    EMPTY_ROOT,
    MAX_SIZE,
    Frontier,
    Path,
    Tree,
    leaf_hash,
    root,
    verify_consistency,
    verify_entry,
    verify_inclusion,
)
from tests.strategies import flip

VECTORS: dict[str, Any] = json.loads(
    (FilePath(__file__).parent / "vectors" / "rfc9162-tree.json").read_text("ascii")
)
ENTRIES = [bytes.fromhex(entry) for entry in VECTORS["entries"]]


def case(row: dict[str, Any]) -> tuple[Path, bytes]:
    return tuple(bytes.fromhex(node) for node in row["path"]), bytes.fromhex(row["root"])


def by_name(kind: str) -> list[Any]:
    return [pytest.param(row, id=row["name"]) for row in VECTORS[kind]]


# --- RFC 9162 sections 2.1.1, 2.1.3.1 and 2.1.4.1 as they are written, recursively ------------------


def mth(d: list[bytes]) -> bytes:
    if not d:
        return hashlib.sha256().digest()
    if len(d) == 1:
        return hashlib.sha256(b"\x00" + d[0]).digest()
    k = split(len(d))
    return hashlib.sha256(b"\x01" + mth(d[:k]) + mth(d[k:])).digest()


def split(n: int) -> int:
    return 1 << ((n - 1).bit_length() - 1)


def path_of(m: int, d: list[bytes]) -> Path:
    if len(d) == 1:
        return ()
    k = split(len(d))
    return (*path_of(m, d[:k]), mth(d[k:])) if m < k else (*path_of(m - k, d[k:]), mth(d[:k]))


def subproof(m: int, d: list[bytes], complete: bool) -> Path:
    if m == len(d):
        return () if complete else (mth(d),)
    k = split(len(d))
    if m <= k:
        return (*subproof(m, d[:k], complete), mth(d[k:]))
    return (*subproof(m - k, d[k:], False), mth(d[:k]))


# --- published vectors ------------------------------------------------------------------------------


def test_roots_meet_the_published_ones() -> None:
    tree = Tree()
    for size, published in enumerate(VECTORS["roots"]):
        assert root(ENTRIES[:size]).hex() == published
        assert tree.root().hex() == published
        if size < len(ENTRIES):
            assert tree.append(ENTRIES[size]) == size
    assert [leaf_hash(entry).hex() for entry in ENTRIES] == VECTORS["leaf_hashes"]
    assert EMPTY_ROOT.hex() == VECTORS["roots"][0]


@pytest.mark.parametrize("row", by_name("inclusion"))
def test_published_inclusion_proofs(row: dict[str, Any]) -> None:
    path, expected = case(row)
    leaf = bytes.fromhex(row["leaf"])
    if row["valid"]:
        verify_inclusion(leaf, row["index"], row["size"], path, expected)
    else:
        with pytest.raises(VerificationError):
            verify_inclusion(leaf, row["index"], row["size"], path, expected)
    if row["valid"] and not row["name"].startswith("single-entry"):
        assert Tree(ENTRIES).inclusion(row["index"], row["size"]) == path


@pytest.mark.parametrize("row", by_name("consistency"))
def test_published_consistency_proofs(row: dict[str, Any]) -> None:
    path, expected = case(row)
    old_root = bytes.fromhex(row["old_root"])
    # One published case accepts two equal "roots" that are not hashes; ours must have 32 bytes.
    if row["valid"] and len(expected) == 32:
        verify_consistency(row["old_size"], row["size"], path, old_root, expected)
        assert Tree(ENTRIES).consistency(row["old_size"], row["size"]) == path
    else:
        with pytest.raises(VerificationError):
            verify_consistency(row["old_size"], row["size"], path, old_root, expected)


# --- against the RFC's recursion, and pymerkle's own verifiers --------------------------------------


def test_every_proof_of_small_trees() -> None:
    entries = [bytes([n]) * (n % 5) for n in range(33)]
    tree = Tree(entries)
    for size in range(1, len(entries) + 1):
        now = mth(entries[:size])
        assert tree.root(size) == root(entries[:size]) == now
        for index in range(size):
            path = tree.inclusion(index, size)
            assert path == path_of(index, entries[:size])
            verify_entry(entries[index], index, size, path, now)
        for old in range(1, size + 1):
            path = tree.consistency(old, size)
            assert path == subproof(old, entries[:size], True)
            verify_consistency(old, size, path, tree.root(old), now)


def test_pymerkle_accepts_the_same_leaves_and_roots() -> None:
    entries = [n.to_bytes(2, "big") for n in range(21)]
    theirs = pymerkle.InmemoryTree.init_from_entries(entries)
    tree = Tree(entries)
    for index in range(len(entries)):
        proof = theirs.prove_inclusion(index + 1)
        pymerkle.verify_inclusion(leaf_hash(entries[index]), tree.root(), proof)
        assert tuple(proof.path[1:]) == tree.inclusion(index)
    for old in range(1, len(entries)):
        pymerkle.verify_consistency(tree.root(old), tree.root(), theirs.prove_consistency(old))


sizes = st.integers(1, 300)


@settings(max_examples=60)
@given(st.data(), sizes)
def test_inclusion_binds_everything(data: st.DataObject, size: int) -> None:
    entries = [n.to_bytes(2, "big") for n in range(size)]
    tree = Tree(entries)
    index = data.draw(st.integers(0, size - 1))
    path, now = tree.inclusion(index), tree.root()
    leaf = leaf_hash(entries[index])
    verify_inclusion(leaf, index, size, path, now)
    for wrong in (
        (flip(data, leaf), index, size, path, now),
        (leaf, index, size, path, flip(data, now)),
        (leaf, index, size, (*path, now), now),
        (leaf, index, size, (leaf, *path), now),
        (leaf, (index + 1) % size, size, path, now) if size > 1 else None,
        (leaf, index, size, path[:-1], now) if path else None,
        (leaf, index, size, path[1:], now) if path else None,
        (leaf, index, size, flip_one(data, path), now) if path else None,
        (leaf, index, size, (path[0][:31], *path[1:]), now) if path else None,
        (now, 0, 1, path, now) if path else None,
    ):
        if wrong is not None:
            with pytest.raises(VerificationError):
                verify_inclusion(*wrong)


@settings(max_examples=60)
@given(st.data(), st.integers(2, 300))
def test_consistency_binds_everything(data: st.DataObject, size: int) -> None:
    entries = [n.to_bytes(2, "big") for n in range(size)]
    tree = Tree(entries)
    old = data.draw(st.integers(1, size - 1))
    path, before, now = tree.consistency(old), tree.root(old), tree.root()
    verify_consistency(old, size, path, before, now)
    for wrong in (
        (old, size, path, flip(data, before), now),
        (old, size, path, before, flip(data, now)),
        (old, size, path, now, before),
        (old, size, (*path, now), before, now),
        (old, size, path[:-1], before, now),
        (old, size, flip_one(data, path), before, now),
        (old, size, (before, *path), before, now),
        (size, old, path, before, now),
        (old, old, path, before, now),
        (0, size, path, before, now),
    ):
        with pytest.raises(VerificationError):
            verify_consistency(*wrong)


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_a_rewritten_log_is_not_consistent(left: bytes, right: bytes) -> None:
    honest, forged = Tree([b"a", b"b", left]), Tree([b"a", b"c", left, right])
    with pytest.raises(VerificationError):
        verify_consistency(3, 4, forged.consistency(3), honest.root(), forged.root())


def test_an_inner_node_is_not_a_leaf() -> None:
    tree = Tree([b"a", b"b", b"c", b"d"])
    pair = leaf_hash(b"a") + leaf_hash(b"b")
    with pytest.raises(VerificationError):
        verify_entry(pair, 0, 2, (tree.inclusion(0)[1],), tree.root())


@pytest.mark.parametrize(
    "index,size", [(0, 0), (-1, 1), (1, 1), (0, -1), (0, MAX_SIZE + 1), (MAX_SIZE, MAX_SIZE)]
)
def test_sizes_are_bounded(index: int, size: int) -> None:
    leaf = leaf_hash(b"a")
    with pytest.raises(VerificationError):
        verify_inclusion(leaf, index, size, (), leaf)
    with pytest.raises(VerificationError):
        verify_consistency(size, size + 1, (leaf,), leaf, leaf)


def test_a_long_path_is_refused_before_it_is_hashed() -> None:
    leaf = leaf_hash(b"a")
    with pytest.raises(VerificationError, match="too long: 1000000 hashes"):
        verify_inclusion(leaf, 0, MAX_SIZE, [leaf] * 1_000_000, leaf)
    with pytest.raises(VerificationError, match="too long: 1000000 hashes"):
        verify_consistency(1, MAX_SIZE, [leaf] * 1_000_000, leaf, leaf)


def test_a_tree_proves_only_what_it_has() -> None:
    tree = Tree([b"a", b"b", b"c"])
    assert tree.size == 3
    assert Tree().root() == EMPTY_ROOT == root([])
    for index, size in ((3, None), (-1, None), (2, 2), (0, 0), (0, 4)):
        with pytest.raises(ParameterError):
            tree.inclusion(index, size)
    for old, size in ((0, None), (4, None), (3, 2), (1, 4), (-1, None)):
        with pytest.raises(ParameterError):
            tree.consistency(old, size)
    for size in (-1, 4):
        with pytest.raises(ParameterError):
            tree.root(size)
    with pytest.raises(ParameterError):
        Tree().inclusion(0)


def flip_one(data: st.DataObject, path: Path) -> Path:
    at = data.draw(st.integers(0, len(path) - 1))
    return (*path[:at], flip(data, path[at]), *path[at + 1 :])


# --- without a tree in memory -----------------------------------------------------------------------


@given(st.lists(st.binary(max_size=8), max_size=70))
def test_a_frontier_has_the_roots_of_the_tree_and_as_many_nodes_as_bits(entries: list[bytes]) -> None:
    frontier, tree = Frontier(), Tree()
    assert frontier.root() == EMPTY_ROOT
    for entry in entries:
        frontier.append(leaf_hash(entry))
        tree.append(entry)
        assert frontier.root() == tree.root()
        assert len(frontier.nodes) == frontier.size.bit_count() == tree.size.bit_count()


@given(st.lists(st.binary(max_size=8), max_size=40), st.data())
def test_a_frontier_goes_on_from_what_was_kept_of_it(entries: list[bytes], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(entries)))
    first = Frontier()
    for entry in entries[:cut]:
        first.append(leaf_hash(entry))
    again, kept = Frontier(first.size, first.nodes), list(first.nodes)
    for entry in entries[cut:]:
        again.append(leaf_hash(entry))
    assert again.root() == root(entries)
    assert first.nodes == kept  # the copy is its own


@pytest.mark.parametrize("size, nodes", [(0, 1), (1, 0), (2, 2), (3, 1), (4, 3), (7, 2)])
def test_nodes_that_make_no_tree_are_no_frontier(size: int, nodes: int) -> None:
    with pytest.raises(ParameterError, match=f"{nodes} subtrees do not make a tree of {size} leaves"):
        Frontier(size, [bytes(32)] * nodes)
