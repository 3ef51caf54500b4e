"""RFC 9162 Merkle trees: of a round's sealed list, and of append-only logs.

    leaf   SHA-256(0x00 || entry)
    node   SHA-256(0x01 || left || right)
    empty  SHA-256("")

The prover's side is a tree of `pymerkle` in memory. Roots recomputed from entries and both verifiers are the
algorithms of RFC 9162 alone, and never touch it: whoever checks a proof trusts SHA-256 and this page.
A path is the plain list of 32-byte hashes of RFC 9162, lowest first, without the leaf.

Indices count from 0, sizes from 1. Source: RFC 9162 sections 2.1.1, 2.1.3 and 2.1.4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from hmac import compare_digest
from typing import Final

from pymerkle import InmemoryTree

from commitments.errors import ParameterError, VerificationError

HASH_BYTES: Final = 32
MAX_SIZE: Final = 1 << 40  # leaves of the largest tree whose proofs are looked at: paths of at most 40 hashes
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()

Path = tuple[bytes, ...]


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 || entry), 32 bytes."""
    return hashlib.sha256(b"\x00" + entry).digest()


class Frontier:
    """The tree hash of a growing list of leaves, in logarithmic memory: RFC 9162 section 2.1.1.

    `nodes` are the roots of the perfect subtrees so far, widest first: one for each one bit of `size`.
    """

    __slots__ = ("nodes", "size")

    def __init__(self, size: int = 0, nodes: Iterable[bytes] = ()) -> None:
        self.size, self.nodes = size, list(nodes)
        if len(self.nodes) != size.bit_count():
            raise ParameterError(f"{len(self.nodes)} subtrees do not make a tree of {size} leaves")

    def append(self, leaf: bytes) -> None:
        """Adds a leaf by its hash."""
        bits = self.size
        while bits & 1:
            leaf = _node_hash(self.nodes.pop(), leaf)
            bits >>= 1
        self.nodes.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The tree hash, 32 bytes; of no leaves, SHA-256("")."""
        if not self.nodes:
            return EMPTY_ROOT
        *rest, node = self.nodes
        for left in reversed(rest):
            node = _node_hash(left, node)
        return node


def root(entries: Iterable[bytes]) -> bytes:
    """The tree hash MTH(entries) of RFC 9162 section 2.1.1, 32 bytes; of no entries, SHA-256("")."""
    frontier = Frontier()
    for entry in entries:
        frontier.append(leaf_hash(entry))
    return frontier.root()


class Tree:
    """An append-only tree in memory that proves inclusion and consistency.

    Earlier sizes stay provable. Raises ParameterError for an index or size the tree does not have.
    """

    __slots__ = ("_tree",)

    def __init__(self, entries: Iterable[bytes] = ()) -> None:
        self._tree = InmemoryTree(algorithm="sha256")
        for entry in entries:
            self.append(entry)

    @property
    def size(self) -> int:
        """The number of leaves."""
        return int(self._tree.get_size())

    def append(self, entry: bytes) -> int:
        """Adds a leaf and returns its index, counted from 0. Raises ParameterError when the tree is full."""
        if self.size >= MAX_SIZE:
            raise ParameterError(f"the tree is full: {MAX_SIZE} leaves")
        return int(self._tree.append_entry(bytes(entry))) - 1

    def append_hash(self, leaf: bytes) -> None:
        """Adds a leaf of which only the hash is at hand. Raises ParameterError when the tree is full."""
        if self.size >= MAX_SIZE:
            raise ParameterError(f"the tree is full: {MAX_SIZE} leaves")
        self._tree._store_leaf(None, leaf)  # noqa: SLF001 - what append_entry does once it has the hash

    def root(self, size: int | None = None) -> bytes:
        """The tree hash of the first `size` leaves (default all), 32 bytes."""
        return bytes(self._tree.get_root(self._within("size", size, 0)))

    def inclusion(self, index: int, size: int | None = None) -> Path:
        """PATH(index, D[0:size]) of RFC 9162 section 2.1.3.1, for `verify_inclusion`."""
        size = self._within("size", size, 1)
        if not 0 <= index < size:
            raise ParameterError(f"leaf {index} of a tree of {size} leaves; indices run from 0 to {size - 1}")
        # pymerkle counts from 1 and puts the leaf itself first.
        return tuple(bytes(node) for node in self._tree.prove_inclusion(index + 1, size).path[1:])

    def consistency(self, old_size: int, size: int | None = None) -> Path:
        """PROOF(old_size, D[0:size]) of RFC 9162 section 2.1.4.1, for `verify_consistency`."""
        size = self._within("size", size, 1)
        if not 0 < old_size <= size:
            raise ParameterError(f"old size {old_size} of {size} leaves; old sizes run from 1 to {size}")
        if old_size == size:
            return ()
        # pymerkle splits differently here, so the RFC's path is read off an inclusion path: the old tree ends
        # with a perfect subtree of 2^height leaves; its root, then what joins it to the new root.
        height = _last_height(old_size)
        path = self.inclusion(old_size - 1, size)
        if old_size == 1 << height:
            return path[height:]  # the old root itself, which the verifier has
        node = bytes(self._tree.get_leaf(old_size))
        for sibling in path[:height]:
            node = _node_hash(sibling, node)
        return (node, *path[height:])

    def _within(self, name: str, size: int | None, least: int) -> int:
        if size is None:
            size = self.size
        if not least <= size <= self.size:
            raise ParameterError(f"{name} {size}; the tree has {self.size} leaves, allowed are from {least}")
        return size


def verify_entry(entry: bytes, index: int, size: int, path: Sequence[bytes], expected_root: bytes) -> None:
    """Checks that `entry` is leaf `index` of the tree. Raises VerificationError, as `verify_inclusion`."""
    verify_inclusion(leaf_hash(entry), index, size, path, expected_root)


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], expected_root: bytes) -> None:
    """Checks that the leaf of hash `leaf` is leaf `index` of the tree of `size` leaves and that root.

    RFC 9162 section 2.1.3.2. Steps:
    1. bounds: 0 <= index < size <= 2^40, every hash 32 bytes, no path longer than any such tree needs;
    2. the path has the length index and size call for and joins the leaf to the root.

    Raises VerificationError.
    """
    what = "inclusion proof"
    # 1
    if not 0 < size <= MAX_SIZE:
        raise VerificationError(what, f"size {size} is outside 1 to {MAX_SIZE}")
    if not 0 <= index < size:
        raise VerificationError(what, f"index {index} is outside 0 to {size - 1}")
    _check_hashes(what, (("leaf", leaf), ("root", expected_root)), path)
    # 2
    r = leaf
    for p, from_left in _climb(what, index, size - 1, path):
        r = _node_hash(p, r) if from_left else _node_hash(r, p)
    if not compare_digest(r, expected_root):
        raise VerificationError(what, f"leaf {index} of {size} does not lead to the root")


def verify_consistency(
    old_size: int, size: int, path: Sequence[bytes], old_root: bytes, expected_root: bytes
) -> None:
    """Checks that the tree of `old_size` leaves is a prefix of the tree of `size` leaves.

    RFC 9162 section 2.1.4.2; equal sizes need an empty path and equal roots. Nothing can be consistent with
    a tree of no leaves: refused. Steps:
    1. bounds: 0 < old_size <= size <= 2^40, every hash 32 bytes, no path longer than any such tree needs;
    2. the path has the length the sizes call for and leads to the old root and to the new one.

    Raises VerificationError.
    """
    what = "consistency proof"
    # 1
    if not 0 < size <= MAX_SIZE:
        raise VerificationError(what, f"size {size} is outside 1 to {MAX_SIZE}")
    if not 0 < old_size <= size:
        raise VerificationError(what, f"old size {old_size} is outside 1 to {size}")
    _check_hashes(what, (("old root", old_root), ("root", expected_root)), path)
    if old_size == size:
        if path:
            raise VerificationError(what, f"equal sizes need an empty path, not {len(path)} hashes")
        if not compare_digest(old_root, expected_root):
            raise VerificationError(what, f"two different roots of {size} leaves")
        return
    # 2
    if not path:
        raise VerificationError(what, "the path is empty")
    height = _last_height(old_size)
    first, rest = (old_root, path) if old_size == 1 << height else (path[0], path[1:])
    fr = sr = first
    for c, from_left in _climb(what, (old_size - 1) >> height, (size - 1) >> height, rest):
        fr = _node_hash(c, fr) if from_left else fr
        sr = _node_hash(c, sr) if from_left else _node_hash(sr, c)
    if not compare_digest(fr, old_root):
        raise VerificationError(what, f"the path does not lead to the old root of {old_size} leaves")
    if not compare_digest(sr, expected_root):
        raise VerificationError(what, f"the path does not lead to the root of {size} leaves")


def _last_height(size: int) -> int:
    """The height of the last perfect subtree of a tree of `size` > 0 leaves: the trailing zeros of size."""
    return (size & -size).bit_length() - 1


def _node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _climb(what: str, fn: int, sn: int, path: Sequence[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each hash of a path and whether it joins from the left: the walk both verifiers of RFC 9162 share.

    fn is the node climbed from, sn the last node of the same level, both counted from 0.
    Raises VerificationError if the path does not end at the root.
    """
    for node in path:
        if sn == 0:
            raise VerificationError(what, f"the path is too long: {len(path)} hashes")
        from_left = bool(fn & 1) or fn == sn
        yield node, from_left
        # A last node without a sibling rises until it is a right child.
        while from_left and fn and not fn & 1:
            fn, sn = fn >> 1, sn >> 1
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise VerificationError(what, f"the path is too short: {len(path)} hashes")


def _check_hashes(what: str, named: tuple[tuple[str, bytes], ...], path: Sequence[bytes]) -> None:
    """Refuses over-long paths before hashing anything."""
    if len(path) > MAX_SIZE.bit_length():
        raise VerificationError(what, f"the path is too long: {len(path)} hashes")
    for name, value in (*named, *((f"path[{i}]", node) for i, node in enumerate(path))):
        if len(value) != HASH_BYTES:
            raise VerificationError(what, f"{name} has {len(value)} bytes, not {HASH_BYTES}")
