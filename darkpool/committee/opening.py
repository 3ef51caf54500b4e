"""Opening products of ciphertexts to secret shares, among members (protocol, section 7, step 2).

    1. masks      every member sends the mask ciphertexts of the keys it holds; holders must agree
    2. partials   the masked product's t+1 assigned members decrypt it partially, for its combiner
    3. openings   the combiner sends plaintext and root; everybody checks them, and derives its own shares

Messages are padded to a public count, so their lengths say nothing about what is being opened.
A wrong mask or partial is detected before anything is opened: the step raises RoundAborted for all.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial as partial_of

from gmpy2 import mpz

from commitments.encoding import Reader
from commitments.errors import DecodeError, VerificationError
from commitments.paillier import Ciphertext, unpack
from commitments.params import FIELD_PRIME
from commitments.prss import Mask, MaskSet, mask, mask_sets, opened_shares
from commitments.shamir import reconstruct
from commitments.threshold import Opening, combine, decode_residue, partial, verify_openings
from darkpool.committee.seat import Seat
from darkpool.committee.spread import spread
from darkpool.committee.transport import Mesh
from darkpool.errors import RoundAborted
from darkpool.matcher import Product

_SHARE_BYTES = 16


@dataclass(slots=True)
class Session:
    """One clearing among members: named by the digest all of them signed for the sealed list."""

    seat: Seat = field(repr=False)
    mesh: Mesh = field(repr=False)
    chain_id: int
    digest: bytes
    timeout: float

    async def exchange(self, step: str, out: Mapping[int, bytes]) -> dict[int, bytes]:
        """One synchronous step with all peers. Raises RoundAborted."""
        return await self.mesh.exchange(self.digest, step, out, self.timeout)

    async def broadcast(self, step: str, data: bytes) -> dict[int, bytes]:
        """The same message to every peer."""
        return await self.exchange(step, dict.fromkeys(self.mesh.peers, data))

    async def reveal(self, step: str, shares: Sequence[int]) -> list[int]:
        """Open shared values to the members. All n shares must lie on one polynomial of degree t."""
        committee = self.seat.committee
        data = b"".join(s.to_bytes(_SHARE_BYTES, "big") for s in shares)
        received = await self.broadcast(step, data)
        vectors = {self.seat.index: list(shares)}
        for peer, message in received.items():
            reader = Reader(message)
            vectors[peer] = [reader.uint("share", _SHARE_BYTES, FIELD_PRIME - 1) for _ in shares]
            reader.end(f"shares of member {peer}")
        return [
            reconstruct({i: v[k] for i, v in vectors.items()}, committee.members, committee.threshold)
            for k in range(len(shares))
        ]

    async def open(
        self, step: str, products: Sequence[Product], slots: Mapping[int, int], padded: int
    ) -> list[list[int]]:
        """This member's shares of every slot of each product, in order.

        `slots[part]` is how many slots that part of the curves holds; `padded` is the public number of
        products the messages pretend to.
        """
        if len(products) > padded:
            raise RoundAborted(f"step {step}: {len(products)} products where at most {padded} are announced")
        masks = [self._masks(p, slots[p.part]) for p in products]
        masked = await self._mask(f"{step}/masks", products, masks, padded)
        opened = await self._decrypt(step, masked, padded)
        shares = []
        for product, own, plaintext in zip(products, masks, opened, strict=True):
            values = unpack(int(plaintext), slots[product.part])
            shares.append(opened_shares(self.seat.index, self.seat.committee.members, values, own))
        return shares

    def _masks(self, product: Product, slots: int) -> dict[MaskSet, Mask]:
        keys = self.seat.masks.keys
        return {a: mask(key, self.chain_id, self.digest, product.name, slots) for a, key in keys.items()}

    async def _mask(
        self, step: str, products: Sequence[Product], masks: Sequence[Mapping[MaskSet, Mask]], padded: int
    ) -> list[Ciphertext]:
        """Multiply every set's mask ciphertext in. Raises RoundAborted if two holders of a key disagree."""
        committee = self.seat.committee
        key, width = committee.key, committee.key.ciphertext_bytes
        sets = mask_sets(committee.members, committee.threshold)
        mine = [a for a in sets if self.seat.index in a]
        own = [{a: m[a].ciphertext(key) for a in mine} for m in masks]
        message = b"".join(key.encode_ciphertext(per_set[a]) for per_set in own for a in mine)
        received = await self.broadcast(step, _pad(message, padded * len(mine) * width))
        seen: list[dict[MaskSet, Ciphertext]] = [dict(per_set) for per_set in own]
        for peer, data in received.items():
            theirs = [a for a in sets if peer in a]
            reader = _sized(data, padded * len(theirs) * width, peer)
            for position in range(len(products)):
                for a in theirs:
                    c = key.decode_ciphertext(reader.fixed("mask", width), f"mask of member {peer}")
                    if seen[position].setdefault(a, c) != c:
                        raise VerificationError("masks", f"holders {a} disagree; member {peer} differs")
        return [key.product((p.ciphertext, *s.values())) for p, s in zip(products, seen, strict=True)]

    def _assigned(self, position: int) -> list[int]:
        """The t+1 members that decrypt the product at that position; the first combines."""
        committee = self.seat.committee
        return [(position + k) % committee.members + 1 for k in range(committee.threshold + 1)]

    async def _decrypt(self, step: str, masked: Sequence[Ciphertext], padded: int) -> list[mpz]:
        """The plaintexts of masked products: every member combines its part and checks all others'."""
        committee = self.seat.committee
        partials = await self._partials(f"{step}/partials", masked, padded)
        combined = await spread(lambda p: combine(committee, masked[p], partials[p]), [*partials])
        mine = dict(zip(partials, combined, strict=True))
        others = await self._openings(f"{step}/openings", mine, len(masked), padded)
        await spread(
            partial_of(verify_openings, committee.key), [[(masked[p], o) for p, o in others.items()]]
        )
        return [(mine | others)[p].plaintext for p in range(len(masked))]

    async def _partials(
        self, step: str, masked: Sequence[Ciphertext], padded: int
    ) -> dict[int, dict[int, mpz]]:
        """Partial decryptions, by position and member, of the products this member combines."""
        seat, me = self.seat, self.seat.index
        key, width = seat.committee.key, seat.committee.key.modulus_bytes
        partials: dict[int, dict[int, mpz]] = {p: {} for p in self._positions(me, len(masked))}
        out = dict.fromkeys(self.mesh.peers, b"")
        assigned = [p for p in range(len(masked)) if me in self._assigned(p)]
        decrypted = await spread(lambda p: partial(seat.committee, seat.share, masked[p]), assigned)
        for position, own in zip(assigned, decrypted, strict=True):
            combiner, *_ = self._assigned(position)
            if me == combiner:
                partials[position][me] = own
            else:
                out[combiner] += int(own).to_bytes(width, "big")
        for peer in out:
            out[peer] = _pad(out[peer], self._helped(me, peer, padded) * width)
        for peer, data in (await self.exchange(step, out)).items():
            reader = _sized(data, self._helped(peer, me, padded) * width, peer)
            for position in (p for p in partials if peer in self._assigned(p)):
                encoded = reader.fixed("partial", width)
                partials[position][peer] = decode_residue(key, encoded, f"member {peer}")
        return partials

    async def _openings(
        self, step: str, mine: Mapping[int, Opening], count: int, padded: int
    ) -> dict[int, Opening]:
        """Exchange openings; those of the products other members combined, by position, not yet checked."""
        key, width = self.seat.committee.key, self.seat.committee.key.modulus_bytes
        sizes = {i: len(self._positions(i, padded)) * 2 * width for i in self.seat.committee.indices}
        message = b"".join(_encode_opening(opening, width) for opening in mine.values())
        others: dict[int, Opening] = {}
        for peer, data in (await self.broadcast(step, _pad(message, sizes[self.seat.index]))).items():
            reader = _sized(data, sizes[peer], peer)
            for position in self._positions(peer, count):
                plaintext = mpz(reader.uint("plaintext", width))
                root = decode_residue(key, reader.fixed("root", width), f"root of member {peer}")
                others[position] = Opening(plaintext, root)
        return others

    def _helped(self, helper: int, combiner: int, count: int) -> int:
        """Among `count` products, how many the combiner combines with that helper."""
        return sum(helper in self._assigned(p) for p in self._positions(combiner, count))

    def _positions(self, combiner: int, count: int) -> list[int]:
        return [p for p in range(count) if self._assigned(p)[0] == combiner]


def _encode_opening(opening: Opening, width: int) -> bytes:
    return int(opening.plaintext).to_bytes(width, "big") + int(opening.root).to_bytes(width, "big")


def _sized(data: bytes, length: int, peer: int) -> Reader:
    """A reader of a padded message. Raises DecodeError unless it has the public length."""
    if len(data) != length:
        raise DecodeError(f"message of member {peer}", f"{len(data)} bytes where {length} are due")
    return Reader(data)


def _pad(data: bytes, length: int) -> bytes:
    """Random filling up to the public length."""
    return data + os.urandom(length - len(data))
