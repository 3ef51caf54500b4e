"""A Merkle tree for logs of millions of leaves: 64 bytes a leaf, quick to load.

The proofs are those of `merkle.Tree`; only what `pymerkle` stores is another. Its own tree keeps an object
for every node and hashes the whole right edge at every leaf; here each level is one run of bytes, to which a
node is added once both its children are there.

    level 0    leaf 0 | leaf 1 | leaf 2 | …
    level 1    node (0, 1) | node (2, 3) | …
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Final

from pymerkle import BaseMerkleTree

from commitments.errors import ParameterError
from commitments.merkle import HASH_BYTES, Tree

_PAIR: Final = 2 * HASH_BYTES


class FlatTree(Tree):
    """An append-only tree of leaf hashes. Earlier sizes stay provable; everything else is as in `Tree`."""

    __slots__ = ()

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        super().__init__()
        self._tree = _Levels(bytearray().join(map(_checked, leaves)))

    def append_hash(self, leaf: bytes) -> None:
        """Adds a leaf of which only the hash is at hand. Raises ParameterError unless it has 32 bytes."""
        super().append_hash(_checked(leaf))

    def leaf(self, index: int) -> bytes:
        """The hash of leaf `index`, from 0. Raises ParameterError if there is none."""
        if not 0 <= index < self.size:
            raise ParameterError(f"leaf {index} of a tree of {self.size} leaves")
        return bytes(self._tree.get_leaf(index + 1))


def _checked(leaf: bytes) -> bytes:
    if len(leaf) != HASH_BYTES:
        raise ParameterError(f"a leaf hash of {len(leaf)} bytes, not {HASH_BYTES}")
    return leaf


def _node(pair: bytearray) -> bytes:
    return sha256(b"\x01" + pair).digest()


class _Levels(BaseMerkleTree):  # type: ignore[misc]  # pymerkle has no types
    """What pymerkle asks of a tree's storage; it counts leaves from 1."""

    def __init__(self, level: bytearray) -> None:
        self.levels: Final = [level]
        while len(level) >= _PAIR:
            starts = range(0, len(level) - _PAIR + 1, _PAIR)
            level = bytearray().join(_node(level[i : i + _PAIR]) for i in starts)
            self.levels.append(level)
        super().__init__(algorithm="sha256")

    def _encode_entry(self, data: bytes) -> bytes:
        return data

    def _store_leaf(self, data: bytes | None, digest: bytes) -> int:  # noqa: ARG002  # only the hash is kept
        with self.lock:  # readers of other threads see all levels of a size, or none
            node, count = digest, self._get_size()
            size = count + 1
            for level in self.levels:
                level.extend(node)
                if not count & 1:
                    return size
                node = _node(level[-_PAIR:])
                count >>= 1
            self.levels.append(bytearray(node))
            return size

    def _get_leaf(self, index: int) -> bytes:
        return self._get_subroot(index - 1, 1)

    def _get_leaves(self, offset: int, width: int) -> list[bytes]:
        return [self._get_subroot(i, 1) for i in range(offset, offset + width)]

    def _get_size(self) -> int:
        return len(self.levels[0]) // HASH_BYTES

    def _get_subroot(self, offset: int, width: int) -> bytes:
        """The root of the perfect subtree of `width` leaves, a power of two, from leaf `offset` on."""
        level = self.levels[width.bit_length() - 1]
        at = offset // width * HASH_BYTES
        return bytes(level[at : at + HASH_BYTES])
