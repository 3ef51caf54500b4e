"""The operator's side of a committee: members get the log, sign and clear rounds, vouch for their end.

It holds no key, sees no share and no partial decryption: members take those steps among themselves. Every
request may be repeated, so whatever dies in the middle of one is asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from commitments.errors import DecodeError, VerificationError
from darkpool import certificates, eip712
from darkpool.committee.follower import Follower
from darkpool.committee.member_link import MemberLink
from darkpool.committee.transport import Tap
from darkpool.errors import OrderRefused, PeerFault, Unavailable
from darkpool.listing import RoundResult, SealedList
from darkpool.message import Message
from darkpool.netting import Signers
from darkpool.order import Terms
from darkpool.results import read_result, result_fields
from darkpool.settlement import Settlement, ordered_signatures
from darkpool.settlement import digest as settlement_digest
from darkpool.types import Address, Signature

START_SECONDS: Final = 90.0
SHORT_SECONDS: Final = 60.0
MEET_SECONDS: Final = 10.0
CLEAR_SECONDS: Final = 120  # for one step of a clearing
CLEAR_REPLY_SECONDS: Final = 1_800.0

DigestOf = Callable[[RoundResult], bytes]
"""What members sign for a result of the sealed list in question. Raises OrderRefused if it can be none."""

ReadLog = Callable[[int, int], Awaitable[Sequence[bytes]]]
"""(first, limit) -> entries, durable ones only."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """How a sealed round ended, with enough members' signatures to show it to anybody.

    result is None if the list was abandoned, for `reason`. boxes: the sealed totals, by account and member.
    """

    result: RoundResult | None
    signatures: tuple[Signature, ...]
    boxes: Mapping[Address, Mapping[int, bytes]] = field(default_factory=dict, repr=False)
    reason: str = ""

    def fields(self) -> dict[str, object]:
        """Of the log's `result` entry; `boxed`: the members whose boxes follow, account by account."""
        if self.result is None:
            raise AssertionError("an abandoned list has no result")
        boxed = sorted(next(iter(self.boxes.values()), {}))
        return {**result_fields(self.result), "signatures": len(self.signatures), "boxed": boxed}

    def blobs(self) -> list[bytes]:
        """Signatures, then boxes."""
        return [*self.signatures, *(box for boxes in self.boxes.values() for _, box in sorted(boxes.items()))]


@dataclass(slots=True)
class _Signed:
    """Members that signed the same result."""

    result: RoundResult
    replies: dict[int, Message] = field(default_factory=dict)

    @property
    def signatures(self) -> tuple[Signature, ...]:
        return tuple(Signature(reply.blobs[0]) for reply in self.replies.values())

    def certificate(self) -> Certificate:
        boxes: dict[Address, dict[int, bytes]] = {account: {} for account in self.result.nets}
        for index, reply in self.replies.items():
            for account, box in zip(self.result.nets, reply.blobs[1:], strict=True):
                boxes[account][index] = box
        return Certificate(self.result, self.signatures, boxes)


