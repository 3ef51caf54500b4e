"""A member's seat: its share of the decryption key, its mask keys and its signing key. All secret.

Seats come from the dealer's ceremony: whoever runs it knows everything until it forgets. Later ones of the
same key come from the members themselves (keylife.py).
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Final

from commitments.errors import CommitmentsError
from commitments.params import Profile
from commitments.prss import MaskKeys, MaskSet, deal_mask_keys, mask_sets
from commitments.threshold import Committee, KeyShare, check_share, deal, safe_prime
from darkpool import eip712, jsontext
from darkpool.committee.sharing import read_sharing, sharing_fields
from darkpool.errors import ConfigError
from darkpool.files import settle
from darkpool.message import Message
from darkpool.types import Address, PrivateKey

_VERSION: Final = 2
_MAX_FILE: Final = 1 << 20
_KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Seat:
    """One member of a committee; `repr` shows only which."""

    committee: Committee = field(repr=False)
    share: KeyShare = field(repr=False)
    masks: MaskKeys = field(repr=False)
    signing_key: PrivateKey = field(repr=False)

    @property
    def index(self) -> int:
        """1 .. n."""
        return self.share.index

    @property
    def signer(self) -> Address:
        """The address that signs for this member."""
        return eip712.address_of(self.signing_key)

    def save(self, path: Path) -> None:
        """Write the seat for its owner's eyes only (mode 0600), whole or not at all, over nothing.

        Raises ConfigError if there is a seat already.
        """
        if path.exists():
            raise ConfigError(f"{path.name}: there is a seat already", "use a new folder")
        document = {**self._dealt(), "signing_key": self.signing_key.hex()}
        temporary = path.with_suffix(".tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(document, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        settle(path.parent)

    def _dealt(self) -> dict[str, object]:
        return {
            "version": _VERSION,
            **sharing_fields(self.committee),
            "index": self.index,
            "share": f"{self.share.value:x}",
            "masks": {",".join(map(str, a)): key.hex() for a, key in self.masks.keys.items()},
        }

    def dealt(self) -> bytes:
        """What the dealer deals: all but the signing key, for `joined`. Secret."""
        return json.dumps(self._dealt()).encode("ascii")

    @staticmethod
    def joined(dealt: bytes, signing_key: PrivateKey) -> Seat:
        """What was dealt, with the member's own signing key. Raises ConfigError, which quotes neither."""
        try:
            document = jsontext.parsed(dealt, "seat") if len(dealt) <= _MAX_FILE else None
            if not isinstance(document, dict) or "signing_key" in document:
                raise TypeError  # noqa: TRY301
            return _seat({**document, "signing_key": signing_key.hex()})
        except (ValueError, KeyError, TypeError, CommitmentsError, ConfigError) as error:
            raise ConfigError(
                f"seat: not one that was dealt ({type(error).__name__})", "run the key ceremony again"
            ) from None

    @staticmethod
    def load(path: Path) -> Seat:
        """The seat in a file. Raises ConfigError, which never quotes the file."""
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_mode & 0o077:
                    raise PermissionError(errno.EPERM, "others than its owner may read or change it")
                data = file.read(_MAX_FILE + 1)
            return _seat(jsontext.parsed(data, path.name) if len(data) <= _MAX_FILE else None)
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            CommitmentsError,
            ConfigError,
        ) as error:
            reason = error.strerror if isinstance(error, OSError) else type(error).__name__
            raise ConfigError(
                f"{path.name}: not a member's seat ({reason})", "run the key ceremony again"
            ) from None


def _seat(document: object) -> Seat:
    """The seat of a JSON document. Raises errors whose messages must not be shown."""
    if not isinstance(document, dict) or document["version"] != _VERSION:
        raise ValueError
    committee = read_sharing(Message("seat", document))
    share = KeyShare(_small(document["index"]), _number(document["share"]))
    check_share(committee, share)
    masks = {_mask_set(name): _octets(key) for name, key in dict(document["masks"]).items()}
    expected = {a for a in mask_sets(committee.members, committee.threshold) if share.index in a}
    if set(masks) != expected:
        raise ValueError
    if any(len(key) != _KEY_BYTES for key in masks.values()):
        raise ValueError
    signing_key = PrivateKey(_octets(document["signing_key"]))
    eip712.address_of(signing_key)
    return Seat(committee, share, MaskKeys(masks), signing_key)


def _number(text: str) -> int:
    """Lower-case hexadecimal, without sign or leading zeros."""
    value = int(text, 16)
    if f"{value:x}" != text or value < 0:
        raise ValueError
    return value


def _octets(text: str) -> bytes:
    value = bytes.fromhex(text)
    if value.hex() != text:
        raise ValueError
    return value


def _small(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


def _mask_set(text: str) -> MaskSet:
    return tuple(map(int, text.split(",")))


# --- the dealer -------------------------------------------------------------------------------------


def ceremony(
    profile: Profile,
    members: int,
    threshold: int,
    progress: Callable[[int], None] | None = None,
    *,
    epoch: int = 0,
) -> list[Seat]:
    """The dealer's ceremony: two safe primes (one process each), shares, mask keys, signing keys.

    `epoch` goes on counting where a new key takes over from another. `progress` is told now and then how many
    candidates were tested. The primes are forgotten on return.
    """
    context = get_context("spawn")
    counters: list[Synchronized[int]] = [context.Value("L", 0) for _ in range(2)]
    with ProcessPoolExecutor(2, context, initializer=_set_counters, initargs=(counters,)) as pool:
        futures = [pool.submit(_counted_prime, profile.modulus_bits // 2, i) for i in range(2)]
        while not all(f.done() for f in futures):
            for f in futures:
                try:
                    f.result(timeout=0.1)
                except TimeoutError:
                    break
            if progress is not None:
                progress(sum(int(c.value) for c in counters))
        p, q = (f.result() for f in futures)
    return seats_from_primes(p, q, members, threshold, epoch)


def seats_from_primes(p: int, q: int, members: int, threshold: int, epoch: int = 0) -> list[Seat]:
    """Seats 1 .. n under the key of two safe primes."""
    committee, shares = deal(p, q, members, threshold, epoch)
    masks = deal_mask_keys(members, threshold)
    return [Seat(committee, share, masks[share.index], eip712.fresh_key()) for share in shares]


_counters: list[Synchronized[int]] = []


def _set_counters(counters: list[Synchronized[int]]) -> None:
    _counters[:] = counters


def _counted_prime(bits: int, which: int) -> int:
    counter = _counters[which]

    def count(tested: int) -> None:
        counter.value = tested

    return safe_prime(bits, count)
