"""How members change their shares among themselves: a refresh, or seats for the successors of some of them.

All n members of the committee to be take part; the same N stays (resharing.py). In three steps, each of them
a message to every other member:

    1. deal       its dealing, if it deals, the receiver's sub-share, and the mask keys it draws for sets that
                  hold both
    2. verdict    to all: whose message it refuses, hashes of dealings, checks of the mask keys it has now
    3. confirm    to all: the digest of the public state after the change

Any refusal, and any two that saw different dealings or keys, end the change and are named in pairs: one of
the two lies, and which cannot be told. Nothing has been stored then, and the old shares stay. Who has all
confirmations has the next seat, and stages it (staging.py).

Messages go over mutually authenticated links; each is also bound to the change, its try, the step, sender and
receiver, so that none can be played again elsewhere. Sub-shares and mask keys are secret: whoever records a
link and learns its keys later learns them, so links need forward secrecy (TLS 1.3 has it).

Mask keys (commitments/prss.py) are all drawn anew, by the lowest member of each set that stays: a key derived
from the old one by public data would be known to whoever held the old one, so a member that was broken into
once, or that left, could compute masks for ever. The sets that t corrupt members are not in draw honestly.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import sha256
from typing import ClassVar, Final

from Crypto.Hash import KMAC256

from commitments.encoding import Reader, Writer
from commitments.errors import DecodeError, ParameterError, VerificationError
from commitments.params import LABEL_KEY_CHANGE, LABEL_MASK_CHECK
from commitments.prss import MaskKeys, MaskSet, mask_sets
from commitments.resharing import Change, Dealing, deal, next_committee, next_share
from commitments.threshold import Committee, KeyShare, check_share
from darkpool.committee.seat import Seat
from darkpool.errors import EXIT_PEER, DarkpoolError
from darkpool.types import PrivateKey

NAME_BYTES: Final = 32
_KEY_BYTES: Final = 32
_HASH_BYTES: Final = 32
_ALL: Final = 0
_NOTHING: Final = bytes(_HASH_BYTES)


# --- Parameters -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Parameters:
    """What all members must agree on before: the change, and a name of this try at it (32 fresh bytes)."""

    change: Change
    session: bytes

    def __post_init__(self) -> None:
        if len(self.session) != NAME_BYTES:
            raise ParameterError(f"a session's name of {len(self.session)} bytes, not {NAME_BYTES}")

    @property
    def name(self) -> bytes:
        """32 bytes that every message of this try carries."""
        change = self.change
        writer = Writer().var(LABEL_KEY_CHANGE).fixed(change.committee.digest, _HASH_BYTES)
        writer.var(bytes(change.replaced)).var(bytes(change.dealers)).fixed(self.session, NAME_BYTES)
        return sha256(bytes(writer)).digest()

    @property
    def sets(self) -> list[MaskSet]:
        """The sets that share a mask key."""
        return mask_sets(self.change.committee.members, self.change.committee.threshold)

    def drawer(self, holders: MaskSet) -> int:
        """Who draws the key of a set. There is one: at least t+1 members stay, and t are not in the set."""
        return min(i for i in holders if i not in self.change.replaced)


class ChangeAborted(DarkpoolError):  # noqa: N818  # names the outcome
    """Shares stay as they were. `pairs`: (who refuses, whose message); one of each pair is at fault."""

    exit_code: ClassVar[int] = EXIT_PEER

    def __init__(self, pairs: Iterable[tuple[int, int]]) -> None:
        self.pairs = tuple(sorted(pairs))
        said = ", ".join(f"member {a} refuses what member {b} sent" for a, b in self.pairs)
        super().__init__(
            f"the shares were not changed: {said}",
            "the old ones stay valid; try again with other dealers, or replace whom several refuse",
        )
        self.args = (self.pairs,)


# --- Messages ---------------------------------------------------------------------------------------


class Step(IntEnum):
    """Which message."""

    DEAL = 1
    VERDICT = 2
    CONFIRM = 3


@dataclass(frozen=True, slots=True)
class _Dealt:
    """A message of step 1, checked by its receiver."""

    dealing: Dealing | None
    sub_share: int = field(repr=False)
    keys: Mapping[MaskSet, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Verdict:
    """A message of step 2: refused members, hashes of dealings by dealer, checks of mask keys by set."""

    refused: frozenset[int]
    dealings: Mapping[int, bytes]
    checks: Mapping[MaskSet, bytes]


# --- Member -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class KeyChange:
    """Member `index`'s end of one try. `share` is its share before, none if it is a successor.

    Call `deal`, `receive`, `judge`, `finish` once each, in that order.
    """

    parameters: Parameters
    index: int
    signing_key: PrivateKey = field(repr=False)
    share: KeyShare | None = field(repr=False)
    _name: bytes = field(init=False)
    _dealt: dict[int, _Dealt] = field(init=False, repr=False, default_factory=dict)
    _verdict: _Verdict | None = field(init=False, repr=False, default=None)
    _after: Seat | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        change = self.parameters.change
        if self.index not in change.committee.indices:
            raise ParameterError(f"member {self.index} of a committee of {change.committee.members}")
        if (self.share is None) != (self.index in change.replaced):
            raise ParameterError(f"member {self.index}: a share, unless it is replaced, is needed")
        self._name = self.parameters.name

    @classmethod
    def begin(cls, parameters: Parameters, seat: Seat) -> KeyChange:
        """That of a member that stays. Raises ParameterError if its seat is of another committee or epoch."""
        before = parameters.change.committee
        if seat.committee != before:
            raise ParameterError(
                f"the seat is of epoch {seat.committee.epoch}, or of another key; "
                f"the change is of epoch {before.epoch}"
            )
        return cls(parameters, seat.index, seat.signing_key, seat.share)

    @classmethod
    def succeed(cls, parameters: Parameters, index: int, signing_key: PrivateKey) -> KeyChange:
        """That of the successor of member `index`. Raises ParameterError."""
        return cls(parameters, index, signing_key, None)

    @property
    def peers(self) -> list[int]:
        """The other members."""
        return [i for i in self.parameters.change.committee.indices if i != self.index]

    # 1. deal

    def deal(self) -> dict[int, bytes]:
        """This member's first message to each peer. Secret."""
        if self._dealt:
            raise ParameterError("a member deals once in a try; begin another with a fresh session")
        change = self.parameters.change
        dealing: Dealing | None = None
        sub_shares: dict[int, int] = {}
        if self.share is not None and self.index in change.dealers:
            dealing, sub_shares = deal(change, self.share)
        drawn = {a: secrets.token_bytes(_KEY_BYTES) for a in self._drawn(self.index)}
        self._dealt[self.index] = _Dealt(dealing, sub_shares.get(self.index, 0), drawn)
        out = {}
        for peer in self.peers:
            writer = self._header(Step.DEAL, peer)
            if dealing is not None:
                data = dealing.encode(change.committee)
                writer.fixed(data, len(data)).uint(sub_shares[peer], change.sub_share_bytes)
            for holders in self._drawn(self.index, peer):
                writer.fixed(drawn[holders], _KEY_BYTES)
            out[peer] = bytes(writer)
        return out

    # 2. verdict

    def receive(self, messages: Mapping[int, bytes]) -> bytes:
        """This member's verdict, to all, on its peers' first messages. One that is missing is refused."""
        if self.index not in self._dealt or self._verdict is not None:
            raise ParameterError("receive comes once, after deal")
        refused = set()
        for peer in self.peers:
            try:
                self._dealt[peer] = self._read_dealt(peer, messages.get(peer, b""))
            except (DecodeError, VerificationError):
                refused.add(peer)
        seen = {i: d.dealing for i, d in self._dealt.items()}
        hashes = {i: self._hash(seen.get(i)) for i in self.parameters.change.dealers}
        keys = {a: key for d in self._dealt.values() for a, key in d.keys.items()}
        checks = {a: self._check(a, keys[a]) if a in keys else _NOTHING for a in self._held(self.index)}
        self._verdict = _Verdict(frozenset(refused), hashes, checks)
        writer = self._header(Step.VERDICT, _ALL)
        for i in self.parameters.change.committee.indices:
            writer.uint(i in refused, 1)
        for value in (*hashes.values(), *checks.values()):
            writer.fixed(value, _HASH_BYTES)
        return bytes(writer)

    # 3. confirm

    def judge(self, verdicts: Mapping[int, bytes]) -> bytes:
        """This member's confirmation, to all, if nobody refuses anything. Raises ChangeAborted."""
        if self._verdict is None:
            raise ParameterError("judge comes after receive")
        views, pairs = {self.index: self._verdict}, set()
        for peer in self.peers:
            try:
                views[peer] = self._read_verdict(peer, verdicts.get(peer, b""))
            except DecodeError:
                pairs.add((self.index, peer))
        for i, view in views.items():
            pairs |= {(i, accused) for accused in view.refused}
            pairs |= {(i, d) for d, h in view.dealings.items() if d in views and h != views[d].dealings[d]}
            drawers = {a: self.parameters.drawer(a) for a in view.checks}
            pairs |= {
                (i, drawers[a])
                for a, c in view.checks.items()
                if drawers[a] in views and c != views[drawers[a]].checks[a]
            }
        if pairs:
            raise ChangeAborted(pairs)
        self._after = self._next_seat()
        return bytes(self._confirmation(self.index, self._after.committee))

    def finish(self, confirmations: Mapping[int, bytes]) -> Seat:
        """The next seat, if all peers confirm the same public state. Raises ChangeAborted."""
        if self._after is None:
            raise ParameterError("finish comes after judge")
        committee = self._after.committee
        pairs = {
            (self.index, i)
            for i in self.peers
            if confirmations.get(i) != bytes(self._confirmation(i, committee))
        }
        if pairs:
            raise ChangeAborted(pairs)
        return self._after

    # what messages are made of

    def _next_seat(self) -> Seat:
        change = self.parameters.change
        dealings = [d for i in change.dealers if (d := self._dealt[i].dealing) is not None]
        committee = next_committee(change, dealings)
        sub_shares = {i: self._dealt[i].sub_share for i in change.dealers}
        share = next_share(change, self.index, sub_shares, self.share)
        check_share(committee, share)  # follows from what was checked; a last look before the old one goes
        keys = {a: key for d in self._dealt.values() for a, key in d.keys.items()}
        return Seat(
            committee, share, MaskKeys({a: keys[a] for a in self._held(self.index)}), self.signing_key
        )

    def _header(self, step: Step, receiver: int, sender: int = 0) -> Writer:
        writer = Writer().fixed(self._name, NAME_BYTES).uint(step, 1)
        return writer.uint(sender or self.index, 1).uint(receiver, 1)

    def _confirmation(self, sender: int, committee: Committee) -> Writer:
        return self._header(Step.CONFIRM, _ALL, sender).fixed(committee.digest, _HASH_BYTES)

    def _reader(self, peer: int, data: bytes, step: Step, receiver: int) -> Reader:
        """A reader behind the header. Raises DecodeError if that is not as it must be."""
        header = bytes(self._header(step, receiver, peer))
        reader = Reader(data)
        if reader.fixed(f"message of member {peer}", len(header)) != header:
            raise DecodeError(f"message of member {peer}", "of another change, step, sender or receiver")
        return reader

    def _read_dealt(self, peer: int, data: bytes) -> _Dealt:
        """Raises DecodeError, VerificationError."""
        change, name = self.parameters.change, f"message of member {peer}"
        reader = self._reader(peer, data, Step.DEAL, self.index)
        dealing, sub_share = None, 0
        if peer in change.dealers:
            width = (change.committee.threshold + 1) * change.committee.key.modulus_bytes
            dealing = Dealing.decode(reader.fixed(name, width), peer, change)
            sub_share = reader.uint(name, change.sub_share_bytes)
            dealing.check_sub_share(change, self.index, sub_share)
        keys = {a: reader.fixed(name, _KEY_BYTES) for a in self._drawn(peer, self.index)}
        reader.end(name)
        return _Dealt(dealing, sub_share, keys)

    def _read_verdict(self, peer: int, data: bytes) -> _Verdict:
        """Raises DecodeError."""
        change, name = self.parameters.change, f"verdict of member {peer}"
        reader = self._reader(peer, data, Step.VERDICT, _ALL)
        flags = {i: reader.uint(name, 1, 1) for i in change.committee.indices}
        dealings = {i: reader.fixed(name, _HASH_BYTES) for i in change.dealers}
        checks = {a: reader.fixed(name, _HASH_BYTES) for a in self._held(peer)}
        reader.end(name)
        return _Verdict(frozenset(i for i, flag in flags.items() if flag), dealings, checks)

    def _held(self, index: int) -> list[MaskSet]:
        return [a for a in self.parameters.sets if index in a]

    def _drawn(self, drawer: int, other: int = 0) -> list[MaskSet]:
        """Sets whose key that member draws; those with `other` in them, if given."""
        held = self._held(other or drawer)
        return [a for a in held if self.parameters.drawer(a) == drawer]

    def _hash(self, dealing: Dealing | None) -> bytes:
        if dealing is None:
            return _NOTHING
        return sha256(dealing.encode(self.parameters.change.committee)).digest()

    def _check(self, holders: MaskSet, key: bytes) -> bytes:
        """What says that two hold the same key, and nothing about it."""
        data = bytes(Writer().fixed(self._name, NAME_BYTES).var(bytes(holders)))
        return KMAC256.new(key=key, data=data, mac_len=_HASH_BYTES, custom=LABEL_MASK_CHECK).digest()