class Coordinator:
    """Links to a running committee, whose members meet in `sockets`. Close it when done.

    `size` is how many entries the log has, of which `read_log` gives a page.
    `clear_timeout` is how many seconds members wait for each other in a step of a clearing.
    """

    def __init__(
        self,
        signers: Signers,
        sockets: Path,
        read_log: ReadLog,
        size: int,
        tap: Tap | None = None,
        clear_timeout: int = CLEAR_SECONDS,
    ) -> None:
        self.signers: Final = signers
        self._timeout = clear_timeout
        self._links = {i: MemberLink(sockets, i, tap=tap) for i in signers.addresses}
        self._followers = {i: Follower(link, read_log, size) for i, link in self._links.items()}

    async def close(self) -> None:
        """Drop the links; members go on by themselves."""
        for follower in self._followers.values():
            await follower.close()
        for link in self._links.values():
            await link.close()

    # --- the log ------------------------------------------------------------------------------------

    def extended(self, size: int) -> None:
        """The log has so many entries by now: followers send what is missing."""
        for follower in self._followers.values():
            follower.extended(size)

    @property
    def fault(self) -> str:
        """Why a member will not follow the log, if one will not: the venue must not go on then."""
        return next((f.fault for f in self._followers.values() if f.fault), "")

    @property
    def away(self) -> str:
        """Which members cannot be reached now, for status."""
        missing = [i for i, link in self._links.items() if not link.connected]
        return f"members {missing} are away" if missing else ""

    def lag(self) -> dict[int, int]:
        """By member, how many entries it lacks."""
        return {i: f.lag for i, f in self._followers.items()}

    async def caught_up(self, size: int, seconds: float = SHORT_SECONDS) -> None:
        """Wait until every member has so many entries. Raises PeerFault naming one that has not."""
        await asyncio.gather(*(f.caught_up(size, seconds) for f in self._followers.values()))

    # --- requests -----------------------------------------------------------------------------------

    async def _ask(self, index: int, request: Message, seconds: float) -> Message:
        """A reply that is no refusal. Raises PeerFault, or Unavailable for what passes by itself."""
        reply = await self._links[index].ask(request, seconds)
        if reply.op == "refused":
            reason = f"{request.op}: {reply.fields.get('reason')}"
            if reply.fields.get("retry") is True:
                raise Unavailable(f"member {index}: {reason}", "committee")
            raise PeerFault(reason, peer=f"member {index}")
        return reply

    async def _all(self, request: Message, seconds: float) -> dict[int, Message]:
        """Everybody's reply. Raises PeerFault or Unavailable if one refuses or is away."""
        indices = list(self._links)
        replies = await asyncio.gather(*(self._ask(i, request, seconds) for i in indices))
        return dict(zip(indices, replies, strict=True))

    async def _some(
        self, request: Message, seconds: float, among: Sequence[int] | None = None
    ) -> tuple[dict[int, Message], str]:
        """The replies there are, and the first reason for one there is not."""
        indices = list(self._links) if among is None else list(among)
        replies = await asyncio.gather(
            *(self._ask(i, request, seconds) for i in indices), return_exceptions=True
        )
        found, reason = {}, ""
        for index, reply in zip(indices, replies, strict=True):
            if isinstance(reply, Message):
                found[index] = reply
            elif isinstance(reply, PeerFault | Unavailable):
                reason = reason or str(reply)
            else:
                raise reply
        return found, reason

    async def status(self) -> dict[int, Message]:
        """Where each member stands: log, evaluator, memory, traffic. Raises PeerFault."""
        return await self._all(Message("status"), SHORT_SECONDS)

    async def ready(self, size: int, epoch: int) -> None:
        """All members have the log, see each other, and have evaluators of one generation, or get them.

        And each would sign a list sealed now, for that epoch of the vault. Raises PeerFault or Unavailable.
        """
        await self.caught_up(size)
        statuses = (await self._met()).values()
        try:
            generations = [status.integer("generation") for status in statuses]
        except DecodeError as error:
            raise PeerFault(f"status: {error}", peer="a member") from None
        alive = all(status.fields.get("evaluator") is True for status in statuses)
        if not alive or len(set(generations)) > 1:
            await self._all(Message("start", {"generation": max(generations) + 1}), START_SECONDS)
        await self._all(Message("ready", {"epoch": epoch}), SHORT_SECONDS)

    async def _met(self) -> dict[int, Message]:
        """Everybody's status, once members that have just started have found each other."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + MEET_SECONDS
        while True:
            statuses = await self.status()
            apart = {
                index: missing
                for index, status in statuses.items()
                if (missing := set(self._links) - {index} - set(status.fields.get("peers", ())))
            }
            if not apart:
                return statuses
            if loop.time() >= ends:
                index, missing = next(iter(apart.items()))
                raise Unavailable(
                    f"member {index} is not connected to members {sorted(missing)}", "committee"
                )
            await asyncio.sleep(MEET_SECONDS / 100)

    async def handed(self) -> dict[int, list[bytes]]:
        """Orders that traders handed to members and the log lacks, by member."""
        replies, _ = await self._some(Message("handed"), SHORT_SECONDS)
        return {index: list(reply.blobs) for index, reply in replies.items() if reply.blobs}

    async def refuse_handed(self, index: int, order: bytes, reason: str) -> None:
        """Name the reason for which a handed order is not logged. Raises PeerFault, Unavailable."""
        await self._ask(
            index, Message("handed_refused", {"order": order.hex(), "reason": reason}), SHORT_SECONDS
        )

    # --- the round ----------------------------------------------------------------------------------

    async def sign(self, terms: Terms, sealed: SealedList) -> dict[int, Signature]:
        """Every member's signature over the sealed list. Raises PeerFault or Unavailable."""
        replies = await self._all(_about("sign", sealed), SHORT_SECONDS)
        digest = sealed.digest(terms.domain)
        signatures = {}
        for index, reply in replies.items():
            signature = reply.blobs[0] if len(reply.blobs) == 1 else b""
            try:
                eip712.check_signer(digest, signature, self.signers.addresses[index])
            except VerificationError as error:
                raise PeerFault(f"over the root, {error}", peer=f"member {index}") from None
            signatures[index] = Signature(signature)
        return signatures

    async def clear(self, terms: Terms, sealed: SealedList, digest_of: DigestOf) -> Certificate:
        """Have the members clear the list, and see how it ended. Raises as `conclude`."""
        request = _about("clear", sealed, timeout=self._timeout)
        _, reason = await self._some(request, CLEAR_REPLY_SECONDS)
        return await self.conclude(terms, sealed, digest_of, reason)

    async def conclude(
        self, terms: Terms, sealed: SealedList, digest_of: DigestOf, reason: str = "the venue was interrupted"
    ) -> Certificate:
        """How a list ended, also if we did not see it: it is never cleared again.

        `reason` is given for one that is abandoned. Raises Unavailable while too few members can say.
        """
        replies, missing = await self._some(_about("outcome", sealed), CLEAR_REPLY_SECONDS)
        reason = reason or missing
        t, n = self.signers.threshold, len(self.signers.addresses)
        groups = self._groups(replies, digest_of)
        best = max(groups, key=lambda group: len(group.replies), default=None)
        if len(groups) > 1:
            reason = f"members {[list(g.replies) for g in groups]} report different results"
        if best is not None and len(best.replies) > t:
            others = [i for i in self._links if i not in best.replies]
            adopt = Message(
                "adopt", {**_about("adopt", sealed).fields, **result_fields(best.result)}, best.signatures
            )
            adopted, refusal = await self._some(adopt, SHORT_SECONDS, others)
            for group in self._groups(adopted, digest_of):
                if group.result == best.result:
                    best.replies |= group.replies
            if len(best.replies) >= 2 * t + 1:
                return best.certificate()
            reason = refusal or reason
        # Members that are away may have signed too: giving up then could leave neither end possible.
        silent = n - len(replies)
        if (len(best.replies) if best else 0) + silent <= t:
            abandoned, refusal = await self._some(_about("abandon", sealed), SHORT_SECONDS, list(replies))
            digest = certificates.abandon_digest(terms.domain, sealed.digest(terms.domain))
            valid = [reply for index, reply in abandoned.items() if self._signed_by(index, reply, digest)]
            if len(valid) >= n - t:
                return Certificate(None, tuple(Signature(r.blobs[0]) for r in valid), reason=reason)
            reason = reason or refusal
        raise Unavailable(
            f"round {sealed.round}: no end yet: {reason}",
            "committee",
            "it goes on when the members are back, and is released when its settle window has passed",
        )

    # --- settlements --------------------------------------------------------------------------------

    async def settle(self, settlement: Settlement, domain: eip712.Domain, size: int) -> tuple[Signature, ...]:
        """The signatures of the first 2t+1 members to give them, in the vault's order; others may be away.

        `size` is of the log that has the settlement pending. Raises Unavailable if there are too few in
        SHORT_SECONDS.
        """
        request, digest = Message("settle", {"id": settlement.id}), settlement_digest(settlement, domain)

        async def signed(index: int) -> Signature:
            await self._followers[index].caught_up(size, SHORT_SECONDS)
            reply = await self._ask(index, request, SHORT_SECONDS)
            if not self._signed_by(index, reply, digest):
                raise PeerFault("signed another settlement", peer=f"member {index}")
            return Signature(reply.blobs[0])

        tasks = [asyncio.create_task(signed(index)) for index in self._links]
        needed, found, reason = 2 * self.signers.threshold + 1, list[Signature](), ""
        try:
            async with asyncio.timeout(SHORT_SECONDS):
                for done in asyncio.as_completed(tasks):
                    try:
                        found.append(await done)
                    except (PeerFault, Unavailable) as error:
                        reason = reason or str(error)
                    if len(found) == needed:
                        return ordered_signatures(settlement, domain, found)
        except TimeoutError:
            reason = reason or f"no answer within {SHORT_SECONDS:g} s"
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        raise Unavailable(
            f"settlement {settlement.id}: {len(found)}/{needed} members signed: {reason}", "committee"
        )

    def _signed_by(self, index: int, reply: Message, digest: bytes) -> bool:
        try:
            eip712.check_signer(digest, reply.blobs[0] if reply.blobs else b"", self.signers.addresses[index])
        except VerificationError:
            return False
        return True

    def _groups(self, replies: Mapping[int, Message], digest_of: DigestOf) -> list[_Signed]:
        """Members by the result they signed. What is not a member's own signature is as good as no reply."""
        groups: list[_Signed] = []
        for index, reply in sorted(replies.items()):
            if reply.fields.get("state") != "signed":
                continue
            try:
                result = read_result(reply)
                digest = digest_of(result)
            except (DecodeError, OrderRefused):
                continue
            if len(reply.blobs) != 1 + len(result.nets) or not self._signed_by(index, reply, digest):
                continue
            group = next((g for g in groups if g.result == result), None)
            if group is None:
                group = _Signed(result)
                groups.append(group)
            group.replies[index] = reply
        return groups


def _about(op: str, sealed: SealedList, **fields: int) -> Message:
    return Message(op, {"market": sealed.market.hex(), "round": sealed.round, **fields})
