"""The tree of large logs gives the proofs of the other one."""

from __future__ import annotations

import hashlib
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commitments.errors import ParameterError
from commitments.flat_tree import FlatTree
from commitments.merkle import EMPTY_ROOT, Frontier, Tree, verify_inclusion

LEAVES = [hashlib.sha256(bytes([i])).digest() for i in range(130)]


def test_an_empty_tree() -> None:
    tree = FlatTree()
    assert (tree.size, tree.root()) == (0, EMPTY_ROOT)
    for ask in (lambda: tree.inclusion(0), lambda: tree.consistency(1), lambda: tree.leaf(0)):
        with pytest.raises(ParameterError):
            ask()


def test_roots_of_all_sizes() -> None:
    tree, frontier = FlatTree(), Frontier()
    for leaf in LEAVES:
        tree.append_hash(leaf)
        frontier.append(leaf)
        assert tree.root() == frontier.root()
    assert [tree.leaf(i) for i in range(len(LEAVES))] == LEAVES


@given(st.data())
def test_proofs_are_those_of_the_other_tree(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(LEAVES)))
    other = Tree()
    for leaf in LEAVES[:size]:
        other.append_hash(leaf)
    loaded = data.draw(st.integers(0, len(LEAVES)))
    tree = FlatTree(LEAVES[:loaded])
    for leaf in LEAVES[loaded:]:
        tree.append_hash(leaf)
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    assert tree.root(size) == other.root()
    assert tree.inclusion(index, size) == other.inclusion(index)
    assert tree.consistency(old, size) == other.consistency(old)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_leaf_that_is_no_hash(length: int) -> None:
    with pytest.raises(ParameterError, match=f"a leaf hash of {length} bytes"):
        FlatTree([bytes(length)])


def test_readers_of_other_threads_meet_whole_states() -> None:
    tree, stop, failures = FlatTree(LEAVES[:1]), threading.Event(), list[str]()

    def read() -> None:
        while not stop.is_set():
            size = tree.size
            try:
                last = size - 1
                verify_inclusion(tree.leaf(last), last, size, tree.inclusion(last, size), tree.root(size))
            except Exception as error:  # noqa: BLE001  # whatever it is
                failures.append(f"{size}: {error}")

    readers = [threading.Thread(target=read, daemon=True) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(4_000):
        tree.append_hash(LEAVES[0])
    stop.set()
    for reader in readers:
        reader.join()
    assert failures == []
