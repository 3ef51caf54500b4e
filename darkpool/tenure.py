"""Who is in office: a venue's committee and the key orders are sealed to, and how one hands over to the next.

The first committee of a log is a parameter of whoever reads it. Each later one is a `committee` entry, signed
by 2t+1 members of the one before it and 2t+1 of its own (EIP-712, domain of the vault):

    Succession(bytes32 venue,uint256 at,Tenure before,Tenure next)
    Tenure(uint256 keyEpoch,address[] members,uint256 threshold,bytes32 keyId,bytes32 sharing)

Lists sealed before `at` (unix seconds) are signed by the one before, lists sealed from then on by the next:
a list's own sealing time, which its members sign, says whose signatures it needs. `before` makes an entry
good for one place in one log. As both sides sign, whoever knows one committee, the first or the one that the
vault has now, can follow to all others. The same key under a higher `keyEpoch` means other shares of it: they
were refreshed, or a member was replaced. Which shares `sharing` says (`Committee.digest`): members have put
several aside under one epoch if some of them lied, and only those of one sharing work together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from commitments.errors import DecodeError, ParameterError, VerificationError
from commitments.paillier import PublicKey, public_key
from darkpool import eip712
from darkpool.errors import OrderRefused
from darkpool.message import Message
from darkpool.netting import Signers
from darkpool.settlement import MAX_MEMBERS
from darkpool.types import Address, address_hex

OP: Final = "committee"

MAX_TENURES: Final = 512
"""Of one venue: readers fetch them all. A change every week comes to nine years."""

MAX_WAIT: Final = 600
"""Seconds from `at` within which the entry must be written, or be signed anew."""

_MAX_MODULUS: Final = 4_096  # hexadecimal digits
NO_SHARING: Final = bytes(32)
"""Of a log's first committee, and of one whose shares are still to be made."""

_TENURE: Final = "Tenure(uint256 keyEpoch,address[] members,uint256 threshold,bytes32 keyId,bytes32 sharing)"
_SUCCESSION: Final = "Succession(bytes32 venue,uint256 at,Tenure before,Tenure next)" + _TENURE


@dataclass(frozen=True, slots=True)
class Tenure:
    """A committee in office.

    key_epoch: how often the shares or the key were changed; since: when it took office, unix seconds;
    sharing: the digest of its shares' public side, 32 bytes.
    """

    signers: Signers
    key: PublicKey
    key_epoch: int = 0
    since: int = 0
    sharing: bytes = NO_SHARING

    @property
    def hash(self) -> bytes:
        """hashStruct, 32 bytes, of all but when it took office."""
        addresses = (address for _, address in sorted(self.signers.addresses.items()))
        members = eip712.keccak256(b"".join(map(eip712.word, addresses)))
        values = (self.key_epoch, members, self.signers.threshold, self.key.key_id, self.sharing)
        return eip712.struct_hash(_TENURE, values)

    @property
    def plan(self) -> Tenure:
        """The same before it has shares or a date: what owners agree to, and compare by its hash."""
        return replace(self, since=0, sharing=NO_SHARING)

    @property
    def quorum(self) -> int:
        """2t + 1."""
        return 2 * self.signers.threshold + 1

    def succession(self, following: Tenure, domain: eip712.Domain, venue: bytes) -> bytes:
        """What 2t+1 members sign for the next to take office at its `since`, 32 bytes."""
        values = (venue, following.since, self.hash, following.hash)
        return eip712.digest(domain, _SUCCESSION, values)

    def fields(self) -> dict[str, Any]:
        """Of its entry, all but the entry's time."""
        return {
            "at": self.since,
            "key_epoch": self.key_epoch,
            "members": {str(i): a.hex() for i, a in sorted(self.signers.addresses.items())},
            "modulus": f"{int(self.key.n):x}",
            "sharing": self.sharing.hex(),
            "threshold": self.signers.threshold,
        }


