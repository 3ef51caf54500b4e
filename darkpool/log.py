"""The venue's log: durable entries, the state they fold to, and one Merkle root over them (RFC 9162)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from commitments.errors import CommitmentsError, DecodeError
from commitments.merkle import Frontier, leaf_hash
from commitments.paillier import PublicKey
from darkpool import snapshot
from darkpool.effects import Change, Effects
from darkpool.errors import ConfigError, OrderRefused, SettlementRefused
from darkpool.listing import ListedOrder
from darkpool.message import Message
from darkpool.netting import Signers
from darkpool.state import VenueState
from darkpool.store.log_store import LogStore

CHECKPOINT_EVERY: Final = 512
"""Entries after which the next quiet moment is worth a snapshot."""

_PAGE: Final = 256
_MALFORMED: Final = (AttributeError, KeyError, IndexError, TypeError, ValueError)
_ORDER_OPS: Final = frozenset({"order", "replace"})

Watch = Callable[[VenueState, int, bytes, Message, Effects], None]
"""Told of an entry folded again: state after it, sequence, root with it as the last, entry, what it did."""


def nobody(_state: VenueState, _sequence: int, _root: bytes, _entry: Message, _effects: Effects) -> None:
    """Watches nothing."""


class Log:
    """Entries in a store and the state after them. One writer; `append` first makes durable, then changes."""

    def __init__(self, store: LogStore, state: VenueState, tree: Frontier) -> None:
        self.store: Final = store
        self.state: Final = state
        self._tree = tree
        self._snapshot_at = tree.size

    @classmethod
    def open(cls, store: LogStore, key: PublicKey, signers: Signers, watch: Watch = nobody) -> Log:
        """The log of a store: its latest snapshot, and every entry since then folded again.

        `watch` is told of each of those. Raises StoreError; ConfigError if the store's content is not a log.
        """

        def order_at(sequence: int) -> bytes:
            return Message.decode(store.entry(sequence)).blobs[0]

        found = store.checkpoint()
        try:
            if found is None:
                log = cls(store, VenueState(key, signers), Frontier())
            else:
                log = cls(store, *snapshot.decode(found[1], key, signers, order_at))
            log._replay(watch)
        except (CommitmentsError, OrderRefused, SettlementRefused, *_MALFORMED) as error:
            raise ConfigError(
                f"log: the database does not hold one ({type(error).__name__})",
                "if an earlier version of darkpool wrote it, go on with that one",
            ) from error
        return log

    def _replay(self, watch: Watch) -> None:
        while page := self.store.entries(self.size, _PAGE):
            for data in page:
                entry = Message.decode(data)
                change = self.state.checked(entry, listed(entry, self.state.key))
                sequence, effects = self.size, change(self.size)
                self._tree.append(leaf_hash(data))
                watch(self.state, sequence, self.root, entry, effects)

    @property
    def size(self) -> int:
        """Number of entries."""
        return self._tree.size

    @property
    def root(self) -> bytes:
        """The tree hash over all entries, 32 bytes."""
        return self._tree.root()

    def roots(self, entries: Sequence[bytes]) -> list[bytes]:
        """The roots after each of some further entries."""
        tree, roots = Frontier(self._tree.size, self._tree.nodes), []
        for data in entries:
            tree.append(leaf_hash(data))
            roots.append(tree.root())
        return roots

    def changed(self, entries: Sequence[bytes], changes: Sequence[Change]) -> list[Effects]:
        """Make the changes of entries that are durable by now."""
        done = []
        for data, change in zip(entries, changes, strict=True):
            done.append(change(self.size))
            self._tree.append(leaf_hash(data))
        return done

    def append(self, entries: Sequence[bytes], changes: Sequence[Change]) -> list[Effects]:
        """Make entries durable, then make their changes. Raises StoreError, and then nothing has changed."""
        self.store.append(self.size, entries)
        return self.changed(entries, changes)

    def checkpoint(self) -> None:
        """A snapshot, if it is due and no round is sealed. Raises StoreError."""
        if self.size - self._snapshot_at >= CHECKPOINT_EVERY and self.state.sealed is None:
            self.store.save_checkpoint(self.size, snapshot.encode(self.state, self._tree))
            self._snapshot_at = self.size


def listed(entry: Message, key: PublicKey) -> ListedOrder | None:
    """The order of an `order` or `replace` entry, proof not looked at. Raises DecodeError."""
    if entry.op not in _ORDER_OPS:
        return None
    if len(entry.blobs) != 1:
        raise DecodeError(entry.op, "comes without exactly one order")
    return ListedOrder.read(entry.blobs[0], key)
