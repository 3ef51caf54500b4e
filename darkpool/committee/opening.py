"""Opening products of ciphertexts to secret shares, among players (protocol, section 7, step 2).

    1. masks      every player sends the mask ciphertexts of the keys it holds; holders must agree
    2. partials   the masked product's t+1 assigned players decrypt it partially, for its combiner
    3. openings   the combiner sends plaintext and root; everybody checks them, and derives its own shares
    4. proofs     only after a complaint of a combiner's: see complaints.py

Messages are padded to a public count, so their lengths say nothing about what is being opened.
A wrong mask or partial is detected before anything is opened: the step raises Faulted for all. Every set of
mask holders has at least t+1 players, so an honest one vouches for each mask that is used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial as partial_of

from gmpy2 import mpz

from commitments.errors import VerificationError
from commitments.paillier import Ciphertext, unpack
from commitments.prss import Mask, MaskSet, mask, mask_sets, opened_shares
from commitments.threshold import Opening, decode_residue, partial, verify_openings
from darkpool.committee.blame import Charge, Faulted
from darkpool.committee.complaints import PARTIALS, STEP, Complaint, settle
from darkpool.committee.spread import Combination, spread
from darkpool.committee.steps import Heard, Steps
from darkpool.errors import RoundAborted
from darkpool.matcher import Product


@dataclass(slots=True)
class Session(Steps):
    """One attempt at a clearing; `chain_id` goes into every mask."""

    chain_id: int

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
        keys, list_ = self.seat.masks.keys, self.attempt.digest
        return {a: mask(key, self.chain_id, list_, product.name, slots) for a, key in keys.items()}

    async def _mask(
        self, step: str, products: Sequence[Product], masks: Sequence[Mapping[MaskSet, Mask]], padded: int
    ) -> list[Ciphertext]:
        """Multiply every set's mask ciphertext in. Raises Faulted if two holders of a key disagree."""
        committee, me = self.seat.committee, self.seat.index
        key, width = committee.key, committee.key.ciphertext_bytes
        sets = mask_sets(committee.members, committee.threshold)
        mine = [a for a in sets if me in a]
        own = [{a: m[a].ciphertext(key) for a in mine} for m in masks]
        message = b"".join(key.encode_ciphertext(per_set[a]) for per_set in own for a in mine)
        heard = await self.broadcast(step, _pad(message, padded * len(mine) * width))
        # By product and set, what each holder says.
        said: list[dict[MaskSet, dict[int, Ciphertext]]]
        said = [{a: {me: per_set[a]} if a in per_set else {} for a in sets} for per_set in own]
        for peer, sent in heard.items():
            theirs = [a for a in sets if peer in a]
            with sent.reading(padded * len(theirs) * width) as reader:
                for by_set in said:
                    for a in theirs:
                        by_set[a][peer] = key.decode_ciphertext(reader.fixed("mask", width), "mask")
        for by_set in said:
            for a, votes in by_set.items():
                if len(set(votes.values())) > 1:
                    charges = [heard[i].blame(Charge.MASK) for i in self._false_holders(votes)]
                    raise Faulted(f"step {step}: holders {a} of a mask key disagree", charges)
        return [
            key.product((p.ciphertext, *(next(iter(votes.values())) for votes in by_set.values())))
            for p, by_set in zip(products, said, strict=True)
        ]

    def _false_holders(self, votes: Mapping[int, Ciphertext]) -> list[int]:
        """Who differs from this member, if it holds the key, or else from more than t that agree."""
        values = list(votes.values())
        agreed = [v for v in values if values.count(v) > self.seat.committee.threshold]
        right = votes.get(self.seat.index, agreed[0] if agreed else None)
        return [] if right is None else [i for i, vote in votes.items() if vote != right]

    # --- decryption ---------------------------------------------------------------------------------

    def _assigned(self, position: int) -> list[int]:
        """The t+1 players that decrypt the product at that position; the first combines."""
        players = self.players
        return [players[(position + k) % len(players)] for k in range(self.seat.committee.threshold + 1)]

    async def _decrypt(self, step: str, masked: Sequence[Ciphertext], padded: int) -> list[mpz]:
        """The plaintexts of masked products: every player combines its part and checks all others'."""
        partials, sent = await self._partials(step + PARTIALS, masked, padded)
        items = [(masked[p], by_player) for p, by_player in partials.items()]
        combined = await spread(Combination(self.seat.committee), items)
        mine = dict(zip(partials, combined, strict=True))
        others, opened = await self._openings(f"{step}/openings", mine, masked, padded)
        openings = mine | others
        # The first product that each combiner complains of settles who lied.
        complained: dict[int, Complaint] = {}
        for position in sorted(p for p, opening in openings.items() if opening is None):
            assigned = self._assigned(position)
            complained.setdefault(assigned[0], Complaint(position, tuple(assigned), masked[position]))
        if complained:
            await settle(self, step + STEP, list(complained.values()), self._partial_of, sent, opened)
        return [opening.plaintext for p in range(len(masked)) if (opening := openings[p]) is not None]

    async def _partials(
        self, step: str, masked: Sequence[Ciphertext], padded: int
    ) -> tuple[dict[int, dict[int, mpz]], dict[int, Heard]]:
        """Partial decryptions, by position and player, of what this member combines; who sent what."""
        seat, me = self.seat, self.seat.index
        width = seat.committee.key.modulus_bytes
        partials: dict[int, dict[int, mpz]] = {p: {} for p in self._positions(me, len(masked))}
        out = dict.fromkeys(self.peers, b"")
        assigned = [p for p in range(len(masked)) if me in self._assigned(p)]
        decrypted = await spread(lambda p: partial(seat.committee, seat.share, masked[p]), assigned)
        for position, own in zip(assigned, decrypted, strict=True):
            combiner, *_ = self._assigned(position)
            if me == combiner:
                partials[position][me] = own
            else:
                out[combiner] += int(own).to_bytes(width, "big")
        for peer in out:
            out[peer] = _pad(out[peer], len(self._helped(peer, me, padded)) * width)
        heard = await self.exchange(step, out)
        for peer, sent in heard.items():
            with sent.reading(len(self._helped(me, peer, padded)) * width) as reader:
                for position in self._helped(me, peer, len(masked)):
                    encoded = reader.fixed("partial", width)
                    partials[position][peer] = decode_residue(seat.committee.key, encoded, "partial")
        return partials, heard

    def _partial_of(self, sent: Heard, position: int) -> mpz:
        """The partial decryption of the product at a position in what its helper sent its combiner.

        Raises DecodeError.
        """
        key = self.seat.committee.key
        place = self._helped(sent.receiver, sent.sender, position + 1).index(position)
        data = sent.body[place * key.modulus_bytes : (place + 1) * key.modulus_bytes]
        return decode_residue(key, data, "partial")

    async def _openings(
        self, step: str, mine: Mapping[int, Opening | None], masked: Sequence[Ciphertext], padded: int
    ) -> tuple[dict[int, Opening | None], dict[int, Heard]]:
        """Exchange openings; those that other players combined, by position and checked; who sent what.

        None: the combiner complains.
        """
        key, width = self.seat.committee.key, self.seat.committee.key.modulus_bytes
        sizes = {i: len(self._positions(i, padded)) * 2 * width for i in self.players}
        message = b"".join(_encode_opening(opening, width) for opening in mine.values())
        heard = await self.broadcast(step, _pad(message, sizes[self.seat.index]))
        others: dict[int, Opening | None] = {}
        for peer, sent in heard.items():
            with sent.reading(sizes[peer]) as reader:
                for position in self._positions(peer, len(masked)):
                    plaintext = reader.fixed("plaintext", width)
                    root = reader.fixed("root", width)
                    others[position] = None
                    if any(root):
                        root_ = decode_residue(key, root, "root")
                        others[position] = Opening(mpz(int.from_bytes(plaintext)), root_)
        checked = {p: opening for p, opening in others.items() if opening is not None}
        await self._check(step, masked, checked, heard)
        return others, heard

    async def _check(
        self,
        step: str,
        masked: Sequence[Ciphertext],
        openings: Mapping[int, Opening],
        heard: Mapping[int, Heard],
    ) -> None:
        """All at once, and one by one only if that fails. Raises Faulted, which charges who combined."""
        verify = partial_of(verify_openings, self.seat.committee.key)
        try:
            await spread(verify, [[(masked[p], opening) for p, opening in openings.items()]])
        except VerificationError:
            wrong = {self._assigned(p)[0] for p, o in openings.items() if not _holds(verify, masked[p], o)}
            charges = [heard[i].blame(Charge.OPENING) for i in sorted(wrong)]
            raise Faulted(f"step {step}: openings of members {sorted(wrong)} are false", charges) from None

    def _helped(self, combiner: int, helper: int, count: int) -> list[int]:
        """Of `count` products, those that the combiner combines with that helper."""
        return [p for p in self._positions(combiner, count) if helper in self._assigned(p)]

    def _positions(self, combiner: int, count: int) -> list[int]:
        """Of `count` products, those that the player combines."""
        return list(range(self.players.index(combiner), count, len(self.players)))


Verify = Callable[[Sequence[tuple[Ciphertext, Opening]]], None]


def _holds(verify: Verify, c: Ciphertext, opening: Opening) -> bool:
    try:
        verify([(c, opening)])
    except VerificationError:
        return False
    return True


def _encode_opening(opening: Opening | None, width: int) -> bytes:
    """Plaintext and root; zeros, which are no opening, for a complaint."""
    if opening is None:
        return bytes(2 * width)
    return int(opening.plaintext).to_bytes(width, "big") + int(opening.root).to_bytes(width, "big")


def _pad(data: bytes, length: int) -> bytes:
    """Random filling up to the public length."""
    return data + os.urandom(length - len(data))