def read_tenure(message: Message) -> Tenure:
    """The committee of such fields; who signed is not looked at. Raises DecodeError naming the field."""
    threshold = message.integer("threshold", 1, (MAX_MEMBERS - 1) // 2)
    members, text = message.fields.get("members"), message.text("modulus", _MAX_MODULUS)
    if not isinstance(members, Mapping) or not 2 * threshold < len(members) <= MAX_MEMBERS:
        raise DecodeError("members", f"not an object of {2 * threshold + 1} to {MAX_MEMBERS}, by index")
    if set(members) != {str(i) for i in range(1, len(members) + 1)}:
        raise DecodeError("members", f"their indices are not 1 to {len(members)}")
    named = Message("members", members)
    addresses = {i: Address(named.octets(str(i), 20)) for i in range(1, len(members) + 1)}
    if len(set(addresses.values())) != len(addresses) or not all(map(any, addresses.values())):
        raise DecodeError("members", "an address is twice there, or zero")
    try:
        key = public_key(int(text, 16))
    except (ValueError, ParameterError):
        key = None
    if key is None or key.n < 0 or f"{int(key.n):x}" != text:
        raise DecodeError("modulus", "not an odd number of at least 512 bits in lower-case hexadecimal")
    signers = Signers(threshold, addresses)
    sharing = message.octets("sharing", 32)
    return Tenure(signers, key, message.integer("key_epoch"), message.integer("at"), sharing)


def check_follows(before: Tenure, following: Tenure) -> None:
    """Whether a committee may come after another, whoever signs it. Raises OrderRefused."""
    if following.key_epoch != before.key_epoch + 1:
        raise OrderRefused(
            f"key_epoch: {following.key_epoch} where {before.key_epoch + 1} is next",
            "it was signed for another place in the log: sign it anew",
        )
    if following.since <= before.since:
        raise OrderRefused(
            f"at: {following.since} is not after {before.since}, when the present committee took office",
            "choose a later time",
        )
    if following.key.bits != before.key.bits:
        raise OrderRefused(
            f"modulus: {following.key.bits} bits where the present one has {before.key.bits}",
            "deal a key of the same size",
        )
    shape = [(len(t.signers.addresses), t.signers.threshold) for t in (before, following)]
    if following.key == before.key and shape[0] != shape[1]:
        raise OrderRefused(
            f"members, threshold: {shape[1][0]} with {shape[1][1]} where the shares of this key are of"
            f" {shape[0][0]} with {shape[0][1]}",
            "deal a new key for another number of members",
        )


def check_succession(before: Tenure, entry: Message, domain: eip712.Domain, venue: bytes) -> None:
    """Whether a `committee` entry puts another into office after `before`.

    1. its fields are well formed; 2. it may follow, and has shares; 3. nobody but members of either signed
    it; 4. 2t+1 of each did. Raises DecodeError, OrderRefused.
    """
    following = read_tenure(entry)  # 1
    check_follows(before, following)  # 2
    if following.sharing == NO_SHARING:
        raise OrderRefused("sharing: none is named", "name the one that the members have staged")
    if len(entry.blobs) > 2 * MAX_MEMBERS:  # 3
        raise DecodeError("signatures", f"{len(entry.blobs)}, above {2 * MAX_MEMBERS}")
    signed = before.succession(following, domain, venue)
    try:
        found = {eip712.recover_digest(signed, blob) for blob in entry.blobs}
    except VerificationError as error:
        raise OrderRefused(f"committee: {error}", "collect the members' signatures") from None
    sides = [set(tenure.signers.addresses.values()) for tenure in (before, following)]
    if strangers := found - set().union(*sides):
        raise OrderRefused(
            f"committee: {address_hex(min(strangers))} signed, a member of neither",
            "collect the members' signatures",
        )
    for tenure, members in zip((before, following), sides, strict=True):  # 4
        signed_by, needed = len(found & members), tenure.quorum
        if signed_by < needed:
            raise OrderRefused(
                f"committee: {signed_by}/{needed} members of epoch {tenure.key_epoch} signed",
                "collect the members' signatures",
            )


@dataclass(frozen=True, slots=True)
class Tenures:
    """All committees of a venue, oldest first, and the entries that put all but the first into office."""

    all: tuple[Tenure, ...]
    entries: tuple[bytes, ...] = ()

    @property
    def first(self) -> Tenure:
        """The committee that the venue began with."""
        return self.all[0]

    @property
    def current(self) -> Tenure:
        """The one in office."""
        return self.all[-1]

    def at(self, sealed_at: int) -> Tenure:
        """Whose signatures a list sealed at that time (unix seconds) and its end have."""
        return next((t for t in reversed(self.all) if t.since <= sealed_at), self.first)

    @property
    def keys(self) -> tuple[PublicKey, ...]:
        """All keys that orders were ever sealed to, each once."""
        return tuple(dict.fromkeys(tenure.key for tenure in self.all))

    def key(self, key_id: bytes) -> PublicKey:
        """The key of that name. Raises DecodeError if the venue never had it."""
        found = next((key for key in self.keys if key.key_id == key_id), None)
        if found is None:
            raise DecodeError("key_id", "of no committee that this venue ever had")
        return found

    def after(self, entry: Message, domain: eip712.Domain, venue: bytes) -> Tenures:
        """With one more. Raises as `check_succession`; OrderRefused at the bound."""
        if len(self.all) >= MAX_TENURES:
            raise OrderRefused(
                f"committee: the venue has had {MAX_TENURES}, the most there may be", "start a new venue"
            )
        check_succession(self.current, entry, domain, venue)
        return self.taken(entry)

    def taken(self, entry: Message) -> Tenures:
        """With one more, of an entry that was checked before. Raises DecodeError."""
        return Tenures((*self.all, read_tenure(entry)), (*self.entries, entry.encode()))

    def encode(self) -> list[bytes]:
        """The first, then the entries: what `read_tenures` reads."""
        return [Message(OP, self.first.fields()).encode(), *self.entries]


@lru_cache(maxsize=16)
def read_tenures(entries: tuple[bytes, ...], domain: eip712.Domain, venue: bytes) -> Tenures:
    """The committees of `Tenures.encode`, each vouched for by those beside it.

    One of them is for the reader to know: the first, or by the vault the present one. Raises DecodeError.
    """
    if not 0 < len(entries) <= MAX_TENURES:
        raise DecodeError("committees", f"{len(entries)}, not from 1 to {MAX_TENURES}")
    messages = [Message.decode(data) for data in entries]
    if any(message.op != OP for message in messages) or messages[0].blobs:
        raise DecodeError("committees", "another entry is among them")
    first = read_tenure(messages[0])
    if first != first.plan or first.key_epoch:
        raise DecodeError("committees", "the first one is missing")
    tenures = Tenures((first,))
    try:
        for message in messages[1:]:
            tenures = tenures.after(message, domain, venue)
    except OrderRefused as error:
        raise DecodeError("committees", error.message) from None
    return tenures
